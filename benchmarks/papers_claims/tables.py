"""Prints the results in the shape of the papers' tables, the papers' figures beside them, and what reproduces.

  python benchmarks/papers_claims/tables.py benchmarks/papers_claims/results.jsonl

Here: mean and standard deviation over seeds, and the difference to ReLU, seed by seed, with its standard error, in bold
if zero is outside of its 95 % interval. In brackets, what is added to the accuracy of ReLU. The tables are Markdown.
"""

from __future__ import annotations

import argparse
import collections
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from claims import Claim, acon_claims, pea_claims
from names import ENDS, KINDS, LABELS, PROGRESSIVE, pea_names, short_name
from published import ACON, META_COST, PEA, PEA_BEST, SHUFFLENET
from results import Results, read

from keras_actnas.core import InputError
from keras_actnas.core.stats import student_factor

SIGNS = {1: "more", 0: "the same", -1: "less"}
"""What the papers say where they give no figure."""


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join([f"**{title}**", "", *(f"| {' | '.join(line)} |" for line in lines), ""])


def level(results: Results, name: str, as_error: bool = False) -> str:
    """Returns accuracy or top-1 error in %, with the standard deviation over seeds; a dash if it was not trained."""
    if name not in results:
        return "-"
    values = results.accuracies(name)
    mean = statistics.fmean(values)
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{100 - mean if as_error else mean:.2f}{spread}"


def to_relu(results: Results, name: str) -> str:
    """Returns the difference in accuracy to ReLU, in bold if it is significant; a dash if it was not trained."""
    difference = results.difference((name,))
    if difference is None:
        return "-"
    return f"**{difference}**" if difference.is_significant else str(difference)


def pea_table(every: Sequence[Results], kind: str) -> str:
    """Returns table 2 or 3 of the PEA paper: accuracies of ReLU networks that were trained with PEA."""
    names = pea_names((kind,))
    rows = []
    for results in every:
        rows.append([f"{results.network}, here", *(level(results, name) for name in ("relu", *names))])
        rows.append(["... difference to ReLU", "", *(to_relu(results, name) for name in names)])
    for network, figures in PEA.items():
        if set(names) <= set(figures):
            gains = (f"{figures[name]:.2f} ({figures[name] - figures['relu']:+.2f})" for name in names)
            rows.append([f"{network}, paper", f"{figures['relu']:.2f}", *gains])
    header = ["network", "baseline", *(f"PEA-{LABELS[name]} {end}" for name in PROGRESSIVE for end in ENDS)]
    return table(f"PEA, table {2 + KINDS.index(kind)}: accuracy in %, {kind} variant", header, rows)


def best(results: Results, names: Sequence[str]) -> str | None:
    """Returns the most accurate of some configurations; None if none was trained."""
    trained = [name for name in names if name in results]
    return max(trained, key=lambda name: statistics.fmean(results.accuracies(name)), default=None)


def pea_best_table(every: Sequence[Results]) -> str:
    """Returns table 4 of the PEA paper: the best PEA that ends at 90, and the best of the other activations."""
    rows = []
    for results in every:
        chosen = (best(results, names) for names in (pea_names(ends=(90,)), PROGRESSIVE))
        cells = (
            f"{level(results, name)} ({short_name(name)}), {to_relu(results, name)}" if name else "-" for name in chosen
        )
        rows.append([f"{results.network}, here", level(results, "relu"), *cells])
    for network, (accuracy, label, limit_accuracy, activation) in PEA_BEST.items():
        relu = PEA[network]["relu"]
        gains = ((accuracy, label), (limit_accuracy, activation))
        cells = (f"{value:.2f} ({name}), {value - relu:+.2f}" for value, name in gains)
        rows.append([f"{network}, paper", f"{relu:.2f}", *cells])
    return table("PEA, table 4: accuracy in %", ["network", "ReLU", "ReLU, PEA", "upper limit"], rows)


def upper_limits_table(every: Sequence[Results]) -> str:
    """Returns the activations from which PEA comes to ReLU, trained to the end: the paper gives only the best."""
    rows = []
    for results in every:
        rows.append([f"{results.network}, here", *(level(results, name) for name in ("relu", *PROGRESSIVE))])
        rows.append(["... difference to ReLU", "", *(to_relu(results, name) for name in PROGRESSIVE)])
    header = ["network", *(LABELS[name] for name in ("relu", *PROGRESSIVE))]
    return table("Upper limits: accuracy in %", header, rows)


def acon_table(every: Sequence[Results]) -> str:
    """Returns table 2 of the ACON paper: the family, on several networks, and ACON-C with other start values."""
    columns = [(f"{results.network}, here", results) for results in every]
    header = ["activation", *(title for title, _ in columns), *(f"{network}, paper" for network in ACON)]
    rows = []
    for name in ("relu", "acon_a", "acon_b", "acon_c", "acon_c_as_swish"):
        here = [error_and_gain(results, name) for _, results in columns]
        published = (f"{figures[name]:.1f}" if name in figures else "" for figures in ACON.values())
        rows.append([LABELS[name], *here, *published])
    return table("ACON, table 2: top-1 error in %", header, rows)


def error_and_gain(results: Results, name: str) -> str:
    """Returns the error with the gain of accuracy over ReLU."""
    if name == "relu" or name not in results:
        return level(results, name, as_error=True)
    return f"{level(results, name, as_error=True)} ({to_relu(results, name)})"


def meta_table(every: Sequence[Results]) -> str:
    """Returns table 3 of the ACON paper: what meta-ACON costs and gains."""
    name = "meta_acon_channel"
    rows = []
    for results in every:
        cells = []
        for each in ("relu", name):
            if each in results:
                macs, parameters = results.cost(each)
                cells += [f"{macs / 1e6:.3f}M", f"{parameters / 1e3:.1f}k", error_and_gain(results, each)]
            else:
                cells += ["-"] * 3
        rows.append([f"{results.network}, here", *cells])
    for network, (macs, parameters, meta_macs, meta_parameters) in META_COST.items():
        relu, meta = (ACON[network][each] for each in ("relu", name))
        cells = [macs, parameters, f"{relu:.1f}", meta_macs, meta_parameters, f"{meta:.1f} ({relu - meta:+.1f})"]
        rows.append([f"{network}, paper", *cells])
    columns = ("MACs", "parameters", "error")
    header = ["network", *(f"{LABELS[each]}: {column}" for each in ("relu", name) for column in columns)]
    return table("ACON, table 3: top-1 error in % of meta-ACON, channel-wise", header, rows)


def shufflenet_table(every: Sequence[Results], title: str, names: dict[str, str]) -> str:
    """Returns table 4 or 5 of the ACON paper, which are of ShuffleNetV2 0.5x.

    Args:
      every: The networks trained here.
      title: Title of the table.
      names: Configuration -> how the row is called.
    """
    rows = [
        [label, *(error_and_gain(results, name) for results in every), f"{SHUFFLENET[name]:.1f}"]
        for name, label in names.items()
    ]
    header = ["activation", *(f"{results.network}, here" for results in every), "ShuffleNetV2 0.5x, paper"]
    return table(title, header, rows)


def claims_table(results: Results, title: str, claims: Sequence[Claim]) -> str:
    """Returns what was found of each claim, whether it is what the paper says, and what could have been told."""
    rows, found = [], []
    for claim in claims:
        difference = results.difference(claim.more, claim.less)
        if difference is None:
            continue
        said = SIGNS[claim.sign] if claim.published is None else f"{claim.published:+.2f}"
        rows.append([claim.text, said, str(difference), str(difference.seeds), claim.verdict(difference)])
        found.append(difference)
    verdicts = collections.Counter(row[-1] for row in rows)
    counted = "; ".join(f"{count} x {verdict}" for verdict, count in verdicts.most_common())
    reaches = [student_factor(difference.seeds) * difference.error for difference in found if difference.seeds > 1]
    note = f"{counted}. Chance alone makes about {len(rows) / 20:.1f} of {len(rows)} significant."
    if reaches:
        note += f" In the median, {statistics.median(reaches):.2f} points are what it takes to be significant."
    header = ["points of accuracy", "paper", "here", "seeds", ""]
    return table(f"{title}, {results.network}: differences, ± standard error", header, rows) + f"\n{note}\n"


def deployment_line(results: Results) -> str:
    """Returns how far the outputs of deployed networks were from those of the trained ones."""
    parts = []
    for title, start in (("strip_pea", "pea_"), ("fold_acon", "acon_")):
        found = [line["difference"] for line in results.lines if line["name"].startswith(start)]
        if found:
            parts.append(f"{title} {max(found):.1g} ({len(found)} networks)")
    return f"{results.network}: largest difference of outputs, as a share of the largest: {', '.join(parts)}\n"


def main() -> None:
    """Prints all tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", help="JSON lines of train.py")
    lines = read(Path(parser.parse_args().results))
    networks = dict.fromkeys(line["recipe"]["network"] for line in lines)
    if not networks:
        raise InputError("Expected results of train.py. Received: no trainings.")
    every = [Results(network, lines) for network in networks]
    for results in every:
        recipe, count = results.recipe, len(results.lines)
        settings = f"{recipe['epochs']} epochs of {recipe['images']} images, tested on {recipe['tested']}"
        seconds = statistics.median(line["cpu_seconds"] for line in results.lines)
        print(f"{results.network}: {count} trainings, {settings}; median {seconds:.0f} s of CPU each\n")
    for kind in KINDS:
        print(pea_table(every, kind))
    print(pea_best_table(every))
    print(upper_limits_table(every))
    print(acon_table(every))
    print(meta_table(every))
    others = ("relu", "silu", "mish", "elu", "softplus", "acon_c", "meta_acon_channel")
    print(shufflenet_table(every, "ACON, table 4: top-1 error in %", {name: LABELS[name] for name in others}))
    manners = {f"meta_acon_{manner}": f"{manner}-wise" for manner in ("pixel", "channel", "layer")}
    print(shufflenet_table(every, "ACON, table 5: top-1 error in % of meta-ACON", {"relu": "baseline"} | manners))
    for results in every:
        print(claims_table(results, "PEA", pea_claims(results.network)))
        print(claims_table(results, "ACON", acon_claims(results.network)))
        print(deployment_line(results))


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"error: {error}")
