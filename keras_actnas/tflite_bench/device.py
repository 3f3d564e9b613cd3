"""Describes the machine that a measurement was made on."""

from __future__ import annotations

import hashlib
import os
import platform
import struct
from pathlib import Path

import numpy as np


def describe_device() -> dict[str, str | int]:
    """Returns what identifies this machine: name, board, CPU, architecture, cores, kernel, Python and NumPy."""
    return {
        "machine": platform.node(),
        "board": _board(),
        "cpu": _cpu_model(),
        "board_id": _board_id(),
        "architecture": platform.machine(),
        "bits": 8 * struct.calcsize("P"),
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


def _board_id() -> str:
    """Returns what tells two boards of one kind apart: a hash of the serial number; empty where there is none."""
    try:
        serial = Path("/proc/device-tree/serial-number").read_bytes()
    except OSError:
        return ""
    return hashlib.sha256(serial).hexdigest()[:8]


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
