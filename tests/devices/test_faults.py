"""A full disk, and a device that disappears: no measurement is lost, and the run says why it stops."""

import subprocess

import pytest

from keras_actnas.core import InputError, Journal
from keras_actnas.devices import Device, HostDevice, Reading, Request, record
from keras_actnas.search import mixtures


class Board(Device):
    """A device that answers with many samples, until it is gone."""

    name = "board"

    def __init__(self, answers=1000):
        self.left = answers

    def describe(self):
        return {"board": "rev A"}

    def measure(self, candidate, reference, runs):
        if self.left == 0:
            raise InputError("Expected the board. Received: no answer; is it switched on?")
        self.left -= 1
        return Reading({"latency": [1.25] * runs}, {"latency": [1.5] * runs})


@pytest.fixture
def disk(tmp_path):
    """A disk of 256 KiB, with a file that fills a part of it."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    (folder / "filler").write_bytes(b"x" * 150_000)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def ask(network, count=10, runs=2000):
    return Request(tuple(mixtures(network.reference, ("silu", "relu", "relu6"), count)), network.reference, runs=runs)


def test_a_full_disk_keeps_every_whole_measurement(disk, network):
    request = ask(network)
    with (
        Journal(disk / "journal.jsonl") as journal,
        pytest.raises(InputError, match=r"No space left on device.*measurements in it are safe"),
    ):
        record(Board(), network, request, journal)
    kept = Journal(disk / "journal.jsonl")
    count = len(kept)
    assert 0 < count < 10
    assert (disk / "journal.jsonl").read_bytes().endswith(b"\n")
    (disk / "filler").unlink()
    board = Board()
    with kept:
        made = record(board, network, request, kept)
    assert len(made) == 10
    assert 1000 - board.left == 10 - count
    assert [one.assignment for one in Journal(disk / "journal.jsonl")] == list(request.assignments)


def test_no_room_for_a_network_says_where(disk, network, monkeypatch):
    (disk / "filler").write_bytes(b"x" * 256_000)
    monkeypatch.setattr("tempfile.tempdir", str(disk))
    own = network.edit(network.reference)
    with HostDevice() as device, pytest.raises(InputError, match="set TMPDIR to another folder"):
        device.measure(own * 40, own, 1)


def test_a_device_that_disappears_ends_the_run_and_the_next_continues(network, journal):
    request = ask(network, runs=3)
    with pytest.raises(InputError, match="is it switched on"):
        record(Board(answers=4), network, request, journal)
    assert len(journal) == 4
    journal.close()
    again, board = Journal(journal.path), Board(answers=6)
    with again:
        assert len(record(board, network, request, again)) == 10
    assert board.left == 0
