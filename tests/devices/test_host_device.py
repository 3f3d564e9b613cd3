"""This machine as a device: real runtimes in a process of its own, which a network may crash."""

import os
import signal
import threading

import pytest

from keras_actnas.core import Assignment, InputError
from keras_actnas.devices import HostDevice, Request, record
from keras_actnas.devices.host import ProcessDevice
from keras_actnas.devices.recording import recorded
from keras_actnas.search import mixtures
from keras_actnas.tflite_bench.process import LineProcess, WorkerProcess

# Opens networks for the tests; it stands in a file, for the process that runs networks to import.
RUNNERS = """
import os, signal
from keras_actnas.tflite_bench.worker import open_tflite

def open_or_crash(path, log):
    content = open(path, "rb").read()
    with open(log, "a") as file:
        file.write(f"{os.getpid()} {len(content)}\\n")
    if len(content) % 4 == 3:
        print("a kernel said something")
        os.kill(os.getpid(), signal.SIGSEGV)
    return open_tflite(path)
"""


@pytest.fixture
def host():
    with HostDevice() as device:
        yield device


@pytest.fixture
def runners(tmp_path, monkeypatch):
    """Options of a worker whose networks crash it when their size leaves 3 divided by 4."""
    (tmp_path / "runners_for_tests.py").write_text(RUNNERS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path / "log"


def test_latency_is_measured_beside_the_reference(host, network, journal):
    rows = mixtures(network.reference, ("silu", "relu"), 3)
    made = record(host, network, Request(tuple(rows), network.reference, runs=4, model="m"), journal)
    for row in rows:
        (line,) = made[row]
        assert len(line.samples) == len(line.reference_samples) == 4
        assert min(line.samples + line.reference_samples) > 0
        assert line.conditions["operators"]["CONV_2D"] == 4
        assert line.conditions["partitions"] == 1
        assert isinstance(line.conditions["before"], dict)


def test_options_reach_the_runtime(network, journal):
    with HostDevice(num_threads=2, delegate="none") as device:
        made = record(device, network, Request((network.reference,), network.reference), journal)
    (line,) = made[network.reference]
    assert (line.conditions["num_threads"], line.conditions["delegate"]) == (2, "none")
    assert line.conditions["runtime"] == "ai_edge_litert"
    assert line.conditions["partitions"] == 0


def test_proposals_are_inspected(host, network, journal):
    request = Request((network.reference,), network.reference, runs=2, inspect=True)
    made = record(host, network, request, journal)[network.reference]
    assert [(line.metric, line.unit) for line in made] == [("latency", "ms"), ("memory", "KiB")]
    assert 10_000 < made[1].samples[0] < 1_000_000


def test_networks_run_in_another_process_that_lives_on(host, network):
    own = network.edit(network.reference)
    host.measure(own, own, 1)
    first = host._worker._process.pid
    other = network.edit(Assignment.uniform(network.reference, "relu"))
    host.measure(other, own, 1)
    assert host._worker._process.pid == first != os.getpid()
    host.measure(own, other, 1)  # Another reference: a process that has not seen the old one.
    assert host._worker._process.pid != first


def test_a_candidate_that_crashes_the_runtime_takes_nothing_with_it(runners, network, journal):
    rows = mixtures(network.reference, ("silu", "relu", "leaky_relu"), 6)
    crashing = rows[2]

    class Padded:
        """The network, of whose files one has an odd size: behind a flatbuffer anything may lie."""

        reference, sites, summarize = network.reference, network.sites, network.summarize

        def edit(self, assignment):
            data = network.edit(assignment)
            return data + b"\0" * (3 if assignment == crashing else 4)

    options = {"log": str(runners)}
    device = ProcessDevice(WorkerProcess("runners_for_tests:open_or_crash", options))
    with device:
        made = record(device, Padded(), Request(tuple(rows), network.reference, runs=2), journal)
    reasons = {row: made[row][0].failure for row in rows}
    assert reasons.pop(crashing) == "the process that ran it ended with signal SIGSEGV (a kernel said something)"
    assert not any(reasons.values())
    assert made[crashing][0].conditions["crashed"]
    assert crashing not in recorded(device, journal)  # Tried again when the run continues.
    opened = [line.split() for line in runners.read_text().splitlines()]
    assert len({process for process, _ in opened}) == 3  # It was tried twice.


def test_a_process_that_is_killed_is_started_again(host, network):
    own = network.edit(network.reference)
    host.measure(own, own, 1)
    os.kill(host._worker._process.pid, signal.SIGKILL)
    reading = host.measure(own, own, 2)
    assert not reading.failure
    assert len(reading.samples["latency"]) == 2


def test_an_interrupted_question_is_not_answered_to_the_next(network_file):
    process = LineProcess("keras_actnas.tflite_bench.worker", "keras_actnas.tflite_bench.worker:open_tflite", "{}")
    process.ask({"reference": str(network_file), "warmup": 1})
    request = {"candidate": str(network_file), "warmup": 1, "reopen": False}
    interrupt = threading.Timer(0.5, signal.pthread_kill, [threading.main_thread().ident, signal.SIGINT])
    interrupt.start()
    with pytest.raises(KeyboardInterrupt):
        process.ask({**request, "runs": 10**6})
    process.ask({"reference": str(network_file), "warmup": 1})
    assert len(process.ask({**request, "runs": 3})["samples"]) == 3
    process.close()


def test_a_reference_that_crashes_is_an_error_of_the_input(runners, tmp_path, network):
    path = tmp_path / "net.tflite"
    path.write_bytes(network.edit(network.reference) + b"\0" * 3)
    process = WorkerProcess("runners_for_tests:open_or_crash", {"log": str(runners)})
    with pytest.raises(InputError, match=r"Expected a reference network that runs here.*SIGSEGV"):
        process.measure(path, path, 1)


def test_what_the_runtime_refuses_is_a_failure(host, network):
    own = network.edit(network.reference)
    assert "TFL3" in host.measure(b"no network at all", own, 1).failure
    assert not host.measure(own, own, 1).failure


def test_a_factory_that_is_not_there(network_file):
    process = WorkerProcess("keras_actnas.tflite_bench.worker:open_nothing")
    with pytest.raises(InputError, match=r"exit status 1 \(AttributeError"):
        process.measure(network_file, network_file, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_threads": 0}, "num_threads of at least 1. Received: 0"),
        ({"delegate": "gpu"}, "delegate to be one of xnnpack, none. Received: 'gpu'"),
        ({"runtime": "tflite"}, "Unknown TFLite runtime 'tflite'"),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(InputError, match=message):
        HostDevice(**options)
