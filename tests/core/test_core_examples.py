"""The examples in the docstrings of `keras_actnas.core` do what they say, and core needs nothing but NumPy."""

import doctest
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

from keras_actnas import core

MODULES = sorted(module.name for module in pkgutil.iter_modules(core.__path__))


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    module = importlib.import_module(f"keras_actnas.core.{name}")
    result = doctest.testmod(module)
    assert result.failed == 0
    assert (result.attempted > 0) == (">>> " in Path(module.__file__).read_text(encoding="utf-8"))


def test_there_are_examples():
    texts = [Path(path).read_text(encoding="utf-8") for path in Path(core.__path__[0]).glob("*.py")]
    assert sum(">>> " in text for text in texts) >= 4


def test_public_names_exist():
    assert core.__all__ == sorted(core.__all__, key=lambda name: (not name.isupper(), name[0].islower(), name))
    assert all(hasattr(core, name) for name in core.__all__)


def test_core_imports_nothing_but_the_standard_library_and_numpy():
    code = (
        "import sys, numpy; before = set(sys.modules); import pkgutil, keras_actnas.core as core\n"
        "for module in pkgutil.iter_modules(core.__path__): __import__(f'keras_actnas.core.{module.name}')\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(sorted(new - set(sys.stdlib_module_names) - {'numpy'}))\n"
    )
    folder = Path(core.__path__[0]).parent.parent
    result = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "['keras_actnas']"
