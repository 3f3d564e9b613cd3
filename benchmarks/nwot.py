"""NWOT scores a second: this package against a straightforward eager PyTorch scorer of the same network and batch.

python benchmarks/nwot.py                      yolov5n, 224 px, batch 16, on all cores

Both score the same networks with the same weights on the same images, in turns: a block of ours, then one of PyTorch's.
Two sets of networks: single swaps, which are the paper's protocol, and random mixtures. Of the single swaps, much of
a network is as in the one before; of mixtures, little is.
"""

import argparse
import json
import time

import keras
import numpy as np
import torch

from keras_actnas.core import CANDIDATES
from keras_actnas.models import YOLO
from keras_actnas.search import NWOTScorer, count_macs, image_batch, mixtures, single_swaps
from keras_actnas.search.proxies.tasks import in_order

FUNCTIONS = {
    "relu": torch.nn.functional.relu,
    "silu": torch.nn.functional.silu,
    "hard_swish": torch.nn.functional.hardswish,
    "relu6": torch.nn.functional.relu6,
    "leaky_relu": lambda x: torch.nn.functional.leaky_relu(x, 0.1),
}


class EagerScorer:
    """NWOT of a YOLOv5 as its authors' code computes it: layer by layer, codes of every activation, K, slogdet."""

    def __init__(self, model, images):
        self.images = torch.tensor(images).permute(0, 3, 1, 2).contiguous()
        self.input = id(model.inputs[0])
        depths = sorted(model._nodes_by_depth, reverse=True)
        nodes = [node for depth in depths for node in model._nodes_by_depth[depth] if not node.is_input]
        self.steps = [
            (node.operation, self.module(node.operation), list(map(id, node.input_tensors)), id(node.outputs[0]))
            for node in nodes
        ]
        self.site_of = {layer: layer.replace("-", ".") for layer in (node.operation.name for node in nodes)}

    def module(self, layer):
        """Returns the PyTorch module of a layer, with its weights; None for what has none."""
        if isinstance(layer, keras.layers.Conv2D):
            kernel, *bias = layer.get_weights()
            size, padding = layer.kernel_size[0], layer.kernel_size[0] // 2 if layer.padding == "same" else 0
            module = torch.nn.Conv2d(*kernel.shape[2:], size, layer.strides, padding, bias=bool(bias))
            module.weight.data = torch.tensor(kernel).permute(3, 2, 0, 1).contiguous()
            if bias:
                module.bias.data = torch.tensor(bias[0])
            return module
        if isinstance(layer, keras.layers.BatchNormalization):
            module = torch.nn.BatchNorm2d(layer.gamma.shape[0], eps=layer.epsilon)
            for target, weight in zip(
                (module.weight.data, module.bias.data, module.running_mean, module.running_var),
                layer.get_weights(),
                strict=True,
            ):
                target.copy_(torch.tensor(weight))
            return module.eval()
        if isinstance(layer, keras.layers.MaxPooling2D):
            return torch.nn.MaxPool2d(layer.pool_size, layer.strides, layer.pool_size[0] // 2)
        if isinstance(layer, keras.layers.ZeroPadding2D):
            (top, bottom), (left, right) = layer.padding
            return torch.nn.ZeroPad2d((left, right, top, bottom))
        return None

    @torch.no_grad()
    def score(self, assignment):
        """Returns the score of an assignment that names every site."""
        values = {self.input: self.images}
        kernel = np.zeros((len(self.images), len(self.images)))
        for layer, module, entering, leaving in self.steps:
            inputs = [values[key] for key in entering]
            site = self.site_of[layer.name]
            if site in assignment:
                code = (inputs[0].flatten(1) > 0).float()
                kernel += (code @ code.T + (1 - code) @ (1 - code).T).numpy()
                output = FUNCTIONS[assignment[site]](inputs[0])
            elif module is not None:
                output = module(inputs[0])
            elif isinstance(layer, keras.layers.Add):
                output = inputs[0] + inputs[1]
            elif isinstance(layer, keras.layers.Concatenate):
                output = torch.cat(inputs, 1)
            else:
                output = torch.nn.functional.interpolate(inputs[0], scale_factor=2, mode="nearest")
            values[leaving] = output
        return np.linalg.slogdet(kernel)[1]


def peak():
    """Returns the GFLOP/s of a large matrix product, the best of several."""
    left, right = torch.randn(2048, 2048), torch.randn(2048, 2048)
    seconds = []
    for _ in range(8):
        start = time.perf_counter()
        left @ right
        seconds.append(time.perf_counter() - start)
    return 2 * 2048**3 / min(seconds) / 1e9


def timed(function, items):
    """Returns the mean seconds of a call, and what the calls returned."""
    start = time.perf_counter()
    scores = [function(item) for item in items]
    return (time.perf_counter() - start) / len(items), scores


def compare(ours, theirs, candidates, sample, blocks):
    """Times blocks of ours and samples of theirs in turns; returns a line of figures."""
    own, other, difference = [], [], []
    for number in range(blocks):
        seconds, scores = timed(ours.score, candidates)
        own.append(seconds)
        picked = np.random.default_rng(number).choice(len(candidates), sample, replace=False)
        seconds, expected = timed(theirs.score, [candidates[index] for index in picked])
        other.append(seconds)
        difference += [abs(scores[index] - value) for index, value in zip(picked, expected, strict=True)]
    ratios = np.array(other) / np.array(own)
    return {
        "networks": len(candidates),
        "ours_ms": round(1e3 * float(np.median(own)), 1),
        "torch_ms": round(1e3 * float(np.median(other)), 1),
        "times_as_fast": round(float(np.median(ratios)), 2),
        "blocks": [round(float(ratio), 2) for ratio in ratios],
        "largest_difference": round(float(max(difference)), 4),
    }


def main() -> None:
    """Prints the figures of single swaps and of mixtures, and the share of the machine's peak of one full pass."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="yolov5n", help="a YOLOv5")
    parser.add_argument("--image_size", type=int, default=224)
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--mixtures", type=int, default=150)
    parser.add_argument("--sample", type=int, default=10, help="networks that PyTorch scores in a block")
    parser.add_argument("--blocks", type=int, default=3)
    options = parser.parse_args()
    keras.utils.set_random_seed(0)
    shape = (options.image_size, options.image_size, 3)
    model = YOLO(options.model, input_shape=shape)
    images = image_batch(None, options.batch_size, shape)
    ours, theirs = NWOTScorer(model, images), EagerScorer(model, images)
    reference = ours.reference
    first, _ = timed(ours.score, [{}])
    theirs.score(reference)
    gigaflops = peak()
    print(json.dumps({"first_s": round(first, 1), "torch_threads": torch.get_num_threads(), "peak": round(gigaflops)}))

    stem = next(iter(reference))
    full, _ = timed(ours.score, [{stem: name} for name in (*CANDIDATES, *CANDIDATES, *CANDIDATES)])
    eager, _ = timed(theirs.score, [reference] * 5)
    # The last convolution of each branch of the head has no site behind it and is not computed.
    work = 2 * options.batch_size * sum(layer.macs for layer in count_macs(model).layers if not is_last(layer.name))
    for name, seconds in (("ours", full), ("torch", eager)):
        rate = work / seconds / 1e9
        print(json.dumps({"full_pass": name, "ms": round(1e3 * seconds, 1), "share": round(rate / gigaflops, 2)}))

    mixed = [reference.with_swaps(one) for one in mixtures(reference, CANDIDATES, options.mixtures)]
    for name, candidates in (("single swaps", single_swaps(reference, CANDIDATES)), ("mixtures", mixed)):
        found = compare(ours, theirs, in_order(candidates, reference), options.sample, options.blocks)
        print(json.dumps({"set": name, **found}))


def is_last(name):
    """Whether a layer is the convolution without activation at the end of a branch of the head."""
    return name.endswith("-2") and "-cv" in name


if __name__ == "__main__":
    main()
