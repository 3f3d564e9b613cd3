"""Times a training step of ResNet-18 with this package's activations, and counts what is kept for the backward pass.

  KERAS_BACKEND=tensorflow python benchmarks/layers.py
  KERAS_BACKEND=jax python benchmarks/layers.py
  KERAS_BACKEND=torch python benchmarks/layers.py

Every variant takes one step in turn, round after round; what is printed are ratios to Keras's own SiLU in the same
round. Memory is the sum of what automatic differentiation keeps of one forward pass in training mode, parameters not
counted: JAX and torch tell it exactly, TensorFlow does not.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
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


def kept_bytes(model: keras.Model, images: np.ndarray) -> int | None:
    """Returns how many bytes one forward pass in training mode keeps for the backward pass, parameters not counted."""
    if keras.backend.backend() == "jax":
        import jax

        trainable = [variable.value for variable in model.trainable_variables]
        others = [variable.value for variable in model.non_trainable_variables]

        def forward(weights: list[Any]) -> Any:
            return model.stateless_call(weights, others, images, training=True)

        _, pullback, _ = jax.vjp(lambda weights: forward(weights), trainable, has_aux=True)
        known = {id(array) for array in (*trainable, *others)}
        kept = {id(array): array for array in jax.tree_util.tree_leaves(pullback)}
        return sum(array.nbytes for key, array in kept.items() if key not in known)
    if keras.backend.backend() == "torch":
        import torch

        known = {variable.value.data_ptr() for variable in model.variables}
        kept = {}

        def keep(tensor: Any) -> Any:
            kept[tensor.untyped_storage().data_ptr()] = tensor
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            outputs = model(images, training=True)
        del outputs
        masks = sum(
            images.shape[0] * int(np.prod(layer.output.shape[1:]))
            for layer in model.layers
            if isinstance(layer, StochasticPEA)
        )  # One byte an element, kept by the gradient itself and not through torch's hooks.
        return masks + sum(
            tensor.untyped_storage().nbytes() for pointer, tensor in kept.items() if pointer not in known
        )
    return None


def main() -> None:
    """Prints the median ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image_size", type=int, default=64, help="default: %(default)s")
    parser.add_argument("--batch_size", type=int, default=32, help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=30, help="steps of each variant (default: %(default)s)")
    options = parser.parse_args()
    keras.utils.set_random_seed(0)
    variants = dict(VARIANTS)
    if keras.backend.backend() == "torch":
        variants["ACONC, public PyTorch formula"] = TorchACONC
    random = np.random.default_rng(0)
    images = random.normal(size=(options.batch_size, options.image_size, options.image_size, 3)).astype("float32")
    labels = random.integers(0, 1000, options.batch_size)
    models = {name: resnet18(activation, options.image_size) for name, activation in variants.items()}
    kept = {name: kept_bytes(model, images) for name, model in models.items()}
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
        f"ResNet-18, {options.image_size} px, batch {options.batch_size}, {keras.backend.backend()} backend, "
        f"jit_compile={models['silu'].jit_compile}; silu takes {statistics.median(seconds['silu']):.3f} s a step"
    )
    print(f"{'activation':32}{'step / silu':>12}{'quartiles':>16}{'kept / silu':>14}")
    for name, times in seconds.items():
        ratios = [own / silu for own, silu in zip(times, seconds["silu"], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        memory = f"{kept[name] / kept['silu']:.3f}" if kept["silu"] else "-"
        print(f"{name:32}{middle:12.3f}{low:9.3f}-{high:.3f}{memory:>13}")


if __name__ == "__main__":
    main()
