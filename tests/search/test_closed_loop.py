"""The closed loop: proposals are measured, tables learn from it, and it ends when both agree."""

import dataclasses
import itertools
import shutil

import numpy as np
import pytest

from keras_actnas.core import Assignment, Constraint, InputError, Journal, Proposal
from keras_actnas.core.rounds import Agreement, Round
from keras_actnas.core.table import Estimate
from keras_actnas.devices import Device, Reading, open_device
from keras_actnas.report import save_report
from keras_actnas.search import Search, SearchSettings

NAMES = ("silu", "relu", "hard_swish")
SETTINGS = SearchSettings(
    activations=NAMES,
    constraints=(Constraint.parse("nwot>=reference-30"),),
    networks=12,
    seeds=2,
    batch_size=6,
    top_k=3,
    min_distance=1,
    loop=True,
    runs=4,
)


class Simulated(Device):
    """A device whose latency is not the sum of its sites: each ReLU beyond the third costs extra.

    Args:
      noise: Standard deviation of a run's ratio to the truth; None for a device that is exact.
      penalty: What such a ReLU costs, as a share of 60 ms.
    """

    name = "simulated"

    def __init__(self, noise=None, penalty=0.0):
        self.exact = noise is None
        self._noise = noise or 0.0
        self._penalty = penalty
        self.measured = []

    def describe(self):
        return {"board": "simulated"}

    def measure(self, candidate, reference, runs):
        raise AssertionError("candidates are told by their assignment")

    def true(self, assignment):
        costs = {"silu": 3.0, "relu": 1.0, "hard_swish": 1.5, "leaky_relu": 2.0, "relu6": 1.1, "hard_silu": 1.5}
        names = list(assignment.values())
        single = sum(costs[name] * (1 + number % 3) for number, name in enumerate(names))
        return 60.0 + single + 60.0 * self._penalty * max(names.count("relu") - 3, 0)

    def measure_all(self, network, request):
        for assignment in request.assignments:
            self.measured.append((request.purpose, assignment))
            rng = np.random.default_rng([len(self.measured), 7])
            own = self.true(request.reference)
            noise = 1 + self._noise * rng.normal(size=request.runs)
            yield (
                assignment,
                Reading({"latency": self.true(assignment) * noise}, {"latency": [own] * request.runs}, {"sessions": 1}),
            )


def search(model, folder, device, **changes):
    lines = []
    settings = dataclasses.replace(SETTINGS, **changes)
    return Search(model, folder, settings, device=device, name="small", say=lines.append), lines


def best_possible(device, reference):
    every = itertools.product(*(dict.fromkeys([own, *NAMES]) for own in reference.values()))
    return min(device.true(Assignment(zip(reference, row, strict=True))) for row in every)


def test_what_adds_up_is_settled_in_one_round(model, tmp_path):
    made, lines = search(model, tmp_path, Simulated(), evaluations=0)
    result = made.run()
    assert len(result.rounds) == 1
    assert result.rounds[0].agrees
    assert lines[-1].startswith("Round 1: latency of 3 proposals predicted to 0.00 % (bias")
    assert result.best.measured["latency"].value == pytest.approx(best_possible(Simulated(), made.reference))
    assert result.seconds["loop"] > 0


def test_the_tables_learn_what_does_not_add_up(model, tmp_path):
    """What many ReLUs cost together no single swap can tell; measured proposals do."""
    device = Simulated(penalty=0.05)
    made, _ = search(model, tmp_path, device, evaluations=0, rounds=6)
    tables = {**made.bench(), "nwot": made.score()}
    once, _ = made.refine(tables)
    _, tables, rounds = made.loop(tables)
    first, last = rounds[0].agreement["latency"], rounds[-1].agreement["latency"]
    assert not first.agrees
    assert first.bias < 0
    assert last.error < first.error / 2
    error = tables["latency"].predict(once[0].assignment).value - device.true(once[0].assignment)
    assert abs(error) < abs(first.bias)
    assert tables["latency"].context["networks"] > 17


def test_an_exact_device_is_searched_to_the_end(model, tmp_path):
    """A local search on the device finds what the tables' sums miss."""
    device = Simulated(penalty=0.05)
    plain, _ = search(model, tmp_path / "plain", Simulated(penalty=0.05), loop=False)
    made, _ = search(model, tmp_path / "loop", device, evaluations=400, constraints=())
    found = made.run()
    best = best_possible(device, made.reference)
    assert found.best.measured["latency"].value == pytest.approx(best)
    assert plain.run().best.measured["latency"].value > best + 0.5
    assert len({one for purpose, one in device.measured if purpose == "round"}) <= 400 + 5 * 3
    journal = Journal(tmp_path / "loop" / "journal.jsonl")
    scored = {one.assignment for one in journal.select("nwot")}
    assert {one.assignment for one in journal.select("latency", "round")} <= scored


def test_noise_alone_is_agreement(model, tmp_path):
    made, _ = search(model, tmp_path, Simulated(noise=0.01), runs=16, networks=40)
    result = made.run()
    assert result.rounds[-1].agrees
    assert len(result.rounds) <= 3
    table = result.tables["latency"]
    assert table.predict(result.best.assignment).standard_error < 0.01 * table.reference_value.value


def test_rounds_end_without_agreement(model, tmp_path):
    made, _ = search(model, tmp_path, Simulated(penalty=0.2), rounds=1, evaluations=0)
    result = made.run()
    assert [one.agrees for one in result.rounds] == [False]
    # What came of the last round is proposed after it, by tables that know it.
    assert {row.assignment for row in result.proposals} <= {one for _, one in made.device.measured}


def test_a_second_run_measures_nothing_and_finds_the_same(model, tmp_path):
    first, _ = search(model, tmp_path, Simulated(penalty=0.05))
    result = first.run()
    before = (tmp_path / "journal.jsonl").read_bytes()
    device = Simulated(penalty=0.05)
    again, _ = search(model, tmp_path, device)
    assert again.run().proposals == result.proposals
    assert device.measured == []
    assert (tmp_path / "journal.jsonl").read_bytes() == before


def test_an_adaptive_design_measures_what_may_be_best(model, tmp_path):
    """Half of the networks are a plan; the others are nearer to the best that there is than those of the plan."""
    device = Simulated(noise=0.01)
    changes = {"design": "adaptive", "networks": 40, "rounds": 3, "loop": False, "constraints": ()}
    made, _ = search(model, tmp_path, device, **changes)
    table = made.bench()["latency"]
    networks = [one for purpose, one in device.measured if purpose == "design"]
    assert 20 < len(networks) <= 40
    assert table.context["networks"] == len(set(networks)) == len(networks)
    assert table.context["design"] == "adaptive"
    plan, later = ([device.true(one) for one in part] for part in (networks[:20], networks[20:]))
    assert np.mean(later) < np.mean(plan) - 5
    assert min(later) == pytest.approx(best_possible(device, made.reference), rel=0.02)
    # Started again it measures nothing, and comes to the same table.
    again = Simulated(noise=0.01)
    np.testing.assert_array_equal(search(model, tmp_path, again, **changes)[0].bench()["latency"].delta, table.delta)
    assert again.measured == []


class Unplugged(Simulated):
    """Gives up after some networks."""

    def __init__(self, after, **options):
        super().__init__(**options)
        self._after = after

    def measure_all(self, network, request):
        for made in super().measure_all(network, request):
            if len(self.measured) > self._after:
                raise InputError("Expected the device. Received: it is gone.")
            yield made


def test_a_device_that_goes_away_in_a_round_loses_nothing(model, tmp_path):
    whole = search(model, tmp_path / "whole", Simulated(penalty=0.05))[0].run()
    count = len(Journal(tmp_path / "whole" / "journal.jsonl").select("latency", "design"))
    with pytest.raises(InputError, match="it is gone"):
        search(model, tmp_path / "part", Unplugged(count + 5, penalty=0.05))[0].run()
    assert Journal(tmp_path / "part" / "journal.jsonl").select("latency", "round")
    result = search(model, tmp_path / "part", Simulated(penalty=0.05))[0].run()
    assert result.proposals == whole.proposals
    latency = Journal(tmp_path / "part" / "journal.jsonl").select("latency")
    keys = [(one.purpose, one.assignment) for one in latency]
    assert len(set(keys)) == len(keys)


def test_on_this_machine_with_a_report(model, tmp_path):
    made, _ = search(model, tmp_path / "run", None, rounds=2, networks=14, activations=("silu", "relu"))
    result = made.run()
    journal = Journal(tmp_path / "run" / "journal.jsonl")
    measured = journal.select("latency", "round")
    assert {row.assignment for one in result.rounds for row in one.proposals} == {m.assignment for m in measured}
    assert all(m.conditions["sessions"] > 1 for m in measured)
    save_report(tmp_path / "run", tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Predicted and measured in each round" in page
    assert page.count('<th scope="row">') >= len(result.rounds)


def test_a_report_without_a_loop_says_so(model, tmp_path):
    made, _ = search(model, tmp_path / "run", Simulated(), loop=False)
    made.run()
    save_report(tmp_path / "run", tmp_path / "report.html")
    assert "There was no loop" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_what_has_measured_already_cannot_loop(model, tmp_path):
    made, _ = search(model, tmp_path / "run", Simulated(), loop=False)
    made.run()
    recorded = tmp_path / "measured.jsonl"
    shutil.copy(tmp_path / "run" / "journal.jsonl", recorded)
    with pytest.raises(InputError, match="can measure proposals, for --loop. Received: .*measured.jsonl"):
        search(model, tmp_path / "again", open_device(f"journal:{recorded}"))
    assert not (tmp_path / "again").exists()


def test_a_bound_that_the_measurements_rule_out_ends_the_loop(model, tmp_path):
    """The tables promise a latency that no network has."""
    device = Simulated(penalty=0.1)
    plain, _ = search(model, tmp_path / "plain", device, loop=False, constraints=())
    promised = plain.solve({**plain.bench(), "nwot": plain.score()})[0].predicted["latency"].value
    possible = best_possible(device, plain.reference)
    assert promised < possible - 1.0
    bound = Constraint.parse(f"latency<={(promised + possible) / 2:.3f}")
    made, lines = search(model, tmp_path / "run", device, constraints=(bound,), evaluations=0)
    result = made.run()
    assert result.rounds and not result.rounds[-1].agrees
    assert any("what was measured leaves no solution" in line for line in lines)
    assert result.best.standing(bound, result.reference) == "broken"


def rows(*differences, predicted=0.1, measured=0.1):
    one = Assignment.uniform(["a"], "silu")
    return [
        Proposal("p", one, {"latency": Estimate(10.0 + by, predicted)}, {"latency": Estimate(10.0, measured)})
        for by in differences
    ]


@pytest.mark.parametrize(
    ("proposals", "agrees"),
    [
        (rows(0.1, -0.2, 0.05), True),
        (rows(0.1, -0.5, 0.05), False),  # One is off by more than twice its error.
        (rows(*[-0.15] * 8, predicted=0.01), False),  # Each may be noise, all together are not.
        (rows(*[-0.25] * 8, predicted=0.2), True),  # The table may be off by that for all of them.
        (rows(0.019, predicted=0.0, measured=0.0), True),  # Negligible.
        (rows(0.021, predicted=0.0, measured=0.0), False),
        (rows(0.3, predicted=np.nan, measured=np.nan), False),
    ],
)
def test_agreement(proposals, agrees):
    assert Agreement.of(proposals, "latency", 10.0, "ms").agrees is agrees


def test_rounds_come_back_from_json():
    made = Round(tuple(rows(0.1, -0.2)), {"latency": Agreement.of(rows(0.1, -0.2), "latency", 10.0, "ms")})
    assert Round.from_json(made.to_json()) == made
    assert "latency of 2 proposals predicted to 1.58 % (bias -0.50 %): they agree" in made.describe()
    with pytest.raises(InputError, match="Expected a round of a loop"):
        Round.from_json({"proposals": []})


def test_a_metric_of_which_the_reference_has_none_is_told_in_its_unit():
    made = Agreement.of(rows(0.1, -0.2), "latency", 0.0, "KiB")
    assert made.scale == (1.0, " KiB")
