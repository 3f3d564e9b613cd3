"""The scorer that `nwot.py` compares with: a straightforward one in eager PyTorch, in a process of its own.

It reads a line of JSON at a time, networks as {site: activation}, and answers each with a line: the mean seconds and
the scores, or for an empty list the GFLOP/s of a large matrix product.
"""

import json
import os
import sys
import time

os.environ["KERAS_BACKEND"] = "torch"

import keras
import numpy as np
import torch

from keras_actnas.models import YOLO
from keras_actnas.surgery import current_assignment

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


def use_best_threads(scorer, network):
    """Takes one thread where that is faster: on a machine that is not quiet, several wait for each other."""
    seconds = {}
    for threads in (torch.get_num_threads(), 1):
        torch.set_num_threads(threads)
        for _ in range(3):
            start = time.perf_counter()
            scorer.score(network)
            seconds[threads] = min(seconds.get(threads, float("inf")), time.perf_counter() - start)
    torch.set_num_threads(min(seconds, key=seconds.get))


def main(name, file):
    """Answers requests about a YOLO with the weights and images in a file."""
    content = np.load(file)
    images = content["images"]
    model = YOLO(name, input_shape=images.shape[1:])
    model.set_weights([content[f"weight{number}"] for number in range(len(model.weights))])
    scorer = EagerScorer(model, images)
    use_best_threads(scorer, current_assignment(model))
    for line in sys.stdin:
        networks = json.loads(line)
        start = time.perf_counter()
        scores = [scorer.score(network) for network in networks]
        seconds = time.perf_counter() - start
        print(json.dumps([seconds / len(networks), scores] if networks else [peak(), []]), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
