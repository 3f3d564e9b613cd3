"""Distributing ACON's factors: whoever computes with them, the function is the same."""

import numpy as np
import pytest

from keras_actnas.surgery.acon_factors import distribute

X = np.linspace(-6, 6, 241)[:, None]
RANDOM = np.random.default_rng(0)
P1, P2, BETA = RANDOM.normal(1, 0.7, 64), RANDOM.normal(0, 0.7, 64), RANDOM.normal(1, 0.7, 64)
NONE = np.zeros(64)
EDGES = {
    "linear by beta": (P1, P2, NONE),
    "linear by equal slopes": (P1, P1, BETA),
    "almost linear": (P1, P1 - 1e-8, BETA),
    "mean of zero": (P1, -P1, 1e-7 * BETA),
    "exchanged": (P2, P1, BETA),
    "negative beta": (P1, P2, -np.abs(BETA)),
    "large beta": (P1, P2, 1e3 * BETA),
    "nothing at all": (NONE, NONE, BETA),
    "acon-a": (1 + NONE, NONE, BETA),
    "acon-a, linear": (1 + NONE, NONE, NONE),
    "acon-a, some linear": (1 + NONE, NONE, np.where(np.arange(64) % 2, BETA, 0)),
    "some of all": (np.where(np.arange(64) % 3, P1, P2), P2, np.where(np.arange(64) % 2, BETA, 0)),
}


def sigmoid(x):
    return 0.5 * (1 + np.tanh(0.5 * x))


def as_folded(factors):
    """Returns what a network computes with these factors."""
    y = X * (1 if factors.before is None else factors.before)
    own = factors.own
    value = y * (own.get("scale", 1) * sigmoid(own.get("slope", 1) * y) + own.get("shift", 0))
    return value * (1 if factors.behind is None else factors.behind)


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("behind", [True, False])
@pytest.mark.parametrize("case", [{"random": (P1, P2, BETA)}, EDGES], ids=["random", "edges"])
def test_the_function_stays(case, before, behind):
    for name, (p1, p2, beta) in case.items():
        expected = (p1 - p2) * X * sigmoid(beta * (p1 - p2) * X) + p2 * X
        factors = distribute(p1, p2, beta, before, behind)
        np.testing.assert_allclose(as_folded(factors), expected, atol=1e-5, err_msg=name)
        assert (factors.before is None or before) and (factors.behind is None or behind)
        assert factors.behind is None or np.all(factors.behind != 0)


@pytest.mark.parametrize(
    ("p2", "before", "behind", "left"),
    [
        (NONE, True, True, ()),
        (NONE, True, False, ("slope",)),
        (NONE, False, True, ("slope",)),
        (P2, True, True, ("shift",)),
        (P2, True, False, ("scale", "shift")),
        (P2, False, True, ("slope", "shift")),
        (P2, False, False, ("slope", "scale", "shift")),
    ],
)
def test_no_more_factors_are_left_than_need_be(p2, before, behind, left):
    assert tuple(distribute(1 + NONE, p2, BETA, before, behind).own) == left


def test_silu_needs_no_factors():
    factors = distribute(1 + NONE, NONE, 1 + NONE, before=False, behind=False)
    assert (factors.before, factors.own, factors.behind) == (None, {}, None)


def test_positive_betas_leave_positive_factors():
    """They go through a max pooling, whichever of p1 and p2 is larger."""
    assert np.all(distribute(P1, P2, np.abs(BETA) + 0.1, before=True, behind=True).behind > 0)
    assert np.all(distribute(P1, P2, np.abs(BETA) + 0.1, before=False, behind=True).behind > 0)
