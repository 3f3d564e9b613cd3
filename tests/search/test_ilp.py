"""The ILP search against brute force, and its words when there is nothing to find."""

import builtins
import doctest
import itertools
import math
import os
import subprocess
import sys

import numpy as np
import pytest

from keras_actnas.core import Assignment, Constraint, Estimate, InputError, MetricTable, MissingDependencyError
from keras_actnas.search import choice_program, ilp
from keras_actnas.search.choice_program import Answer, ChoiceProgram
from keras_actnas.search.ilp import InfeasibleError, solve_ilp

ACTIVATIONS = ("silu", "relu", "hard_swish", "leaky_relu")
parse = Constraint.parse


def make_table(metric, delta, value=100.0, unit="ms", activations=ACTIVATIONS, covariance=None, reference=None):
    delta = np.asarray(delta, np.float64)
    reference = reference or Assignment.uniform([f"site{row}" for row in range(len(delta))], "silu")
    error = np.where(np.isnan(delta), np.nan, 0.1)
    return MetricTable(metric, unit, reference, activations, Estimate(value), delta, error, {}, covariance)


def random_tables(seed, sites=5, missing=0.1):
    """Three tables over the same sites, with cells that lack a value; the second has its columns in another order."""
    rng = np.random.default_rng(seed)
    shape = (sites, len(ACTIVATIONS))
    deltas = {"latency": rng.normal(-1, 2, shape), "nwot": rng.normal(-1, 1, shape), "memory": rng.normal(0, 5, shape)}
    for delta in deltas.values():
        delta[rng.random(shape) < missing] = np.nan
        delta[:, 0] = 0.0
    order = [2, 0, 3, 1]
    names = tuple(ACTIVATIONS[column] for column in order)
    return {
        "latency": make_table("latency", deltas["latency"], value=20.0),
        "nwot": make_table("nwot", deltas["nwot"][:, order], value=-3.0, unit="", activations=names),
        "memory": make_table("memory", deltas["memory"], value=400.0, unit="KiB"),
    }


def all_assignments(tables):
    """Every assignment that all given tables have values for."""
    reference = next(iter(tables.values())).reference
    for names in itertools.product(ACTIVATIONS, repeat=len(reference)):
        assignment = Assignment(zip(reference, names, strict=True))
        try:
            yield assignment, {metric: table.predict(assignment).value for metric, table in tables.items()}
        except InputError:
            continue


def brute_force(tables, objective, constraints, top_k=1, min_distance=1, sign=1):
    """The same answer by looking at all assignments."""
    kept = [
        (sign * values[objective], assignment)
        for assignment, values in all_assignments(tables)
        if all(item.holds(values[item.metric], tables[item.metric].reference_value.value) for item in constraints)
    ]
    best = []
    for cost, assignment in sorted(kept, key=lambda item: item[0]):
        if len(best) < top_k and all(len(assignment.swaps(other)) >= min_distance for _, other in best):
            best.append((cost, assignment))
    return [assignment for _, assignment in best]


@pytest.mark.parametrize("solver", ["highs", "cbc"])
@pytest.mark.parametrize("min_distance", [1, 2, 4])
@pytest.mark.parametrize("seed", range(3))
def test_finds_what_brute_force_finds(seed, min_distance, solver):
    tables = random_tables(seed)
    constraints = [parse("nwot>=reference-2.5"), parse("memory<=101%")]
    expected = brute_force(tables, "latency", constraints, 6, min_distance)
    result = solve_ilp(tables, "latency", constraints, top_k=6, min_distance=min_distance, solver=solver)
    assert len(expected) > 1
    assert [proposal.assignment for proposal in result.proposals] == expected
    assert {proposal.status for proposal in result.proposals} == {"optimal"}
    assert not result.timed_out
    assert result.relaxed == {}


@pytest.mark.parametrize("seed", range(3, 13))
def test_finds_what_brute_force_finds_under_tight_budgets(seed):
    tables = random_tables(seed, sites=4, missing=0.2)
    rng = np.random.default_rng(seed)
    values = [values for _, values in all_assignments(tables)]
    nwot, memory = (np.quantile([value[metric] for value in values], rng.random()) for metric in ("nwot", "memory"))
    constraints = [Constraint("nwot", ">=", 0.0, float(nwot)), Constraint("memory", "<=", 0.0, float(memory))]
    expected = brute_force(tables, "latency", constraints, 3, 2)
    if expected:
        found = solve_ilp(tables, "latency", constraints, top_k=3, min_distance=2).proposals
        assert [proposal.assignment for proposal in found] == expected
    else:
        with pytest.raises(InfeasibleError):
            solve_ilp(tables, "latency", constraints)


def test_maximizes():
    tables = random_tables(20)
    constraints = [parse("latency<=80%")]
    used = {metric: tables[metric] for metric in ("latency", "nwot")}
    found = solve_ilp(used, maximize="nwot", constraints=constraints, top_k=3).proposals
    assert [proposal.assignment for proposal in found] == brute_force(used, "nwot", constraints, 3, sign=-1)


@pytest.mark.parametrize("solver", ["highs", "cbc"])
def test_top_k_ends_when_no_more_exist(solver):
    tables = {"latency": make_table("latency", [[0, -1, np.nan, np.nan], [0, -2, np.nan, np.nan]])}
    result = solve_ilp(tables, "latency", top_k=9, solver=solver)
    assert [proposal.predicted["latency"].value for proposal in result.proposals] == [97, 98, 99, 100]
    assert [proposal.name for proposal in result.proposals] == ["ilp-1", "ilp-2", "ilp-3", "ilp-4"]
    assert not result.timed_out
    apart = solve_ilp(tables, "latency", top_k=9, min_distance=2, solver=solver).proposals
    assert [proposal.predicted["latency"].value for proposal in apart] == [97, 100]
    assert len(solve_ilp(tables, "latency", top_k=9, min_distance=3, solver=solver).proposals) == 1


def test_equally_good_assignments_are_all_found():
    tables = {"latency": make_table("latency", np.zeros((3, 4)))}
    found = solve_ilp(tables, "latency", top_k=100).proposals
    assert len({proposal.assignment for proposal in found}) == 64


@pytest.mark.parametrize("solver", ["highs", "cbc"])
def test_bound_that_is_met_exactly_can_be_used(solver):
    # 0.1 + 0.2 - 0.3 is not 0 in binary.
    tables = {
        "latency": make_table("latency", [[0, -1, 9, 9], [0, -1, 9, 9], [0, -1, 9, 9]]),
        "nwot": make_table("nwot", [[0, 0.1, 9, 9], [0, 0.2, 9, 9], [0, -0.3, 9, 9]], value=1e3),
    }
    best = solve_ilp(tables, "latency", [parse("nwot<=reference")], solver=solver).proposals[0]
    assert best.assignment.counts() == {"relu": 3}


@pytest.mark.parametrize("solver", ["highs", "cbc"])
@pytest.mark.parametrize("unit_size", [1e-6, 1.0, 1e9])
def test_bounds_are_kept_in_every_unit(unit_size, solver):
    rng = np.random.default_rng(5)
    names = {"latency": rng.normal(-1, 1, (30, 4)), "memory": rng.normal(1, 1, (30, 4))}
    tables = {}
    for metric, delta in names.items():
        delta[:, 0] = 0
        tables[metric] = make_table(metric, delta * unit_size, value=100 * unit_size)
    constraint = parse("memory<=reference-3%")
    for proposal in solve_ilp(tables, "latency", [constraint], top_k=5, solver=solver).proposals:
        excess = proposal.predicted["memory"].value - constraint.bound(100 * unit_size)
        assert excess <= 1e-9 * 100 * max(unit_size, 1e-2)


def test_predicts_with_every_table_and_leaves_out_what_one_lacks():
    covariance = np.full((8, 8), 0.25)
    tables = {
        "latency": make_table("latency", [[0, -1, 5, 5], [0, -2, 5, 5]], covariance=covariance),
        "nwot": make_table("nwot", [[0, -4, 5, 5], [0, -5, 5, 5]], unit=""),
        "memory": make_table("memory", [[0, np.nan, 5, 5], [0, 1, 5, 5]]),
    }
    first, second = solve_ilp(tables, "latency", top_k=2).proposals
    assert first.predicted == {"latency": Estimate(97.0, 1.0), "nwot": tables["nwot"].predict(first.assignment)}
    assert first.predicted["nwot"].value == 91.0
    assert second.predicted["memory"].value == 101.0


def test_cells_without_a_value_in_a_used_table_are_not_chosen():
    tables = {
        "latency": make_table("latency", [[0, -5, -1, np.nan]]),
        "nwot": make_table("nwot", [[0, np.nan, 0, 0]]),
    }
    best = solve_ilp(tables, "latency", [parse("nwot>=reference")]).proposals[0]
    assert dict(best.assignment) == {"site0": "hard_swish"}
    # A table that neither minimizes nor constrains restricts nothing.
    assert dict(solve_ilp(tables, "latency").proposals[0].assignment) == {"site0": "relu"}


def test_infinite_values_are_no_values():
    tables = {"latency": make_table("latency", [[0, -math.inf, math.inf, -1]])}
    assert solve_ilp(tables, "latency").proposals[0].assignment["site0"] == "leaky_relu"


def test_a_bound_missed_by_rounding_can_be_used():
    # Small effects on a large score: the bound's rounding error is large beside them.
    tables = {"nwot": make_table("nwot", [[0, 1e-3, -1e-3, 2e-3]], value=1e4)}
    bound = Constraint("nwot", ">=", 0.0, 1e4 + 2e-3 + 1e-7)
    assert solve_ilp(tables, "nwot", [bound]).proposals[0].assignment["site0"] == "leaky_relu"


def test_rows_in_another_order_are_matched_by_name():
    swapped = Assignment.uniform(["site1", "site0"], "silu")
    tables = {
        "latency": make_table("latency", [[0, -1, 9, 9], [0, -2, 9, 9]]),
        "nwot": make_table("nwot", [[0, -1, 0, 0], [0, 0, 0, 0]], reference=swapped),
    }
    best = solve_ilp(tables, "latency", [parse("nwot>=reference")]).proposals[0]
    assert dict(best.assignment) == {"site0": "relu", "site1": "silu"}


def test_the_same_input_gives_the_same_answer():
    tables = {"latency": make_table("latency", np.round(np.random.default_rng(0).normal(0, 1, (12, 4))))}
    runs = [[item.assignment for item in solve_ilp(tables, "latency", top_k=4).proposals] for _ in range(2)]
    assert runs[0] == runs[1]


class TestInfeasible:
    tables = {
        "latency": make_table("latency", [[0, -1, 0, -7], [0, -2.126, 0, 0]], value=20.0),
        "nwot": make_table("nwot", [[0, -1, 0, -9], [0, -2, 0, 0]], value=50.0, unit=""),
    }

    @pytest.mark.parametrize("solver", ["highs", "cbc"])
    def test_one_constraint_says_the_closest_that_can_be_met(self, solver):
        constraint = parse("latency<=50%")
        with pytest.raises(InfeasibleError) as caught:
            solve_ilp(self.tables, "nwot", [constraint], solver=solver)
        assert str(caught.value) == (
            "Expected constraints that some assignment keeps. Received: latency <= 50% (10 ms). "
            "The closest that can be met is latency <= 10.874 ms (54.37 % of the reference)."
        )
        assert caught.value.closest[constraint].bound(20.0) == pytest.approx(10.874, abs=1e-9)

    def test_the_closest_that_it_names_can_be_met(self):
        rng = np.random.default_rng(2)
        delta = rng.normal(0, 1, (6, 4))
        delta[:, 0] = 0
        tables = {"latency": make_table("latency", delta, value=33.0)}
        for text in ("latency<=10", "latency>=90"):
            with pytest.raises(InfeasibleError, match="closest") as caught:
                solve_ilp(tables, "latency", [parse(text)])
            named = str(caught.value).split("met is ")[1].split(" ms (")
            percent = named[1].split(" %")[0]
            sense = named[0].split()[1]
            assert solve_ilp(tables, "latency", [parse(named[0])]).proposals
            assert solve_ilp(tables, "latency", [parse(f"latency{sense}{percent}%")]).proposals

    def test_the_others_are_kept(self):
        kept, broken = parse("nwot>=reference-3"), parse("latency<=15")
        with pytest.raises(InfeasibleError) as caught:
            solve_ilp(self.tables, "latency", [kept, broken])
        assert list(caught.value.closest) == [broken]
        assert caught.value.closest[broken].offset == pytest.approx(20 - 3.126)

    def test_relaxes_on_request(self):
        # Without the constraint that is kept, the least nwot is that of leaky_relu.
        broken, kept = parse("latency<=16.8"), parse("nwot>=reference-3")
        result = solve_ilp(self.tables, "nwot", [broken, kept], on_infeasible="relax", top_k=5)
        assert [dict(item.assignment) for item in result.proposals] == [{"site0": "relu", "site1": "relu"}]
        assert result.proposals[0].status == "optimal"
        assert list(result.relaxed) == [broken]
        assert result.relaxed[broken].holds(result.proposals[0].predicted["latency"].value, 20.0)

    @pytest.mark.parametrize("seed", range(4))
    def test_the_violation_is_the_smallest(self, seed):
        tables = random_tables(seed, sites=4)
        constraints = [parse("latency<=0"), parse("nwot>=reference+1"), parse("memory<=reference-20")]
        used = list(all_assignments(tables))
        spans = {metric: np.ptp([values[metric] for _, values in used]) for metric in tables}
        signs = {"<=": 1, ">=": -1}

        def violation(values):
            return sum(
                max(0.0, signs[item.sense] * (values[item.metric] - bound)) / spans[item.metric]
                for item in constraints
                for bound in [item.bound(tables[item.metric].reference_value.value)]
            )

        smallest = min(violation(values) for _, values in used)
        result = solve_ilp(tables, "latency", constraints, on_infeasible="relax")
        found = {metric: value.value for metric, value in result.proposals[0].predicted.items()}
        assert smallest > 0
        assert violation(found) == pytest.approx(smallest, abs=1e-7)

    def test_feasible_fractions_do_not_count(self):
        # Half of each activation would give exactly 0.5; no whole assignment does.
        tables = {"latency": make_table("latency", [[0, 1, 1, 1]], value=10.0)}
        constraints = [parse("latency>=10.4"), parse("latency<=10.6")]
        with pytest.raises(InfeasibleError, match=r"latency >= 10\.4 ms\. .* latency >= 10\.000 ms|latency <= 11\.000"):
            solve_ilp(tables, "latency", constraints)


def test_contradictory_constraints_are_both_named():
    tables = {"latency": make_table("latency", [[0, -1, 0, 0]])}
    with pytest.raises(InputError) as caught:
        solve_ilp(tables, "latency", [parse("latency>=90%"), parse("latency<=80%")])
    assert str(caught.value) == (
        "Expected constraints that do not contradict each other. "
        "Received: latency <= 80% (80 ms) and latency >= 90% (90 ms)."
    )
    assert not isinstance(caught.value, InfeasibleError)


def test_bounds_on_both_sides_that_meet_do_not_contradict():
    tables = {"latency": make_table("latency", [[0, -1, -2, -3]])}
    result = solve_ilp(tables, "latency", [parse("latency>=99"), parse("latency<=99%")])
    assert result.proposals[0].assignment["site0"] == "relu"


class TestTime:
    @staticmethod
    def hard(sites=100, count=20):
        """Tables of a knapsack problem with so many bounds that no solver proves anything within a second."""
        rng = np.random.default_rng(0)
        tables = {}
        for number in range(count + 1):
            delta = rng.integers(1, 1000, (sites, 4)).astype(float)
            delta[:, 0] = 0
            tables[f"metric{number}"] = make_table(f"metric{number}", -delta if number == 0 else delta)
        return tables, [Constraint(f"metric{number}", "<=", 1.0, 75.0 * sites) for number in range(1, count + 1)]

    @pytest.mark.parametrize("width", [1.3, 4.0])
    @pytest.mark.parametrize("solver", ["highs", "cbc"])
    def test_what_is_not_proven_is_not_called_optimal(self, solver, width, monkeypatch):
        monkeypatch.setattr(choice_program, "_CORE_WIDTH", width)
        tables, constraints = self.hard()
        result = solve_ilp(tables, "metric0", constraints, top_k=3, time_limit=1.0, solver=solver)
        assert [proposal.status for proposal in result.proposals] == ["feasible"]
        assert result.timed_out
        assert 0.5 < result.seconds < 10
        values = {metric: value.value for metric, value in result.proposals[0].predicted.items()}
        assert all(item.holds(values[item.metric], 100.0) for item in constraints)

    @pytest.mark.parametrize("solver", ["highs", "cbc"])
    def test_no_time_at_all_is_not_called_infeasible(self, solver):
        tables, constraints = self.hard()
        with pytest.raises(InputError, match="time_limit") as caught:
            solve_ilp(tables, "metric0", constraints, time_limit=1e-6, solver=solver)
        assert not isinstance(caught.value, InfeasibleError)

    def test_nothing_is_built_on_what_is_not_proven(self, monkeypatch):
        tables = {"latency": make_table("latency", np.zeros((3, 4)))}
        solve = ChoiceProgram.solve
        monkeypatch.setattr(
            ChoiceProgram, "solve", lambda self, seconds: Answer("feasible", solve(self, seconds).columns)
        )
        result = solve_ilp(tables, "latency", top_k=5)
        assert [proposal.status for proposal in result.proposals] == ["feasible"]
        assert result.timed_out

    @pytest.mark.parametrize(
        ("second", "expected"),
        [
            (Answer("unknown"), Answer("feasible", (1, 1))),
            (Answer("feasible", (2, 2)), Answer("feasible", (1, 1))),
            (Answer("feasible", (3, 3)), Answer("feasible", (3, 3))),
            (Answer("optimal", (3, 3)), Answer("optimal", (3, 3))),
            (Answer("infeasible"), Answer("feasible", (1, 1))),
        ],
    )
    def test_the_best_of_some_cells_is_not_called_optimal(self, second, expected, monkeypatch):
        program = ChoiceProgram(np.ones((2, 4), bool), np.array([[0.0, 5.0, 6.0, 3.0]] * 2), "highs")
        answers = iter([Answer("optimal", (1, 1)), second])
        monkeypatch.setattr(program, "_solve", lambda cells, deadline: next(answers))
        monkeypatch.setattr(choice_program, "_CORE_WIDTH", 1.0)
        assert program.solve() == expected

    def test_a_limit_that_is_not_reached_changes_nothing(self):
        tables = random_tables(0)
        with_limit, without = (solve_ilp(tables, "latency", top_k=3, time_limit=limit) for limit in (60.0, None))
        assert with_limit.proposals == without.proposals
        assert not with_limit.timed_out


@pytest.mark.parametrize("width", [1.0, 1.3, 4.0])
def test_leaving_cells_out_first_changes_nothing(width, monkeypatch):
    rng = np.random.default_rng(7)
    usable, weights, other = np.ones((15, 4), bool), rng.normal(size=(15, 4)), rng.normal(size=(15, 4))
    monkeypatch.setattr(choice_program, "_CORE_WIDTH", width)
    program = ChoiceProgram(usable, weights, "highs")
    program.bound(other, -8.0)
    program.bound(-other, 8.4)
    costs = []
    for _ in range(8):
        answer = program.solve()
        assert answer.outcome == "optimal"
        costs.append(weights[np.arange(15), answer.columns].sum())
        program.exclude(answer.columns, 3)
    whole = ChoiceProgram(usable, weights, "highs")
    whole.bound(other, -8.0)
    whole.bound(-other, 8.4)
    whole._relaxation = (-1e3, np.zeros((15, 4)))  # A bound so poor that nothing is left out.
    for cost in costs:
        columns = whole.solve().columns
        assert weights[np.arange(15), columns].sum() == pytest.approx(cost, abs=1e-8)
        whole.exclude(columns, 3)
    assert costs == sorted(costs)


def test_works_where_highs_has_run_with_another_number_of_threads():
    code = (
        "import highspy, numpy as np\n"
        "highs = highspy.Highs()\n"
        "highs.setOptionValue('output_flag', False)\n"
        "highs.setOptionValue('threads', 2)\n"
        "highs.addVar(0, 1)\n"
        "highs.run()\n"
        "from keras_actnas.search.choice_program import ChoiceProgram\n"
        "print(ChoiceProgram(np.ones((2, 2), bool), np.eye(2), 'highs').solve())\n"
    )
    # HiGHS itself greets whoever makes the first solver of a process.
    assert run_alone(code).splitlines()[-1] == "Answer(outcome='optimal', columns=(1, 0))"


def run_alone(code):
    """Returns what code prints in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return result.stdout


def test_the_first_solver_of_a_process_is_silent():
    code = (
        "import numpy as np\n"
        "from keras_actnas.search.choice_program import ChoiceProgram\n"
        "print(ChoiceProgram(np.ones((2, 2), bool), np.eye(2), 'highs').solve())\n"
    )
    assert run_alone(code) == "Answer(outcome='optimal', columns=(1, 0))\n"


@pytest.mark.parametrize("solver", ["highs", "cbc"])
def test_solvers_are_silent(solver, capfd):
    solve_ilp(random_tables(1), "latency", [parse("nwot>=reference-1")], top_k=2, solver=solver)
    assert capfd.readouterr() == ("", "")


class TestInput:
    tables = {"latency": make_table("latency", [[0, -1, 0, 0]]), "nwot": make_table("nwot", [[0, -1, 0, 0]], unit="")}

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"minimize": "latencies"}, "'latencies'. Did you mean 'latency'?"),
            ({"minimize": "latency", "constraints": [parse("power<=3")]}, "'power'. Known: latency, nwot."),
            ({}, "Expected one metric to minimize or maximize. Received: None and None."),
            ({"minimize": "latency", "maximize": "nwot"}, "Received: 'latency' and 'nwot'."),
            ({"minimize": "latency", "top_k": 0}, "Expected top_k of at least 1. Received: 0."),
            ({"minimize": "latency", "min_distance": 0}, "Expected min_distance of at least 1. Received: 0."),
            ({"minimize": "latency", "time_limit": 0}, "Expected time_limit in seconds, above 0. Received: 0."),
            ({"minimize": "latency", "time_limit": math.nan}, "Received: nan."),
            ({"minimize": "latency", "solver": "glpk"}, "Expected a solver of highs, cbc. Received: 'glpk'."),
            ({"minimize": "latency", "on_infeasible": "ignore"}, "Received: 'ignore'."),
        ],
    )
    def test_messages(self, options, message):
        with pytest.raises(InputError) as caught:
            solve_ilp(self.tables, **options)
        assert message in str(caught.value)

    @pytest.mark.parametrize(
        ("reference", "difference"),
        [
            ({"other": "silu"}, "nwot lacks the site 'site0' of latency."),
            ({"site0": "silu", "other": "silu"}, "nwot has the site 'other', which latency lacks."),
            ({"site0": "relu"}, "at 'site0' the reference is 'relu' in nwot, 'silu' in latency."),
        ],
    )
    def test_tables_of_different_models(self, reference, difference):
        other = make_table("nwot", np.zeros((len(reference), 4)), reference=Assignment(reference))
        with pytest.raises(InputError, match="tables of different models") as caught:
            solve_ilp({"latency": self.tables["latency"], "nwot": other}, "latency")
        assert str(caught.value).endswith(difference)

    def test_site_without_a_choice(self):
        tables = {
            "latency": make_table("latency", [[0, 1, 1, 1], [np.nan, np.nan, -1, -1]]),
            "nwot": make_table("nwot", [[0, 1, 1, 1], [0, 0, np.nan, np.nan]]),
        }
        with pytest.raises(InputError, match=r"\(latency, nwot\)\. Received: none at 'site1'"):
            solve_ilp(tables, "latency", [parse("nwot>=reference")])

    def test_table_without_a_reference_value(self):
        tables = {"latency": make_table("latency", [[0, 1, 1, 1]], value=math.nan)}
        with pytest.raises(InputError, match="reference's value"):
            solve_ilp(tables, "latency")

    def test_without_tables(self):
        with pytest.raises(InputError, match="Known: none"):
            solve_ilp({}, "latency")


class TestMissingSolvers:
    def test_without_pulp(self, monkeypatch):
        original = builtins.__import__

        def fail(name, *args, **kwargs):
            if name == "pulp":
                raise ImportError(name)
            return original(name, *args, **kwargs)

        monkeypatch.setattr(builtins, "__import__", fail)
        with pytest.raises(MissingDependencyError, match=r'pip install "keras-actnas\[search\]"'):
            solve_ilp(random_tables(0), "latency")

    def test_without_highspy(self, monkeypatch):
        pulp = pytest.importorskip("pulp")
        monkeypatch.setattr(pulp.HiGHS, "available", lambda self: False)
        with pytest.raises(MissingDependencyError, match=r'`highspy`.*pip install "keras-actnas\[search\]"'):
            solve_ilp(random_tables(0), "latency")

    def test_without_cbc(self, monkeypatch):
        pulp = pytest.importorskip("pulp")
        monkeypatch.setattr(pulp.COIN_CMD, "available", lambda self: False)
        with pytest.raises(InputError, match="'highs' serves everywhere"):
            solve_ilp(random_tables(0), "latency", solver="cbc")


def test_the_example_runs():
    assert doctest.testmod(ilp) == (0, 7)
