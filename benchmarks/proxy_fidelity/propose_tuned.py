"""What a search that fine-tunes networks itself (`fine_tuned`) proposes, to be trained with other seeds as well.

  python benchmarks/proxy_fidelity/propose_tuned.py --network mobilenet --out run

The network is the study's, trained with seed 0; the images that are trained on are the study's as well, part of which
the search holds out. It proposes, with the default settings, what is fastest with hardly more loss than SiLU; and
what has the least loss and is as fast as the default proposal of `propose.py`, which comes first. What is proposed
joins `proposals_NETWORK.json`, its latency `network_NETWORK.json`. A killed run goes on where it was, in `--out`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf
from candidates import HERE, proposals_file
from command import run_command
from network_study import network_facts
from propose import DEFAULT
from subjects import SUBJECTS

from keras_actnas.core import Assignment, Constraint, Proposal
from keras_actnas.devices import open_device
from keras_actnas.search import Search, SearchSettings
from keras_actnas.search.metrics import LATENCY

PROXY = "fine_tuned"


def told(name: str, reference: Proposal, best: Proposal, metrics: Sequence[str]) -> str:
    """Returns a line about a proposal: what was predicted of it, and found when it was verified."""
    values = []
    for metric in metrics:
        own, other = reference.measured[metric].value, best.measured[metric].value
        predicted = best.predicted[metric]
        values.append(
            f"{metric} {other / own - 1:+.2%} of {own:.4f} (predicted {predicted.value / own - 1:+.2%} "
            f"+- {predicted.standard_error / own:.2%})"
        )
    return f"{name}: {', '.join(values)}; {best.assignment.summary()}"


def main() -> None:
    """Searches, prints what was found, and writes it beside the other proposals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="mobilenet", choices=SUBJECTS)
    parser.add_argument("--device", default="vela:ethos-u55-128?processes=1")
    parser.add_argument("--data", help="folder of the images, or data.yaml; see train.py and train_detector.py")
    parser.add_argument("--out", required=True, help="folder of the search's run, and of the trained network")
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    subject, facts = SUBJECTS[options.network](options.data), network_facts(options.network)
    trained = Path(options.out, f"{subject.name}.weights.h5")
    trained.parent.mkdir(parents=True, exist_ok=True)
    if not trained.exists():
        subject.tuned().save_weights(trained)
    model = subject.build(subject.size)
    model.load_weights(trained)
    latency, proxy = facts["latency"], SearchSettings(**subject.search).kind.name
    as_fast = Constraint(LATENCY, "<=", latency[f"{DEFAULT}, inference"] / latency["all silu"], 0.0)
    goals = {
        f"{DEFAULT}, {PROXY}": {},
        f"ilp, as fast, {PROXY}": {"minimize": proxy, "constraints": (as_fast,)},
    }
    found = json.loads(proposals_file(subject.name).read_text())
    with open_device(options.device) as device:
        for name, goal in goals.items():
            settings = SearchSettings(**{**subject.search, **goal})
            result = Search(model, Path(options.out, "run"), settings, device=device, say=print).run()
            print(told(name, result.reference, result.best, (LATENCY, proxy)), flush=True)
            sites = {site: result.best.assignment[site] for site in subject.reference}
            found[name] = dict(Assignment(sites))
            # Of trained weights, which an NPU compresses otherwise: what is comparable is the ratio.
            ratio = result.best.measured[LATENCY].value / result.reference.measured[LATENCY].value
            latency[name] = round(ratio * latency["all silu"], 6)
    proposals_file(subject.name).write_text(json.dumps(found, indent=1) + "\n")
    (HERE / f"network_{subject.name}.json").write_text(json.dumps(facts) + "\n")


if __name__ == "__main__":
    run_command(main)
