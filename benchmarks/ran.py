"""Networks of Bhardwaj et al., "Restructurable Activation Networks" (2022), tables 1 and 2, beside the paper's figures.

  python benchmarks/ran.py                                        # needs ethos-u-vela: pip install "keras-actnas[vela]"
  python benchmarks/ran.py --only efficientnet-r6 GT --runs 20
  python benchmarks/ran.py --accelerators ethos-u65-512 --system_config Ethos_U65_High_End --memory_mode Dedicated_Sram

Parameters (BatchNorm statistics included) and multiply-accumulates are counted. NPU columns are estimates by Vela of
int8 networks, not measurements; random weights do. Everything is set beside EfficientNet-Lite-B0 with ReLU6. The
paper's estimators give hard-swish no cost (EfficientNet-Lite-B0 has 1x with either activation), Vela does, except for
the smallest Ethos-U55: so there is a second column for each accelerator, of the same graphs with ReLU6 in the place of
hard-swish. Host latencies are measured, run by run in turn with the reference.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

from keras_actnas.devices import EthosUEstimate, estimate_ethos_u
from keras_actnas.export import TFLiteNetwork, to_tflite
from keras_actnas.models import RANE, EfficientNetLiteB0, RepVGGA0, ResNet18
from keras_actnas.search import count_macs
from keras_actnas.tflite_bench import LatencyMeasurement, TFLiteRunner, describe_device, measure


class Network(NamedTuple):
    """A network and what the paper prints of it: millions, and throughput as a multiple of EfficientNet-Lite-B0's."""

    title: str
    build: Callable[[], keras.Model]
    parameters: float
    macs: float
    throughput: dict[str, float]


def _ran_e(name: str, title: str, parameters: float, macs: float, u55: float, u65: float) -> Network:
    return Network(title, functools.partial(RANE, name), parameters, macs, {"u55": u55, "u65": u65})


REFERENCE = "efficientnet-r6"
NETWORKS = {
    REFERENCE: Network("EfficientNet-Lite-B0 (ReLU6)", EfficientNetLiteB0, 4.7, 385, {"u55": 1.0, "u65": 1.0}),
    "efficientnet-hs": Network(
        "EfficientNet-Lite-B0 (H-Swish)",
        functools.partial(EfficientNetLiteB0, "hard_swish"),
        4.7,
        385,
        {"u55": 1.0, "u65": 1.0},
    ),
    "supernet": _ran_e("supernet", "SuperNet", 4.7, 590, 0.86, 0.87),
    "W": _ran_e("W", "SubNetwork-W", 4.13, 488, 0.91, 0.90),
    "A": _ran_e("A", "SubNetwork-A", 4.6, 561, 0.88, 0.91),
    "B": _ran_e("B", "SubNetwork-B", 4.6, 482, 1.10, 1.34),
    "C": _ran_e("C", "RAN-e-C", 4.7, 488, 1.06, 1.28),
    "GT": _ran_e("GT", "RAN-e-GT", 4.5, 433, 1.16, 1.49),
    "resnet18": Network("ResNet-18", ResNet18, 11.7, 1800, {"u55": 0.46, "u65": 0.48}),
    "repvgg": Network("RepVGG-A0", RepVGGA0, 8.3, 1400, {"u55": 0.72, "u65": 0.69}),
}


@dataclasses.dataclass
class Result:
    """What was counted, estimated and measured of one network.

    Attributes:
      parameters: Number of weights.
      macs: Multiply-accumulates.
      classifier_macs: Those of the classifier, which the paper leaves out for its own networks.
      estimates: One for each accelerator.
      with_relu6: The same with ReLU6 in place of hard-swish.
      host: Precision -> latency on this machine, in turn with the reference.
    """

    parameters: int
    macs: int
    classifier_macs: int
    estimates: list[EthosUEstimate] = dataclasses.field(default_factory=list)
    with_relu6: list[EthosUEstimate] = dataclasses.field(default_factory=list)
    host: dict[str, LatencyMeasurement] = dataclasses.field(default_factory=dict)


def examine(
    network: Network, npus: Sequence[dict[str, str]], runs: int, references: dict[str, TFLiteRunner], folder: Path
) -> Result:
    """Builds a network, counts, converts, estimates and measures it; the first one becomes the reference."""
    keras.utils.set_random_seed(0)
    model = network.build()
    count = count_macs(model)
    result = Result(count.parameters, count.macs, count.layers[-1].macs)
    images = np.random.default_rng(0).uniform(size=(4, *model.input_shape[1:])).astype("float32")
    for precision in ("float32", "int8"):
        path = folder / f"{precision}.tflite"
        to_tflite(model, path, precision, images)
        if runs:
            runner = TFLiteRunner(path.read_bytes())
            result.host[precision] = measure(runner, reference=references.setdefault(precision, runner), runs=runs)
    if npus:
        data = path.read_bytes()
        result.estimates = [estimate_ethos_u(data, **npu) for npu in npus]
        plain = without_hard_swish(data)
        result.with_relu6 = result.estimates if plain == data else [estimate_ethos_u(plain, **npu) for npu in npus]
    return result


def without_hard_swish(data: bytes) -> bytes:
    """Returns an int8 network with ReLU6 in the place of every hard-swish: what conversion would give."""
    network = TFLiteNetwork(data)
    swaps = {site: "relu6" for site, activation in network.reference.items() if activation == "hard_swish"}
    return network.edit(swaps) if swaps else data


def throughput(estimates: Sequence[EthosUEstimate], reference: Sequence[EthosUEstimate], number: int) -> float:
    """Returns inferences per second as a multiple of the reference's."""
    return reference[number].milliseconds / estimates[number].milliseconds


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> float:
    """Returns Spearman's rank correlation; equal values share the mean of their ranks."""

    def ranks(values: Sequence[float]) -> np.ndarray:
        array = np.round(np.asarray(values, float), 6)
        return np.array([(array < value).sum() + ((array == value).sum() - 1) / 2 for value in array])

    return float(np.corrcoef(ranks(one), ranks(other))[0, 1])


def family(npu: dict[str, str]) -> str:
    """Returns what a figure of the paper is of: "u55" for "ethos-u55-128"."""
    return npu["accelerator"].split("-")[1]


def header(npus: Sequence[dict[str, str]], runs: int) -> str:
    """Returns the two lines above the table."""
    first = f"{'':31}{'parameters, M':>14}{'MACs, M':>28}"
    second = f"{'network':31}{'ours':>7}{'paper':>7}{'ours':>10}{'no classif.':>12}{'paper':>6}"
    for npu in npus:
        first += f"{npu['accelerator']:>23}"
        second += f"{'ours':>9}{'ReLU6':>7}{'paper':>7}"
    for precision in ("float32", "int8") if runs else ():
        first += f"{f'host {precision}':>27}"
        second += f"{'ms':>10}{'/ reference':>17}"
    return f"{first}\n{second}"


def row(network: Network, result: Result, reference: Result, npus: Sequence[dict[str, str]]) -> str:
    """Returns a line of the table; a star stands behind networks that need the CPU, which Vela counts as free."""
    line = f"{network.title:31}{result.parameters / 1e6:7.2f}{network.parameters:7.2f}{result.macs / 1e6:10.1f}"
    line += f"{(result.macs - result.classifier_macs) / 1e6:12.1f}{network.macs:6.0f}"
    for number, npu in enumerate(npus):
        star = " " if result.estimates[number].runs_on_npu else "*"
        paper = network.throughput.get(family(npu))
        line += f"{throughput(result.estimates, reference.estimates, number):8.2f}{star}"
        line += f"{throughput(result.with_relu6, reference.with_relu6, number):7.2f}"
        line += f"{paper:7.2f}" if paper else f"{'-':>7}"
    for measured in result.host.values():
        line += f"{measured.summary.median:10.2f}{measured.ratio.ratio:9.3f} +-{measured.ratio.standard_error:5.3f}"
    return line


def correlations(results: dict[str, Result], npus: Sequence[dict[str, str]]) -> list[str]:
    """Returns what the estimates were made for, and how their order agrees with the paper's."""
    reference, lines = results[REFERENCE], []
    for number, npu in enumerate(npus):
        estimate = reference.estimates[number]
        line = (
            f"{estimate.accelerator}: estimates by Vela {estimate.vela_version} for {estimate.system_config}, "
            f"{estimate.memory_mode}; the reference takes {estimate.milliseconds:.2f} ms"
        )
        names = [name for name in results if family(npu) in NETWORKS[name].throughput]
        if len(names) > 2:
            paper = [NETWORKS[name].throughput[family(npu)] for name in names]
            ours = [throughput(results[name].estimates, reference.estimates, number) for name in names]
            plain = [throughput(results[name].with_relu6, reference.with_relu6, number) for name in names]
            line += (
                f"; rank correlation with the paper {rank_correlation(ours, paper):.3f}, "
                f"with ReLU6 {rank_correlation(plain, paper):.3f}"
            )
        lines.append(line)
    return lines


def parse_npus(options: argparse.Namespace, parser: argparse.ArgumentParser) -> list[dict[str, str]]:
    """Returns the arguments of `estimate_ethos_u` for each accelerator."""
    npus = [{"accelerator": name} for name in options.accelerators]
    for argument in ("system_config", "memory_mode"):
        values = getattr(options, argument)
        if len(values) not in (0, len(npus)):
            parser.error(f"--{argument} takes one name for each accelerator")
        for npu, value in zip(npus, values, strict=False):
            npu[argument] = value
    return npus


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--accelerators", nargs="*", default=["ethos-u55-256", "ethos-u65-256"], help="default: %(default)s; none: []"
    )
    parser.add_argument("--system_config", nargs="*", default=[], help="one for each accelerator (default: Vela's)")
    parser.add_argument("--memory_mode", nargs="*", default=[], help="one for each accelerator (default: Vela's)")
    parser.add_argument("--runs", type=int, default=50, help="runs of each network (default: %(default)s; 0: none)")
    parser.add_argument("--only", nargs="*", choices=NETWORKS, help="networks, besides the reference")
    parser.add_argument("--out", type=Path, help="a JSON file for all raw results")
    options = parser.parse_args()
    npus = parse_npus(options, parser)
    chosen = [name for name in NETWORKS if name == REFERENCE or name in (options.only or NETWORKS)]
    results: dict[str, Result] = {}
    references: dict[str, TFLiteRunner] = {}
    print(header(npus, options.runs))
    with tempfile.TemporaryDirectory() as folder:
        for name in chosen:
            results[name] = examine(NETWORKS[name], npus, options.runs, references, Path(folder))
            print(row(NETWORKS[name], results[name], results[REFERENCE], npus), flush=True)
            keras.backend.clear_session()
    print("\n".join(correlations(results, npus)))
    fallen = {name: one.cpu_operators for name in results for one in results[name].estimates if one.cpu_operators}
    for name, operators in fallen.items():
        print(f"* {NETWORKS[name].title} leaves to the CPU, at a cost unknown to Vela: {', '.join(operators)}")
    if options.out:
        raw = {name: dataclasses.asdict(result) for name, result in results.items()}
        options.out.write_text(json.dumps({"device": describe_device(), "networks": raw}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
