"""What the machines that tests run on need: a cache, and a reason when something for them is not here."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

CACHE = "KERAS_ACTNAS_TEST_CACHE"
"""Environment variable: the folder that keeps what takes a download to make."""


class UnavailableError(Exception):
    """A machine cannot be made here; the message says why, and what mends it."""


def program(names, package):
    """Returns the path of the first of these programs that is installed."""
    # Daemons lie where only root looks.
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])
    found = next((place for name in names if (place := shutil.which(name, path=path))), None)
    if found is None:
        raise UnavailableError(f"needs {names[0]}: apt-get update && apt-get install -y {package}")
    return found


def run_tool(*command, **options):
    """Runs a program; returns what it printed. It fails, mostly, where there is no network."""
    made = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if made.returncode:
        said = made.stderr.strip().splitlines() or ["it did not say why"]
        raise UnavailableError(f"{Path(command[0]).name} failed: {said[-1]}")
    return made.stdout


def pip_install(folder, requirements, *options):
    """Installs exactly these distributions into a folder, without what they ask for besides."""
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--quiet",
        "install",
        "--no-deps",
        "--no-compile",
    ]
    run_tool(*pip, "--only-binary=:all:", "--target", str(folder), *options, *requirements)


def made_once(name, recipe, make):
    """Returns a folder of the cache, made when it is not there.

    Args:
      name: The beginning of its name.
      recipe: The file whose code makes it: other code makes another folder.
      make: function(folder, where it will be) that fills an empty folder.
    """
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    cache = Path(os.environ.get(CACHE) or Path(cache) / "keras-actnas-tests").absolute()
    code = Path(recipe).read_bytes() + sys.version.encode()
    final = cache / f"{name}-{hashlib.sha256(code).hexdigest()[:12]}"
    if not final.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        # A folder with the final name is whole: one that is being made, or was interrupted, has another.
        with tempfile.TemporaryDirectory(prefix=f"{final.name}.", dir=cache) as beside:
            made = Path(beside, "made")
            made.mkdir()
            make(made, final)
            try:
                made.rename(final)
            except OSError:
                if not final.is_dir():  # It is there when another process was faster.
                    raise
    return final
