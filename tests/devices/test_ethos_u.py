"""Vela's estimates of small int8 networks."""

import doctest
import importlib.metadata
import importlib.util
import os
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_actnas.core import InputError, MissingDependencyError
from keras_actnas.core.printing import printing_to
from keras_actnas.devices import ethos_u
from keras_actnas.devices.ethos_u import estimate_ethos_u
from keras_actnas.devices.vela_system import accelerators, import_vela
from keras_actnas.export import to_tflite

L = keras.layers
needs_vela = pytest.mark.skipif(importlib.util.find_spec("ethosu") is None, reason="ethos-u-vela is not installed")
SHAPE = (32, 32, 8)


def network(activation, precision="int8", folder=None):
    inputs = keras.Input(SHAPE)
    x = L.Conv2D(16, 3, padding="same", activation=activation)(inputs)
    x = L.Conv2D(16, 3, padding="same", activation=activation)(x)
    model = keras.Model(inputs, L.Dense(10)(L.GlobalAveragePooling2D()(x)))
    path = folder / f"{activation} [{precision}].tflite"
    to_tflite(model, path, precision, np.random.default_rng(0).uniform(-1, 1, (4, *SHAPE)).astype("float32"))
    return path


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("networks")
    return {activation: network(activation, folder=folder) for activation in ("relu", "silu", "elu")}


@needs_vela
def test_an_estimate_says_what_it_is_of(networks):
    estimate = estimate_ethos_u(networks["relu"])
    assert (estimate.accelerator, estimate.system_config, estimate.memory_mode) == (
        "ethos-u55-128",
        "Ethos_U55_High_End_Embedded",
        "Shared_Sram",
    )
    assert estimate.vela_version == importlib.metadata.version("ethos-u-vela")
    assert estimate.cpu_operators == ()
    assert estimate.runs_on_npu
    # 128 multiply-accumulates a cycle at 500 MHz: no less than this time, and with little to load not much more.
    macs = 32 * 32 * 16 * 9 * (8 + 16)
    least = macs / 128 / 500e6 * 1e3
    assert least < estimate.milliseconds < 3 * least
    assert estimate.inferences_per_second == pytest.approx(1e3 / estimate.milliseconds)
    assert macs / 128 < estimate.npu_cycles <= estimate.total_cycles
    assert estimate.total_cycles == pytest.approx(estimate.milliseconds * 500e3, rel=1e-6)
    # One map of 16 channels is written while another is read; weights and biases lie in flash.
    assert 32 * 32 * 16 / 1024 < estimate.sram_kib < 3 * 32 * 32 * 16 / 1024
    assert 0 < estimate.flash_kib < 10
    assert estimate.dram_kib == 0
    # Every map is written and read at least once, and there is no DRAM in this memory mode.
    assert 2 * 2 * 32 * 32 * 16 / 1024 < estimate.sram_traffic_kib < 10 * 2 * 32 * 32 * 16 / 1024
    assert estimate.dram_traffic_kib == 0


@needs_vela
def test_accelerators():
    assert {"ethos-u55-32", "ethos-u65-512", "ethos-u85-2048"} <= set(accelerators())


@needs_vela
def test_costs_follow_network_and_accelerator(networks):
    relu, silu = (estimate_ethos_u(networks[name]).milliseconds for name in ("relu", "silu"))
    assert silu > 1.2 * relu
    assert estimate_ethos_u(networks["relu"], "ethos-u55-256").milliseconds < 0.8 * relu


@needs_vela
def test_systems_and_memory_modes(networks):
    path = networks["relu"]
    default = estimate_ethos_u(path, "ethos-u65-256")
    assert (default.system_config, default.memory_mode) == ("Ethos_U65_Client_Server", "Dedicated_Sram_384KB")
    assert default.dram_kib > 0
    assert default.dram_traffic_kib > 0
    mid = estimate_ethos_u(path, "ethos-u65-256", "Ethos_U65_Mid_End", "Dedicated_Sram")
    assert (mid.system_config, mid.memory_mode) == ("Ethos_U65_Mid_End", "Dedicated_Sram")
    assert mid.milliseconds > default.milliseconds  # Half the clock.
    assert estimate_ethos_u(path, "ethos-u65-256", "Ethos_U65_Mid_End", "Dedicated_Sram", "Arm/vela.ini") == mid


@needs_vela
def test_operators_that_fall_back_to_the_cpu_are_named(networks):
    estimate = estimate_ethos_u(networks["elu"])
    assert estimate.cpu_operators == ("DEQUANTIZE", "ELU", "QUANTIZE") * 2
    assert not estimate.runs_on_npu


@needs_vela
def test_bytes_are_as_good_as_a_file(networks):
    assert estimate_ethos_u(networks["relu"].read_bytes()) == estimate_ethos_u(str(networks["relu"]))


@needs_vela
def test_a_configuration_of_ones_own(networks, tmp_path):
    from ethosu.vela.architecture_features import CONFIG_FILES_PATH

    text = (Path(CONFIG_FILES_PATH) / "Arm" / "vela.ini").read_text()
    text = text.replace("Ethos_U55_Deep_Embedded", "Mine").replace("core_clock=200e6", "core_clock=100e6")
    (tmp_path / "my.ini").write_text(text)
    mine = estimate_ethos_u(networks["relu"], "ethos-u55-128", "Mine", "Shared_Sram", tmp_path / "my.ini")
    theirs = estimate_ethos_u(networks["relu"], "ethos-u55-128", "Ethos_U55_Deep_Embedded")
    assert mine.system_config == "Mine"
    assert mine.milliseconds == pytest.approx(2 * theirs.milliseconds, rel=0.1)
    with pytest.raises(InputError, match=r"system_config and memory_mode.*memory_mode=None"):
        estimate_ethos_u(networks["relu"], system_config="Mine", vela_config=tmp_path / "my.ini")


@needs_vela
def test_nothing_is_printed_and_nothing_left(networks, capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(limit + 7)
    try:
        estimate_ethos_u(networks["elu"])  # Warnings from the part of Vela that is no Python.
        assert sys.getrecursionlimit() == limit + 7
    finally:
        sys.setrecursionlimit(limit)
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())
    print("after")
    assert capfd.readouterr().out == "after\n"


@needs_vela
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"accelerator": "ethos-u55-100"}, r"Expected an accelerator\. Received: 'ethos-u55-100'.*'ethos-u55-128'"),
        ({"accelerator": None}, r"Expected an accelerator\. Received: None\. Known: ethos-u55-32"),
        ({"system_config": "Ethos_U55_High_End"}, r"system_config of vela\.ini.*'Ethos_U55_High_End_Embedded'"),
        ({"memory_mode": "Shared"}, r"memory_mode of vela\.ini\. Received: 'Shared'.*'Shared_Sram'"),
        ({"vela_config": "missing.ini"}, r"Expected a configuration file of Vela\. Received: .*missing\.ini"),
    ],
)
def test_unknown_systems_are_refused(networks, arguments, message):
    with pytest.raises(InputError, match=message):
        estimate_ethos_u(networks["relu"], **arguments)


@needs_vela
def test_a_file_that_is_no_configuration_is_refused(networks, tmp_path):
    (tmp_path / "my.ini").write_text("hello")
    with pytest.raises(InputError, match="Expected a configuration file of Vela"):
        estimate_ethos_u(networks["relu"], vela_config=tmp_path / "my.ini")
    (tmp_path / "my.txt").write_text("[System_Config.A]\n[Memory_Mode.B]\n")
    with pytest.raises(InputError, match=r"configuration file of Vela.*my\.txt \(its name has to end in \.ini\)"):
        estimate_ethos_u(networks["relu"], "ethos-u55-128", "A", "B", tmp_path / "my.txt")


@needs_vela
@pytest.mark.parametrize(
    ("outcome", "message"), [(SystemExit(2), "Vela says: 2 why"), (RuntimeError("broken"), "Vela says: broken why")]
)
def test_whatever_vela_does_becomes_an_input_error(networks, monkeypatch, outcome, message):
    def main(arguments):
        os.write(2, b"first\nwhy\n")
        raise outcome

    monkeypatch.setattr(import_vela(), "main", main)
    with pytest.raises(InputError, match=f"Expected a network that Vela can compile. Received: the.*{message}"):
        estimate_ethos_u(networks["relu"].read_bytes())


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_floating_point_is_refused(tmp_path, precision):
    with pytest.raises(InputError, match=r"Expected an int8 \.tflite.*computes in floating point\. Convert.*int8"):
        estimate_ethos_u(network("relu", precision, tmp_path))


@needs_vela
def test_a_compiled_network_is_refused(networks, tmp_path):
    from ethosu.vela import vela

    with printing_to(os.open(os.devnull, os.O_WRONLY)):
        vela.main([str(networks["relu"]), "--output-dir", str(tmp_path)])
    (compiled,) = tmp_path.glob("*_vela.tflite")
    with pytest.raises(InputError, match="Expected a .tflite that Vela has not compiled yet"):
        estimate_ethos_u(compiled)


def test_missing_and_damaged_files_are_refused(networks, tmp_path):
    with pytest.raises(InputError, match=r"Expected a \.tflite file\. Received:.*missing"):
        estimate_ethos_u(tmp_path / "missing.tflite")
    with pytest.raises(InputError, match=r"Expected a whole \.tflite file"):
        estimate_ethos_u(networks["relu"].read_bytes()[:700])


def test_without_vela(networks, monkeypatch):
    monkeypatch.setitem(sys.modules, "ethosu.vela", None)
    monkeypatch.setitem(sys.modules, "ethosu", None)
    with pytest.raises(MissingDependencyError, match=r"keras-actnas\[vela\]"):
        estimate_ethos_u(networks["relu"])


def test_the_examples_run():
    result = doctest.testmod(ethos_u, optionflags=doctest.ELLIPSIS)
    assert result.attempted
    assert not result.failed
