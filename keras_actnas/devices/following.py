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
from typing import IO

from keras_actnas.devices.plan import END

# One for all that measures for this user, in whatever folder: two networks measured at the same time slow each other.
_LOCK = Path.home() / ".keras-actnas.lock"

_INTERVAL = 0.2
_HEARTBEAT = 10.0


def follow(command: Sequence[str], journal: Path) -> None:
    """Starts a process that measures, as soon as no other does, and prints the journal's lines as they are written.

    Args:
      command: The command that measures into the journal; it ends at once when there is nothing left to measure.
      journal: The journal; its lines from the beginning are printed to the standard output, with an empty one behind
        what was written together, and once in a while one by itself, so that a connection that is gone is noticed.
    """
    log = journal.with_suffix(".log")
    since, process = time.time(), None
    tail = _Tail(journal)
    with contextlib.suppress(BrokenPipeError):
        while not _stopped(journal, since):
            lock = _lock()
            tail.print_new()
            if lock is not None:
                with lock:
                    if process is not None:
                        break
                    process = _start(command, journal, log, lock)
            time.sleep(_INTERVAL)
        if process is not None:
            process.wait()  # It has ended, or is ending because it was stopped.
        print(json.dumps({END: _last_lines(log)}), flush=True)


def stop(journal: Path) -> None:
    """Ends the process that measures into a journal, if there is one; what it has measured is kept.

    Whoever follows that journal over a connection that is gone starts none again.
    """
    _stop_mark(journal).touch()
    lock = _lock()
    if lock is not None:
        lock.close()
        return
    with contextlib.suppress(OSError, ValueError):
        process, _, measured = _LOCK.read_text(encoding="utf-8").partition(" ")
        if measured == str(journal.resolve()):
            os.killpg(int(process), signal.SIGTERM)  # SIGINT may be ignored by what a shell starts.


def _stop_mark(journal: Path) -> Path:
    return journal.with_suffix(".stop")


def _stopped(journal: Path, since: float) -> bool:
    try:
        return _stop_mark(journal).stat().st_mtime > since
    except OSError:
        return False


def _lock() -> IO[str] | None:
    """Returns the board's lock file, locked; None while a process that measures holds it, whatever it measures."""
    file = _LOCK.open("a+", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def _start(command: Sequence[str], journal: Path, log: Path, lock: IO[str]) -> subprocess.Popen[bytes]:
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
    lock.write(f"{process.pid} {journal.resolve()}")
    lock.flush()
    return process


def _last_lines(log: Path) -> str:
    try:
        return "\n".join(log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:])
    except OSError:
        return ""


class _Tail:
    """Prints the whole lines of a file that another process appends to, and whose torn last line it may cut off."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._printed_to = 0
        self._printed_at = time.monotonic()

    def print_new(self) -> None:
        content = self._read()
        whole = content[: content.rfind(b"\n") + 1]
        if whole or time.monotonic() - self._printed_at > _HEARTBEAT:
            self._printed_to += len(whole)
            sys.stdout.write(f"{whole.decode()}\n")
            sys.stdout.flush()
            self._printed_at = time.monotonic()

    def _read(self) -> bytes:
        try:
            with self._path.open("rb") as file:
                if file.seek(0, os.SEEK_END) < self._printed_to:  # It was removed, and begun again.
                    self._printed_to = 0
                file.seek(self._printed_to)
                return file.read()
        except FileNotFoundError:
            return b""
