"""The example of a device of one's own, with programs in place of adb and of the phone's benchmark_model."""

import importlib.util
from pathlib import Path

import pytest

from keras_actnas.devices import Device, Request, record
from keras_actnas.search import single_swaps

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_device.py"

# Files that are pushed lie in a folder; the time that is printed is a microsecond for each byte of the file.
ADB = """\
#!/bin/sh
case "$1" in
  push) cp "$2" "{phone}/$(basename "$3")" ;;
  get-serialno) echo 0123456789 ;;
  shell) case "$2" in
    getprop) echo Fairphone ;;
    *) file={phone}/$(echo "$2" | sed 's/.*--graph=[^ ]*\\///; s/ .*//')
       echo "Inference timings in us: Init: 1, First inference: 2, Inference (avg): $(wc -c < "$file")" ;;
  esac ;;
esac
"""


@pytest.fixture
def phone(tmp_path, monkeypatch):
    (tmp_path / "phone").mkdir()
    (tmp_path / "adb").write_text(ADB.format(phone=tmp_path / "phone"))
    (tmp_path / "adb").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    spec = importlib.util.spec_from_file_location("own_device", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Phone()


def test_the_example_measures(phone, network, journal):
    assert isinstance(phone, Device)
    rows = tuple(single_swaps(network.reference, ("silu", "relu"))[:2])
    made = record(phone, network, Request(rows, network.reference, runs=4, model="m"), journal)
    for row in rows:
        (line,) = made[row]
        assert line.samples == (len(network.edit(row)) / 1e3,) * 4
        assert line.reference_samples == (len(network.edit(network.reference)) / 1e3,) * 4
        assert line.device == {"board": "Fairphone", "serial": "0123456789"}


def test_the_example_is_short():
    assert len(EXAMPLE.read_text().splitlines()) <= 50
