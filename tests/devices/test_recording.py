"""What a device measured goes into the journal once, and comes back; boards are not mixed; nothing is lost."""

import itertools

import pytest

from keras_actnas.core import Assignment, InputError, Journal
from keras_actnas.devices import Device, Reading, Request, record
from keras_actnas.devices.recording import recorded, unsupported
from keras_actnas.search import mixtures, single_swaps

ACTIVATIONS = ("silu", "relu", "hard_swish")


class Board(Device):
    """A device whose latency is the number of the call; it can be told what to fail at, and when it is disturbed."""

    name = "board"

    def __init__(self, board="rev A", fails=(), disturbed=(), **conditions):
        self._board, self._fails, self._disturbed = board, fails, set(disturbed)
        self._conditions = conditions
        self.calls = itertools.count(1)
        self.measured = []

    def describe(self):
        return {"board": self._board, "python": "3.11"}

    @property
    def conditions(self):
        return self._conditions

    def measure(self, candidate, reference, runs):
        number = next(self.calls)
        self.measured.append(candidate)
        if candidate in self._fails:
            return Reading(failure="no kernel for it")
        conditions = {"disturbed": "throttled"} if number in self._disturbed else {}
        return Reading({"latency": [float(number)] * runs}, {"latency": [1.0] * runs}, conditions)


class Exact(Board):
    exact = True
    metrics = {"latency": "ms", "sram": "KiB"}  # noqa: RUF012

    def measure(self, candidate, reference, runs):
        self.measured.append(candidate)
        return Reading({"latency": [2.0], "sram": [3.0]}, {"latency": [1.0], "sram": [4.0]})


def ask(network, assignments, **options):
    return Request(tuple(assignments), network.reference, **{"runs": 3, "model": "m", **options})


def rows_of(network, count=3):
    return mixtures(network.reference, ACTIVATIONS, count)


def test_every_assignment_is_measured_once_in_order(network, journal):
    rows, board = rows_of(network), Board()
    made = record(board, network, ask(network, [*rows, rows[0]]), journal)
    assert list(made) == rows
    assert board.measured == [network.edit(row) for row in rows]
    assert [line.samples for lines in made.values() for line in lines] == [(1.0,) * 3, (2.0,) * 3, (3.0,) * 3]
    (first,) = made[rows[0]]
    assert (first.metric, first.unit, first.purpose, first.model) == ("latency", "ms", "design", "m")
    assert first.device == {"board": "rev A", "python": "3.11"}
    assert first.conditions["operators"]["CONV_2D"] == 4
    again = Board()
    assert record(again, network, ask(network, rows), journal) == made
    assert again.measured == []
    assert list(Journal(journal.path)) == list(journal)


def test_other_purposes_and_conditions_and_too_few_runs_are_measured_again(network, journal):
    rows = rows_of(network, 1)
    record(Board(), network, ask(network, rows), journal)
    for device, request in (
        (Board(), ask(network, rows, purpose="verify")),
        (Board(num_threads=2), ask(network, rows)),
        (Board(), ask(network, rows, runs=5, least_runs=4)),
    ):
        record(device, network, request, journal)
        assert len(device.measured) == 1
        record(device, network, request, journal)
        assert len(device.measured) == 1
    assert len(journal) == 4


def test_an_exact_device_is_asked_once_whatever_the_purpose(network, journal):
    rows, device = single_swaps(network.reference, ACTIVATIONS)[:2], Exact()
    made = record(device, network, ask(network, rows), journal)
    assert [(line.metric, line.unit, line.samples) for line in made[rows[0]]] == [
        ("latency", "ms", (2.0,)), ("sram", "KiB", (3.0,)),
    ]  # fmt: skip
    assert record(device, network, ask(network, rows, purpose="verify"), journal) == made
    assert len(device.measured) == 2


def test_an_interrupted_recording_continues(network, journal):
    rows, board = rows_of(network, 4), Board()

    def interrupted(items, label):
        yield from items[:2]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record(board, network, ask(network, rows), journal, interrupted)
    journal.close()
    again, labels = Journal(journal.path), []
    record(board, network, ask(network, rows), again, lambda items, label: labels.append((len(items), label)) or items)
    again.close()
    assert labels == [(2, "latency (design)")]
    assert len(board.measured) == 4


def test_a_failure_is_kept_with_its_reason(network, journal):
    rows = rows_of(network)
    board = Board(fails=[network.edit(rows[1])])
    made = record(board, network, ask(network, rows), journal)
    assert [bool(made[row][0].failure) for row in rows] == [False, True, False]
    assert made[rows[1]][0].failure == "no kernel for it"
    assert len(journal.select("latency")) == 2
    record(board, network, ask(network, rows), journal)
    assert len(board.measured) == 3


def test_what_was_disturbed_is_kept_and_measured_again(network, journal):
    rows, board = rows_of(network), Board(disturbed=[2])
    steps = []

    def steps_of(items, label):
        for item in items:
            yield item
            steps.append(item)

    made = record(board, network, ask(network, rows), journal, steps_of)
    assert [line.samples[0] for line in journal] == [1.0, 2.0, 3.0, 4.0]
    assert made[rows[1]][0].samples[0] == 4.0
    assert steps == rows
    assert recorded(board, Journal(journal.path)) == made


def test_disturbed_at_every_try_is_better_than_nothing(network, journal):
    rows, board = rows_of(network, 1), Board(disturbed=range(1, 100))
    made = record(board, network, ask(network, rows), journal)
    assert len(board.measured) == 3
    assert made[rows[0]][0].conditions["disturbed"] == "throttled"
    record(board, network, ask(network, rows), journal)
    assert len(board.measured) == 3


def test_what_disturbs_every_candidate_is_not_waited_out(network, journal):
    rows, board = rows_of(network), Board(disturbed=range(1, 100))
    made = record(board, network, ask(network, rows), journal)
    assert len(board.measured) == 3
    assert all(lines[0].conditions["disturbed"] for lines in made.values())


def test_a_journal_of_another_model_is_refused(network, journal):
    record(Board(), network, ask(network, rows_of(network, 1)), journal)
    with pytest.raises(InputError, match="Expected a journal of this model, 'n'.*with measurements of 'm'"):
        record(Board(), network, ask(network, rows_of(network, 1), model="n"), journal)


def test_a_run_killed_after_a_disturbed_measurement_makes_it_again(network, journal):
    def killed(items, label):
        yield items[0]
        raise KeyboardInterrupt

    rows = rows_of(network, 1)
    with pytest.raises(KeyboardInterrupt):
        record(Board(disturbed=[1]), network, ask(network, rows), journal, killed)
    assert len(journal) == 1
    board = Board()
    made = record(board, network, ask(network, rows), journal)
    assert len(board.measured) == 1
    assert "disturbed" not in made[rows[0]][0].conditions


def test_journals_of_two_boards_are_not_mixed(network, journal):
    record(Board(), network, ask(network, rows_of(network, 1)), journal)
    with pytest.raises(InputError, match=r"whose board is 'rev A', not 'rev B'.*choose another file"):
        record(Board("rev B"), network, ask(network, rows_of(network, 2)), journal)
    assert len(journal) == 1


def test_unsupported_is_not_slow(network, journal):
    uniform = Assignment.uniform(network.reference, "hard_swish")
    board = Board(fails=[network.edit(uniform)])
    reasons = unsupported(board, network, ACTIVATIONS, journal, network.reference, "m")
    assert reasons == {"hard_swish": "no kernel for it"}
    assert unsupported(board, network, ACTIVATIONS, journal, network.reference, "m") == reasons
    assert len(board.measured) == len(ACTIVATIONS)


def test_an_activation_that_the_file_cannot_hold_is_a_failure(network, journal):
    reasons = unsupported(Board(), network, ("relu", "mish"), journal, network.reference, "m")
    assert list(reasons) == ["mish"]
    assert "Received: 'mish'" in reasons["mish"]


def test_a_probe_of_a_device_that_cannot_run_the_network(network):
    board = Board(fails=[network.edit(network.reference)])
    with pytest.raises(InputError, match="Expected a network that board can run. Received: no kernel for it"):
        board.probe(network, network.reference)
    assert Board().probe(network, network.reference) == 1.0


def test_a_request_can_be_written_and_read(network):
    request = ask(network, rows_of(network), purpose="verify", inspect=True, least_runs=2)
    assert Request.from_json(request.to_json()) == request
