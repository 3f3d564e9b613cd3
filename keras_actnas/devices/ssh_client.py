"""Commands and files over SSH, with the OpenSSH client: its configuration, keys and known hosts are the user's."""

from __future__ import annotations

import dataclasses
import re
import shlex
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from urllib.parse import parse_qsl

from keras_actnas.core.errors import InputError, closest

CONNECTION_LOST = 255
"""Exit status of the OpenSSH client when it is the connection that failed, not the command."""

# Never ask for a password; notice within 20 s that a connection is gone.
_OPTIONS = ("BatchMode=yes", "ConnectTimeout=10", "ServerAliveInterval=5", "ServerAliveCountMax=3")
_SPEC = re.compile(r"//(?P<host>[^/?:]+)(:(?P<port>\d+))?(/(?P<folder>[^?]*))?(\?(?P<options>.*))?")
_REASONS = {
    "Host key verification failed": "the host's key is not the one in your known_hosts, or not there yet. Connect once "
    "with `ssh {host}` and look at what it says",
    "Permission denied": "no key of yours is accepted there. Make `ssh {host}` work without a password (ssh-copy-id)",
}


class ConnectionLostError(Exception):
    """The connection failed; the message is what the client said."""


@dataclasses.dataclass(frozen=True)
class SSHTarget:
    """Where commands run.

    Attributes:
      host: HOST or USER@HOST, as the OpenSSH client takes it.
      port: Port; None for the client's own configuration.
      folder: Folder on the host, made when it is not there; relative to the user's home.
      python: Python on the host: a program's name, an absolute path, or one that begins with ~/.
      config: Configuration file of the client (`ssh -F`); None for the user's.
    """

    host: str
    port: int | None = None
    folder: str = "keras-actnas"
    python: str = "python3"
    config: str | None = None

    @classmethod
    def parse(cls, text: str) -> SSHTarget:
        """Returns the target of `//USER@HOST:PORT/FOLDER?python=...&config=...`.

        Raises:
          InputError: The text has another form, or an option is unknown.
        """
        match = _SPEC.fullmatch(text)
        if match is None:
            raise InputError(f"Expected ssh://USER@HOST, perhaps with :PORT and /FOLDER. Received: {'ssh:' + text!r}.")
        options = dict(parse_qsl((match["options"] or "").replace("+", "%2B")))
        unknown = set(options) - {"python", "config"}
        if unknown:
            name = sorted(unknown)[0]
            raise InputError(f"Expected options of ssh://. Received: {name!r}.{closest(name, ['python', 'config'])}")
        if match["host"].startswith("-"):  # The client would take it for an option.
            raise InputError(f"Expected ssh://USER@HOST. Received: {'ssh:' + text!r}.")
        port = int(match["port"]) if match["port"] else None
        folder = f"/{match['folder']}" if match["folder"] else cls.folder
        return cls(match["host"], port, folder, **options)

    def run(self, command: Sequence[str], content: bytes | None = None) -> str:
        """Runs a command in the folder; returns what it printed.

        Args:
          command: The command and its arguments.
          content: What it reads from its standard input.

        Raises:
          ConnectionLostError: The connection failed.
          InputError: The client refused the connection, or the command failed.
        """
        made = subprocess.run(self._client(command), input=content or b"", capture_output=True, check=False)
        self._check(made.returncode, made.stderr.decode(errors="replace"), command)
        return made.stdout.decode()

    def stream(self, command: Sequence[str]) -> Iterator[str]:
        """Runs a command in the folder; yields the lines that it prints as they come. Errors: as for `run`."""
        with tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(
                self._client(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors
            )
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    if line.endswith(b"\n"):  # A connection that fails leaves half a line.
                        yield line.decode()
                code = process.wait()
            finally:
                process.kill()
                process.wait()
                process.stdout.close()
            errors.seek(0)
            self._check(code, errors.read().decode(errors="replace"), command)

    def _client(self, command: Sequence[str]) -> list[str]:
        where = [argument for option in _OPTIONS for argument in ("-o", option)]
        if self.config:
            where += ["-F", self.config]
        if self.port is not None:
            where += ["-p", str(self.port)]
        folder = shlex.quote(self.folder)
        words = " ".join(map(_quoted, command))
        return ["ssh", *where, self.host, "--", f"mkdir -p {folder} && cd {folder} && exec {words}"]

    def _check(self, code: int, said: str, command: Sequence[str]) -> None:
        if code == 0:
            return
        last = " ".join((said.strip().splitlines() or ["no reason given"])[-1].split())
        if code != CONNECTION_LOST:
            hint = ""
            if code == 127:
                hint = f" Name its Python: ssh://{self.host}/...?python=/path/to/python3."
            raise InputError(
                f"Expected {command[0]} to run on {self.host}. Received: exit status {code} ({last}).{hint}"
            )
        for known, reason in _REASONS.items():
            if known in said:
                raise InputError(f"Expected a connection to {self.host}. Received: {reason.format(host=self.host)}.")
        raise ConnectionLostError(last)


def _quoted(word: str) -> str:
    """Returns a word for the shell there, to which ~/ at its beginning means the user's home."""
    return f'"$HOME"/{shlex.quote(word[2:])}' if word.startswith("~/") else shlex.quote(word)
