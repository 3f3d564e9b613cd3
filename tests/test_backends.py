"""The layers and callbacks on the other backends: their tests again, each backend in a process of its own."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

ROOT = Path(__file__).parents[1]
PATHS = [
    "tests/layers",
    "tests/callbacks",
    "tests/surgery/test_fold_acon.py",
    "tests/surgery/test_pea_surgery.py",
    "tests/test_docstring_examples.py",
]
# Blocks of many layers, of which JAX compiles every part anew, whole networks, long trainings: minutes.
SLOW_PATHS = [
    "tests/layers/test_afrb.py",
    "tests/layers/test_exponential_kernel.py",
    "tests/surgery/test_collapse_afrb.py",
    "tests/surgery/test_compose_convolutions.py",
    "tests/surgery/test_restructure_linear.py",
]
SLOW_TESTS = [
    "tests/surgery/test_fold_acon.py::test_a_whole_network",
    "tests/callbacks/test_afrb_scheduler.py::test_eager_training",
]
# JAX compiles thousands of small functions here, each of which runs once.
FAST_TO_COMPILE = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
OTHERS = [name for name in ("tensorflow", "jax", "torch") if name != keras.backend.backend()]


@pytest.mark.parametrize("backend", OTHERS)
def test_another_backend(backend):
    left_out = [f"--ignore={path}" for path in SLOW_PATHS] + [f"--deselect={test}" for test in SLOW_TESTS]
    run(backend, *PATHS, *left_out)


@pytest.mark.slow
@pytest.mark.parametrize("backend", OTHERS)
def test_blocks_on_another_backend(backend):
    run(backend, *SLOW_PATHS, *SLOW_TESTS)


def run(backend, *arguments):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    result = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments, "-q", "-p", "no:cacheprovider"],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": backend, "XLA_FLAGS": FAST_TO_COMPILE},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, f"{result.stdout[-6000:]}\n{result.stderr[-1000:]}"
