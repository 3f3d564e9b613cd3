"""Rules, weighted objectives and confidence in the ILP search, against brute force on small tables."""

import doctest
import itertools
import math
import statistics

import numpy as np
import pytest

from keras_actnas.core import Assignment, Constraint, Estimate, InputError, MetricTable
from keras_actnas.search import grid, objective, risk, rules
from keras_actnas.search.choice_program import ChoiceProgram
from keras_actnas.search.choices import Choices
from keras_actnas.search.confidence import Confidence
from keras_actnas.search.grid import Grid
from keras_actnas.search.ilp import InfeasibleError, solve_ilp
from keras_actnas.search.objective import Objective
from keras_actnas.search.rules import Rules
from keras_actnas.search.variance import Variance

NAMES = ("silu", "relu", "hard_swish", "elu")
parse = Constraint.parse


def make_table(metric, delta, value=100.0, unit="ms", error=0.0, covariance=None, residual=0.0, names=NAMES):
    reference = Assignment.uniform([f"site{row}" for row in range(len(delta))], "silu")
    delta = np.asarray(delta, float)
    errors = np.broadcast_to(np.asarray(error, float), delta.shape)
    return MetricTable(metric, unit, reference, names, Estimate(value), delta, errors, {}, covariance, residual)


def random_tables(seed, sites=5, kind="covariance", residual=0.0):
    """Tables with errors of a kind, and some cells without a value."""
    rng = np.random.default_rng(seed)
    tables = {}
    # A few common causes, and errors of each cell's own; the latter alone come out as a plain sum.
    for metric, value, mean in (("latency", 20.0, -1.0), ("nwot", 80.0, -0.5), ("memory", 400.0, -0.3)):
        delta = rng.normal(mean, 1.0, (sites, len(NAMES)))
        delta[:, 0] = 0.0
        error = np.abs(rng.normal(0.0, 0.5, delta.shape))
        error[:, 0] = 0.0
        covariance = None
        if kind != "independent":
            factor = rng.normal(0.0, 0.3, (delta.size, 2))
            factor.reshape(*delta.shape, -1)[:, 0] = 0.0
            covariance = factor @ factor.T + (np.diag(error.ravel() ** 2) if kind == "covariance" else 0.0)
            error = np.sqrt(np.diag(covariance)).reshape(delta.shape)
        delta[rng.random(delta.shape) < 0.1] = np.nan
        delta[:, 0] = 0.0
        order = rng.permutation(len(NAMES))
        if covariance is not None:
            flat = (np.arange(sites)[:, None] * len(NAMES) + order).ravel()
            covariance = covariance[np.ix_(flat, flat)]
        names = tuple(NAMES[column] for column in order)
        tables[metric] = make_table(
            metric, delta[:, order], value, "", error[:, order], covariance, residual, names=names
        )
    return tables


def every_assignment(tables, rules=None):
    """Every assignment that the tables have values for and that keeps the rules, with its predictions."""
    rules = rules or Rules()
    reference = next(iter(tables.values())).reference
    for names in itertools.product(NAMES, repeat=len(reference)):
        one = Assignment(zip(reference, names, strict=True))
        kept = (
            all(one[site] == name for site, name in rules.pinned.items())
            and all(len({one[site] for site in group}) == 1 for group in rules.groups)
            and len(set(names)) <= (rules.max_activations or 99)
            and not any(rules.forbids(*item) for item in one.items())
        )
        if kept:
            try:
                yield one, {metric: table.predict(one) for metric, table in tables.items()}
            except InputError:
                continue


def brute_force(tables, goal, constraints=(), rules=None, confidence=0.5, top_k=1, min_distance=1):
    """The best assignments by looking at all."""
    away = statistics.NormalDist().inv_cdf(confidence)
    found = []
    for one, predicted in every_assignment(tables, rules):
        values = {metric: value.value for metric, value in predicted.items()}
        worst = {
            item: predicted[item.metric].value
            + away * predicted[item.metric].standard_error * (1 if item.sense == "<=" else -1)
            for item in constraints
        }
        if all(item.holds(worst[item], tables[item.metric].reference_value.value) for item in constraints):
            found.append((goal.cost(values), one))
    best = []
    for _, one in sorted(found, key=lambda item: item[0]):
        if len(best) < top_k and all(len(one.swaps(other)) >= min_distance for other in best):
            best.append(one)
    return best


def assignments(result):
    return [proposal.assignment for proposal in result.proposals]


RULES = [
    Rules({"site1": "relu"}),
    Rules(groups=[("site0", "site3"), ("site4", "site3")]),
    Rules(max_activations=2),
    Rules(max_activations=1),
    Rules(forbidden=["relu", ("site2", "hard_swish")]),
    Rules({"site2": "hard_swish"}, [("site0", "site1")], 2, ["elu"]),
]


@pytest.mark.parametrize("solver", ["highs", "cbc"])
@pytest.mark.parametrize("number", range(len(RULES)))
def test_rules_are_kept_and_the_best_under_them_found(number, solver):
    rules, tables = RULES[number], random_tables(number)
    constraints = [parse("nwot>=reference-4")]
    expected = brute_force(tables, Objective.of("latency"), constraints, rules, top_k=4, min_distance=2)
    used = {"rules": rules, "top_k": 4, "min_distance": 2, "solver": solver}
    if not expected:
        with pytest.raises(InputError):
            solve_ilp(tables, "latency", constraints, **used)
        return
    result = solve_ilp(tables, "latency", constraints, **used)
    # Tables that neither cost nor bound restrict nothing, so brute force may look at those alone, too.
    used_tables = {metric: tables[metric] for metric in ("latency", "nwot")}
    assert assignments(result) == brute_force(
        used_tables, Objective.of("latency"), constraints, rules, top_k=4, min_distance=2
    )
    assert {proposal.status for proposal in result.proposals} == {"optimal"}


@pytest.mark.parametrize(
    ("minimize", "maximize"),
    [("latency+0.5*memory", None), ("2*latency - nwot", None), (None, "nwot - .1*latency"), ({"nwot": -1.0}, None)],
)
def test_weighted_sums(minimize, maximize):
    tables = random_tables(11)
    goal = Objective.of(minimize, maximize)
    used = {metric: tables[metric] for metric in {*goal.metrics, "memory"}}
    result = solve_ilp(used, minimize, [parse("memory<=reference")], maximize=maximize, top_k=3)
    assert assignments(result) == brute_force(used, goal, [parse("memory<=reference")], top_k=3)


@pytest.mark.parametrize("residual", [0.0, 0.8])
@pytest.mark.parametrize("kind", ["independent", "covariance", "factors"])
@pytest.mark.parametrize("seed", range(3))
def test_confidence_finds_what_brute_force_finds(seed, kind, residual):
    tables = random_tables(seed, 5, kind, residual)
    constraints = [parse("nwot>=reference-3"), parse("memory<=reference+1.5")]
    for confidence in (0.6, 0.95):
        expected = brute_force(tables, Objective.of("latency"), constraints, None, confidence, 4, 2)
        result = solve_ilp(tables, "latency", constraints, confidence=confidence, top_k=4, min_distance=2)
        assert expected
        assert assignments(result) == expected
        assert {proposal.status for proposal in result.proposals} == {"optimal"}


def test_confidence_with_rules():
    tables = random_tables(4, 5, "covariance", 0.5)
    rules = Rules(groups=[("site0", "site4")], max_activations=2)
    constraints = [parse("nwot>=reference-3")]
    used = {metric: tables[metric] for metric in ("latency", "nwot")}
    expected = brute_force(used, Objective.of("latency"), constraints, rules, 0.9, 3)
    assert assignments(solve_ilp(used, "latency", constraints, rules=rules, confidence=0.9, top_k=3)) == expected


def test_confidence_changes_the_answer_and_none_means_the_prediction():
    tables = {"latency": make_table("latency", [[0, -5, -3, 0]], error=[[0, 0, 0, 0]])}
    tables["nwot"] = make_table("nwot", [[0, -1, -1, 0]], error=[[0, 3.0, 0.1, 0]])
    bound = [parse("nwot>=reference-2")]
    chosen = [solve_ilp(tables, "latency", bound, confidence=level).proposals[0] for level in (None, 0.5, 0.9)]
    assert [one.assignment["site0"] for one in chosen] == ["relu", "relu", "hard_swish"]


@pytest.mark.parametrize("kind", ["independent", "covariance"])
@pytest.mark.parametrize("seed", range(3))
def test_the_closest_bound_that_holds_with_a_probability(seed, kind):
    tables = random_tables(seed, 4, kind, 0.3)
    bound = parse("nwot>=reference+20")
    away = statistics.NormalDist().inv_cdf(0.9)
    used = {metric: tables[metric] for metric in ("latency", "nwot")}
    values = [p["nwot"].value - away * p["nwot"].standard_error for _, p in every_assignment(used)]
    with pytest.raises(
        InfeasibleError, match=r"with a probability of 0\.9\. Received: nwot >= reference\+20"
    ) as caught:
        solve_ilp(used, "latency", [bound], confidence=0.9)
    said = caught.value.closest[bound].offset
    # One that an assignment reaches, and among the best; where errors go together, the proof may be given up.
    assert min(abs(said - value) for value in values) < 1e-6
    assert said >= (max(values) - 1e-6 if kind == "independent" else np.quantile(values, 0.98))
    relaxed = solve_ilp(used, "latency", [bound], confidence=0.9, on_infeasible="relax")
    assert relaxed.proposals[0].predicted["nwot"].value >= said


@pytest.mark.parametrize("residual", [0.0, 0.7])
@pytest.mark.parametrize("kind", ["independent", "covariance", "factors"])
def test_the_variance_is_that_of_the_table_and_tangents_are_below_it(kind, residual):
    tables = random_tables(7, 4, kind, residual)
    choices = Choices(tables, ["latency"], Rules(groups=[("site1", "site2")]))
    variance = Variance(choices, "latency")
    rng = np.random.default_rng(0)
    draws = [tuple(map(int, row)) for row in choices.grid.draw(rng, 30)]
    for columns in draws:
        expected = tables["latency"].predict(choices.grid.assignment(columns)).standard_error ** 2
        assert variance.at(columns) == pytest.approx(expected, abs=1e-9)
        assert variance.at(columns) <= variance.largest(choices.grid.usable) + 1e-9
        swaps = variance.after_swaps(columns)
        for row, column in np.argwhere(choices.grid.usable).tolist():
            assert swaps[row, column] == pytest.approx(variance.at((*columns[:row], column, *columns[row + 1 :])))
        weights, constant = variance.tangent(columns)
        for other in draws:
            rows = np.arange(len(other))
            moved = residual**2 if variance.moved[rows, other].any() else 0.0
            below = variance.linear[rows, other].sum() + weights[rows, other].sum() + constant + moved
            assert below <= variance.at(other) + 1e-9
            assert other != columns or below == pytest.approx(variance.at(other))


@pytest.mark.parametrize("residual", [0.0, 0.8])
@pytest.mark.parametrize("kind", ["independent", "covariance", "factors"])
@pytest.mark.parametrize("seed", range(3))
def test_without_time_for_a_proof_no_single_swap_is_better(seed, kind, residual):
    tables = random_tables(seed, 5, kind, residual)
    bounds = [parse("nwot>=reference-3"), parse("memory<=reference+1.5")]
    rules = Rules(groups=[("site0", "site4")], max_activations=2)
    result = solve_ilp(tables, "latency", bounds, rules=rules, confidence=0.9, time_limit=1e-6, top_k=2)
    assert result.timed_out
    (found,) = result.proposals
    assert found.status == "feasible" and found.assignment.swaps(tables["latency"].reference)
    sure, others = Confidence(0.9), dict(every_assignment(tables, rules))
    assert found.assignment in others
    for one, predicted in others.items():
        kept = all(
            bound.holds(sure.bounding(bound, predicted[bound.metric]), tables[bound.metric].reference_value.value)
            for bound in bounds
        )
        swapped = found.assignment.swaps(one)
        if not swapped:
            assert kept
        elif kept and len(swapped.keys() - {"site4"}) == 1:
            assert predicted["latency"].value >= found.predicted["latency"].value - 1e-6


@pytest.mark.parametrize("distance", [1, 3])
def test_what_is_excluded_is_not_found_without_a_proof_either(distance):
    choices = Choices(random_tables(1), ["latency", "nwot"])
    usable, cost, start = choices.grid.usable, choices.costs("latency"), (choices.activations.index("silu"),) * 5
    bound = risk.RiskBound(-choices.costs("nwot"), 3.0, 1.28, Variance(choices, "nwot"))
    program = risk.RiskProgram(lambda: ChoiceProgram(usable, cost, "highs"), usable, [bound], start)
    answers = []
    while len(answers) < 12 and (answer := program.solve(1e-9).columns):
        answers.append(answer)
        program.exclude(answer, distance)
    pairs = itertools.combinations(answers, 2)
    assert len(answers) > 1 and all(np.not_equal(*pair).sum() >= distance for pair in pairs)
    program.exclude(start, 1)
    assert program.solve(1e-9).outcome == "unknown"


def test_no_time_for_an_answer():
    """The reference breaks the bound, so that there is nothing to start from."""
    with pytest.raises(InputError, match="time_limit"):
        solve_ilp(random_tables(0), "latency", [parse("nwot<=reference-1")], confidence=0.9, time_limit=1e-6)


def test_groups_count_their_sites_in_distances():
    tables = {"latency": make_table("latency", [[0, -1, -2, -3]] * 3)}
    rules = Rules(groups=[("site0", "site1")])
    first, second = solve_ilp(tables, "latency", rules=rules, top_k=2, min_distance=2).proposals
    assert second.assignment.swaps(first.assignment) == {"site0": "hard_swish", "site1": "hard_swish"}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Rules({"a": "rleu"}), "Did you mean 'relu'"),
        (lambda: Rules({"a": "relu"}, forbidden=["ReLU"]), "not forbidden. Received: 'relu' at 'a'"),
        (lambda: Rules({"a": "relu"}, forbidden=[("a", "relu")]), "not forbidden. Received: 'relu' at 'a'"),
        (lambda: Rules(max_activations=0), "max_activations to be an integer of at least 1. Received: 0"),
        (lambda: Rules(max_activations=1.5), "Received: 1.5"),
        (lambda: Rules({"a": "relu", "b": "elu"}, max_activations=1), "at least 2 with relu, elu pinned. Received: 1"),
        (lambda: Rules.parse(["relu"]), "Expected a pin such as 'stem=relu'. Received: 'relu'"),
        (lambda: Rules.parse(["a=relu", "a=elu"]), "one pinned activation at 'a'. Received: relu and elu"),
        (lambda: Rules.parse(groups=["a"]), "Expected a group of two or more sites"),
        (lambda: Objective.of(), "Received: None and None"),
        (lambda: Objective.of("latency*2"), "such as 'latency' or 'latency.0.5.memory'. Received: 'latency.2'"),
        (lambda: Objective.of("latency memory"), "Received: 'latency memory'"),
        (lambda: Objective.of("latency+"), "Received: 'latency.'"),
        (lambda: Objective.of("latency+latency"), "Expected each metric once"),
        (lambda: Objective.of("0*latency"), "Expected finite weights other than 0"),
        (lambda: Objective.of({"latency": math.nan}), "Expected finite weights other than 0"),
    ],
)
def test_what_no_rule_or_objective_can_be(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_rules_from_texts():
    rules = Rules.parse(["a=b=ReLU"], ["x, y"], 3, ["elu", "x=relu"])
    assert rules == Rules({"a=b": "relu"}, [("x", "y")], 3, ["elu", ("x", "relu")])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rules": Rules({"site9": "relu"})}, "pinned site that the model has. Received: 'site9'. Did you mean 'site"),
        ({"rules": Rules(groups=[("site0", "stem")])}, "a grouped site that the model has. Received: 'stem'"),
        ({"rules": Rules(forbidden=[("stem", "relu")])}, "a forbidden site that the model has. Received: 'stem'"),
        ({"rules": Rules({"site0": "tanh"})}, "that the site can have. Received: 'tanh' at 'site0'. Known: silu, relu"),
        (
            {"rules": Rules({"site0": "relu", "site1": "silu"}, [("site0", "site1")])},
            "none for the group site0, site1 (pinned: relu at 'site0', silu at 'site1')",
        ),
        ({"rules": Rules(forbidden=NAMES)}, "Received: none for the site 'site0'."),
        (
            {"rules": Rules({"site1": "relu"}, forbidden=[("site0", "relu")], max_activations=1)},
            "Expected max_activations that every site can keep to. Received: 1",
        ),
        ({"confidence": 0.3}, "confidence of at least 0.5 and below 1. Received: 0.3"),
        ({"confidence": 1.0}, "Received: 1.0"),
        ({"confidence": math.nan}, "Received: nan"),
        ({"confidence": 0.9}, "with standard errors, for a confidence. Received: one without for relu at 'site1'"),
    ],
)  # fmt: skip
def test_what_a_search_cannot_keep_to(options, message):
    error = np.zeros((2, 4))
    error[1, 1] = math.nan
    tables = {"latency": make_table("latency", [[0, -1, -2, 1], [0, 1, -1, 2]], error=error)}
    with pytest.raises(InputError) as caught:
        solve_ilp(tables, "latency", [parse("latency<=reference")], **options)
    assert message in str(caught.value)


def test_draws_keep_the_rules_and_reach_everything():
    rules = Rules({"site3": "relu"}, [("site0", "site1")], 2, [("site2", "elu")])
    sites = [f"site{row}" for row in range(4)]
    cells = Grid(sites, NAMES, np.ones((4, 4), bool), rules)
    rng = np.random.default_rng(0)
    seen = {tuple(map(int, row)) for _ in range(100) for row in cells.draw(rng, 20)}
    table = {"latency": make_table("latency", np.zeros((4, 4)))}
    assert {cells.assignment(columns) for columns in seen} == {one for one, _ in every_assignment(table, rules)}
    assert {cells.columns(cells.assignment(columns)) for columns in seen} == seen
    broken = [{"site0": "elu"}, {"site3": "silu"}, {"site0": "elu", "site1": "elu", "site2": "silu"}]
    whole = cells.assignment(next(iter(seen)))
    assert [cells.columns(whole.with_swaps(swaps)) for swaps in broken] == [None] * 3


@pytest.mark.parametrize("module", [objective, rules, grid])
def test_the_examples_run(module):
    assert doctest.testmod(module).failed == 0


def test_a_bound_of_risk_says_its_value():
    tables = random_tables(2, 4)
    choices = Choices(tables, ["latency"])
    bound = risk.RiskBound(choices.costs("latency"), 0.0, 2.0, Variance(choices, "latency"))
    predicted = tables["latency"].predict(choices.grid.assignment((0, 0, 0, 0)))
    assert bound.value((0, 0, 0, 0)) == pytest.approx(predicted.value - 20.0 + 2 * predicted.standard_error)
