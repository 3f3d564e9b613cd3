"""Fitting tables: exact where it can be, honest about its errors where it cannot, and equal to plain formulas."""

import dataclasses
import json

import numpy as np
import pytest

from keras_actnas.core import CANDIDATES, Assignment, Estimate, InputError
from keras_actnas.search import Observation, fit_table, mixtures, outliers, single_swaps
from keras_actnas.search.priors import CostPrior, CurvePrior
from keras_actnas.search.tables import average_tables

NAMES = ("silu", "relu", "hard_swish", "leaky_relu")
REFERENCE = Assignment.uniform([f"s{number}" for number in range(8)], "silu")
SIZES = {site: float(size) for site, size in zip(REFERENCE, [800, 400, 400, 200, 200, 100, 50, 50], strict=True)}


def fit(observations, reference=REFERENCE, names=NAMES, prior=None, value=100.0):
    return fit_table(observations, reference, names, Estimate(value), metric="latency", unit="ms", prior=prior)


def noisy(rows, table, noise, rng, stated=None):
    """Observations of networks whose effects add up to `table` (site x name), plus noise."""
    columns = {name: column for column, name in enumerate(NAMES)}
    made = []
    for row in rows:
        truth = sum(table[index, columns[name]] for index, name in enumerate(row.values()))
        made.append(Observation(row, truth + noise * rng.normal(), noise if stated is None else stated))
    return made


def cost_effects(rng):
    """Effects as `CostPrior` sees them: per element and per operator, and a deviation of each cell."""
    size = np.array(list(SIZES.values())) / np.mean(list(SIZES.values()))
    effects = np.zeros((len(size), len(NAMES)))
    for column in range(1, len(NAMES)):
        shared = rng.normal(-1, 0.5) * size + rng.normal(0, 0.3)
        effects[:, column] = shared + 0.2 * size * rng.normal(size=len(size))
    return effects


def curve_effects(rng):
    """Effects as `CurvePrior` sees them: a constant per activation, and deviations that likeness ties together."""
    prior = CurvePrior()
    effects = np.zeros((len(REFERENCE), len(NAMES)))
    mean = rng.normal(-1, 0.5, len(NAMES) - 1)
    for row, site in enumerate(REFERENCE):
        directions = prior.deviations([(site, name) for name in NAMES[1:]], REFERENCE)
        effects[row, 1:] = mean + 3.0 * directions @ rng.normal(size=len(NAMES) - 1)
    return effects


WORLDS = {"cost": (cost_effects, CostPrior(SIZES)), "curve": (curve_effects, CurvePrior())}


def test_single_swaps_come_back_exactly():
    rng = np.random.default_rng(0)
    rows = single_swaps(REFERENCE, NAMES)
    deltas = rng.normal(size=len(rows))
    errors = rng.uniform(0.1, 0.5, len(rows))
    table = fit([Observation(*each) for each in zip(rows, deltas, errors, strict=True)])
    for row, delta, error in zip(rows, deltas, errors, strict=True):
        ((site, name),) = row.swaps(REFERENCE).items()
        cell = table.sites.index(site), table.activations.index(name)
        assert table.delta[cell] == pytest.approx(delta, abs=1e-12)
        # Without anything left over, the error is the one that was stated.
        assert table.standard_error[cell] == pytest.approx(max(error, np.median(errors) / 2), rel=1e-9)
        assert table.predict(row).value == pytest.approx(100 + delta)
    np.testing.assert_array_equal(table.delta[:, 0], 0)
    np.testing.assert_array_equal(table.standard_error[:, 0], 0)
    assert table.residual == 0
    assert table.context["fit"] == "least squares"


def test_reference_activations_differ_by_site():
    reference = Assignment({"a": "silu", "b": "relu", "c": "elu"})
    rows = single_swaps(reference, ("relu", "silu"))
    table = fit(
        [Observation(row, float(number), 0.1) for number, row in enumerate(rows, 1)], reference, ("relu", "silu")
    )
    assert table.activations == ("relu", "silu", "elu")
    expected = [[1, 0, np.nan], [0, 2, np.nan], [3, 4, 0]]
    np.testing.assert_allclose(table.delta, expected, atol=1e-12)


def test_least_squares_is_the_textbook_s():
    """Weighted least squares: effects, covariance and prediction against the formulas."""
    rng = np.random.default_rng(1)
    rows = mixtures(REFERENCE, NAMES, 60, seed=1)
    errors = rng.uniform(0.2, 0.3, 60)
    truth = cost_effects(rng)
    made = [
        Observation(each.assignment, each.delta, error)
        for each, error in zip(noisy(rows, truth, 0.25, rng), errors, strict=True)
    ]
    table = fit(made)
    cells = [(site, name) for site in REFERENCE for name in NAMES[1:]]
    X = np.array([[float(row[site] == name) for site, name in cells] for row in rows])
    y, W = np.array([each.delta for each in made]), np.diag(1 / errors**2)
    information = X.T @ W @ X
    beta = np.linalg.solve(information, X.T @ W @ y)
    residual = y - X @ beta
    covariance = np.linalg.inv(information) * (residual @ W @ residual) / (60 - len(cells))
    np.testing.assert_allclose(table.delta[:, 1:].ravel(), beta, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(table.standard_error[:, 1:].ravel(), np.sqrt(np.diag(covariance)), rtol=1e-6)
    x = np.array([float(rows[0][site] == name) for site, name in cells])
    predicted = table.predict(rows[0])
    assert predicted.value == pytest.approx(100 + x @ beta)
    assert predicted.standard_error**2 == pytest.approx(x @ covariance @ x + table.residual**2, rel=1e-6)


@pytest.mark.parametrize("world", WORLDS)
def test_the_mixed_model_is_generalized_least_squares(world):
    """Brute force: the same average over ratios, each solved with the full covariance of the observations."""
    effects, prior = WORLDS[world]
    rng = np.random.default_rng(3)
    rows = mixtures(REFERENCE, NAMES, 20, seed=2)
    made = noisy(rows, effects(rng), 0.3, rng)
    table = fit(made, prior=prior)
    cells = [(site, name) for site in REFERENCE for name in NAMES[1:]]
    X = np.array([[float(row[site] == name) for site, name in cells] for row in rows]) / 0.3
    y = np.array([each.delta for each in made]) / 0.3
    F, D = prior.features(cells, REFERENCE), prior.deviations(cells, REFERENCE)
    # What SiLU loses at every site is what the others gain: its columns say nothing new.
    F = F[:, [column for column in range(F.shape[1]) if column % 4 != 3]]
    Z = X @ D
    scale = np.linalg.eigvalsh(Z @ Z.T).clip(0).mean()
    weights, means, covariances, left_out = [], [], [], []
    for ratio in np.concatenate([[0.0], np.geomspace(1e-5, 1e3, 49) / scale]):
        V = np.eye(20) + ratio * Z @ Z.T
        inverse = np.linalg.inv(V)
        A = X @ F
        information = A.T @ inverse @ A
        theta = np.linalg.solve(information, A.T @ inverse @ y)
        r = y - A @ theta
        freedom = 20 - A.shape[1]
        noise = r @ inverse @ r / freedom
        P = inverse - inverse @ A @ np.linalg.solve(information, A.T @ inverse)
        means.append(F @ theta + D @ (ratio * Z.T @ inverse @ r))
        # Var(truth - estimate), with the truth F theta + D z: linear in z and in the noise.
        G = ratio * D @ Z.T @ inverse
        hat = F @ np.linalg.solve(information, A.T @ inverse)
        M = hat + G @ (np.eye(20) - A @ np.linalg.solve(information, A.T @ inverse))
        left_out.append((y - X @ means[-1]) / (1 - np.diag(X @ M)) * 0.3)
        from_z, from_noise = D - M @ Z, M
        honest = max(noise * freedom / (freedom - 2), 1.0)  # A t distribution; and the stated errors at least.
        covariances.append(honest * (ratio * from_z @ from_z.T + from_noise @ from_noise.T))
        logdets = np.linalg.slogdet(V)[1] + np.linalg.slogdet(information)[1]
        weights.append(-0.5 * (logdets + freedom * np.log(noise)))
        assert P.shape == (20, 20)
    share = np.exp(np.array(weights) - max(weights))
    share /= share.sum()
    mean = np.einsum("k,ki->i", share, means)
    away = np.array(means) - mean
    covariance = np.einsum("k,kij->ij", share, covariances) + np.einsum("k,ki,kj->ij", share, away, away)
    np.testing.assert_allclose(table.delta[:, 1:].ravel(), mean, rtol=1e-6, atol=1e-8)
    flat = [row * 4 + column for row in range(8) for column in (1, 2, 3)]
    np.testing.assert_allclose(
        table.covariance[np.ix_(flat, flat)], covariance, rtol=2e-3, atol=2e-3 * np.abs(covariance).max()
    )
    np.testing.assert_allclose(table.standard_error.ravel() ** 2, np.diag(table.covariance), atol=1e-12)
    expected = np.sqrt(np.mean(np.einsum("k,ki->i", share, left_out) ** 2))
    assert table.context["leave_out_error"] == pytest.approx(expected, rel=1e-3)
    assert table.context["wild"] == 0


@pytest.mark.parametrize("world", WORLDS)
def test_intervals_cover_the_truth_as_often_as_they_say(world):
    """Known effects, many tables: cells and whole networks lie within 1.96 standard errors about 95 % of the time."""
    effects, prior = WORLDS[world]
    cells, networks = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        truth = effects(rng)
        table = fit(noisy(mixtures(REFERENCE, NAMES, 40, seed), truth, 0.5, rng), prior=prior)
        away = (table.delta - truth)[:, 1:] / table.standard_error[:, 1:]
        cells.append(np.abs(away) < 1.96)
        new = mixtures(REFERENCE, NAMES, 10, seed + 1000)
        for each in noisy(new, truth, 0.0, rng, stated=0.0):
            predicted = table.predict(each.assignment)
            networks.append(abs(predicted.value - 100 - each.delta) < 1.96 * predicted.standard_error)
    assert 0.91 < np.mean(cells) < 0.985
    assert 0.91 < np.mean(networks) < 0.995


def test_leaving_out_is_fitting_again_without():
    """The closed form of the leave-out error against as many fits as there are observations."""
    rng = np.random.default_rng(1)
    made = noisy(mixtures(REFERENCE, NAMES, 40, 1), cost_effects(rng), 0.3, rng)
    for prior, tolerance in ((None, 1e-9), (CostPrior(SIZES), 0.05)):  # The ratio is estimated anew in each fit.
        missed = []
        for number, one in enumerate(made):
            others = fit([*made[:number], *made[number + 1 :]], prior=prior)
            missed.append(one.delta - others.predict(one.assignment).value + 100)
        table = fit(made, prior=prior)
        found = table.context["leave_out_error"]
        assert found == pytest.approx(np.sqrt(np.mean(np.square(missed))), rel=tolerance)
        in_sample = [one.delta - table.predict(one.assignment).value + 100 for one in made]
        assert found > 1.1 * np.sqrt(np.mean(np.square(in_sample)))


def test_nothing_can_be_left_out_of_single_swaps():
    made = [Observation(row, 1.0, 0.1) for row in single_swaps(REFERENCE, NAMES)]
    table = fit(made)
    assert table.context["leave_out_error"] is None
    assert json.dumps(table.to_json(), allow_nan=False)


@pytest.mark.parametrize("world", WORLDS)
def test_wild_measurements_do_not_move_the_table(world, monkeypatch):
    """A board that was busy during some measurements, against the same fit with all measurements in full."""
    effects, prior = WORLDS[world]
    squares = dict.fromkeys(("clean", "clean, plain", "busy", "busy, plain"), 0.0)
    wild, covered = [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        truth = effects(rng)
        clean = noisy(mixtures(REFERENCE, NAMES, 60, seed), truth, 0.5, rng)
        busy = [dataclasses.replace(one, delta=one.delta + 8.0) for one in clean[:4]] + clean[4:]
        for name, made in (("clean", clean), ("busy", busy)):
            table = fit(made, prior=prior)
            with monkeypatch.context() as patch:
                patch.setattr(outliers, "TURN", 1e9)
                plain = fit(made, prior=prior)
            squares[name] += np.sum((table.delta - truth) ** 2)
            squares[f"{name}, plain"] += np.sum((plain.delta - truth) ** 2)
        wild.append(table.context["wild"])
        covered.append(np.abs(table.delta - truth)[:, 1:] < 1.96 * table.standard_error[:, 1:])
    assert squares["clean"] < 1.03 * squares["clean, plain"]
    assert squares["busy"] < 1.5 * squares["clean"]
    assert squares["busy, plain"] > 3 * squares["busy"]
    assert 4 <= np.mean(wild) < 5
    assert np.mean(covered) > 0.9


@pytest.mark.parametrize("world", WORLDS)
def test_mixtures_and_a_prior_beat_single_swaps_of_the_same_number(world):
    effects, prior = WORLDS[world]
    squares = {"single": 0.0, "mixtures": 0.0, "mixtures, no prior": 0.0}
    swaps = single_swaps(REFERENCE, NAMES)
    for seed in range(12):
        rng = np.random.default_rng(seed)
        truth = effects(rng)
        rows = mixtures(REFERENCE, NAMES, 2 * len(swaps), seed)
        tables = {
            "single": fit(noisy(swaps * 2, truth, 0.8, rng)),
            "mixtures": fit(made := noisy(rows, truth, 0.8, rng), prior=prior),
            "mixtures, no prior": fit(made),
        }
        for name, table in tables.items():
            squares[name] += np.sum((table.delta - truth) ** 2)
    assert squares["mixtures"] < 0.5 * squares["single"]
    assert squares["mixtures"] < squares["mixtures, no prior"] < squares["single"]


def test_interactions_show_as_residual():
    rng = np.random.default_rng(0)
    truth = cost_effects(rng)
    rows = mixtures(REFERENCE, NAMES, 200, 0)
    exact = fit(noisy(rows, truth, 0.1, rng), prior=CostPrior(SIZES))
    unruly = fit(noisy(rows, truth, 1.0, rng, stated=0.1), prior=CostPrior(SIZES))
    assert exact.residual < 0.05
    assert unruly.residual == pytest.approx(1.0, rel=0.2)
    plain = fit(noisy(rows, truth, 1.0, rng, stated=0.1))
    assert plain.residual == pytest.approx(1.0, rel=0.2)
    assert plain.predict(rows[0]).standard_error > 1.0
    assert plain.predict(REFERENCE).standard_error == 0.0


@pytest.mark.parametrize("error", [np.nan, 0.0])
def test_errors_that_are_not_known(error):
    rng = np.random.default_rng(0)
    truth = cost_effects(rng)
    rows = mixtures(REFERENCE, NAMES, 80, 0)
    for prior in (None, CostPrior(SIZES)):
        table = fit(noisy(rows, truth, 0.2, rng, stated=error), prior=prior)
        assert np.abs(table.delta - truth).max() < 0.3
        assert 0.01 < np.median(table.standard_error[:, 1:]) < 0.2
        assert table.residual == pytest.approx(0.2, rel=0.3)


def test_single_swaps_without_errors_have_none():
    rows = single_swaps(REFERENCE, NAMES)
    table = fit([Observation(row, 1.0, np.nan) for row in rows])
    np.testing.assert_allclose(table.delta[:, 1:], 1.0)
    assert np.isnan(table.standard_error[:, 1:]).all()


def test_single_swaps_that_are_exact_make_an_exact_table():
    """What a compiler estimates is the same every time."""
    rows = single_swaps(REFERENCE, NAMES)
    table = fit([Observation(row, float(number), 0.0) for number, row in enumerate(rows)])
    np.testing.assert_allclose(table.delta[:, 1:].ravel(), range(len(rows)), atol=1e-12)
    np.testing.assert_array_equal(table.standard_error, 0.0)
    np.testing.assert_array_equal(table.covariance, 0.0)
    assert table.predict(Assignment.uniform(REFERENCE, NAMES[1])).standard_error == 0.0
    # One that is not known spoils it.
    partly = fit([Observation(row, 1.0, 0.0 if number else np.nan) for number, row in enumerate(rows)])
    assert np.isnan(partly.standard_error[:, 1:]).all()


def test_too_few_measurements_need_a_prior():
    rng = np.random.default_rng(0)
    rows = mixtures(REFERENCE, NAMES, 12, 0)
    made = noisy(rows, cost_effects(rng), 0.1, rng)
    with pytest.raises(InputError, match=r"tell 2\d effects of the latency table apart. Received: 12"):
        fit(made)
    assert np.isfinite(fit(made, prior=CostPrior(SIZES)).delta).all()


def test_measurements_that_say_nothing_of_the_noise_are_too_few():
    made = [Observation(row, -1.0, 0.1) for row in mixtures(REFERENCE, NAMES, 6, 1)]
    assert np.isfinite(fit(made, prior=CostPrior(SIZES)).delta).any()
    for count in (2, 4, 5):
        with pytest.raises(InputError, match=rf"Expected at least \d measured networks.*Received: {count}"):
            fit(made[:count], prior=CostPrior(SIZES))


def test_errors_are_never_below_those_of_the_measurements():
    """Measurements that agree by chance: their stated errors count."""
    made = [Observation(row, 0.0, 0.5) for row in mixtures(REFERENCE, NAMES, 40, 1)]
    table = fit(made, prior=CostPrior(SIZES))
    assert table.predict(made[0].assignment).standard_error > 0.5 * np.sqrt(6 / 40) / 2


def test_tables_of_two_initializations():
    rng = np.random.default_rng(0)
    rows = mixtures(REFERENCE, NAMES, 200, 0)
    first, second = (
        fit(noisy(rows, shift + cost_effects(np.random.default_rng(1)), 0.01, rng), prior=CurvePrior())
        for shift in (np.array([0, 0.0, 0, 0]), np.array([0, 1.0, 0, 0]))
    )
    mean = average_tables([first, second])
    np.testing.assert_allclose(mean.delta, (first.delta + second.delta) / 2)
    # What one initialization adds to every effect of an activation, no number of networks averages out.
    every = Assignment.uniform(REFERENCE, NAMES[1])
    values = [table.predict(every).value for table in (first, second)]
    assert mean.predict(every).standard_error == pytest.approx(np.std(values, ddof=1) / np.sqrt(2), rel=0.05)
    assert first.predict(every).standard_error < 0.1 * mean.predict(every).standard_error
    assert average_tables([first]).predict(every) == first.predict(every)
    errors = [table.context["leave_out_error"] for table in (first, second)]
    assert mean.context["leave_out_error"] == pytest.approx(np.sqrt(np.mean(np.square(errors))))


def test_sites_of_one_size_leave_elements_and_operators_confounded():
    rng = np.random.default_rng(0)
    truth = np.zeros((8, 4))
    truth[:, 1:] = [-1.0, -0.5, 0.5]
    made = noisy(mixtures(REFERENCE, NAMES, 60, 0), truth, 0.1, rng)
    table = fit(made, prior=CostPrior(dict.fromkeys(REFERENCE, 64.0)))
    np.testing.assert_allclose(table.delta, truth, atol=0.1)


def test_measurements_without_any_difference():
    made = [Observation(row, 0.0, 0.0) for row in mixtures(REFERENCE, NAMES, 30, 0)]
    for prior in (CostPrior(SIZES), CurvePrior()):
        table = fit(made, prior=prior)
        np.testing.assert_allclose(table.delta, 0.0, atol=1e-9)
        assert np.isfinite(table.standard_error).all()


def test_the_curve_prior_ties_relu_to_relu6():
    """Half of the sites never see ReLU6: where ReLU helps there, the table of the others says so of ReLU6."""
    reference = Assignment.uniform("abcdefgh", "silu")
    rng = np.random.default_rng(0)
    effect = dict(zip(reference, rng.normal(0, 2, 8), strict=True))
    made = []
    for row in mixtures(reference, ("silu", "relu", "relu6"), 120, 0):
        delta = sum(effect[site] for site, name in row.items() if name != "silu")
        made.append(Observation(row, delta + 0.5 * rng.normal(), 0.5))
    free = fit(made, reference, ("silu", "relu", "relu6"))
    tied = fit(made, reference, ("silu", "relu", "relu6"), prior=CurvePrior())
    gaps = [np.abs(table.delta[:, 1] - table.delta[:, 2]).max() for table in (free, tied)]
    assert gaps[1] < 0.15 < gaps[0]
    np.testing.assert_allclose(tied.delta[:, 1], list(effect.values()), atol=0.4)


def test_the_same_input_gives_the_same_table():
    rng = np.random.default_rng(0)
    made = noisy(mixtures(REFERENCE, NAMES, 50, 0), cost_effects(rng), 0.5, rng)
    for prior in (None, CostPrior(SIZES), CurvePrior()):
        assert fit(made, prior=prior).to_json() == fit(made, prior=prior).to_json()


def test_what_cannot_be_fitted():
    with pytest.raises(InputError, match="to fit the latency table to. Received: none"):
        fit([])
    with pytest.raises(InputError, match="Expected measurements of .* Received: one with 'gelu'"):
        fit([Observation(REFERENCE.with_swaps({"s0": "gelu"}), 1.0, 0.1)])
    with pytest.raises(InputError, match="another model"):
        fit([Observation(Assignment({"other": "relu"}), 1.0, 0.1)])


def test_only_the_reference_was_measured():
    """A design that never swaps anything tells nothing."""
    for prior in (None, CurvePrior()):
        with pytest.raises(InputError, match="Received: 1 of the reference alone"):
            fit([Observation(REFERENCE, 0.0, 0.1)], prior=prior)


def test_a_table_of_the_paper_s_size_is_quick():
    reference = Assignment.uniform([f"model.{number}.act" for number in range(69)], "silu")
    rng = np.random.default_rng(0)
    made = [Observation(row, rng.normal(), 0.5) for row in mixtures(reference, CANDIDATES, 150, 0)]
    table = fit(made, reference, CANDIDATES, prior=CurvePrior())
    assert table.delta.shape == (69, 5)
    assert np.isfinite(table.delta).all()


def test_a_reference_of_several_activations():
    """A site that leaves ReLU loses what a site that comes to ReLU gains: the shared part is told by both."""
    reference = Assignment((f"s{number}", "relu" if number % 2 else "silu") for number in range(8))
    own = {"silu": 0.0, "relu": -1.0, "hard_swish": -0.4, "leaky_relu": 0.3}
    rng = np.random.default_rng(0)
    made = []
    for row in mixtures(reference, NAMES, 40, 0):
        delta = sum(own[name] - own[reference[site]] for site, name in row.items())
        made.append(Observation(row, delta + 0.05 * rng.normal(), 0.05))
    for prior in (CurvePrior(), CostPrior(dict.fromkeys(reference, 1.0))):
        table = fit(made, reference, prior=prior)
        for row, site in enumerate(reference):
            expected = [own[name] - own[reference[site]] for name in NAMES]
            np.testing.assert_allclose(table.delta[row], expected, atol=0.1)


def test_the_mean_of_tables_covers_the_truth_as_often_as_it_says():
    """What differs from seed to seed is common to all networks of a seed."""
    rows = mixtures(REFERENCE, NAMES, 60, 0)
    covered = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        truth = cost_effects(rng)
        tables = []
        for _ in range(6):
            shift = np.pad(0.5 * rng.normal(size=(8, 3)), ((0, 0), (1, 0)))
            tables.append(fit(noisy(rows, truth + shift, 0.2, rng, stated=np.nan), prior=CostPrior(SIZES)))
        table = average_tables(tables)
        np.testing.assert_allclose(table.delta, np.mean([each.delta for each in tables], axis=0))
        covered.append(np.abs(table.delta - truth)[:, 1:] < 1.96 * table.standard_error[:, 1:])
    assert 0.85 < np.mean(covered) < 0.99


def test_the_mean_of_single_swaps_of_scores():
    """Each is exact and has no error: all there is lies between the initializations."""
    rows = single_swaps(REFERENCE, NAMES)
    tables = [fit([Observation(row, float(value), np.nan) for row in rows], value=100.0 + value) for value in (1, 3)]
    table = average_tables(tables)
    assert table.reference_value.value == 102.0
    np.testing.assert_allclose(table.delta[:, 1:], 2.0)
    np.testing.assert_allclose(table.standard_error[:, 1:], 1.0)
    np.testing.assert_array_equal(table.delta[:, 0], 0.0)
    assert np.isnan(average_tables(tables[:1]).standard_error[:, 1:]).all()


def test_the_noise_of_a_reference_that_was_measured_once_is_not_taken_for_effects():
    """Without it, all networks would look better than a reference that came out badly by chance."""
    rng = np.random.default_rng(5)
    effects, prior = WORLDS["curve"][0](rng), CurvePrior()
    rows = mixtures(REFERENCE, NAMES, 60)
    bad_luck = 2.0
    observations = [
        dataclasses.replace(one, delta=one.delta - bad_luck, standard_error=np.nan)
        for one in noisy(rows, effects, 0.3, rng)
    ]

    def fitted(noisy_reference):
        return fit_table(
            observations,
            REFERENCE,
            NAMES,
            Estimate(100.0),
            metric="loss",
            prior=prior,
            noisy_reference=noisy_reference,
        )

    mended, taken = fitted(True), fitted(False)
    assert mended.reference_value.value == pytest.approx(100.0 - bad_luck, abs=0.5)
    assert np.abs(mended.delta - effects).mean() < 0.6 * np.abs(taken.delta - effects).mean()
    assert mended.delta.shape == mended.standard_error.shape == (len(REFERENCE), len(NAMES))
    assert (mended.delta[:, 0] == 0.0).all() and mended.covariance.shape == (mended.delta.size,) * 2


def test_a_noisy_reference_without_a_prior():
    """Of all four networks of two sites: least squares of an offset, which the reference has too, and two effects."""
    reference = Assignment({"a": "silu", "b": "silu"})
    deltas = {("relu", "silu"): -1.0, ("silu", "relu"): -0.4, ("relu", "relu"): 0.2}
    observations = [
        Observation(Assignment(zip(reference, row, strict=True)), delta, np.nan) for row, delta in deltas.items()
    ]
    table = fit_table(observations, reference, ("relu",), Estimate(10.0), metric="loss", noisy_reference=True)
    matrix = np.array([[1, 0, 0], [1, 1, 0], [1, 0, 1], [1, 1, 1]])
    offset, *effects = np.linalg.lstsq(matrix, [0.0, *deltas.values()], rcond=None)[0]
    assert table.reference_value.value == pytest.approx(10.0 + offset)
    np.testing.assert_allclose(table.delta[:, table.activations.index("relu")], effects, atol=1e-9)
