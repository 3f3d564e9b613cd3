"""Wild measurements: a board that was busy for a while must not move the table."""

from __future__ import annotations

import numpy as np

from keras_actnas.core.stats import robust_spread

TURN = 3.0
"""How many standard deviations a measurement may be away and still count in full: of normal noise 99.7 % are less."""


def tail_weights(away: np.ndarray) -> np.ndarray:
    """Returns how much each observation counts in a fit by least squares: 1, or (TURN / deviations)^4 beyond TURN.

    Within it nothing changes, so normal noise loses next to nothing. Beyond it both the pull on the effects and the
    square that enters the estimate of the noise fall with the distance: what is wild is wrong rather than noisy, and
    would make the noise seem so large that all effects are shrunk away. (Huber, Robust Statistics, 1981, chapter 7:
    iteratively reweighted least squares, with a redescending weight.)

    Args:
      away: What each observation differs by from its prediction by all others, in units that are comparable (divided
        by the stated errors); shape (observations,). NaN, or a spread of zero, counts in full.

    Returns:
      Array of shape (observations,) with values in (0, 1].

    >>> (tail_weights(np.array([-0.5, 0.2, 1.0, -1.0, 0.4, 80.0])) > 0.001).tolist()
    [True, True, True, True, True, False]
    """
    known = away[np.isfinite(away)]
    spread = robust_spread(known - np.median(known)) if len(known) > 1 else 0.0
    # Measurements without any noise differ by rounding, which is nothing to judge them by.
    if spread <= 1e-9 * max(float(np.abs(known).max(initial=0.0)), 1e-300):
        return np.ones(len(away))
    distance = np.nan_to_num(np.abs(away)) / spread
    return np.minimum(1.0, TURN / np.maximum(distance, TURN)) ** 4
