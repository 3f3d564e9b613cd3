"""An emulated Raspberry Pi 4: Debian's Python for arm64, NumPy and either TFLite runtime, under qemu's user mode.

It runs what a board runs; its times mean nothing.
"""

import dataclasses
import functools
import shlex
import shutil
import subprocess
from pathlib import Path

from .machinery import UnavailableError, made_once, pip_install, program, run_tool

RUNTIMES = {
    "ai_edge_litert": ["ai-edge-litert==2.3.0", "numpy==2.2.6"],
    "tflite_runtime": ["tflite-runtime==2.14.0", "numpy==1.26.4"],
}

_SUITE = "bookworm"
_PACKAGES = [
    "libbz2-1.0", "libc6", "libexpat1", "libffi8", "libgcc-s1", "liblzma5", "libpython3.11-minimal",
    "libpython3.11-stdlib", "libssl3", "libstdc++6", "libuuid1", "python3.11-minimal", "zlib1g",
]  # fmt: skip
_WHEELS = ("manylinux2014_aarch64", "manylinux_2_27_aarch64", "manylinux_2_28_aarch64", "manylinux_2_34_aarch64")

# qemu takes a file from the machine's own root where there is one, and from this computer otherwise. Without these, the
# runtimes read that they are on a processor of this computer's kind: ai_edge_litert 2.2 and later crash.
_CORE = """\
processor\t: {}
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3

"""
_BOARD = "Raspberry Pi 4 Model B Rev 1.4"
_FILES = {
    "proc/cpuinfo": "".join(_CORE.format(core) for core in range(4)) + f"Model\t\t: {_BOARD}\n",
    "proc/device-tree/model": f"{_BOARD}\0",
    "sys/devices/system/cpu/online": "0-3\n",
    "sys/devices/system/cpu/possible": "0-3\n",
    "sys/devices/system/cpu/present": "0-3\n",
}

# This is what `sys.executable` names on the machine, so a process that it starts is emulated, too: the kernel cannot
# start a program for arm64, but it starts this. Compiling is what takes longest there: it is done once.
_PYTHON = """\
#!/bin/sh
unset PYTHONDONTWRITEBYTECODE
export PYTHONPYCACHEPREFIX={root}/pycache QEMU_CPU=cortex-a72
exec {emulator} -L {root} -0 "$0" {root}/usr/bin/python3.11 "$@"
"""


@dataclasses.dataclass(frozen=True)
class ArmMachine:
    """The emulated machine.

    Attributes:
      folder: Where it lies.
    """

    folder: Path

    def python(self, runtime="ai_edge_litert"):
        """Returns the path of the Python that has this runtime; this computer can run it as any other program."""
        return str(self.folder / runtime / "bin/python3")

    def run(self, arguments, runtime="ai_edge_litert", check=True, **options):
        """Runs `python3 ARGUMENTS`; returns the `CompletedProcess`, with text. Options: those of `subprocess.run`."""
        command = [self.python(runtime), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=check, **options)


def arm_machine():
    """Returns the machine, which the first call on a computer makes; raises `UnavailableError`."""
    emulator = program(["qemu-aarch64-static", "qemu-aarch64"], "qemu-user-static")
    program(["dpkg-deb"], "dpkg")
    return ArmMachine(made_once("arm", __file__, functools.partial(_make, emulator)))


def _make(emulator, folder, final):
    _unpack_debian(folder / "root", folder / "apt")
    for name, content in _FILES.items():
        path = folder / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    platforms = [word for wheel in _WHEELS for word in ("--platform", wheel)]
    for runtime, requirements in RUNTIMES.items():
        _make_environment(folder / runtime, final / "root", emulator)
        packages = folder / runtime / "lib/python3.11/site-packages"
        pip_install(packages, requirements, "--python-version=3.11", *platforms)


def _make_environment(folder, root, emulator):
    """Makes a virtual environment of the machine's Python."""
    (folder / "bin").mkdir(parents=True)
    (folder / "pyvenv.cfg").write_text(f"home = {root}/usr/bin\ninclude-system-site-packages = false\n")
    python = folder / "bin/python3"
    python.write_text(_PYTHON.format(emulator=shlex.quote(emulator), root=shlex.quote(str(root))))
    python.chmod(0o755)


def _unpack_debian(root, apt):
    """Unpacks the packages from the mirror that this computer uses; its own apt stays as it is."""
    for name in ("state/lists/partial", "cache/archives/partial"):
        (apt / name).mkdir(parents=True)
    (apt / "status").touch()
    (apt / "sources.list").write_text(f"deb [arch=arm64] {_debian_mirror()} {_SUITE} main\n")
    settings = {
        "APT::Architecture": "arm64",
        "APT::Sandbox::User": "",
        "Acquire::Languages": "none",
        "Dir::Cache": f"{apt}/cache",
        "Dir::Etc::SourceList": f"{apt}/sources.list",
        "Dir::Etc::SourceParts": "-",
        "Dir::State": f"{apt}/state",
        "Dir::State::Status": f"{apt}/status",
    }
    apt_get = ["apt-get", "--quiet=2", *(f"--option={key}={value}" for key, value in settings.items())]
    run_tool(*apt_get, "update")
    run_tool(*apt_get, "download", *_PACKAGES, cwd=apt)
    for package in sorted(apt.glob("*.deb")):
        run_tool("dpkg-deb", "--extract", str(package), str(root))
    shutil.rmtree(apt)


def _debian_mirror():
    program(["apt-get"], "apt")
    known = run_tool("apt-get", "indextargets", "--format=$(REPO_URI)", "Created-By: Packages", "Label: Debian").split()
    if not known:
        raise UnavailableError("needs a mirror of Debian that apt knows: apt-get update")
    return known[0]
