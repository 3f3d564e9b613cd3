"""Describes the machine that a measurement was made on."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import numpy as np


def describe_device() -> dict[str, str | int]:
    """Returns what identifies this machine: name, board, CPU model, architecture, cores, kernel, Python and NumPy."""
    return {
        "machine": platform.node(),
        "board": _board(),
        "cpu": _cpu_model(),
        "architecture": platform.machine(),
        "cores": os.cpu_count() or 1,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


def _board() -> str:
    """Returns the model that the device tree gives (a Raspberry Pi has one), or an empty string."""
    try:
        return Path("/proc/device-tree/model").read_text(encoding="utf-8").strip("\x00\n ")
    except OSError:
        return ""


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model", "Hardware"):
            return value.strip()
    return platform.processor()
