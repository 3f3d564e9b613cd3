"""Candidates that Vela compiles in parallel: its values, its refusals, and processes that end under it."""

import contextlib
import doctest
import importlib.metadata
import importlib.util
import os
import signal
import threading
import time
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_actnas.core import Assignment, InputError, MissingDependencyError
from keras_actnas.core.journal import Journal
from keras_actnas.devices import Request, VelaDevice, estimate_ethos_u, record, vela
from keras_actnas.devices.process_pool import usable_cores
from keras_actnas.export import TFLiteNetwork, to_editable, to_tflite
from keras_actnas.export.graph_summary import summarize_graph

pytestmark = pytest.mark.skipif(importlib.util.find_spec("ethosu") is None, reason="ethos-u-vela is not installed")

L = keras.layers
SHAPE = (32, 32, 8)
ACTIVATIONS = ("relu", "silu", "hard_swish", "leaky_relu", "gelu")
NPU = "ethos-u65-512"

# A worker that does as it should, except for networks with some operators.
FAULTY = """
import json, os, sys, time
from pathlib import Path
from keras_actnas.devices.vela_system import VelaSystem
from keras_actnas.devices.vela_worker import compiler
from keras_actnas.export.graph_summary import summarize_graph
from keras_actnas.tflite_bench.worker import serve

def start():
    answer = compiler(VelaSystem(**json.loads(sys.argv[1])))

    def faulty(request):
        operators = summarize_graph(request["network"])["operators"]
        if "GELU" in operators:
            print("out of everything", file=sys.stderr, flush=True)
            os.abort()
        if "LEAKY_RELU" in operators:
            Path(__file__).with_name("hangs").write_text(str(os.getpid()))
            time.sleep(600)
        return answer(request)

    return faulty

serve(start)
"""


def images():
    return np.random.default_rng(0).uniform(-1, 1, (4, *SHAPE)).astype("float32")


def model(activation):
    inputs = keras.Input(SHAPE)
    x = L.Conv2D(16, 3, padding="same", activation=activation, name="first")(inputs)
    x = L.Conv2D(16, 3, padding="same", activation=activation, name="second")(x)
    x = L.Conv2D(16, 3, padding="same", activation=activation, name="third")(x)
    return keras.Model(inputs, L.Dense(10)(L.GlobalAveragePooling2D()(x)))


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    path = tmp_path_factory.mktemp("network") / "network.tflite"
    to_editable(model("silu"), path, "int8", images())
    return TFLiteNetwork(path)


@pytest.fixture(scope="module")
def device():
    with VelaDevice(NPU, processes=2) as device:
        yield device


def swaps(reference, activations=ACTIVATIONS):
    return tuple(reference.with_swaps({site: name}) for site in reference for name in activations)


def measured(device, network, assignments, reference=None):
    return list(device.measure_all(network, Request(tuple(assignments), reference or network.reference)))


@pytest.fixture
def faulty(tmp_path, monkeypatch):
    """Makes devices whose workers are faulty; returns how to make one, and the file that tells which one hangs."""
    (tmp_path / "faulty_worker.py").write_text(FAULTY)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(vela, "WORKER", "faulty_worker")
    with contextlib.ExitStack() as devices:
        yield lambda **options: devices.enter_context(VelaDevice(NPU, **options)), tmp_path / "hangs"


def wait_for(path, seconds=60):
    end = time.monotonic() + seconds
    while not (path.exists() and path.read_text()) and time.monotonic() < end:
        time.sleep(0.05)
    return int(path.read_text())


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_what_the_device_is(device):
    assert (device.name, device.precision, device.exact, device.estimated) == ("vela:ethos-u65-512", "int8", True, True)
    assert dict(device.metrics) == {"latency": "ms", "sram": "KiB", "dram_traffic": "KiB", "npu_cycles": "cycles"}
    assert next(iter(device.metrics)) == "latency"
    assert device.describe() == {
        "accelerator": NPU,
        "system_config": "Ethos_U65_Client_Server",
        "memory_mode": "Dedicated_Sram_384KB",
        "vela_version": importlib.metadata.version("ethos-u-vela"),
        "vela_config": "Arm/vela.ini",
    }


def test_values_are_those_of_one_at_a_time(device, network):
    """Each candidate comes once, also the reference itself, with the reference beside it."""
    assignments = swaps(network.reference)
    made = dict(measured(device, network, assignments))
    assert set(made) == set(assignments)
    own = estimate_ethos_u(network.edit({}), NPU)
    for assignment, reading in made.items():
        estimate = estimate_ethos_u(network.edit(assignment), NPU)
        for values, expected in ((reading.samples, estimate), (reading.reference_samples, own)):
            assert values == {
                "latency": (expected.milliseconds,),
                "sram": (expected.sram_kib,),
                "dram_traffic": (expected.dram_traffic_kib,),
                "npu_cycles": (float(expected.npu_cycles),),
            }
        assert reading.failure == ""
        assert reading.conditions == network.summarize(assignment)
    assert len({reading.samples["latency"] for reading in made.values()}) > 3
    assert made[network.reference].samples == made[network.reference].reference_samples


def test_one_process_keeps_the_order(network):
    assignments = swaps(network.reference)[::-1]
    with VelaDevice(NPU, processes=1) as device:
        assert [one for one, _ in measured(device, network, assignments)] == list(assignments)
        assert measured(device, network, []) == []
        twice = measured(device, network, assignments[:1] * 2)
    assert twice[0] == twice[1]


def test_candidates_that_cannot_be_edited_fail_by_themselves(device, network):
    first = next(iter(network.reference))
    elu, relu = (network.reference.with_swaps({first: name}) for name in ("elu", "relu"))
    made = dict(measured(device, network, [elu, relu]))
    assert "int8 graph. Received: ELU at 'first'" in made[elu].failure
    assert not made[elu].samples
    assert made[relu].samples["latency"]


def test_a_single_network(device, network):
    reference, candidate = (network.edit(Assignment.uniform(network.reference, name)) for name in ("silu", "relu"))
    reading = device.measure(candidate, reference, 5)
    assert reading.samples["latency"] == (estimate_ethos_u(candidate, NPU).milliseconds,)
    assert reading.reference_samples["latency"] == (estimate_ethos_u(reference, NPU).milliseconds,)
    assert device.probe(network, network.reference) == reading.reference_samples["latency"][0]


def test_the_reference_is_compiled_once(device, network, monkeypatch):
    asked = []
    answers = device._pool.answers
    monkeypatch.setattr(device._pool, "answers", lambda requests: answers(asked.append(0) or one for one in requests))
    relu = Assignment.uniform(network.reference, "relu")
    for _ in range(2):
        measured(device, network, swaps(relu, ["relu", "silu"]), reference=relu)
    assert len(asked) == 1 + 2 * 3


class Converted:
    """A network whose candidates are converted from Keras, so that int8 has operators that editing refuses."""

    def __init__(self, folder, reference):
        self.reference = Assignment.uniform(["first", "second", "third"], reference)
        self.sites = []
        self._folder = folder

    def edit(self, assignment):
        (activation,) = set(assignment.values())
        path = self._folder / f"{activation}.tflite"
        if not path.exists():
            to_tflite(model(activation), path, "int8", images())
        return path.read_bytes()

    def summarize(self, assignment):
        return summarize_graph(self.edit(assignment))


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("converted")
    return lambda reference: Converted(folder, reference)


def test_operators_that_fall_back_to_the_cpu_are_a_failure_and_never_cheap(device, converted):
    network = converted("relu")
    elu = Assignment.uniform(network.reference, "elu")
    ((_, reading),) = measured(device, network, [elu])
    assert reading.failure == (
        "operators that the reference network does not have would run on the CPU: DEQUANTIZE 3, ELU 3, QUANTIZE 3"
    )
    assert not reading.samples
    assert reading.conditions["cpu_operators"] == {"DEQUANTIZE": 3, "ELU": 3, "QUANTIZE": 3}
    assert reading.conditions["float_islands"] == {"ELU": 3}
    # Without the rule it would look faster than SiLU, which the NPU runs: the CPU costs nothing.
    silu = Assignment.uniform(network.reference, "silu")
    estimates = [estimate_ethos_u(network.edit(one), NPU).milliseconds for one in (elu, silu)]
    assert estimates[0] < estimates[1]


def test_what_the_reference_leaves_to_the_cpu_too_is_flagged(device, converted):
    network = converted("elu")
    relu = Assignment.uniform(network.reference, "relu")
    made = dict(measured(device, network, [network.reference, relu]))
    assert made[network.reference].failure == ""
    assert made[network.reference].conditions["cpu_operators"] == {"DEQUANTIZE": 3, "ELU": 3, "QUANTIZE": 3}
    assert made[relu].failure == ""
    assert "cpu_operators" not in made[relu].conditions


def test_a_float_network_is_refused(device, network, tmp_path):
    to_editable(model("silu"), tmp_path / "float.tflite", "float32")
    with pytest.raises(InputError, match="Expected an int8 .tflite.*Received: the reference network"):
        measured(device, TFLiteNetwork(tmp_path / "float.tflite"), swaps(network.reference)[:1])


def test_a_crash_takes_no_other_candidate_along(network, faulty):
    make, _ = faulty
    device = make(processes=2)
    assignments = swaps(network.reference, ["gelu", "relu", "hard_swish"])
    made = dict(measured(device, network, assignments))
    assert len(made) == 9
    for assignment, reading in made.items():
        if "gelu" in assignment.values():
            assert reading.failure == "the process that ran it ended with signal SIGABRT (out of everything)"
        else:
            assert reading.samples["latency"] == (estimate_ethos_u(network.edit(assignment), NPU).milliseconds,)


def test_a_reference_that_crashes_is_an_error(network, faulty):
    make, _ = faulty
    gelu = Assignment.uniform(network.reference, "gelu")
    with pytest.raises(InputError, match="Expected a reference network that Vela can compile.*SIGABRT"):
        measured(make(processes=1), network, [network.reference], gelu)


def test_a_killed_process_is_replaced(network, faulty):
    make, hangs = faulty
    device = make(processes=1)
    assignments = swaps(network.reference, ["leaky_relu", "relu"])[:3]  # The second and the third run to the end.
    killed = []
    killer = threading.Thread(target=lambda: killed.append(wait_for(hangs)) or os.kill(killed[0], signal.SIGKILL))
    killer.start()
    made = []
    for assignment, reading in device.measure_all(network, Request(assignments[:2], network.reference)):
        made.append((assignment, reading))
    killer.join()
    assert [one for one, _ in made] == list(assignments[:2])
    assert made[0][1].failure == "the process that ran it ended with signal SIGKILL"
    assert made[1][1].samples["latency"]
    assert device._pool.pids and killed[0] not in device._pool.pids


def test_a_process_that_was_killed_while_idle_costs_nothing(network):
    with VelaDevice(NPU, processes=1) as device:
        first = measured(device, network, swaps(network.reference)[:2])
        (pid,) = device._pool.pids
        os.kill(pid, signal.SIGKILL)
        while device._pool.pids:
            time.sleep(0.01)
        assert measured(device, network, swaps(network.reference)[:2]) == first


def test_a_hang_ends_at_the_time_limit(network, faulty):
    make, hangs = faulty
    device = make(processes=2, time_limit=8)
    made = dict(measured(device, network, swaps(network.reference, ["leaky_relu", "relu"])[:2]))
    failures = [reading.failure for reading in made.values()]
    assert sorted(failures) == ["", "it took longer than 8 s"]
    assert not is_alive(wait_for(hangs))


def test_an_interrupt_ends_the_processes_promptly(network, faulty):
    make, hangs = faulty
    device = make(processes=2)
    interrupted = []

    def interrupt():
        wait_for(hangs)
        interrupted.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        measured(device, network, swaps(network.reference, ["relu", "leaky_relu"])[:2])
    assert time.monotonic() - interrupted[0] < 5
    thread.join()
    assert not is_alive(wait_for(hangs))
    assert device._pool.pids == []
    assert measured(device, network, [network.reference])[0][1].samples  # And it can be used again.


def test_a_loop_that_is_left_gives_the_rest_up(network, faulty):
    make, hangs = faulty
    device = make(processes=2)
    made = device.measure_all(network, Request(swaps(network.reference, ["relu", "leaky_relu"]), network.reference))
    next(made)
    wait_for(hangs)
    made.close()
    assert device._pool.pids == []


def test_a_configuration_of_ones_own(network, tmp_path):
    from ethosu.vela.architecture_features import CONFIG_FILES_PATH

    text = (Path(CONFIG_FILES_PATH) / "Arm" / "vela.ini").read_text()
    path = tmp_path / "my.ini"
    path.write_text(text.replace("Ethos_U55_Deep_Embedded", "Mine").replace("core_clock=200e6", "core_clock=100e6"))
    spec = f"ethos-u55-128?system_config=Mine&memory_mode=Shared_Sram&config={path}&processes=1"
    theirs = "ethos-u55-128?system_config=Ethos_U55_Deep_Embedded&memory_mode=Shared_Sram&processes=1"
    with VelaDevice.from_spec(spec) as mine, VelaDevice.from_spec(theirs) as device:
        (_, slow), (_, fast) = (measured(one, network, [network.reference])[0] for one in (mine, device))
        assert slow.samples["latency"][0] == pytest.approx(2 * fast.samples["latency"][0], rel=0.1)
        before = mine.describe()
        assert before["system_config"] == "Mine"
        assert before["vela_config"].startswith("sha256:")
    path.write_text(path.read_text() + "; another\n")
    assert VelaDevice.from_spec(spec).describe()["vela_config"] != before["vela_config"]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("ethos-u65", r"Expected an accelerator\. Received: 'ethos-u65'.*'ethos-u65-256'"),
        ("", r"Expected an accelerator\. Received: ''"),
        ("ethos-u65-512?memory=x", r"Expected keys of system_config, memory_mode, config, .*'memory'.*'memory_mode'"),
        ("ethos-u65-512?processes", r"Expected ACCELERATOR\?KEY=VALUE&KEY=VALUE\. Received: 'ethos-u65-512\?proc"),
        ("ethos-u65-512?processes=two", r"Expected a number for processes\. Received: 'two'"),
        ("ethos-u65-512?processes=0", r"Expected processes to be an integer of at least 1\. Received: 0"),
        ("ethos-u65-512?time_limit=0", r"Expected time_limit to be a positive number of seconds\. Received: 0\.0"),
        ("ethos-u65-512?memory_mode=Shared", r"Expected memory_mode of vela\.ini\. Received: 'Shared'"),
        ("ethos-u65-512?config=my.ini", r"system_config and memory_mode|Expected a configuration file"),
    ],
)
def test_specs_that_are_none(spec, message):
    with pytest.raises(InputError, match=message):
        VelaDevice.from_spec(spec)


def test_values_that_vela_cannot_read(tmp_path):
    path = tmp_path / "my.ini"
    path.write_text("[System_Config.A]\ncore_clock=fast\n[Memory_Mode.B]\n")
    with pytest.raises(InputError, match=r"Expected a system that Vela can read.*my\.ini; Vela says: .*fast"):
        VelaDevice("ethos-u55-128", "A", "B", path)


def test_specs_and_defaults():
    device = VelaDevice.from_spec("ethos-u55-64?time_limit=5")
    assert device.describe()["memory_mode"] == "Shared_Sram"
    assert len(device._pool._processes) == usable_cores()
    assert device._pool._time_limit == 5.0


def test_without_vela(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "ethosu.vela", None)
    monkeypatch.setitem(sys.modules, "ethosu", None)
    with pytest.raises(MissingDependencyError, match=r"keras-actnas\[vela\]"):
        VelaDevice()


def test_a_journal_has_every_metric(device, network, tmp_path):
    assignments = swaps(network.reference, ["relu"])
    with Journal(tmp_path / "journal.jsonl") as journal:
        for _ in range(2):  # The second time there is nothing left to compile.
            made = record(device, network, Request(assignments, network.reference, model="m"), journal)
            assert {line.metric: line.unit for line in made[assignments[0]]} == dict(device.metrics)
        assert len(list(journal)) == 3 * 4


def test_the_examples_run():
    result = doctest.testmod(vela)
    assert result.attempted
    assert not result.failed


@pytest.mark.slow
def test_yolov5n(tmp_path):
    """Single swaps of the paper's model, as one at a time, and adding up to whole swaps."""
    from keras_actnas.models import YOLO

    shape = (224, 224, 3)
    photos = np.random.default_rng(0).uniform(0, 1, (4, *shape)).astype("float32")
    with VelaDevice(NPU) as device:
        device.convert(YOLO("yolov5n", input_shape=shape), tmp_path / "network.tflite", photos)
        network = device.open_network(tmp_path / "network.tflite")
        single = swaps(network.reference, ["relu"])
        whole = Assignment.uniform(network.reference, "relu")
        made = dict(measured(device, network, [*single, whole]))
    assert len(made) == 70
    for assignment in (single[0], single[40], whole):
        estimate = estimate_ethos_u(network.edit(assignment), NPU)
        assert made[assignment].samples["latency"] == (estimate.milliseconds,)
        assert made[assignment].samples["dram_traffic"] == (estimate.dram_traffic_kib,)
    own = made[whole].reference_samples["latency"][0]
    total = own + sum(made[one].samples["latency"][0] - own for one in single)
    assert total == pytest.approx(made[whole].samples["latency"][0], rel=0.02)
