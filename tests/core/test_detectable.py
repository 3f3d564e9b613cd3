"""The smallest effect that is told from none: checked by telling some from none."""

import numpy as np
import pytest

from keras_actnas.core import Assignment, Estimate, MetricTable
from keras_actnas.core.detectable import smallest_detectable, typical_detectable

REFERENCE = Assignment({"a": "silu", "b": "relu"})


def make_table(errors):
    return MetricTable("latency", "ms", REFERENCE, ("silu", "relu"), Estimate(10.0), np.zeros((2, 2)), np.array(errors))


def test_the_reference_has_no_effect_to_find():
    cells = smallest_detectable(make_table([[0.0, 0.1], [np.nan, 0.0]]))
    np.testing.assert_allclose(cells, [[np.nan, 0.28016], [np.nan, np.nan]], rtol=1e-4)


def test_it_is_found_in_four_cases_of_five():
    effect = smallest_detectable(make_table([[0.0, 0.1], [0.1, 0.0]]))[0, 1]
    found = np.abs(effect + 0.1 * np.random.default_rng(0).normal(size=20000)) > 1.96 * 0.1
    assert np.mean(found) == pytest.approx(0.8, abs=0.01)


def test_the_typical_one():
    table = make_table([[0.0, 0.1], [0.3, 0.0]])
    assert typical_detectable(table) == pytest.approx(2.8016 * 0.2, rel=1e-4)
    assert np.isnan(typical_detectable(make_table(np.full((2, 2), np.nan))))
