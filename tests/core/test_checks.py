"""Kinds of numbers."""

import numpy as np
import pytest

from keras_actnas.core.checks import is_finite, is_whole


@pytest.mark.parametrize("value", [0, 3, -2, np.int64(1), np.uint8(4)])
def test_whole_numbers(value):
    assert is_whole(value) and is_finite(value)


@pytest.mark.parametrize("value", [0.5, np.float32(2), 1e300])
def test_other_numbers(value):
    assert is_finite(value) and not is_whole(value)


@pytest.mark.parametrize("value", [True, np.True_, None, "1", float("nan"), float("inf"), [1], 1j])
def test_no_numbers(value):
    assert not is_whole(value) and not is_finite(value)
