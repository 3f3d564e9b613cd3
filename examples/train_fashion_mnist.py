"""Trains one small network on Fashion-MNIST with ReLU, Swish, ACON-C, meta-ACON and both variants of PEA.

  python examples/train_fashion_mnist.py --seeds 3

All activations get the same network, data, optimizer and number of epochs; none of these was tuned for any of them.
The test accuracy is the one after the last epoch. PEA ends as ReLU: its phases are those of the paper's
`PEAScheduler(5, 90)` for 120 epochs, in proportion. After it, the plain ReLU network is made and compared.

Into the folder --out come results.json, learning_curves.png, alpha.png and beta.png. results.json is written after
every training: a run that was stopped and is started again with the same settings goes on where it was, and one that
is started with more seeds or activations adds them.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from fashion_mnist import CLASSES, Data, load
from results import Results

from keras_actnas.callbacks import PEAScheduler
from keras_actnas.core import InputError, MissingDependencyError, closest
from keras_actnas.layers import ACONC, MetaACON, StochasticPEA, WeightedPEA

BATCH = 128
LEARNING_RATE = 0.003
BLOCKS = ((16, 2), (32, 2), (32, 1), (64, 2), (64, 1))
"""Channels and stride of each block of convolution, batch normalization and activation."""

TRANSITION = (5 / 120, 90 / 120)
"""Where alpha of PEA begins to rise and where it is 1, as shares of the training."""


@dataclasses.dataclass(frozen=True)
class Choice:
    """An activation to train with: its label and color in plots, and what makes its layer of a given name."""

    label: str
    color: str
    layer: Callable[[str], keras.Layer]


CHOICES = {
    "relu": Choice("ReLU", "#000000", lambda name: keras.layers.ReLU(name=name)),
    "silu": Choice("Swish (SiLU)", "#E69F00", lambda name: keras.layers.Activation("silu", name=name)),
    "acon_c": Choice("ACON-C", "#56B4E9", lambda name: ACONC(name=name)),
    "meta_acon": Choice("meta-ACON", "#0072B2", lambda name: MetaACON(name=name)),
    "weighted_pea": Choice("PEA, weighted (Swish to ReLU)", "#009E73", lambda name: WeightedPEA("swish", name=name)),
    "stochastic_pea": Choice(
        "PEA, stochastic (Swish to ReLU)", "#D55E00", lambda name: StochasticPEA("swish", name=name)
    ),
}
PEA = ("weighted_pea", "stochastic_pea")


def network(activation: str) -> keras.Model:
    """Returns the untrained network: five blocks, two of them residual, with logits as outputs."""
    x = inputs = keras.Input((28, 28, 1))
    for number, (channels, strides) in enumerate(BLOCKS):
        y = keras.layers.Conv2D(channels, 3, strides=strides, padding="same", use_bias=False, name=f"conv{number}")(x)
        y = keras.layers.BatchNormalization(name=f"bn{number}")(y)
        if y.shape == x.shape:
            y = keras.layers.Add(name=f"add{number}")([x, y])
        x = CHOICES[activation].layer(f"act{number}")(y)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(len(CLASSES), name="head")(x), name=activation)


class AlphaRecord(keras.callbacks.Callback):
    """Records alpha of a PEA layer, at most about 200 times in a training, as it is when a step begins."""

    def __init__(self, name: str, epochs: int, steps: int) -> None:
        super().__init__()
        self.name = name
        self.steps = steps
        self.every = max(1, epochs * steps // 200)
        self.epoch = 0
        self.points: list[tuple[float, float]] = []

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes the epoch."""
        self.epoch = epoch

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Records a point: epochs done, and alpha."""
        step = self.epoch * self.steps + batch
        if step % self.every == 0:
            self.points.append((step / self.steps, float(self.model.get_layer(self.name).alpha)))


def train(activation: str, seed: int, data: Data, epochs: int) -> dict[str, Any]:
    """Trains a network from scratch and returns what was measured, in a form that JSON can hold."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    model = network(activation)
    steps = math.ceil(len(data.train_images) / BATCH)
    model.compile(
        optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(LEARNING_RATE, epochs * steps)),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    callbacks: list[keras.callbacks.Callback] = []
    record = AlphaRecord("act0", epochs, steps)
    if activation in PEA:
        start, end = TRANSITION
        callbacks = [PEAScheduler(start * epochs, end * epochs), record]
    test = (data.test_images, data.test_labels)
    begin = time.perf_counter()
    history = model.fit(
        data.train_images,
        data.train_labels,
        batch_size=BATCH,
        epochs=epochs,
        validation_data=test,
        validation_batch_size=500,
        callbacks=callbacks,
        verbose=0,
    ).history
    seconds = time.perf_counter() - begin
    result = {
        "accuracy": history["val_accuracy"][-1],
        "seconds": seconds,
        "parameters": model.count_params(),
        "test_accuracy": history["val_accuracy"],
        "train_accuracy": history["accuracy"],
    }
    if activation in PEA:
        result |= {"alpha": record.points, "plain_relu": compare_plain_relu(model, data)}
    if activation == "acon_c":
        result["beta"] = keras.ops.convert_to_numpy(last_activation(model).beta).ravel().tolist()
    if activation == "meta_acon":
        chosen = np.random.default_rng(0).choice(len(data.test_images), 7, replace=False)
        result["beta"] = meta_beta(model, data.test_images[chosen]).tolist()
        result["beta_of"] = [CLASSES[label] for label in data.test_labels[chosen]]
    return result


def compare_plain_relu(model: keras.Model, data: Data) -> dict[str, float]:
    """Returns the accuracies of a network after PEA and of the plain ReLU network, and how far their outputs differ."""
    from keras_actnas.surgery import strip_pea

    plain = strip_pea(model)
    pea_logits, plain_logits = (logits(each, data.test_images) for each in (model, plain))
    pea_accuracy, plain_accuracy = (
        float(np.mean(outputs.argmax(axis=-1) == data.test_labels)) for outputs in (pea_logits, plain_logits)
    )
    return {
        "pea_accuracy": pea_accuracy,
        "plain_accuracy": plain_accuracy,
        "largest_difference": float(np.max(np.abs(pea_logits - plain_logits))),
    }


def logits(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Returns a model's outputs, layer by layer: a compiled `predict` may round differently for different graphs."""
    batches = (images[start : start + 500] for start in range(0, len(images), 500))
    return np.concatenate([keras.ops.convert_to_numpy(model(batch, training=False)) for batch in batches])


def last_activation(model: keras.Model) -> keras.Layer:
    """Returns the activation layer of the last block."""
    return model.get_layer(f"act{len(BLOCKS) - 1}")


def meta_beta(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Returns beta of the last meta-ACON layer, of shape (images, channels)."""
    layer = last_activation(model)
    inputs = keras.Model(model.input, layer.input)(images, training=False)
    return keras.ops.convert_to_numpy(layer.switching_factor(inputs)).reshape(len(images), -1)


def runs_of(results: Results, activation: str, seeds: int) -> list[dict[str, Any]]:
    """Returns all trainings of an activation."""
    return [results.runs[f"{activation}/{seed}"] for seed in range(seeds)]


def table(results: Results, activations: Sequence[str], seeds: int) -> str:
    """Returns the accuracies as a table."""
    error_title = "  s.e." if seeds > 1 else ""
    lines = [f"{'activation':32} {'test accuracy':>13}{error_title:>9} {'parameters':>11} {'seconds':>8}"]
    for activation in activations:
        runs = runs_of(results, activation, seeds)
        mean, error = mean_and_error([run["accuracy"] for run in runs])
        shown = f"{100 * error:7.2f} %" if error is not None else ""
        seconds = statistics.fmean(run["seconds"] for run in runs)
        label = CHOICES[activation].label
        lines.append(f"{label:32} {100 * mean:11.2f} %{shown} {runs[0]['parameters']:11} {seconds:8.1f}")
    return "\n".join(lines)


def mean_and_error(values: Sequence[float]) -> tuple[float, float | None]:
    """Returns the mean and its standard error, None of a single value."""
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None
    return statistics.fmean(values), error


def plain_relu_lines(results: Results, activations: Sequence[str], seeds: int) -> list[str]:
    """Returns what came of comparing networks after PEA with the plain ReLU networks made of them."""
    lines = []
    for activation in activations:
        if activation not in PEA:
            continue
        checks = [run["plain_relu"] for run in runs_of(results, activation, seeds)]
        same = all(check["pea_accuracy"] == check["plain_accuracy"] for check in checks)
        largest = max(check["largest_difference"] for check in checks)
        outputs = "equal" if largest == 0 else f"different by {largest:.2g} at most"
        lines.append(
            f"{CHOICES[activation].label}: without the PEA layers, as a plain ReLU network, "
            f"{'the same' if same else 'ANOTHER'} test accuracy, outputs {outputs}"
        )
    return lines


def new_figure(width: float, height: float) -> Any:
    """Returns an empty matplotlib figure, which needs no screen."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError("matplotlib", "report", "Drawing the plots") from error
    return Figure(figsize=(width, height), layout="constrained")


def save_learning_curves(path: Path, results: Results, activations: Sequence[str], seeds: int) -> None:
    """Draws the test accuracy by epoch."""
    figure = new_figure(7.5, 5.4)
    axes = figure.subplots()
    lowest = []
    for activation in activations:
        choice = CHOICES[activation]
        curves = 100 * np.array([run["test_accuracy"] for run in runs_of(results, activation, seeds)])
        epochs, mean = np.arange(1, curves.shape[1] + 1), curves.mean(axis=0)
        axes.plot(epochs, mean, color=choice.color, label=choice.label, marker=".")
        if seeds > 1:
            error = curves.std(axis=0, ddof=1) / math.sqrt(seeds)
            axes.fill_between(epochs, mean - error, mean + error, color=choice.color, alpha=0.15, linewidth=0)
        lowest.append(mean[len(mean) // 3 :].min())
    axes.set_ylim(bottom=math.floor(min(lowest)) - 0.5)  # The first epochs would flatten all the others.
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("epoch")
    axes.set_ylabel("test accuracy (%)")
    axes.set_title(f"Fashion-MNIST: mean of {seeds} seeds, band: ± standard error" if seeds > 1 else "Fashion-MNIST")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=3, fontsize=9)
    figure.savefig(path, dpi=150)


def save_alpha(path: Path, run: dict[str, Any], epochs: int) -> None:
    """Draws alpha and 1 - alpha of a PEA training, as it was recorded, with the phases."""
    figure = new_figure(7.5, 3.6)
    axes = figure.subplots()
    position, alpha = np.array(run["alpha"]).T
    position, alpha = np.append(position, epochs), np.append(alpha, alpha[-1])
    axes.plot(position, alpha, color="tab:red", label=r"$\alpha$: ReLU")
    axes.plot(position, 1 - alpha, color="tab:blue", linestyle="--", label=r"$1 - \alpha$: Swish")
    start, end = (share * epochs for share in TRANSITION)
    for edge in (start, end):
        axes.axvline(edge, color="0.5", linewidth=0.8, linestyle=":")
    for left, right, name in ((0, start, "initial"), (start, end, "transition phase"), (end, epochs, "final phase")):
        narrow = right - left < 0.1 * epochs
        axes.annotate(
            name,
            ((left + right) / 2, 1.06),
            ha="center",
            va="bottom",
            rotation=90 if narrow else 0,
            fontsize=8 if narrow else 10,
        )
    axes.set_xlim(0, epochs)
    axes.set_ylim(-0.05, 1.35)
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.set_xlabel("epoch")
    axes.set_ylabel("coefficient")
    axes.legend(loc="center right")
    figure.savefig(path, dpi=150)


def save_beta(path: Path, acon: dict[str, Any] | None, meta: dict[str, Any] | None) -> None:
    """Draws beta of the last activation layer: one distribution of ACON-C, one for each image of meta-ACON."""
    figure = new_figure(9, 4.8)
    parts = figure.subfigures(1, 2)
    axes = parts[0].subplots()
    if acon is not None:
        axes.hist(acon["beta"], bins=20, color=CHOICES["acon_c"].color, edgecolor="white")
        axes.set_ylabel("channels")
        axes.yaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel(r"learned $\beta$")
    axes.set_title("ACON-C: the same for all images" if acon is not None else "ACON-C: not trained", fontsize=10)
    if meta is None:
        axes = parts[1].subplots()
        axes.set_title("meta-ACON: not trained", fontsize=10)
        axes.set_xlabel(r"$\beta$ of an image")
        figure.savefig(path, dpi=150)
        return
    betas = np.array(meta["beta"])
    rows = parts[1].subplots(len(betas), 1, sharex=True, sharey=True)
    bins = np.linspace(0, 1, 26)
    for row, beta, name in zip(rows, betas, meta["beta_of"], strict=True):
        row.hist(beta, bins=bins, color=CHOICES["meta_acon"].color, edgecolor="white")
        row.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
        row.yaxis.tick_right()
        row.tick_params(axis="y", labelsize=7)
    rows[0].set_xlim(0, 1)
    rows[-1].set_xlabel(r"$\beta$ of an image")
    rows[0].set_title("meta-ACON: number of channels, seven test images", fontsize=10)
    figure.savefig(path, dpi=150)


def save_plots(out: Path, results: Results, activations: Sequence[str], seeds: int, epochs: int) -> list[str]:
    """Draws what the trained activations allow, and returns the names of the files."""
    save_learning_curves(out / "learning_curves.png", results, activations, seeds)
    names = ["learning_curves.png"]
    ensembles = [activation for activation in activations if activation in PEA]
    if ensembles:
        save_alpha(out / "alpha.png", runs_of(results, ensembles[0], seeds)[0], epochs)
        names.append("alpha.png")
    acon, meta = (results.get(f"{name}/0") if name in activations else None for name in ("acon_c", "meta_acon"))
    if acon is not None or meta is not None:
        save_beta(out / "beta.png", acon, meta)
        names.append("beta.png")
    return names


def positive(text: str) -> int:
    """Returns a whole number of 1 or more, for argparse."""
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def parse_names(text: str) -> list[str]:
    """Returns the activations of a comma-separated list, each once."""
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    unknown = [name for name in names if name not in CHOICES]
    if unknown or not names:
        name = unknown[0] if unknown else ""
        raise InputError(f"Expected --activations of {', '.join(CHOICES)}. Received: {name!r}.{closest(name, CHOICES)}")
    return names


def run(options: argparse.Namespace) -> None:
    """Trains what is not there yet, prints the table and draws the plots."""
    activations = parse_names(options.activations)
    new_figure(1, 1)  # A missing matplotlib is noticed now, not after the trainings.
    data = load(options.data, options.images)
    out = Path(options.out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"Expected --out to be a folder. Received: {out} ({error.strerror}).") from error
    settings = {
        "epochs": options.epochs,
        "images": len(data.train_images),
        "data": data.fingerprint,
        "batch": BATCH,
        "learning_rate": LEARNING_RATE,
        "blocks": [list(block) for block in BLOCKS],
        "transition": list(TRANSITION),
        "backend": keras.backend.backend(),
    }
    results = Results(out / "results.json", settings)
    for seed in range(options.seeds):
        for activation in activations:
            result = results.get(f"{activation}/{seed}")
            note = " (done before)"
            if result is None:
                result, note = train(activation, seed, data, options.epochs), ""
                results.add(f"{activation}/{seed}", result)
            accuracy, seconds = 100 * result["accuracy"], result["seconds"]
            print(f"{activation}, seed {seed}: {accuracy:.2f} % in {seconds:.1f} s{note}", flush=True)
    print()
    seeds = f"{options.seeds} seeds" if options.seeds > 1 else "one seed"
    print(f"{len(data.train_images)} images, {options.epochs} epochs, {seeds}; seconds of one training, with its tests")
    print(table(results, activations, options.seeds))
    for line in plain_relu_lines(results, activations, options.seeds):
        print(line)
    names = save_plots(out, results, activations, options.seeds, options.epochs)
    print(f"Written to {out}: results.json, {', '.join(names)}")
    checks = [
        result["plain_relu"] for name in PEA if name in activations for result in runs_of(results, name, options.seeds)
    ]
    if any(check["pea_accuracy"] != check["plain_accuracy"] for check in checks):
        sys.exit("error: a plain ReLU network made after PEA has another test accuracy than the network it is made of.")


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data",
        help="folder with the four idx .gz files of Fashion-MNIST, such as /usr/share/datasets/fashion-mnist of the "
        "Debian package dataset-fashion-mnist (default: Keras downloads them)",
    )
    parser.add_argument("--epochs", type=positive, default=12, help="default: %(default)s")
    parser.add_argument("--images", type=positive, help="number of training images (default: all 60,000)")
    parser.add_argument("--seeds", type=positive, default=1, help="trainings per activation (default: %(default)s)")
    parser.add_argument("--out", default="runs/fashion_mnist", help="folder for results (default: %(default)s)")
    parser.add_argument("--activations", default=",".join(CHOICES), help="comma-separated (default: %(default)s)")
    try:
        run(parser.parse_args())
    except InputError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
