"""Scores that a Dask cluster computes: the same numbers, nothing lost when a worker dies, and clear errors."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_actnas.core import CANDIDATES, Assignment, InputError, Journal
from keras_actnas.search import mixtures, scores
from keras_actnas.search.proxies import ScoringCluster, Task, proxies_on

pytest.importorskip("distributed")
pytestmark = [
    # The client's event loop closes its sockets some time after the client itself.
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]

ROOT = Path(__file__).parents[2]
MODULE = """
import os, time

class Deadly:
    metric, unit, higher_is_better = "deadly", "", True

    def __init__(self, model, images, activations, batch_norm):
        self.reference = {}
        self.conditions = {"images": float(images.sum())}

    def score(self, assignment, seed=None):
        name = list(assignment.values())[0]
        if name == "relu6":
            os._exit(7)
        if name == "gelu":
            return float("nan")
        if name == "elu":
            time.sleep(0.4)
        return float(len(name))


def deadly(*arguments):
    return Deadly(*arguments)
"""


@contextlib.contextmanager
def dask(*arguments, path=ROOT, cwd=None, log=None):
    """Runs a command of Dask; yields its process, and ends it."""
    environment = {**os.environ, "PYTHONPATH": str(path), "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1"}
    with Path(log or os.devnull).open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "dask", *arguments], env=environment, cwd=cwd, stdout=out, stderr=out
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def scheduler():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ("--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
    with dask("scheduler", *options):
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.1)
        yield f"tcp://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("deadly")
    (folder / "cluster_proxies.py").write_text(MODULE, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield folder


@pytest.fixture(scope="module")
def address(folder):
    """A scheduler with two workers of one thread, each restarted by its nanny when it dies."""
    options = ("--nworkers", "2", "--nthreads", "1", "--no-dashboard", "--local-directory", str(folder))
    with scheduler() as address, dask("worker", address, *options, cwd=folder):
        yield address


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


@contextlib.contextmanager
def cluster(address, name, model, batches, **options):
    proxies = proxies_on(name, model, batches, CANDIDATES)
    conditions = [proxy.conditions for proxy in proxies]
    made = ScoringCluster(address, name, model, batches, CANDIDATES, "inference", conditions=conditions, **options)
    try:
        yield proxies, made
    finally:
        made.close()


@pytest.fixture
def journal(tmp_path):
    with Journal(tmp_path / "journal.jsonl") as journal:
        yield journal


def tasks(*names):
    return [Task(Assignment({"one": name, "two": "silu"}), None) for name in names]


def test_the_same_scores_bit_for_bit(address, small, batches, journal):
    with cluster(address, "nwot", small, batches) as (proxies, compute):
        reference = proxies[0].reference
        rows = [reference.with_swaps(row) for row in mixtures(reference, CANDIDATES, 20)]
        made = scores.score_assignments(
            proxies, rows, [(None, 0), (0, 1), (1, 0)], journal,
            reference=reference, model_hash="m", purpose="design", compute=compute,
        )  # fmt: skip
    # Dask's threads are gone by now: they draw from the random numbers that initial weights are made of.
    assert len(made) == 3 * len(set(rows))
    for one in made:
        batch = [proxy.conditions["images"] for proxy in proxies].index(one.conditions["images"])
        assert one.samples[0] == proxies[batch].score(one.assignment, one.conditions["seed"])


def test_a_worker_that_is_killed_loses_nothing(address, small, batches):
    many = [Task(one.assignment, seed) for seed in range(12) for one in tasks("elu", "relu")]
    with cluster(address, "cluster_proxies:deadly", small, batches) as (_, compute):
        found, victims = [], set()
        for task, score in compute(many):
            if not victims:
                victims = set(compute._client.run(os.getpid).values())
                os.kill(max(victims), signal.SIGKILL)
            found.append((task, score))
        assert sorted(found, key=str) == sorted(((t, float(len(t.assignment["one"]))) for t in many), key=str)
        assert victims != set(compute._client.run(os.getpid).values())


@pytest.mark.slow
def test_a_task_that_ends_its_workers_is_named_after_the_scores_of_the_others(address, small, batches):
    found = {}
    with (
        cluster(address, "cluster_proxies:deadly", small, batches) as (_, compute),
        pytest.raises(InputError, match=r"one: relu6, two: silu \(assignment .*every process that computed it ended"),
    ):
        for task, score in compute(tasks("relu", "silu", "relu6", "mish")):
            found[task.assignment["one"]] = score
    assert found == {"relu": 4.0, "silu": 4.0, "mish": 4.0}


def test_nan_is_named_and_what_came_before_is_journalled(address, small, batches, journal):
    reference, *rows = (task.assignment for task in tasks("silu", "relu", "gelu"))
    with (
        cluster(address, "cluster_proxies:deadly", small, batches) as (proxies, compute),
        pytest.raises(InputError, match=r"finite deadly. Received: nan for one: gelu \(.*seed 3, batch 1"),
    ):
        scores.score_assignments(
            proxies, rows, [(3, 1)], journal,
            reference=reference, model_hash="m", purpose="design", compute=compute,
        )  # fmt: skip
    names = {one.assignment["one"] for one in journal}
    assert "silu" in names and "gelu" not in names


def test_no_scheduler_there(small, batches):
    began = time.monotonic()
    with (
        pytest.raises(InputError, match=r"--scheduler .*tcp://127.0.0.1:9, where none answered within 1 s"),
        cluster("tcp://127.0.0.1:9", "cluster_proxies:deadly", small, batches, connect_limit=1.0),
    ):
        pass
    assert time.monotonic() - began < 10


def test_no_worker_and_one_of_another_version(folder, small, batches, tmp_path):
    other = tmp_path / "keras_actnas"
    other.mkdir()
    (other / "__init__.py").write_text('__version__ = "0.0.1"\n', encoding="utf-8")
    with scheduler() as address:
        with (
            pytest.raises(InputError, match=r"a worker at --scheduler=tcp.* within 0.5 s. Received: none; start one"),
            cluster(address, "cluster_proxies:deadly", small, batches, worker_limit=0.5),
        ):
            pass
        options = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", str(tmp_path))
        with (
            dask("worker", address, *options, path=tmp_path, cwd=tmp_path),
            pytest.raises(InputError, match=r"keras_actnas \S+ on every worker.*: 0.0.1 on worker tcp://127"),
            cluster(address, "cluster_proxies:deadly", small, batches),
        ):
            pass
