"""Editing the converted graph gives the graph that converting the rebuilt model gives, and the same numbers."""

import numpy as np
import pytest

from keras_actnas.core import Assignment
from keras_actnas.export import TFLiteNetwork, to_tflite
from keras_actnas.surgery import current_assignment, replace_activations

pytest.importorskip("tensorflow")

CANDIDATES = ("relu", "relu6", "silu", "hard_swish", "leaky_relu", "leaky_relu(0.3)", "gelu", "elu")


@pytest.fixture(scope="module")
def convert(everything, tmp_path_factory):
    """Returns a function: assignment -> bytes of the rebuilt and converted model."""
    folder = tmp_path_factory.mktemp("converted")

    def make(assignment):
        path = folder / f"{Assignment(assignment).digest}.tflite"
        if not path.exists():
            to_tflite(replace_activations(everything, assignment), path)
        return path.read_bytes()

    return make


def mixture(sites, seed, activations=CANDIDATES):
    random = np.random.default_rng(seed)
    return {site: str(random.choice(activations)) for site in sites}


def test_the_file_has_the_models_own_activations(everything, editable, convert, operators, run, image):
    network = TFLiteNetwork(editable)
    assert dict(network.reference) == dict(current_assignment(everything))
    assert len(network.sites) == 20
    assert operators(editable) == operators(convert(current_assignment(everything)))


@pytest.mark.parametrize("activation", CANDIDATES)
def test_one_activation_everywhere(activation, editable, convert, operators, run, image, assert_same_outputs):
    network = TFLiteNetwork(editable)
    assignment = Assignment.uniform(network.reference, activation)
    edited, converted = network.edit(assignment), convert(assignment)
    assert operators(edited) == operators(converted)
    assert_same_outputs(run(edited, image), run(converted, image))


@pytest.mark.parametrize("seed", range(4))
def test_mixtures(seed, editable, convert, operators, run, image, assert_same_outputs):
    network = TFLiteNetwork(editable)
    assignment = mixture(network.reference, seed)
    edited, converted = network.edit(assignment), convert(assignment)
    assert operators(edited) == operators(converted)
    assert_same_outputs(run(edited, image), run(converted, image))


@pytest.mark.parametrize("seed", [0, 1, None])
def test_identity(seed, editable, convert, run, image, assert_same_outputs):
    # The converter folds layers that no activation separates any more, so the graphs may differ.
    network = TFLiteNetwork(editable)
    sites = network.reference
    assignment = Assignment.uniform(sites, "identity")
    if seed is not None:
        assignment = mixture(sites, seed, ("identity", "identity", "relu", "silu", "relu6", "gelu"))
    assert_same_outputs(run(network.edit(assignment), image), run(convert(assignment), image))


@pytest.mark.parametrize("second", ["relu", "identity", "gelu"])
@pytest.mark.parametrize("first", ["identity", "relu", "relu6"])
def test_one_activation_right_behind_another(first, second, editable, everything, run, image):
    network = TFLiteNetwork(editable)
    assignment = {"before_another": first, "after_another": second}
    outputs = {output.shape: output for output in run(network.edit(assignment), image)}
    for expected in replace_activations(everything, assignment)(image).values():
        np.testing.assert_allclose(outputs[tuple(expected.shape)], np.asarray(expected), rtol=0, atol=1e-4)
