import os
import stat
from pathlib import Path

import pytest

from keras_actnas.core import InputError
from keras_actnas.core.files import write_atomically


@pytest.mark.parametrize("content", ["text \u00e4\n", b"\x00\xff", ""])
def test_writes_text_and_bytes(content, tmp_path):
    path = tmp_path / "a.json"
    write_atomically(path, content)
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert [item.name for item in tmp_path.iterdir()] == ["a.json"]


def test_replaces_what_was_there(tmp_path):
    path = tmp_path / "a.json"
    write_atomically(str(path), "old, and longer")
    write_atomically(str(path), "new")
    assert path.read_text() == "new"


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_permissions_are_those_of_an_ordinary_file(umask, mode, tmp_path):
    before = os.umask(umask)
    try:
        write_atomically(tmp_path / "a.json", "x")
    finally:
        assert os.umask(before) == umask
    assert stat.S_IMODE((tmp_path / "a.json").stat().st_mode) == mode


@pytest.mark.parametrize("step", ["fsync", "replace", "chmod"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_failure_leaves_the_old_file_and_nothing_else(step, error, tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise error

    path = tmp_path / "a.json"
    path.write_text("old")
    monkeypatch.setattr(os if step == "fsync" else Path, step, fail)
    with pytest.raises(InputError if isinstance(error, OSError) else KeyboardInterrupt) as caught:
        write_atomically(path, "new")
    monkeypatch.undo()
    if isinstance(error, OSError):
        assert str(caught.value) == (
            f"Expected a place that can be written. Received: {path} (No space left on device)."
        )
    assert path.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["a.json"]


def test_the_bytes_are_on_the_disk_before_the_name_is(tmp_path, monkeypatch):
    steps = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (steps.append("fsync"), fsync(handle))[1])
    monkeypatch.setattr(Path, "replace", lambda self, target: (steps.append("replace"), replace(self, target))[1])
    write_atomically(tmp_path / "a.json", "x")
    assert steps == ["fsync", "replace"]


def test_missing_folder(tmp_path):
    with pytest.raises(InputError, match=r"Received: .*none.a\.json \(No such file or directory\)"):
        write_atomically(tmp_path / "none" / "a.json", "x")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_folder(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(InputError, match="Permission denied"):
            write_atomically(tmp_path / "a.json", "x")
    finally:
        tmp_path.chmod(0o700)
