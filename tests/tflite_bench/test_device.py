"""What identifies the machine that was measured."""

import json
import os
import platform
from pathlib import Path

import numpy as np

from keras_actnas.tflite_bench import describe_device

PI = "processor\t: 0\nBogoMIPS\t: 108.00\n\nHardware\t: BCM2835\nModel\t\t: Raspberry Pi 4 Model B Rev 1.4\n"
INTEL = "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel\t\t: 85\nmodel name\t: Intel(R) Xeon(R) CPU\n"


def files(monkeypatch, contents):
    def read_text(path, encoding=None):
        if str(path) not in contents:
            raise FileNotFoundError(path)
        return contents[str(path)]

    monkeypatch.setattr(Path, "read_text", read_text)


def test_this_machine():
    device = describe_device()
    assert device["architecture"] == platform.machine()
    assert device["cores"] == os.cpu_count()
    assert device["python"] == platform.python_version()
    assert device["numpy"] == np.__version__
    assert device["machine"] == platform.node()
    assert device["system"].startswith(platform.system())
    assert json.loads(json.dumps(device)) == device


def test_a_board(monkeypatch):
    files(monkeypatch, {"/proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\x00", "/proc/cpuinfo": PI})
    device = describe_device()
    assert device["board"] == "Raspberry Pi 4 Model B Rev 1.4"
    assert device["cpu"] == "BCM2835"


def test_a_computer(monkeypatch):
    files(monkeypatch, {"/proc/cpuinfo": INTEL})
    device = describe_device()
    assert device["board"] == ""
    assert device["cpu"] == "Intel(R) Xeon(R) CPU"


def test_a_system_without_proc(monkeypatch):
    files(monkeypatch, {})
    assert describe_device()["cpu"] == platform.processor()
    files(monkeypatch, {"/proc/cpuinfo": "processor : 0\n"})
    assert describe_device()["cpu"] == platform.processor()
