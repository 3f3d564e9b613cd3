"""On a device that is reached over a connection: measuring goes on when the connection drops, and is followed again.

The process that measures is started apart from the connection; the one at the connection's end only passes on what is
written to the journal. Which of them runs is told by a lock: it belongs to the measuring process as long as that lives.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from keras_actnas.core.errors import InputError
from keras_actnas.core.journal import Journal
from keras_actnas.devices.device import Request
from keras_actnas.devices.plan import END

_INTERVAL = 0.2
_HEARTBEAT = 10.0


def follow(command: Sequence[str], journal: Path, request: Request) -> None:
    """Starts a process that measures, unless one does already, and prints the journal's lines as they are written.

    Args:
      command: The command that measures what the request asks for, into the journal.
      journal: The journal; its lines from the beginning are printed to the standard output, with an empty one behind
        what was written together, and once in a while one by itself, so that a connection that is gone is noticed.
      request: What has to be in the journal in the end.
    """
    log = journal.with_suffix(".log")
    started = False
    with contextlib.suppress(BrokenPipeError), _Tail(journal) as tail:
        while True:
            lock = _lock(journal)
            tail.print_new()
            if lock is not None:
                if started or _complete(journal, request):
                    lock.close()
                    break
                _start(command, log, lock)
                started = True
                lock.close()
            time.sleep(_INTERVAL)
        print(json.dumps({END: _last_lines(log)}), flush=True)


def stop(journal: Path) -> None:
    """Ends the process that measures into a journal, if there is one; what it has measured is kept."""
    lock = _lock(journal)
    if lock is not None:
        lock.close()
        return
    with contextlib.suppress(OSError, ValueError):
        os.killpg(int(_lock_file(journal).read_text(encoding="utf-8")), signal.SIGINT)


def _lock_file(journal: Path) -> Path:
    return journal.with_suffix(".lock")


def _lock(journal: Path) -> IO[str] | None:
    """Returns the open lock file, locked; None while a process that measures holds it."""
    file = _lock_file(journal).open("a+", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def _start(command: Sequence[str], log: Path, lock: IO[str]) -> None:
    """Starts the process that measures: it inherits the lock, and lives on when the connection is gone."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=[lock.fileno()],
        )
    lock.truncate(0)
    lock.write(str(process.pid))
    lock.flush()


def _complete(journal: Path, request: Request) -> bool:
    try:
        measured = {one.assignment for one in Journal(journal) if one.purpose == request.purpose}
    except InputError:
        return False  # The process that measures says what is wrong with it.
    return set(request.assignments) <= measured


def _last_lines(log: Path) -> str:
    try:
        return "\n".join(log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:])
    except OSError:
        return ""


class _Tail:
    """Prints the whole lines of a file that another process appends to."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: Any = None
        self._rest = b""
        self._printed = time.monotonic()

    def __enter__(self) -> _Tail:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def print_new(self) -> None:
        if self._file is None and self._path.exists():
            self._file = self._path.open("rb")
        content = self._rest + (self._file.read() if self._file is not None else b"")
        whole, newline, self._rest = content.rpartition(b"\n")
        if not newline:
            self._rest = content
        if whole or time.monotonic() - self._printed > _HEARTBEAT:
            sys.stdout.write(f"{whole.decode()}\n\n" if whole else "\n")
            sys.stdout.flush()
            self._printed = time.monotonic()
