"""Writing files so that a reader, or a run that is started again, never sees half of one."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from keras_actnas.core.errors import InputError


def write_atomically(path: str | os.PathLike[str], content: bytes | str) -> None:
    """Writes a whole file or nothing: to a temporary file beside it, flushed to the disk, then renamed.

    Raises:
      InputError: The file cannot be written there.
    """
    target = Path(path)
    data = content.encode() if isinstance(content, str) else content
    try:
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            # mkstemp makes private files; give this one what `open` would have given it.
            umask = os.umask(0)
            os.umask(umask)
            Path(temporary).chmod(0o666 & ~umask)
            Path(temporary).replace(target)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
            raise
    except OSError as error:
        raise InputError(f"Expected a place that can be written. Received: {target} ({error.strerror}).") from error
