"""The budget of a design: the least, and rounds."""

import pytest

from keras_actnas.core import Assignment, InputError
from keras_actnas.core.table import Estimate
from keras_actnas.search.design_budget import check_budget, least_networks, round_sizes
from keras_actnas.search.designs import orthogonal
from keras_actnas.search.priors import CostPrior, CurvePrior
from keras_actnas.search.tables import Observation, fit_table

NAMES = ("silu", "relu", "elu")


@pytest.mark.parametrize("prior", [CostPrior({"a": 1.0, "b": 2.0, "c": 3.0, "d": 1.0}), CurvePrior()])
def test_the_least_is_what_a_fit_needs(prior):
    reference = Assignment.uniform("abcd", "silu")

    def fit(count):
        made = [Observation(one, float(n), 0.1) for n, one in enumerate(orthogonal(reference, NAMES, count))]
        return fit_table(made, reference, NAMES, Estimate(10.0), metric="latency", prior=prior)

    least = least_networks(NAMES)
    assert fit(least).delta.shape == (4, 3)
    with pytest.raises(InputError, match=rf"at least {least} measured networks .* Received: {least - 1}"):
        fit(least - 1)
    check_budget(least, NAMES)
    with pytest.raises(InputError, match=rf"at least {least} for 3 activations. Received: {least - 1}. Raise --net"):
        check_budget(least - 1, NAMES)


@pytest.mark.parametrize("count, rounds", [(150, 5), (12, 5), (5, 3), (33, 4)])
def test_rounds_share_the_whole_budget(count, rounds):
    sizes = round_sizes(count, rounds, NAMES)
    assert sum(sizes) == count and sizes[0] >= 5 and len(sizes) <= rounds + 1 and min(sizes) > 0
    with pytest.raises(InputError, match="at least 5"):
        round_sizes(4, rounds, NAMES)
