"""The examples in the docstrings run."""

import doctest
import importlib

import pytest


@pytest.mark.parametrize("name", ["pea_scheduler", "ramps"])
def test_the_examples_run(name):
    result = doctest.testmod(importlib.import_module(f"keras_actnas.callbacks.{name}"))
    assert result.attempted >= 1 and result.failed == 0
