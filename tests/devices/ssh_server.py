"""A real OpenSSH server on the loopback address, whose connections can be cut and whose host key can change."""

import contextlib
import getpass
import os
import shlex
import signal
import socket
import subprocess
import time
from pathlib import Path

from .machinery import UnavailableError, program, run_tool

HOST = "board"
"""The server's name in the client's configuration."""

_SECONDS = 20

_SERVER = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
# The folders of tests lie below one that everybody may write to.
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
# The board has a home of its own.
ForceCommand cd {home} && HOME={home} exec sh -c "$SSH_ORIGINAL_COMMAND"
"""

_CLIENT = """\
Host board
  HostName 127.0.0.1
  Port {port}
  User {user}
  IdentityFile {folder}/client_key
  IdentitiesOnly yes
  IdentityAgent none
  UserKnownHostsFile {folder}/known_hosts
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
"""


class SSHServer:
    """The server, for use in a `with` statement; it stops at its end, with all that was started over it.

    Args:
      folder: An empty folder for its keys and files; it must not have spaces in its path.

    Attributes:
      config: Configuration of the client: `ssh -F CONFIG board` connects.
      home: Where commands start.
      authorized_keys: The file of the keys that it accepts; the client's is in it.
      known_hosts: The file of the host keys that the client accepts; the server's is in it.
      log: What the server said.

    Raises:
      UnavailableError: There is no server here.
    """

    def __init__(self, folder):
        self._program = program(["sshd"], "openssh-server")
        for client in ("ssh", "ssh-keygen"):
            program([client], "openssh-client")
        if not Path("/proc/self/stat").exists():
            raise UnavailableError("needs /proc: the processes of a connection are found there")
        self.config, self.home, self.log = folder / "config", folder / "home", folder / "log"
        self.authorized_keys, self.known_hosts = folder / "authorized_keys", folder / "known_hosts"
        self._folder = folder
        self._port = _free_port()
        self._process = None
        self._started = set()
        self.home.mkdir(parents=True)
        self._write_files()

    def _write_files(self):
        for key in ("host_key", "client_key"):
            self._make_key(key)
        self.authorized_keys.write_text((self._folder / "client_key.pub").read_text())
        self.trust_host_key()
        words = {"folder": self._folder, "home": self.home, "port": self._port, "user": getpass.getuser()}
        self.config.write_text(_CLIENT.format(**words))
        server = self._folder / "sshd_config"
        server.write_text(_SERVER.format(**words))
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # Made when the system starts, where it does.
        # Versions from 9.8 on make a client wait that has left before; older ones do not know the word.
        asked = [self._program, "-t", "-f", str(server), "-o", "PerSourcePenalties=no"]
        if subprocess.run(asked, capture_output=True, check=False).returncode == 0:
            server.write_text(server.read_text() + "PerSourcePenalties no\n")

    def _make_key(self, name):
        for path in (self._folder / name, self._folder / f"{name}.pub"):
            path.unlink(missing_ok=True)
        run_tool("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(self._folder / name))

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        """Starts the server, on the same port each time, and waits until it listens."""
        command = [self._program, "-D", "-e", "-f", str(self._folder / "sshd_config")]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        _wait_for(lambda: b"Server listening" in self.log.read_bytes() or self._process.poll() is not None)
        if self._process.poll() is not None:
            raise RuntimeError(f"Expected a server that starts. Received: {self.log.read_text().strip()}")

    def stop(self):
        """Stops the server and ends its connections and all that was started over them, as when a board is off."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGSTOP)  # Nothing new is started from here on.
        self._started |= _below({self._process.pid})
        self._process.kill()
        self._process.wait()
        self._process = None
        left = self._started | _below({pid for pid, _ in self._started & _alive()})
        _kill(left)
        _wait_for(lambda: not left & _alive())
        self._started.clear()

    def connections(self):
        """Returns how many clients are connected."""
        return sum(parent == self._process.pid for parent, _, _ in _processes().values())

    def kill_connection(self):
        """Cuts the connections that there are, waiting for one; what runs on the board runs on, as on a real one."""
        _wait_for(self.connections)
        self._started |= _below({self._process.pid})
        _kill(self._started, "sshd")
        _wait_for(lambda: not self.connections())

    def swap_host_key(self):
        """Restarts the server with another host key, which the client does not know."""
        self.stop()
        self._make_key("host_key")
        self.start()

    def trust_host_key(self):
        """Writes the host key of now into the client's known hosts."""
        key = (self._folder / "host_key.pub").read_text()
        self.known_hosts.write_text(f"[127.0.0.1]:{self._port} {key}")

    def command(self, *command):
        """Returns the words that run a command on the board."""
        return ["ssh", "-F", str(self.config), HOST, "--", shlex.join(command)]


def _free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _wait_for(condition):
    end = time.monotonic() + _SECONDS
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"Expected the server to come so far within {_SECONDS} s.")
        time.sleep(0.01)


def _processes():
    """Returns process number -> (its parent's, when it started, its name), of those that have not ended."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # It has ended.
            name, _, numbers = path.read_text().partition("(")[2].rpartition(")")
            state, parent, *words = numbers.split()
            if state != "Z":
                found[int(path.parent.name)] = int(parent), words[17], name
    return found


def _alive():
    return {(pid, since) for pid, (_, since, _) in _processes().items()}


def _below(parents):
    """Returns (number, when it started) of the processes below some: a number alone may be another's tomorrow."""
    processes = _processes()
    found, left = set(), set(parents)
    while left:
        left = {child for child, (parent, _, _) in processes.items() if parent in left}
        found |= {(child, processes[child][1]) for child in left}
    return found


def _kill(processes, name=""):
    """Kills those of the processes that still run and whose name begins so."""
    for pid, (_, since, its_name) in _processes().items():
        if (pid, since) in processes and its_name.startswith(name):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
