"""The examples in the docstrings run, on whatever backend the tests do. (Those of `core` are tested there.)"""

import doctest
import importlib
import pkgutil

import pytest

PACKAGES = {"callbacks": 1, "layers": 8, "surgery": 8}
"""Package -> how many examples it has at least."""


def modules(package):
    home = importlib.import_module(f"keras_actnas.{package}")
    return [f"{home.__name__}.{module.name}" for module in pkgutil.iter_modules(home.__path__)]


@pytest.mark.parametrize("name", [name for package in PACKAGES for name in modules(package)])
def test_the_examples_run(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize("package", PACKAGES)
def test_there_are_examples(package):
    finder = doctest.DocTestFinder()
    found = [test for name in modules(package) for test in finder.find(importlib.import_module(name))]
    assert sum(bool(test.examples) for test in found) >= PACKAGES[package]
