"""The server that tests of SSH run against does what they rely on."""

import subprocess
from pathlib import Path

import pytest


@pytest.fixture
def say(ssh_server):
    def say(*command):
        return subprocess.run(ssh_server.command(*command), capture_output=True, text=True, check=False, timeout=60)

    return say


def test_commands_start_in_its_own_home(say, ssh_server):
    (ssh_server.home / "a file").write_text("here")
    assert say("cat", "a file").stdout == "here"
    assert say("sh", "-c", 'echo "$HOME"; exit 3').stdout == f"{ssh_server.home}\n"
    assert say("sh", "-c", "exit 3").returncode == 3


def test_a_connection_that_is_cut(ssh_server):
    command = ssh_server.command("sh", "-c", "echo started; sleep 60")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as client:
        assert client.stdout.readline() == "started\n"
        ssh_server.kill_connection()
        assert client.wait(timeout=60) == 255
    assert ssh_server.connections() == 0


def test_it_stops_with_all_that_runs_and_starts_again(say, ssh_server):
    command = ssh_server.command("sh", "-c", "echo $$; sleep 60 & wait")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as client:
        ran = Path("/proc", client.stdout.readline().strip(), "cmdline")
        assert b"sleep" in ran.read_bytes()
        ssh_server.stop()
        assert client.wait(timeout=60) == 255
    assert not ran.exists() or not ran.read_bytes()  # Ended, though perhaps nobody has asked how.
    refused = say("true")
    assert (refused.returncode, "Connection refused" in refused.stderr) == (255, True)
    ssh_server.start()
    assert say("true").returncode == 0


def test_another_host_key_is_refused_until_it_is_trusted(say, ssh_server):
    assert say("true").returncode == 0
    ssh_server.swap_host_key()
    refused = say("true")
    assert (refused.returncode, "Host key verification failed" in refused.stderr) == (255, True)
    ssh_server.trust_host_key()
    assert say("true").returncode == 0


def test_a_key_that_it_does_not_know(say, ssh_server):
    ssh_server.authorized_keys.write_text("")
    refused = say("true")
    assert (refused.returncode, "Permission denied" in refused.stderr) == (255, True)
