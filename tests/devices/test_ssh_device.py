"""A board over a real SSH server: files go there, measurements come back, and a connection may be cut or refused."""

import re
import sys
import threading
import time

import pytest

from keras_actnas.core import InputError, Journal
from keras_actnas.devices import Request, following, record
from keras_actnas.devices import ssh as ssh_module
from keras_actnas.devices.ssh import SSHDevice
from keras_actnas.devices.ssh_client import SSHTarget
from keras_actnas.search import mixtures


@pytest.fixture
def spec(ssh_server):
    return f"//board?config={ssh_server.config}&python={sys.executable}"


@pytest.fixture
def device(spec):
    with SSHDevice.from_spec(spec) as device:
        yield device


@pytest.fixture
def folder(ssh_server):
    """Where the board keeps its files."""
    return ssh_server.home / "keras-actnas"


def ask(network, count=4, runs=3, **options):
    rows = tuple(mixtures(network.reference, ("silu", "relu", "relu6"), count))
    return Request(rows, network.reference, runs=runs, model="m", **options)


def test_it_says_what_it_is(device):
    assert device.name == "ssh://board"
    assert device.describe()["architecture"]
    assert device.conditions["runtime"] == "ai_edge_litert"
    assert (device.conditions["num_threads"], device.conditions["delegate"]) == (1, "xnnpack")


def test_measurements_come_back_as_those_of_a_device(device, network, journal, folder):
    request = ask(network, inspect=True)
    steps = []

    def steps_of(items, label):
        for item in items:
            yield item
            steps.append(item)

    made = record(device, network, request, journal, steps_of)
    assert tuple(steps) == request.assignments
    for lines in made.values():
        assert [line.metric for line in lines] == ["latency", "memory"]
        assert len(lines[0].samples) == len(lines[0].reference_samples) == 3
        assert lines[0].conditions["operators"]["CONV_2D"] == 4
        assert lines[0].model == "m"
    # What is here now is not kept there.
    assert not list(folder.glob("journal-*.jsonl"))
    assert {path.suffix for path in folder.iterdir()} <= {".pyz", ".tflite", ".json", ".log"}


def test_threads_and_delegate_reach_the_board(spec, network, journal):
    with SSHDevice.from_spec(spec, num_threads=2, delegate="none") as device:
        made = record(device, network, ask(network, 1), journal)
    ((line,),) = made.values()
    assert (line.conditions["num_threads"], line.conditions["delegate"], line.conditions["partitions"]) == (
        2,
        "none",
        0,
    )


def test_the_network_is_sent_once(device, network, folder):
    device.probe(network, network.reference)
    (file,) = folder.glob("network-*.tflite")
    sent = file.stat().st_mtime_ns
    device.probe(network, network.reference)
    assert file.stat().st_mtime_ns == sent


def test_a_connection_that_is_cut_is_made_again(device, network, journal, ssh_server):
    request = ask(network, 6, runs=3000)
    cut = []

    def cut_after_two(items, label):
        for number, item in enumerate(items):
            yield item
            if number == 1:
                ssh_server.kill_connection()
                cut.append(len(journal))

    made = record(device, network, request, journal, cut_after_two)
    assert cut == [2]
    assert [line.assignment for line in journal] == list(request.assignments)  # Each once, in order.
    assert len(made) == 6


def test_the_board_measures_on_while_nobody_is_connected(device, network, journal, folder, ssh_server, monkeypatch):
    """The next command takes what was measured meanwhile, and measures nothing twice."""
    monkeypatch.setattr(ssh_module, "RETRY_SECONDS", (0.1, 0.1))
    count = 10  # So many that the board is not done with all of them before a busy machine gets to the cut.
    request = ask(network, count, runs=10000)
    config = ssh_server.config.read_text()

    def cut(items, label):
        yield items[0]
        ssh_server.config.write_text(re.sub(r"Port \d+", "Port 1", config))  # Nobody answers there.
        ssh_server.kill_connection()
        yield from items[1:]

    with pytest.raises(InputError, match="Expected a connection to board.*the same command continues"):
        record(device, network, request, journal, cut)
    assert 1 <= len(journal) < count
    ssh_server.config.write_text(config)
    (there,) = folder.glob("journal-*.jsonl")
    deadline = time.monotonic() + 60
    while len(Journal(there)) < count and time.monotonic() < deadline:
        time.sleep(0.1)
    times = [one.time for one in Journal(there)]
    assert len(times) == count
    journal.close()
    with Journal(journal.path) as again:
        assert len(record(device, network, request, again)) == count
    assert not there.exists()


def test_what_is_interrupted_here_stops_there(spec, network, journal, folder):
    def interrupted(items, label):
        yield items[0]
        raise KeyboardInterrupt

    with SSHDevice.from_spec(spec) as device, pytest.raises(KeyboardInterrupt):
        record(device, network, ask(network, 50, runs=2000), journal, interrupted)
    (there,) = folder.glob("journal-*.jsonl")
    time.sleep(1.0)
    count = len(there.read_bytes().splitlines())
    time.sleep(1.0)
    assert len(there.read_bytes().splitlines()) == count < 50


@pytest.fixture
def own_lock(tmp_path, monkeypatch):
    monkeypatch.setattr(following, "_LOCK", tmp_path / "lock")


def test_stopping_what_does_not_run(tmp_path, own_lock):
    following.stop(tmp_path / "journal.jsonl")


def test_who_follows_over_a_dead_connection_starts_nothing_after_a_stop(tmp_path, own_lock, capsys):
    journal = tmp_path / "journal.jsonl"
    code = "import os, sys, time; open(sys.argv[1], 'ab').write(b'{}\\n'); time.sleep(30)"
    following.stop(journal)  # Of an earlier run: that one counts no more.
    time.sleep(0.1)
    threads = [threading.Thread(target=following.follow, args=([sys.executable, "-c", code, str(journal)], journal))]
    threads += [threading.Thread(target=following.follow, args=([sys.executable, "-c", code, str(journal)], journal))]
    for thread in threads:
        thread.start()
    while not (journal.exists() and journal.read_bytes()):
        time.sleep(0.05)
    following.stop(journal)
    for thread in threads:
        thread.join(timeout=20)
        assert not thread.is_alive()
    assert journal.read_bytes() == b"{}\n"  # One process, started once.


def test_a_torn_line_that_is_cut_off_is_not_spliced(tmp_path, capsys):
    path = tmp_path / "journal.jsonl"
    tail = following._Tail(path)
    tail.print_new()
    path.write_bytes(b'{"a": 1}\n{"samples":[12.345,12.5')
    tail.print_new()
    path.write_bytes(b'{"a": 1}\n{"samples":[99.9,88.8,77.7]}\n')
    tail.print_new()
    path.write_bytes(b'{"b": 1}\n')  # Removed, and begun again.
    tail.print_new()
    assert capsys.readouterr().out.split() == [
        '{"a":', "1}", '{"samples":[99.9,88.8,77.7]}', '{"b":', "1}",
    ]  # fmt: skip


def test_an_upload_that_is_cut_leaves_nothing(ssh_server, folder, device):
    target = SSHTarget("board", config=str(ssh_server.config))
    with pytest.raises(InputError):
        target.run(["sh", "-c", ssh_module._RECEIVE, "file", "10"], b"123")
    assert not (folder / "file").exists()
    target.run(["sh", "-c", ssh_module._RECEIVE, "file", "3"], b"123")
    assert (folder / "file").read_bytes() == b"123"
    assert [target.run(["sh", "-c", ssh_module._HAS, "file", size]).strip() for size in ("3", "4")] == ["yes", ""]
    assert target.run(["sh", "-c", ssh_module._HAS, "missing", "4"]).strip() == ""


def test_a_python_below_the_home(ssh_server):
    (ssh_server.home / "my python").symlink_to(sys.executable)
    target = SSHTarget("board", python="~/my python", config=str(ssh_server.config))
    assert target.run([target.python, "-c", "print('a b')"]) == "a b\n"


@pytest.mark.parametrize("line", ["no JSON", "[]", '{"assignment": {}}', '{"assignment": {"a": "relu"}, "x": 1}'])
def test_lines_that_no_board_should_send(line):
    with pytest.raises(InputError, match="from the board"):
        ssh_module._measurement(ssh_module._content(line))


def test_a_board_that_comes_back(device, network, journal, ssh_server, monkeypatch):
    monkeypatch.setattr(ssh_module, "RETRY_SECONDS", (0.5,) * 40)
    request = ask(network, 5, runs=3000)

    def reboot(items, label):
        for number, item in enumerate(items):
            yield item
            if number == 0:
                ssh_server.stop()  # With all that runs there.
                threading.Timer(3.0, ssh_server.start).start()

    made = record(device, network, request, journal, reboot)
    assert len(made) == 5
    assert len({line.assignment for line in journal}) == len(journal) == 5


def test_another_host_key_is_refused(spec, ssh_server):
    ssh_server.swap_host_key()
    with pytest.raises(InputError, match=r"the host's key is not the one in your known_hosts.*`ssh board`"):
        SSHDevice.from_spec(spec)


def test_a_host_key_that_changes_in_the_middle_ends_the_run(device, network, journal, ssh_server):
    def swap(items, label):
        yield items[0]
        ssh_server.swap_host_key()
        yield from items[1:]

    with pytest.raises(InputError, match="the host's key is not the one in your known_hosts"):
        record(device, network, ask(network, 4, runs=3000), journal, swap)
    assert len(journal) >= 1


def test_a_key_that_is_not_accepted(spec, ssh_server):
    ssh_server.authorized_keys.write_text("")
    with pytest.raises(InputError, match="no key of yours is accepted there.*ssh-copy-id"):
        SSHDevice.from_spec(spec)


def test_a_board_that_is_switched_off(spec, ssh_server):
    ssh_server.stop()
    with pytest.raises(InputError, match="Expected a board at board. Received: no connection .*refused"):
        SSHDevice.from_spec(spec)


def test_a_board_without_python(ssh_server):
    with pytest.raises(InputError, match=r"exit status 127.*Name its Python: ssh://board/...\?python="):
        SSHDevice.from_spec(f"//board?config={ssh_server.config}&python=python-of-nobody")


def test_a_board_without_a_runtime(ssh_server, tmp_path):
    script = tmp_path / "python3"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -S -I "$@"\n')
    script.chmod(0o755)
    with pytest.raises(InputError, match="Expected NumPy. Received: a Python without it"):
        SSHDevice.from_spec(f"//board?config={ssh_server.config}&python={script}")


def test_candidates_that_fail_come_back_with_their_reason(device, network, journal):
    rows = tuple(network.reference.with_swaps({"act0": name}) for name in ("relu", "mish", "relu6"))
    made = record(device, network, Request(rows, network.reference, runs=2), journal)
    assert [bool(made[row][0].failure) for row in rows] == [False, True, False]
    assert "'mish'" in made[rows[1]][0].failure


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("//pi@raspberrypi.local", SSHTarget("pi@raspberrypi.local")),
        ("//pi@10.0.0.7:2222", SSHTarget("pi@10.0.0.7", 2222)),
        ("//board/home/pi/bench", SSHTarget("board", folder="/home/pi/bench")),
        ("//board?python=venv/bin/python", SSHTarget("board", python="venv/bin/python")),
        ("//b:1/x?python=p&config=c", SSHTarget("b", 1, "/x", "p", "c")),
    ],
)
def test_targets(text, target):
    assert SSHTarget.parse(text) == target


@pytest.mark.parametrize("text", ["", "pi", "//", "//-v", "//pi:port", "//pi?color=red"])
def test_other_targets(text):
    with pytest.raises(InputError):
        SSHTarget.parse(text)
