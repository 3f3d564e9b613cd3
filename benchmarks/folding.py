"""What ACON costs in a deployed network, before and after folding: on this machine's CPU and, estimated, on Ethos-U.

  python benchmarks/folding.py
  python benchmarks/folding.py --vela ethos-u55-128     # needs ethos-u-vela: pip install "keras-actnas[vela]"

Every network is the given YOLO with an ACON layer at each site, all with the same random parameters. On the CPU,
float32 networks take turns with SiLU, run by run. Vela estimates int8 networks; its figures are computed, not measured.
The difference is the largest one between the outputs before and after folding, as a share of the largest output.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np

from keras_actnas.devices import estimate_ethos_u
from keras_actnas.export import to_tflite
from keras_actnas.layers import ACONA, ACONC
from keras_actnas.models import YOLO
from keras_actnas.surgery import fold_acon, to_acon
from keras_actnas.tflite_bench import TFLiteRunner, measure

VARIANTS = {"ACON-A": ACONA, "ACON-C": ACONC}
FORMS = ("multiply", "depthwise")


def settle(model: keras.Model, image: np.ndarray) -> None:
    """Gives ACON parameters as after some training, and BatchNorm the statistics of an image, so that signals live."""
    random = np.random.default_rng(0)
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for layer in model.layers:
        if isinstance(layer, (ACONA, ACONC)):
            for weight in layer.weights:
                center = 0.0 if weight.name == "p2" else 1.0
                weight.assign(center + random.uniform(-0.5, 0.5, weight.shape))
    for layer in norms:
        layer.gamma.assign(random.uniform(0.5, 1.5, layer.gamma.shape))
        layer.beta.assign(random.normal(0, 0.3, layer.beta.shape))
        layer.momentum = 0.0
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D) and layer.use_bias:
            layer.bias.assign(0.0 * layer.bias)  # An untrained head's biases would drown what the network computes.
    model(image, training=True)


def networks(name: str, image: np.ndarray) -> Iterator[tuple[str, keras.Model, keras.Model | None]]:
    """Yields a title, a network, and the unfolded network that it has to equal, if any."""
    model = YOLO(name, input_shape=image.shape[1:])
    settle(model, image)
    yield "SiLU", model, None
    for title, variant in VARIANTS.items():
        unfolded = to_acon(model, variant)
        settle(unfolded, image)
        yield f"{title}, not folded", unfolded, None
        for form in FORMS:
            yield f"{title}, folded, {form}", fold_acon(unfolded, form), unfolded


def largest_difference(one: keras.Model, other: keras.Model, image: np.ndarray) -> float:
    """Returns the largest difference between two networks' outputs, as a share of the largest output."""
    pairs = zip(keras.tree.flatten(one(image)), keras.tree.flatten(other(image)), strict=True)
    return max(float(np.abs(np.asarray(a) - np.asarray(b)).max() / np.abs(np.asarray(a)).max()) for a, b in pairs)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="yolov5n", help="a YOLO (default: %(default)s)")
    parser.add_argument("--image_size", type=int, default=320, help="default: %(default)s")
    parser.add_argument("--runs", type=int, default=100, help="runs of each network (default: %(default)s; 0: none)")
    parser.add_argument("--vela", metavar="ACCELERATOR", help="accelerator configuration, such as ethos-u55-128")
    options = parser.parse_args()
    image = np.random.default_rng(0).uniform(size=(1, options.image_size, options.image_size, 3)).astype("float32")
    print(f"{options.model}, {options.image_size} px")
    heads = (
        f"{'network':32}",
        f"{'latency / SiLU':>18}",
        f"{'Vela, ms':>10}",
        f"{'/ SiLU':>8}",
        f"{'difference':>12}",
    )
    print("".join(heads))
    reference, vela_reference = None, None
    with tempfile.TemporaryDirectory() as folder:
        for number, (title, model, unfolded) in enumerate(networks(options.model, image)):
            line = f"{title:32}"
            path = Path(folder) / f"{number}.tflite"
            if options.runs:
                to_tflite(model, path)
                reference = reference or TFLiteRunner(path)
                result = measure(TFLiteRunner(path), reference=reference, runs=options.runs)
                line += f"{result.ratio.ratio:9.3f} +- {result.ratio.standard_error:.3f}"
            else:
                line += f"{'-':>18}"
            if options.vela:
                to_tflite(model, path, "int8", image)
                milliseconds = estimate_ethos_u(path, options.vela).milliseconds
                vela_reference = vela_reference or milliseconds
                line += f"{milliseconds:10.3f}{milliseconds / vela_reference:8.4f}"
            else:
                line += f"{'-':>10}{'-':>8}"
            if unfolded is not None:
                line += f"{largest_difference(unfolded, model, image):12.1e}"
            print(line, flush=True)


if __name__ == "__main__":
    main()
