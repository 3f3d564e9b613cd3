"""Which runtime is used, and what is said when there is none."""

import importlib
import importlib.metadata
import types

import pytest

from keras_actnas.core import InputError
from keras_actnas.core.errors import MissingDependencyError
from keras_actnas.tflite_bench import RUNTIMES, load_runtime

MODULES = {
    "ai_edge_litert.interpreter": "ai_edge_litert",
    "tflite_runtime.interpreter": "tflite_runtime",
    "tensorflow.lite.python.interpreter": "tf.lite",
}


@pytest.fixture
def installed(monkeypatch):
    """Returns a function that makes exactly these runtimes look installed."""

    def install(*names):
        resolvers = types.SimpleNamespace(BUILTIN_WITHOUT_DEFAULT_DELEGATES=3)

        def import_module(module):
            if MODULES.get(module) in names or module in ("tensorflow",):
                return types.SimpleNamespace(Interpreter=object, OpResolverType=resolvers, __version__="9.9")
            raise ModuleNotFoundError(module)

        monkeypatch.setattr(importlib, "import_module", import_module)
        monkeypatch.setattr(importlib.metadata, "version", lambda distribution: f"version of {distribution}")

    return install


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("ai_edge_litert", "tflite_runtime", "tf.lite"), "ai_edge_litert"),
        (("tflite_runtime", "tf.lite"), "tflite_runtime"),
        (("tf.lite",), "tf.lite"),
    ],
)
def test_the_order(names, expected, installed):
    assert RUNTIMES == ("ai_edge_litert", "tflite_runtime", "tf.lite")
    installed(*names)
    assert load_runtime().name == expected
    assert load_runtime("tf.lite").name == "tf.lite"


def test_what_a_runtime_is(installed):
    installed("tflite_runtime")
    runtime = load_runtime()
    assert (runtime.version, runtime.interpreter, runtime.plain_resolver) == ("version of tflite-runtime", object, 3)


def test_a_version_under_another_distributions_name(installed, monkeypatch):
    installed("tf.lite")

    def version(distribution):
        raise importlib.metadata.PackageNotFoundError(distribution)

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert load_runtime("tf.lite").version == "9.9"


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [
        (None, "ai-edge-litert", "bench"),
        ("ai_edge_litert", "ai-edge-litert", "bench"),
        ("tflite_runtime", "tflite-runtime", "bench"),
        ("tf.lite", "tensorflow", "tensorflow"),
    ],
)
def test_runtimes_that_are_not_installed(name, package, extra, installed):
    installed()
    message = rf'needs `{package}`, which is not installed. Install it with: pip install "keras-actnas\[{extra}\]"'
    with pytest.raises(MissingDependencyError, match=message):
        load_runtime(name)


def test_a_runtime_that_was_asked_for_is_not_replaced_by_another(installed):
    installed("ai_edge_litert")
    with pytest.raises(MissingDependencyError):
        load_runtime("tf.lite")


def test_an_unknown_runtime():
    with pytest.raises(InputError, match="Unknown TFLite runtime 'tflite'.* Did you mean 'tf.lite'"):
        load_runtime("tflite")


@pytest.mark.parametrize("name", ["ai_edge_litert", "tf.lite"])
def test_real_runtimes(name):
    pytest.importorskip({"ai_edge_litert": "ai_edge_litert", "tf.lite": "tensorflow"}[name])
    runtime = load_runtime(name)
    assert runtime.name == name
    assert runtime.version.count(".") >= 1
    assert runtime.plain_resolver.name == "BUILTIN_WITHOUT_DEFAULT_DELEGATES"
