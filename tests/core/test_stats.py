import math

import numpy as np
import pytest

from keras_actnas.core.stats import paired_ratio, rank_correlation, robust_spread, summarize


def test_summary_of_known_samples():
    summary = summarize([1.0, 2.0, 3.0, 4.0, 100.0])
    assert (summary.median, summary.minimum, summary.maximum, summary.mean, summary.runs) == (3.0, 1.0, 100.0, 22.0, 5)
    assert summary.deviation == pytest.approx(math.sqrt((21**2 + 20**2 + 19**2 + 18**2 + 78**2) / 4))
    assert summary.p95 == pytest.approx(80.8)
    assert summary.spread == pytest.approx(1.206 * 1.4826)
    assert summary.standard_error == pytest.approx(math.sqrt(math.pi / 2) * 1.206 * 1.4826 / math.sqrt(5))


def test_summary_of_one_sample_knows_no_error():
    summary = summarize([5.0])
    assert (summary.median, summary.p95, summary.minimum, summary.mean, summary.runs) == (5.0, 5.0, 5.0, 5.0, 1)
    assert math.isnan(summary.spread) and math.isnan(summary.deviation)
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


# Intervals


def noise(kind, rng, shape):
    """Returns deviations of pairs' logarithmic ratios, by about 1 %, with median 0."""
    normal = rng.normal(0, 0.01, shape)
    if kind == "heavy tails":
        return rng.standard_t(2, shape) * 0.01
    if kind == "drift":  # Each value keeps 0.7 of the one before: batches of the same session, no more, are alike.
        for number in range(1, shape[1]):
            normal[:, number] += 0.7 * normal[:, number - 1]
    return normal


def coverage(ratio, true_ratio, shared, sessions=1):
    """Returns the share of rows of pairs' ratios whose interval covers the true one; both networks share a drift."""
    pairs = (paired_ratio(row * drift, drift, sessions) for row, drift in zip(ratio, shared, strict=True))
    return np.mean([pair.low <= true_ratio <= pair.high for pair in pairs])


def shared_drift(rng, shape):
    return 10 * np.exp(np.cumsum(rng.normal(0, 0.05, shape), axis=1))


@pytest.mark.parametrize("kind", ["normal", "heavy tails"])
@pytest.mark.parametrize("pairs", [20, 25])
def test_interval_of_one_session_covers_the_ratio(kind, pairs):
    rng = np.random.default_rng(pairs)
    ratio = 0.8 * np.exp(noise(kind, rng, (1500, pairs)))
    assert 0.94 <= coverage(ratio, 0.8, shared_drift(rng, ratio.shape)) <= 0.97


@pytest.mark.parametrize("kind", ["normal", "heavy tails", "drift"])
@pytest.mark.parametrize(("sessions", "placement"), [(6, 0.0), (6, 0.003), (6, 0.05), (2, 0.003), (12, 0.003)])
def test_interval_of_sessions_covers_the_ratio(kind, sessions, placement):
    rng = np.random.default_rng(sessions)
    parts = [len(part) for part in np.array_split(np.zeros(50 if sessions < 12 else 96), sessions)]
    logarithms = [noise(kind, rng, (800, part)) + rng.normal(0, placement, (800, 1)) for part in parts]
    ratio = 1.25 * np.exp(np.concatenate(logarithms, axis=1))
    assert 0.93 <= coverage(ratio, 1.25, shared_drift(rng, ratio.shape), sessions) <= 0.97


def test_one_session_does_not_know_what_another_would_give():
    rng = np.random.default_rng(0)
    ratio = np.exp(noise("normal", rng, (500, 50)) + rng.normal(0, 0.01, (500, 1)))
    assert coverage(ratio, 1.0, np.ones_like(ratio)) < 0.5


@pytest.mark.parametrize(
    ("pairs", "rank"), [(6, 1), (8, 1), (9, 2), (20, 6), (25, 8), (50, 18), (100, 40)]
)  # As in tables of the sign test.
def test_interval_of_one_session_is_the_sign_tests(pairs, rank):
    values = np.random.default_rng(pairs).permutation(pairs) + 1.0
    interval = paired_ratio(values, np.ones(pairs))
    assert (interval.low, interval.high) == (rank, pairs + 1 - rank)


@pytest.mark.parametrize("pairs", [1, 2, 5])
def test_too_few_pairs_for_an_interval(pairs):
    interval = paired_ratio(np.arange(1, pairs + 1), np.ones(pairs))
    assert math.isnan(interval.low) and math.isnan(interval.high)


def test_ratio_of_sessions_by_hand():
    samples = [1.0, 1.0, 9.0, 4.0, 4.0, 1.0]  # Medians 1 and 4: Student's quantile of one degree of freedom is 12.706.
    found = paired_ratio(samples, [1.0] * 6, sessions=2)
    error = math.log(4) / 2
    assert found.ratio == pytest.approx(2.0)
    assert found.standard_error == pytest.approx(2 * error)
    assert (found.low, found.high) == pytest.approx((2 * math.exp(-12.706 * error), 2 * math.exp(12.706 * error)))


# Rank correlation


def test_rank_correlation_is_spearman_s():
    assert rank_correlation([1, 2, 3, 4], [10, 100, 1000, 1001]) == pytest.approx(1.0)
    assert rank_correlation([1, 2, 3, 4], [4, 3, 2, 1]) == pytest.approx(-1.0)
    assert rank_correlation([1, 2, 3, 4, 5], [5, 6, 7, 8, 7]) == pytest.approx(0.8207826817)  # As SciPy has it.
    assert math.isnan(rank_correlation([1, 1, 1], [1, 2, 3]))
