"""A device of one's own: anything that can run two .tflite files in turns and say how long each took.

Here it is `benchmark_model`, TFLite's own benchmark program, on a phone behind adb:

  keras-actnas search --model=yolov5n --image_size=320 --device=examples.own_device:Phone
"""

import re
import subprocess
import tempfile
from pathlib import Path

from keras_actnas.devices import Device, Reading

FOLDER = "/data/local/tmp"


class Phone(Device):
    """A phone with `benchmark_model` in FOLDER."""

    name = "phone"

    def describe(self):
        """Measurements of phones that differ in this are never mixed."""
        return {"board": adb("shell", "getprop", "ro.product.model"), "serial": adb("get-serialno")}

    def measure(self, candidate, reference, runs):
        """Returns the times of single runs, the two networks in turns."""
        times = {"candidate": [], "reference": []}
        for name, content in (("candidate", candidate), ("reference", reference)):
            with tempfile.TemporaryDirectory() as folder:
                Path(folder, name).write_bytes(content)
                adb("push", str(Path(folder, name)), f"{FOLDER}/{name}")
        for _ in range(runs):
            for name, made in times.items():
                said = adb("shell", f"{FOLDER}/benchmark_model --graph={FOLDER}/{name} --num_runs=1 --min_secs=0")
                made.append(float(re.search(r"Inference \(avg\): ([\d.]+)", said)[1]) / 1e3)
        return Reading({"latency": times["candidate"]}, {"latency": times["reference"]})


def adb(*arguments):
    """Runs adb; returns what it printed."""
    return subprocess.run(["adb", *arguments], check=True, capture_output=True, text=True).stdout.strip()
