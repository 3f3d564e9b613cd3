"""Scores that other processes compute: the same numbers, and nothing lost when a process dies."""

import os
import signal
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_actnas.core import CANDIDATES, Assignment, InputError, Journal
from keras_actnas.search import mixtures, scores
from keras_actnas.search.proxies import ScoringProcesses, Task, proxies_on
from keras_actnas.search.proxies.worker import scorer

MODULE = """
import os

class Deadly:
    metric, unit, higher_is_better = "deadly", "", True

    def __init__(self, model, images, activations, batch_norm):
        self.reference = {}
        self.conditions = {"images": float(images.sum())}

    def score(self, assignment, seed=None):
        names = list(assignment.values())
        if names[0] == "relu6":
            os._exit(7)
        if names[0] == "gelu":
            return float("nan")
        return float(len(names[0]))


def deadly(*arguments):
    return Deadly(*arguments)
"""


@pytest.fixture(scope="module")
def small():
    keras.utils.set_random_seed(1)
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(8, 3, activation="silu", name="one")(inputs)
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(8, 3, name="deep")(x))
    x = keras.layers.Activation("silu", name="two")(x)
    return keras.Model(inputs, keras.layers.Conv2D(4, 3, activation="silu", name="three")(x), name="small")


@pytest.fixture(scope="module")
def batches():
    return list(np.random.default_rng(0).uniform(0, 1, (2, 4, 8, 8, 3)).astype("float32"))


@pytest.fixture(scope="module")
def processes():
    """Returns a function that makes proxies and the processes that compute their scores; ends these afterwards."""
    made = []

    def make(name, model, batches, count=2):
        proxies = proxies_on(name, model, batches, CANDIDATES)
        conditions = [proxy.conditions for proxy in proxies]
        made.append(ScoringProcesses(name, model, batches, CANDIDATES, "inference", count=count, conditions=conditions))
        return proxies, made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def journal(tmp_path):
    with Journal(tmp_path / "journal.jsonl") as journal:
        yield journal


def test_the_same_scores_bit_for_bit(processes, small, batches, journal):
    proxies, compute = processes("nwot", small, batches)
    reference = proxies[0].reference
    rows = [reference.with_swaps(row) for row in mixtures(reference, CANDIDATES, 12)]
    starts = [(None, 0), (0, 1), (1, 0)]
    arguments = {"reference": reference, "model_hash": "m", "purpose": "design"}
    made = scores.score_assignments(proxies, rows, starts, journal, compute=compute, **arguments)
    pids = compute.pids
    for one in made:
        batch = [proxy.conditions.get("images") for proxy in proxies].index(one.conditions.get("images"))
        seed = one.conditions["seed"]
        assert one.samples[0] == proxies[batch].score(one.assignment, seed)
        assert one.reference_samples[0] == proxies[batch].score(reference, seed)
    assert 1 <= len(pids) <= 2 and os.getpid() not in pids
    compute.close()
    assert not compute.pids


@pytest.fixture(scope="module")
def deadly(processes, small, batches, tmp_path_factory):
    """A proxy of one's own whose scores end the process for ReLU6, and are NaN for GELU; computed in one process."""
    folder = tmp_path_factory.mktemp("deadly")
    (folder / "deadly_proxies.py").write_text(MODULE, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.chdir(folder)
        yield processes("deadly_proxies:deadly", small, batches, count=1)


def tasks(*names):
    return [Task(Assignment({"one": name, "two": "silu"}), None) for name in names]


def test_the_work_of_a_dead_process_is_done_again_and_the_culprit_is_named(deadly):
    _, compute = deadly
    assert dict(compute(tasks("relu"))) == dict(zip(tasks("relu"), [4.0], strict=True))
    os.kill(compute.pids[0], signal.SIGKILL)
    found = {}
    with pytest.raises(InputError, match=r"one: relu6, two: silu \(assignment .*exit status 7"):
        for task, score in compute(tasks("relu", "silu", "relu6", "mish")):
            found[task.assignment["one"]] = score
    assert found == {"relu": 4.0, "silu": 4.0, "mish": 4.0}


def test_nan_is_named_and_not_journalled(deadly, journal):
    proxies, compute = deadly
    reference, *rows = (task.assignment for task in tasks("silu", "relu", "gelu"))
    for way in (None, compute):
        with pytest.raises(
            InputError, match=r"finite deadly. Received: nan for one: gelu \(.*its own weights, batch 1"
        ):
            scores.score_assignments(
                proxies, rows, [(None, 1)], journal,
                reference=reference, model_hash="m", purpose="design", compute=way,
            )  # fmt: skip
        assert "gelu" not in {one.assignment["one"] for one in journal}
        assert reference in {one.assignment for one in journal}


def test_a_model_that_no_process_can_load(processes, small, batches):
    class Odd(keras.layers.Layer):
        def call(self, inputs):
            return inputs

    inputs = keras.Input((8, 8, 3))
    x = Odd(name="odd")(keras.layers.Conv2D(8, 3, activation="silu", name="one")(inputs))
    model = keras.Model(inputs, keras.layers.Conv2D(8, 3, activation="silu", name="two")(x))
    proxies, compute = processes("nwot", model, batches, count=1)
    with pytest.raises(InputError, match="Odd"):
        scorer(Path(compute._folder.name))({"tasks": [[dict(proxies[0].reference), None, 0]]})
