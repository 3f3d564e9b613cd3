"""Times a training step of ResNet-18 with this package's activations, and counts what is kept for the backward pass.

  KERAS_BACKEND=tensorflow python benchmarks/layers.py
  KERAS_BACKEND=jax python benchmarks/layers.py
  KERAS_BACKEND=torch python benchmarks/layers.py

Every variant takes one step in turn, round after round; what is printed are ratios to Keras's own SiLU in the same
round. Memory is what automatic differentiation keeps of one forward pass in training mode, parameters not counted: JAX
and torch tell it; for TensorFlow it is by how much the memory of a process shrinks when the gradient tape is dropped.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_actnas.layers import ACONC, MetaACON, StochasticPEA, WeightedPEA

Tensor = Any


class FormulaACONC(keras.Layer):
    """ACON-C as one would write it first: equation (4), differentiated automatically."""

    def build(self, input_shape: tuple[int, ...]) -> None:
        """Adds p1, p2 and beta."""
        shape = (1, 1, input_shape[-1])
        self.p1 = self.add_weight(shape=shape, initializer=keras.initializers.RandomNormal(stddev=1.0), name="p1")
        self.p2 = self.add_weight(shape=shape, initializer=keras.initializers.RandomNormal(stddev=1.0), name="p2")
        self.beta = self.add_weight(shape=shape, initializer="ones", name="beta")

    def call(self, x: Tensor) -> Tensor:
        """Applies the formula."""
        u = (self.p1 - self.p2) * x
        return u * keras.ops.sigmoid(self.beta * u) + self.p2 * x


class TorchACONC(FormulaACONC):
    """The formula as it stands in public PyTorch code."""

    def call(self, x: Tensor) -> Tensor:
        """Applies the formula."""
        import torch

        p1, p2, beta = (variable.value for variable in (self.p1, self.p2, self.beta))
        dpx = (p1 - p2) * x
        return dpx * torch.sigmoid(beta * dpx) + p2 * x


VARIANTS: dict[str, Callable[[], keras.Layer]] = {
    "silu": lambda: keras.layers.Activation("silu"),
    "relu": lambda: keras.layers.Activation("relu"),
    "ACONC": ACONC,
    "ACONC, plain formula": FormulaACONC,
    "MetaACON": MetaACON,
    "WeightedPEA": lambda: WeightedPEA(alpha=0.5),
    "StochasticPEA": lambda: StochasticPEA(alpha=0.5, seed=0),
}


def resnet18(activation: Callable[[], keras.Layer], size: int) -> keras.Model:
    """Returns ResNet-18 (He et al. 2016) for ImageNet with an activation layer in place of each ReLU."""

    def conv(x: Tensor, filters: int, kernel: int, stride: int) -> Tensor:
        x = keras.layers.Conv2D(filters, kernel, strides=stride, padding="same", use_bias=False)(x)
        return keras.layers.BatchNormalization()(x)

    inputs = keras.Input((size, size, 3))
    x = activation()(conv(inputs, 64, 7, 2))
    x = keras.layers.MaxPooling2D(3, 2, padding="same")(x)
    for stage, filters in enumerate((64, 128, 256, 512)):
        for block in range(2):
            stride = 2 if stage and not block else 1
            y = activation()(conv(x, filters, 3, stride))
            y = conv(y, filters, 3, 1)
            x = conv(x, filters, 1, stride) if x.shape[-1] != filters else x
            x = activation()(keras.layers.Add()([x, y]))
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(1000)(x))


def kept_by_jax(model: keras.Model, images: np.ndarray) -> int:
    """Returns the size of what the pullback of one forward pass holds."""
    import jax

    trainable = [variable.value for variable in model.trainable_variables]
    others = [variable.value for variable in model.non_trainable_variables]

    def forward(weights: list[Any]) -> Any:
        return model.stateless_call(weights, others, images, training=True)

    _, pullback, _ = jax.vjp(forward, trainable, has_aux=True)
    known = {id(array) for array in (*trainable, *others)}
    kept = {id(array): array.nbytes for array in jax.tree_util.tree_leaves(pullback)}
    return sum(size for key, size in kept.items() if key not in known)


def kept_by_torch(model: keras.Model, images: np.ndarray) -> int:
    """Returns the size of the tensors that autograd saves in one forward pass."""
    import torch

    known = {variable.value.data_ptr() for variable in model.variables}
    kept = {}

    def keep(tensor: Any) -> Any:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        outputs = model(images, training=True)
    del outputs
    # What was drawn is kept, one byte an element, by the gradient itself and not through torch's hooks.
    drawn = [layer.output.shape[1:] for layer in model.layers if isinstance(layer, StochasticPEA)]
    draws = sum(len(images) * int(np.prod(shape)) for shape in drawn)
    return draws + sum(tensor.untyped_storage().nbytes() for key, tensor in kept.items() if key not in known)


def kept_by_tensorflow(variant: str, batch_size: int, size: int) -> int:
    """Returns the memory that is freed with the tape, in a process of its own that gives back what it frees."""
    # oneDNN would pool what is freed.
    frees_at_once = {"MALLOC_MMAP_THRESHOLD_": "16384", "MALLOC_TRIM_THRESHOLD_": "0", "TF_ENABLE_ONEDNN_OPTS": "0"}
    command = [
        sys.executable,
        __file__,
        "--batch_size",
        str(batch_size),
        "--image_size",
        str(size),
        "--memory",
        variant,
    ]
    done = subprocess.run(command, env={**os.environ, **frees_at_once}, capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1])


def freed_with_tape(model: keras.Model, images: np.ndarray) -> int:
    """Returns how many bytes less this process holds after a gradient tape was dropped (Linux)."""
    import tensorflow as tf

    def resident() -> int:
        gc.collect()
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    forward = tf.function(lambda: tf.reduce_sum(model(images, training=True)))
    freed = []
    for _ in range(3):
        with tf.GradientTape() as tape:
            result = forward()
        before = resident()
        del tape, result
        freed.append(before - resident())
    return freed[-1]


def main() -> None:
    """Prints the median ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image_size", type=int, default=64, help="default: %(default)s")
    parser.add_argument("--batch_size", type=int, default=32, help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=30, help="steps of each variant (default: %(default)s)")
    parser.add_argument("--memory", metavar="VARIANT", help="only print the bytes that TensorFlow's tape keeps for one")
    options = parser.parse_args()
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    images = random.normal(size=(options.batch_size, options.image_size, options.image_size, 3)).astype("float32")
    if options.memory:
        print(freed_with_tape(resnet18(VARIANTS[options.memory], options.image_size), images))
        return
    backend = keras.backend.backend()
    variants = VARIANTS | ({"ACONC, public PyTorch formula": TorchACONC} if backend == "torch" else {})
    labels = random.integers(0, 1000, options.batch_size)
    models = {name: resnet18(activation, options.image_size) for name, activation in variants.items()}
    if backend == "tensorflow":
        kept = {name: kept_by_tensorflow(name, options.batch_size, options.image_size) for name in models}
    else:
        kept_by = {"jax": kept_by_jax, "torch": kept_by_torch}[backend]
        kept = {name: kept_by(model, images) for name, model in models.items()}
    for model in models.values():
        model.compile(keras.optimizers.SGD(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        for _ in range(3):
            model.train_on_batch(images, labels)
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(options.rounds):
        for name, model in models.items():
            start = time.perf_counter()
            float(model.train_on_batch(images, labels))
            seconds[name].append(time.perf_counter() - start)
    print(
        f"ResNet-18, {options.image_size} px, batch {options.batch_size}, {backend} backend, "
        f"jit_compile={models['silu'].jit_compile}; silu takes {statistics.median(seconds['silu']):.3f} s a step and "
        f"keeps {kept['silu'] / 1e6:.1f} MB"
    )
    print(f"{'activation':32}{'step / silu':>12}{'quartiles':>16}{'kept / silu':>14}")
    for name, times in seconds.items():
        ratios = [own / silu for own, silu in zip(times, seconds["silu"], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        print(f"{name:32}{middle:12.3f}{low:9.3f}-{high:.3f}{kept[name] / kept['silu']:13.3f}")


if __name__ == "__main__":
    main()
