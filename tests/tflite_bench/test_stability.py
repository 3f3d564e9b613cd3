"""Warnings: each where the data say so, and nowhere else."""

import numpy as np
import pytest

from keras_actnas.tflite_bench import stability_warnings

STEADY = np.random.default_rng(0).normal(10, 0.05, 50)


def test_steady_runs_are_not_warned_of():
    assert stability_warnings(STEADY) == []
    assert stability_warnings([3.0] * 50) == []


@pytest.mark.parametrize("runs", [20, 50, 200])
@pytest.mark.parametrize("noise", ["normal", "uniform", "exponential"])
def test_false_alarms_are_rare(noise, runs):
    rng = np.random.default_rng(runs)
    draw = {"normal": rng.normal, "uniform": rng.uniform, "exponential": lambda _, s, n: rng.exponential(s, n)}[noise]
    alarms = sum(bool(stability_warnings(10 + draw(0, 0.1, runs))) for _ in range(200))
    assert alarms <= (8 if runs == 20 else 1)


def test_large_spread():
    (text,) = stability_warnings(np.random.default_rng(1).normal(10, 0.8, 200))
    assert text == "single runs spread by more than 5 % of the median; close other programs"


def test_drift():
    hot, cold = STEADY + np.linspace(0, 0.6, 50), STEADY + np.linspace(0.6, 0, 50)
    (text,) = stability_warnings(hot)
    assert text.startswith("the second half of the runs is 3.") and text.endswith(
        "% slower than the first; does the board get hot?"
    )
    (text,) = stability_warnings(cold)
    assert text.startswith("the second half of the runs is ") and text.endswith(
        "% faster than the first; warm up longer"
    )
    # Beyond noise, and yet too small to matter.
    assert stability_warnings(10 + np.linspace(0, 0.1, 50)) == []


def test_two_speeds():
    values = np.where(np.arange(50) % 5 < 2, STEADY, STEADY + 1)
    (text,) = [text for text in stability_warnings(values) if "two speeds" in text]
    assert text.startswith("runs have two speeds: 20 of about 9.99")
    assert ", 30 of about 11.01" in text


def test_a_wide_spread_is_not_two_speeds():
    rng = np.random.default_rng(2)
    texts = [text for _ in range(200) for text in stability_warnings(rng.normal(10, 1, 50))]
    assert not [text for text in texts if "two speeds" in text]


def test_outliers():
    values = STEADY.copy()
    values[[3, 30]] = 25
    assert stability_warnings(values) == []  # Two in fifty happen.
    values[[11, 12]] = 30
    (text,) = stability_warnings(values)
    assert text == "4 of 50 runs took longer than 12.0" + text[len("4 of 50 runs took longer than 12.0") :]
    assert text.endswith("ms; something else runs beside them")


def test_too_few_runs_for_the_spread():
    (text,) = stability_warnings([10.0, 10.3, 9.7, 10.1])
    assert text.startswith("too few runs for their spread: the median is known to 1.")
    needed = int(text.split("; ")[1].split()[0])
    assert 5 <= needed <= 16


def test_a_single_run():
    assert stability_warnings([1.0]) == ["a single run does not tell how much runs differ; take more"]
