"""The peak memory of a process that runs a .tflite."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import keras_actnas
from keras_actnas.core import InputError
from keras_actnas.tflite_bench import memory, peak_memory

pytest.importorskip("ai_edge_litert")
MIB = 1024

if not Path("/proc/self/status").exists():
    pytest.skip("the system does not tell", allow_module_level=True)


def test_what_a_small_network_needs(relu_file):
    found = peak_memory(relu_file)
    assert found.keys() == {"peak_kib", "baseline_kib"}
    # Python, NumPy and the runtime; the network itself is four numbers.
    assert 15 * MIB < found["baseline_kib"] < 150 * MIB
    assert found["baseline_kib"] <= found["peak_kib"] < found["baseline_kib"] + 20 * MIB


def test_tensors_show(network, tmp_path):
    (tmp_path / "big.tflite").write_bytes(network(("LOGISTIC",), shape=(1, 8 * 2**20)))  # In and out of 32 MiB each.
    found = peak_memory(tmp_path / "big.tflite", delegate="none")
    assert found["peak_kib"] - found["baseline_kib"] > 60 * MIB


def test_it_is_not_the_size_of_this_process(relu_file):
    ballast = np.ones(2**27, np.uint8)  # What `ru_maxrss` of a child would show.
    assert peak_memory(relu_file)["peak_kib"] * 1024 < 2**27 + 15 * 2**20
    assert ballast[0]


@pytest.mark.parametrize("options", [{"num_threads": 2}, {"delegate": "none"}, {"runtime": "ai_edge_litert"}])
def test_options_reach_the_process(options, relu_file, monkeypatch):
    assert peak_memory(relu_file, **options)["peak_kib"] > 0
    monkeypatch.setattr(memory, "_CHILD", "import sys; print(sys.argv[2].replace('{', '{\"error\": \"seen\", '))")
    with pytest.raises(InputError, match="seen"):
        peak_memory(relu_file, **options)


def test_networks_that_cannot_be_run(nan_file, tmp_path):
    with pytest.raises(InputError, match="Expected finite outputs.*nan.tflite"):
        peak_memory(nan_file)
    with pytest.raises(InputError, match="Expected a .tflite file. Received: .*missing.tflite"):
        peak_memory(tmp_path / "missing.tflite")
    with pytest.raises(InputError, match="Expected num_threads of at least 1. Received: 0"):
        peak_memory(nan_file, num_threads=0)


def test_a_process_that_ends(relu_file, monkeypatch):
    monkeypatch.setattr(memory, "_CHILD", "import os; os.kill(os.getpid(), 9)")
    with pytest.raises(InputError, match="in a process of its own. Received: .*relu.tflite; .* status -9"):
        peak_memory(relu_file)


def test_a_system_that_does_not_tell(relu_file, monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "none")
    assert peak_memory(relu_file) is None
    (tmp_path / "none").write_text("Name:\tpython\nState:\tR\n", encoding="utf-8")
    assert peak_memory(relu_file) is None


def test_from_a_zip_file(relu_file, tmp_path):
    """Both processes take the package from the zip file, as in a bundle."""
    package, seen = Path(keras_actnas.__file__).parent, tmp_path / "seen"
    with zipfile.ZipFile(tmp_path / "packed.pyz", "w") as archive:
        for path in [package / "__init__.py", *package.glob("core/*.py"), *package.glob("tflite_bench/*.py")]:
            content = path.read_text(encoding="utf-8")
            if path.name == "memory.py":
                content += f"\nwith open({str(seen)!r}, 'a') as file:\n    print(__file__, file=file)\n"
            archive.writestr(str(path.relative_to(package.parent)), content)
    code = f"from keras_actnas.tflite_bench import peak_memory; print(peak_memory({str(relu_file)!r})['peak_kib'] > 0)"
    finished = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path / 'packed.pyz')!r}); {code}"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )
    assert finished.stdout.strip() == "True"
    places = seen.read_text(encoding="utf-8").splitlines()
    assert places == [str(tmp_path / "packed.pyz" / "keras_actnas" / "tflite_bench" / "memory.py")] * 2


def test_what_the_process_reads(relu_file, monkeypatch, tmp_path, capsys):
    """The peak is the largest size that there was, the baseline the size that there is."""
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmHWM:\t  61000 kB\nVmRSS:\t  42000 kB\n", encoding="utf-8")
    monkeypatch.setattr(memory, "_STATUS", status)
    options = {"num_threads": 1, "delegate": "none", "runtime": None}
    monkeypatch.setattr(sys, "argv", ["-c", str(relu_file), json.dumps(options)])
    memory.main()
    assert json.loads(capsys.readouterr().out) == {"peak_kib": 61000, "baseline_kib": 42000}
