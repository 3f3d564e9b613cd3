"""The RAN-e story on Fashion-MNIST: train a super-network, read its alphas, collapse, choose for the device, retrain.

  python examples/search_ran_e.py --epochs 10

1. A small super-network of AFRBs is trained with the loss of equation (3), which pulls every alpha towards 1.
2. `ran_e.decide` reads the alphas: the blocks that became linear are collapsed. Heaviest blocks are collapsed and
   kernels enlarged as in the paper's two fine-tuning stages.
3. Every choice for every block is measured on this machine (or with --npu estimated for an NPU), one at a time. An
   integer linear program chooses the network that keeps most of what alpha says is needed, at a latency that is
   --budget of the way from the least that any choice is predicted to have to that of the inverted bottlenecks.
4. The networks are trained anew, as in the paper, without AFRBs and with hard-swish, the all-bottleneck network and the
   all-convolution one beside them. The network that `collapse_afrb` makes of the trained super-network is trained on.

Into the folder --out come results.json, with all that was measured, and costs-<device>.jsonl; both are written as the
run goes on, and what the second has is not measured again.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import math
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from fashion_mnist import Data, load

from keras_actnas.callbacks import AFRBScheduler
from keras_actnas.core import InputError
from keras_actnas.core.files import write_atomically
from keras_actnas.models import RANE, Block, RANESuperNet
from keras_actnas.search import (
    BlockChoice,
    EthosULatency,
    HostLatency,
    choose_blocks,
    count_macs,
    measure_costs,
    ran_e,
)
from keras_actnas.search.ran_e_costs import CostOf
from keras_actnas.surgery import collapse_afrb

BATCH = 128
LEARNING_RATE = 0.003
BLOCKS = (
    Block("b1", 12, expansion=6),
    Block("b2", 12, expansion=6),
    Block("b3", 24, expansion=6, strides=2),
    Block("b4", 24, expansion=6),
    Block("b5", 32, expansion=6),
    Block("b6", 32, expansion=6, variant=3),
)
FRAME = {
    "input_shape": (28, 28, 1),
    "num_classes": 10,
    "stem_filters": 8,
    "top_filters": 64,
    "top_kernel_size": 3,
    "momentum": 0.9,
    "classifier_activation": None,
}
"""All but the blocks: at a stem of stride 2 the blocks see 14x14, then 7x7."""

build = functools.partial(RANE, **FRAME)


def train(model: keras.Model, data: Data, epochs: int, callbacks: Sequence[keras.callbacks.Callback] = ()) -> Any:
    """Trains a network and returns the history."""
    steps = epochs * -(-len(data.train_images) // BATCH)
    model.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model.fit(
        data.train_images,
        data.train_labels,
        batch_size=BATCH,
        epochs=epochs,
        callbacks=list(callbacks),
        validation_data=(data.test_images, data.test_labels),
        validation_batch_size=500,
        verbose=0,
    ).history


def search(data: Data, epochs: int, linearity: float) -> tuple[keras.Model, dict[str, Any]]:
    """Returns the trained super-network and what its training logged."""
    keras.utils.set_random_seed(0)
    supernet = RANESuperNet(BLOCKS, **FRAME)
    history = train(supernet, data, epochs, [AFRBScheduler(linearity)])
    return supernet, history


def stages(supernet: keras.Model, linear: tuple[float, float], count: int) -> dict[str, tuple[Block, ...]]:
    """Returns the networks of the paper's semi-automatic process, and the two extremes."""
    found = ran_e.decide(supernet, linear)
    heavy = ran_e.collapse_heaviest(found, min(count, sum(not block.collapsed for block in found)), build)
    bottlenecks = [block.name for block in heavy if not block.collapsed]
    kernels = ran_e.enlarge_kernels(heavy, dict.fromkeys(bottlenecks[:count], 5))
    return {
        "all inverted bottlenecks": ran_e.change(found, {block.name: {"collapsed": False} for block in found}),
        "A: as the search decided": found,
        "B: A, heaviest collapsed": heavy,
        "C: B, kernels enlarged": kernels,
        "all convolutions": ran_e.change(found, {block.name: {"collapsed": True} for block in found}),
    }


def choose(reference: tuple[Block, ...], latency: CostOf, budget: float, path: Path) -> BlockChoice:
    """Measures every option of every block and returns what the integer linear program chooses within the budget."""
    table = measure_costs(reference, latency, build, (3, 5), path)
    return choose_blocks(table, table.least + budget * (table.base.value - table.least))


def in_short(blocks: Sequence[Block]) -> str:
    """Returns one sign for each block: c for a convolution, the kernel's size for an inverted bottleneck."""
    return "".join("c" if block.collapsed else str(block.kernel_size) for block in blocks)


def fine_tuned(supernet: keras.Model, linear: tuple[float, float], data: Data, epochs: int) -> tuple[Any, float, float]:
    """Returns the collapsed super-network after some training, and its accuracy before and after."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        collapsed = collapse_afrb(supernet, linear)
    for warning in caught:
        if warning.category is UserWarning:
            print(warning.message)
    before = float(np.mean(collapsed.predict(data.test_images, 500, verbose=0).argmax(-1) == data.test_labels))
    after = train(collapsed, data, epochs)["val_accuracy"][-1]
    return collapsed, before, after


def main() -> None:
    """Runs the story."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder with the four idx files (default: download them)")
    parser.add_argument("--images", type=int, help="training images (default: all)")
    parser.add_argument("--epochs", type=int, default=10, help="of each training (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=1, help="retrainings of each network (default: %(default)s)")
    parser.add_argument("--linearity", type=float, default=0.1, help="lambda of equation (3) (default: %(default)s)")
    parser.add_argument("--linear", type=float, nargs=2, default=(0.8, 1.3), help="alphas that count as linear")
    parser.add_argument("--heaviest", type=int, default=1, help="blocks to collapse, and kernels to enlarge, by hand")
    parser.add_argument("--budget", type=float, default=0.5, help="see above (default: %(default)s)")
    parser.add_argument("--npu", help="an NPU that Vela knows, such as ethos-u55-128, in place of this machine")
    parser.add_argument("--runs", type=int, default=200, help="timed runs of each network (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("ran_e"), help="default: %(default)s")
    options = parser.parse_args()
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        story(options)
    except (InputError, OSError) as error:
        sys.exit(f"error: {error}")


def story(options: argparse.Namespace) -> None:
    """Does what the module's docstring says."""
    data = load(options.data, options.images)
    results: dict[str, Any] = {"settings": {key: str(value) for key, value in vars(options).items()}, "networks": {}}

    def save() -> None:
        write_atomically(options.out / "results.json", json.dumps(results, indent=1) + "\n")

    supernet, history = search(data, options.epochs, options.linearity)
    results["supernet"] = history
    save()
    print(f"Super-network: test accuracy {history['val_accuracy'][-1]:.2%}. Alpha of each block:")
    print("  " + ", ".join(f"{block.name} {history[f'alpha_{block.name}'][-1]:.2f}" for block in BLOCKS))
    networks = stages(supernet, tuple(options.linear), options.heaviest)
    bottlenecks = networks["all inverted bottlenecks"]
    latency: CostOf = HostLatency(build(bottlenecks), options.runs)
    if options.npu:
        latency = EthosULatency(data.train_images[:100], accelerator=options.npu)
    choice = choose(bottlenecks, latency, options.budget, options.out / f"costs-{options.npu or 'host'}.jsonl")
    networks["chosen for the device"] = choice.blocks
    print(f"The integer linear program predicts {choice.predicted.value:.4f} ms for its choice ({choice.status}).")

    title = f"{options.npu or 'latency'}, ms"
    print(f"\n{'network':38}{'blocks':8}{'parameters':>11}{'MACs':>12}{title:>20}{'test accuracy':>21}")
    for title, blocks in networks.items():
        accuracies = []
        for seed in range(options.seeds):
            keras.utils.set_random_seed(seed)
            model = build(blocks)
            accuracies.append(train(model, data, options.epochs)["val_accuracy"][-1])
        results["networks"][title] = measured = {
            "blocks": [dataclasses.asdict(block) for block in blocks],
            **facts(model, latency),
            "accuracies": accuracies,
        }
        save()
        print(line(title, in_short(blocks), measured), flush=True)
    model, before, after = fine_tuned(supernet, tuple(options.linear), data, max(1, options.epochs // 3))
    title = "super-network, collapsed, trained on"
    results["networks"][title] = measured = {**facts(model, latency), "accuracies": [after], "before": before}
    save()
    print(line(title, in_short(networks["A: as the search decided"]), measured) + f" ({before:.2%} before)")


def facts(model: keras.Model, latency: CostOf) -> dict[str, Any]:
    """Returns what is measured of a network besides its accuracy."""
    count, time = count_macs(model), latency(model)
    return {"parameters": count.parameters, "macs": count.macs, "ms": time.value, "ms_error": time.standard_error}


def line(title: str, blocks: str, measured: dict[str, Any]) -> str:
    """Returns a row of the table; with several seeds, the accuracy's standard error."""
    accuracies = np.array(measured["accuracies"])
    error = f" +- {accuracies.std(ddof=1) / len(accuracies) ** 0.5:.2%}" if len(accuracies) > 1 else ""
    time = f"{measured['ms']:.4f}"
    if math.isfinite(measured["ms_error"]):  # An estimate has no error that is known.
        time += f" +- {measured['ms_error']:.4f}"
    accuracy = f"{accuracies.mean():.2%}{error}"
    return f"{title:38}{blocks:8}{measured['parameters']:11,}{measured['macs']:12,}{time:>20}{accuracy:>21}"


if __name__ == "__main__":
    main()
