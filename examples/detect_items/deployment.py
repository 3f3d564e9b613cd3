"""What trained networks are worth once deployed: mAP of float32 and int8 .tflite, and their latency on devices."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

PRECISIONS = ("float32", "int8")
CALIBRATION_IMAGES = 200
RUNS = 300
"""Timed runs of each network on a device that measures; each in turns with the network with SiLU."""


def deploy(weights: Path, assignment: Mapping[str, str] | None, data: Path, out: Path, size: int) -> dict[str, Any]:
    """Converts a trained network to .tflite and returns the mAP of each on the validation images.

    Args:
      weights: The checkpoint.
      assignment: Activations to put in without training, site -> activation; None for the checkpoint's own.
      data: The data.yaml; int8 is calibrated on the first of its training images.
      out: A folder for float32.tflite and int8.tflite.
      size: Height and width of the images, in pixels, which are the network's input as they are.

    Returns:
      Precision -> "map50_95" and "map50", from 0 to 1; and "seconds".
    """
    from keras_actnas.export import to_tflite
    from keras_actnas.integrations import evaluate_detection, from_ultralytics, read_dataset, read_photograph
    from keras_actnas.surgery import replace_activations

    begin = time.perf_counter()
    model = from_ultralytics(weights, (size, size, 3), batch_size=1)
    if assignment is not None:
        model = replace_activations(model, assignment)
    first = list(read_dataset(data, "train").truths)[:CALIBRATION_IMAGES]
    images = np.stack([read_photograph(path) for path in first]).astype(np.float32) / 255
    dataset = read_dataset(data, "val")
    out.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {}
    for precision in PRECISIONS:
        path = out / f"{precision}.tflite"
        to_tflite(model, path, precision, images if precision == "int8" else None)
        metrics = evaluate_detection(path, dataset)
        found[precision] = {"map50_95": metrics.map50_95, "map50": metrics.map50}
    return {**found, "seconds": round(time.perf_counter() - begin, 1)}


def measure_latencies(
    networks: Mapping[str, Path],
    assignments: Mapping[str, Mapping[str, str]],
    reference: str,
    spec: str,
    precision: str | None,
) -> dict[str, dict[str, float]]:
    """Returns the latency of networks on a device, and its ratio to that of one of them, measured in turns with it.

    Args:
      networks: Name -> folder that `deploy` wrote.
      assignments: Name -> site -> activation.
      reference: The name of the one to compare with.
      spec: The device, as `--device` takes it.
      precision: Precision of the networks; None for the device's own.

    Returns:
      Name -> "milliseconds" (median), "ratio", "low" and "high" (its 95 % interval, where it is measured).

    Raises:
      InputError: The device cannot be used, or cannot run one of the networks.
    """
    from keras_actnas.core import Assignment, InputError
    from keras_actnas.core.stats import paired_ratio
    from keras_actnas.devices import Request, open_device

    found: dict[str, dict[str, float]] = {}
    with open_device(spec, precision=precision) as device:
        files = {name: (folder / f"{device.precision}.tflite").read_bytes() for name, folder in networks.items()}
        runs = 1 if device.exact else RUNS
        for name, file in files.items():
            own = Assignment(assignments[name])
            # Opened anew several times: where a network comes to lie in memory makes a difference, too.
            request = Request((own,), Assignment(assignments[reference]), runs, "verify", reopen=True)
            reading = device.measure_as(file, files[reference], request)
            if reading.failure:
                raise InputError(f"Expected networks that {device.name} can run. Received: {name}; {reading.failure}")
            times, others = reading.samples["latency"], reading.reference_samples["latency"]
            ratio = paired_ratio(times, others, int(reading.conditions.get("sessions", 1)))
            found[name] = {"milliseconds": float(np.median(times)), "ratio": ratio.ratio}
            if not device.exact:
                found[name] |= {"low": ratio.low, "high": ratio.high}
    return found
