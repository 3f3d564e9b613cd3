"""Random search, Pareto sweeps and local search against brute force on small tables."""

import dataclasses
import doctest
import itertools
import time

import numpy as np
import pytest

from keras_actnas.core import Assignment, Constraint, Estimate, InputError, MetricTable
from keras_actnas.search import local_search, pareto, random_search, solvers
from keras_actnas.search.ilp import InfeasibleError, solve_ilp
from keras_actnas.search.solvers import Rules, solve_local, solve_pareto, solve_random

NAMES = ("silu", "relu", "hard_swish")
METRICS = {"latency": 1, "memory": 1, "nwot": -1}
parse = Constraint.parse


def make_tables(seed, sites=5, whole=False):
    """Tables over a few sites; of whole numbers many assignments tie."""
    rng = np.random.default_rng(seed)
    reference = Assignment.uniform([f"site{row}" for row in range(sites)], "silu")
    tables = {}
    for metric in METRICS:
        delta = rng.normal(0, 2, (sites, len(NAMES)))
        delta = np.round(delta) if whole else delta
        delta[:, 0] = 0.0
        error = np.full(delta.shape, 0.5)
        tables[metric] = MetricTable(metric, "", reference, NAMES, Estimate(50.0), delta, error)
    return tables


def every_point(tables, metrics, keeps=lambda one, values: True):
    """The costs of every assignment, rounded so that equal sums are equal."""
    reference = next(iter(tables.values())).reference
    points = []
    for names in itertools.product(NAMES, repeat=len(reference)):
        one = Assignment(zip(reference, names, strict=True))
        values = {metric: table.predict(one).value for metric, table in tables.items()}
        if keeps(one, values):
            points.append(tuple(round(METRICS[metric] * values[metric], 6) for metric in metrics))
    return points


def front_of(points):
    unique = set(points)
    return {
        one
        for one in unique
        if not any(other != one and all(a <= b for a, b in zip(other, one, strict=True)) for other in unique)
    }


def costs(front, metrics):
    return [tuple(round(METRICS[metric] * row.predicted[metric].value, 6) for metric in metrics) for row in front]


def sweep(tables, metrics, constraints=(), **options):
    low, high = ([metric for metric in metrics if METRICS[metric] == sign] for sign in (1, -1))
    return solve_pareto(tables, low, constraints, maximize=high, **options)


class TestPareto:
    @pytest.mark.parametrize("whole", [False, True])
    @pytest.mark.parametrize("metrics", [("latency", "nwot"), ("latency", "memory")])
    def test_the_whole_front_of_two(self, metrics, whole):
        tables = make_tables(1, 5, whole)
        front = sweep(tables, metrics, steps=None)
        found = costs(front, metrics)
        assert found == sorted(front_of(every_point(tables, metrics)))
        assert [row.name for row in front] == [f"pareto-{number}" for number in range(1, len(front) + 1)]
        assert {row.status for row in front} == {"optimal"}

    @pytest.mark.parametrize("whole", [False, True])
    def test_the_whole_front_of_three(self, whole):
        tables, metrics = make_tables(2, 3, whole), ("latency", "memory", "nwot")
        expected = front_of(every_point(tables, metrics))
        assert len(expected) > 4
        assert costs(sweep(tables, metrics, steps=None), metrics) == sorted(expected)

    @pytest.mark.parametrize("metrics", [("latency", "nwot"), ("latency", "memory", "nwot")])
    def test_steps_give_a_part_of_the_front_with_both_ends(self, metrics):
        tables = make_tables(3, 5)
        expected = front_of(every_point(tables, metrics))
        found = costs(sweep(tables, metrics, steps=4), metrics)
        assert 3 <= len(found) == len(set(found)) < len(expected)
        assert set(found) <= expected
        for number in range(len(metrics)):
            assert min(one[number] for one in found) == min(one[number] for one in expected)

    def test_effects_that_are_small_beside_the_reference(self):
        tables = {
            metric: dataclasses.replace(table, delta=table.delta * 1e-4, reference_value=Estimate(1.0))
            for metric, table in make_tables(1, 4).items()
        }
        expected = front_of(every_point(tables, ("latency", "nwot")))
        assert len(sweep(tables, ("latency", "nwot"), steps=None)) == len(expected)

    def test_constraints_and_rules_hold_everywhere(self):
        tables, metrics = make_tables(4, 5), ("latency", "nwot")
        rules = Rules({"site0": "relu"}, [("site1", "site2")])

        def keeps(one, values):
            return one["site0"] == "relu" and one["site1"] == one["site2"] and values["memory"] <= 51

        expected = front_of(every_point(tables, metrics, keeps))
        front = sweep(tables, metrics, [parse("memory<=51")], rules=rules, steps=None)
        assert costs(front, metrics) == sorted(expected)

    def test_with_confidence_the_constraint_keeps_its_distance(self):
        tables = make_tables(5, 4)
        front = sweep(tables, ("latency", "nwot"), [parse("memory<=50")], confidence=0.95, steps=3)
        for row in front:
            value = row.predicted["memory"]
            assert value.value + 1.6448 * value.standard_error <= 50 + 1e-6
        whole = sweep(tables, ("latency", "nwot"), [parse("memory<=50")], steps=3)
        assert min(costs(whole, ["latency"])) <= min(costs(front, ["latency"]))

    def test_what_cannot_be_kept_is_said(self):
        with pytest.raises(InfeasibleError, match="closest that can be met"):
            sweep(make_tables(0), ("latency", "nwot"), [parse("memory<=1")])

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"minimize": ["latency"]}, "two or three metrics for a front. Received: latency"),
            ({}, "Received: none"),
            ({"minimize": "latency", "maximize": ["nwot"]}, "lists of different metrics. Received: 'latency'"),
            ({"minimize": ["nwot"], "maximize": ["nwot"]}, "lists of different metrics"),
            ({"minimize": ["latency", "power"]}, "Received: 'power'"),
            ({"minimize": ["latency", "memory"], "steps": 1}, "steps to be an integer of at least 2. Received: 1"),
            ({"minimize": ["latency", "memory"], "time_limit": 0}, "time_limit in seconds, above 0"),
            ({"minimize": ["latency", "memory"], "time_limit": 1e-6}, "too short"),
        ],
    )
    def test_what_cannot_be(self, arguments, message):
        with pytest.raises(InputError, match=message):
            solve_pareto(make_tables(0), **arguments)


class TestRandom:
    def test_enough_draws_find_the_optimum_under_constraints_and_rules(self):
        tables, rules = make_tables(0, 4), Rules(groups=[("site0", "site1")], forbidden=[("site2", "relu")])
        bound = [parse("nwot>=reference-1")]
        expected = solve_ilp(tables, "latency+memory", bound, rules=rules).proposals[0]
        found = solve_random(tables, "latency+memory", bound, rules=rules, draws=5000)
        assert found.assignment == expected.assignment
        assert (found.name, found.status, found.predicted) == ("random", "feasible", expected.predicted)
        most = solve_random(tables, maximize="nwot", draws=5000)
        assert most.assignment == solve_ilp(tables, maximize="nwot").proposals[0].assignment

    def test_confidence(self):
        tables = make_tables(6, 4)
        bound = [parse("memory<=50")]
        sure = solve_ilp(tables, "latency", bound, confidence=0.9).proposals[0]
        assert solve_random(tables, "latency", bound, confidence=0.9, draws=5000).assignment == sure.assignment
        assert sure.assignment != solve_ilp(tables, "latency", bound).proposals[0].assignment

    def test_the_best_of_all_draws_is_kept(self):
        tables = make_tables(1, 12)
        found = [solve_random(tables, "latency", draws=draws).predicted["latency"].value for draws in (10, 100, 20000)]
        assert found == sorted(found, reverse=True)
        assert found[0] > found[-1]

    def test_a_seed_gives_the_same_and_another_another(self):
        tables = make_tables(2, 12)
        first, again, other = (solve_random(tables, "latency", draws=50, seed=seed) for seed in (1, 1, 2))
        assert first == again
        assert first.assignment != other.assignment

    def test_time_ends_it(self):
        start = time.monotonic()
        solve_random(make_tables(0, 12), "latency", seconds=0.2)
        assert 0.2 <= time.monotonic() - start < 5

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"minimize": "latency", "draws": 0}, "draws to be an integer of at least 1. Received: 0"),
            ({"minimize": "latency", "seconds": 0}, "seconds above 0. Received: 0"),
            ({}, "Received: None and None"),
            ({"minimize": "power"}, "Received: 'power'"),
            (
                {"minimize": "latency", "constraints": [parse("memory<=1")], "draws": 10},
                "Received: memory <= 1, which none of 10 draws does",
            ),
            (
                {"minimize": "latency", "constraints": [parse("memory<=1"), parse("memory>=2")]},
                "do not contradict each other",
            ),
        ],
    )
    def test_what_cannot_be(self, arguments, message):
        with pytest.raises(InputError, match=message):
            solve_random(make_tables(0), **arguments)


class Meter:
    """Measures what tables predict plus what no table knows: pairs of neighbours that act together."""

    def __init__(self, seed, sites=6):
        self.tables = make_tables(seed, sites)
        self.reference = self.tables["latency"].reference
        self._together = np.random.default_rng(seed + 100).normal(0, 2, (sites, len(NAMES), len(NAMES)))
        self.measured = []

    def __call__(self, assignment):
        self.measured.append(assignment)
        columns = [NAMES.index(name) for name in assignment.values()]
        extra = sum(self._together[row, columns[row - 1], columns[row]] for row in range(1, len(columns)))
        values = {metric: table.predict(assignment).value for metric, table in self.tables.items()}
        return {**values, "latency": values["latency"] + extra}


class TestLocal:
    @pytest.mark.parametrize("seed", range(4))
    def test_finds_the_best_of_all_under_a_constraint(self, seed):
        meter, bound = Meter(seed), parse("memory<=reference")
        found = solve_local(meter, meter.reference, "latency", [bound], activations=NAMES, evaluations=700)
        values = [meter(Assignment(zip(meter.reference, names, strict=True))) for names in all_names(6)]
        best = min(one["latency"] for one in values if bound.holds(one["memory"], 50.0))
        assert found.measured["latency"].value == best
        assert (found.name, found.status, found.predicted) == ("local", "feasible", {})

    def test_nothing_is_measured_twice_nor_beyond_the_budget(self):
        meter = Meter(1)
        solve_local(meter, meter.reference, maximize="nwot", activations=NAMES, evaluations=100)
        assert len(meter.measured) == len(set(meter.measured)) == 100
        assert meter.measured[0] == meter.reference
        small = Meter(1, 2)
        solve_local(small, small.reference, maximize="nwot", activations=NAMES, evaluations=100)
        assert len(small.measured) == 9  # There are no more.

    def test_it_starts_where_it_is_told_and_gets_no_worse(self):
        meter = Meter(2, 10)
        start = solve_ilp(meter.tables, "latency").proposals[0].assignment
        found = solve_local(meter, meter.reference, "latency", activations=NAMES, starts=[start], evaluations=60)
        assert meter.measured[1] == start
        assert found.measured["latency"].value <= meter(start)["latency"]

    def test_pairs_help_where_no_single_swap_does(self):
        silu = Assignment.uniform("abcdefgh", "silu")
        pair = silu.with_swaps({"c": "relu", "g": "hard_swish"})

        def measure(one):
            return {"latency": {silu: 5.0, pair: 4.0}.get(one, 9.0)}

        # The reference, 16 single swaps and 112 pairs: no time for luck after a restart.
        found = solve_local(measure, silu, "latency", activations=NAMES, evaluations=1 + 16 + 112)
        assert found.assignment == pair

    def test_rules_are_kept_by_everything_but_the_reference(self):
        meter, rules = Meter(3), Rules({"site0": "relu"}, [("site1", "site2")], 2)
        solve_local(meter, meter.reference, "latency", activations=NAMES, rules=rules, evaluations=60)
        for one in meter.measured[1:]:
            assert one["site0"] == "relu" and one["site1"] == one["site2"] and len(set(one.values())) <= 2
        meter.measured.clear()
        found = solve_local(meter, meter.reference, "latency", activations=NAMES, rules=rules, evaluations=400)
        kept = [one for one in map(named(meter.reference), all_names(6)) if keeps_rules(one)]
        assert found.measured["latency"].value == min(meter(one)["latency"] for one in kept)

    def test_the_same_seed_gives_the_same(self):
        found = [
            solve_local(meter, meter.reference, "latency", activations=NAMES, evaluations=50, seed=4)
            for meter in (Meter(5, 10), Meter(5, 10))
        ]
        assert found[0] == found[1]

    def test_it_goes_where_less_is_broken_first(self):
        meter = Meter(6, 8)
        lowest = min(meter.tables["memory"].predict(a).value for a in map(named(meter.reference), all_names(8)))
        bound = Constraint("memory", "<=", 0.0, lowest + 0.5)
        found = solve_local(meter, meter.reference, "latency", [bound], activations=NAMES, evaluations=500)
        assert found.measured["memory"].value <= lowest + 0.5

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"minimize": "latency", "evaluations": 1}, "evaluations to be an integer of at least 2. Received: 1"),
            ({"minimize": "latencies"}, "a metric that is measured. Received: 'latencies'. Did you mean 'latency'"),
            ({"minimize": "latency", "constraints": [parse("power<=3")]}, "Received: 'power'"),
            ({"minimize": "latency", "constraints": [parse("memory<=3")]}, "none of the 20 measured networks keeps"),
            ({"minimize": "latency", "activations": ["rleu"]}, "Did you mean 'relu'"),
            ({"minimize": "latency", "rules": Rules({"stem": "relu"})}, "a pinned site that the model has"),
            ({}, "Received: None and None"),
        ],
    )
    def test_what_cannot_be(self, arguments, message):
        meter = Meter(0)
        with pytest.raises(InputError, match=message):
            solve_local(meter, meter.reference, **{"evaluations": 20, "activations": NAMES, **arguments})

    def test_a_value_that_is_none(self):
        silu = Assignment.uniform(["a"], "silu")
        with pytest.raises(InputError, match="Expected finite values of latency. Received: nan"):
            solve_local(lambda one: {"latency": float("nan")}, silu, "latency")


def all_names(sites):
    return itertools.product(NAMES, repeat=sites)


def named(reference):
    return lambda names: Assignment(zip(reference, names, strict=True))


def keeps_rules(one):
    return one["site0"] == "relu" and one["site1"] == one["site2"] and len(set(one.values())) <= 2


def test_every_solver_has_its_name_in_one_place():
    for name in solvers.__all__:
        assert getattr(solvers, name).__doc__
    assert {name for name in solvers.__all__ if name.startswith("solve_")} == {
        *("solve_ilp", "solve_local", "solve_lzcm", "solve_naive", "solve_pareto", "solve_random")
    }


@pytest.mark.parametrize("module", [pareto, random_search, local_search])
def test_the_examples_run(module):
    result = doctest.testmod(module)
    assert result.attempted
    assert not result.failed
