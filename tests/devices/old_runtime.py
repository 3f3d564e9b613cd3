"""A Python of this computer with the last tflite_runtime, which is what boards with a 32-bit system have."""

import os
import sys
import sysconfig

from .machinery import UnavailableError, made_once, pip_install, run_tool

REQUIREMENTS = ["tflite-runtime==2.14.0", "numpy==1.26.4"]


def old_runtime():
    """Returns the path of the Python, which the first call on a computer makes; raises `UnavailableError`."""
    if sys.version_info >= (3, 12) or sysconfig.get_platform() not in ("linux-x86_64", "linux-aarch64"):
        raise UnavailableError("needs Python 3.11 or earlier on Linux: tflite_runtime has no wheel for another")
    return str(made_once("tflite-runtime", __file__, _make) / "bin/python3")


def _make(folder, final):
    run_tool(sys.executable, "-m", "venv", "--without-pip", "--symlinks", str(folder), env=_plain_environment())
    pip_install(next(folder.glob("lib/python3*/site-packages")), REQUIREMENTS)


def _plain_environment():
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
