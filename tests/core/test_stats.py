import math

import numpy as np
import pytest

from keras_actnas.core.stats import paired_ratio, robust_spread, summarize


def test_summary_of_known_samples():
    summary = summarize([1.0, 2.0, 3.0, 4.0, 100.0])
    assert (summary.median, summary.minimum, summary.mean, summary.runs) == (3.0, 1.0, 22.0, 5)
    assert summary.p95 == pytest.approx(80.8)
    assert summary.spread == pytest.approx(1.206 * 1.4826)
    assert summary.standard_error == pytest.approx(math.sqrt(math.pi / 2) * 1.206 * 1.4826 / math.sqrt(5))


def test_summary_of_one_sample_knows_no_error():
    summary = summarize([5.0])
    assert (summary.median, summary.p95, summary.minimum, summary.mean, summary.runs) == (5.0, 5.0, 5.0, 5.0, 1)
    assert math.isnan(summary.spread)
    assert math.isnan(summary.standard_error)


def test_spread_is_the_standard_deviation_of_normal_noise_without_its_outliers():
    values = np.random.default_rng(0).normal(10, 2, 20_000)
    values[:200] = 1e6
    assert robust_spread(values) == pytest.approx(2.0, rel=0.05)


@pytest.mark.parametrize("count", [2, 3, 4, 6, 9, 10, 14, 50])
def test_spread_of_few_samples_is_right_on_average(count):
    values = np.random.default_rng(count).normal(0, 1, (20_000, count))
    assert np.mean([robust_spread(row) for row in values]) == pytest.approx(1.0, abs=0.03)


def test_standard_error_is_how_far_medians_scatter():
    rng = np.random.default_rng(1)
    summaries = [summarize(rng.normal(10, 1, 101)) for _ in range(2000)]
    scatter = np.std([summary.median for summary in summaries])
    assert np.mean([summary.standard_error for summary in summaries]) == pytest.approx(scatter, rel=0.08)


def test_paired_ratio_cancels_what_both_share():
    rng = np.random.default_rng(2)
    drift = rng.uniform(1, 3, 50)
    ratio = paired_ratio(0.8 * drift, drift)
    assert ratio.ratio == pytest.approx(0.8)
    assert ratio.standard_error == pytest.approx(0.0, abs=1e-12)


def test_paired_ratio_error():
    ratio = paired_ratio([1.0, 2.0, 3.0], [1.0, 1.0, 1.0])
    assert ratio.ratio == 2.0
    assert ratio.standard_error == pytest.approx(math.sqrt(math.pi / 2) * 1.495 * 1.4826 / math.sqrt(3))
    assert math.isnan(paired_ratio([1.0], [2.0]).standard_error)
