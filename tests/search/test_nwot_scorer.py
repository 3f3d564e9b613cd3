"""The NWOT score against a plain statement of its definition, and what it must leave alone."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_actnas.core import CANDIDATES, Assignment, InputError
from keras_actnas.models import YOLO
from keras_actnas.search import NWOTScorer, log_determinant
from keras_actnas.surgery import current_assignment, separate_activations

SITES = ("stem_act", "shared_act", "argument", "mix", "leaky", "hard", "six", "last")
CURVES = {
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "hard_swish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "leaky_relu": lambda x: np.where(x > 0, x, 0.1 * x),
}


class PlainNetwork:
    """A chain of Keras layers run one by one in NumPy, which notes the input of every activation."""

    def __init__(self, model, batch_statistics):
        self.model = separate_activations(model)
        self.reference = current_assignment(model)
        self.site_of = {f"{name}_activation": name for name in self.reference} | {name: name for name in self.reference}
        self.batch_statistics = batch_statistics

    def activation_inputs(self, images, assignment):
        values = {id(self.model.inputs[0]): images}
        seen = []
        for nodes in self.model._nodes_by_depth.values():
            assert nodes
        for depth in sorted(self.model._nodes_by_depth, reverse=True):
            for node in self.model._nodes_by_depth[depth]:
                layer = node.operation
                if isinstance(layer, keras.layers.InputLayer):
                    continue
                inputs = [values[id(tensor)] for tensor in node.input_tensors]
                site = self.site_of.get(layer.name) if not layer.weights else None
                if site is not None:
                    seen.append(inputs[0])
                    output = CURVES[assignment.get(site, self.reference[site])](inputs[0])
                else:
                    output = self._apply(layer, inputs)
                values[id(node.outputs[0])] = output
        return seen

    def _apply(self, layer, inputs):
        if isinstance(layer, keras.layers.BatchNormalization) and self.batch_statistics:
            gamma, beta = (np.asarray(weight, np.float64) for weight in layer.get_weights()[:2])
            axes = (0, 1, 2)
            mean, variance = inputs[0].mean(axes), inputs[0].var(axes)
            return (inputs[0] - mean) / np.sqrt(variance + layer.epsilon) * gamma + beta
        value = inputs if len(inputs) > 1 else inputs[0]
        return np.asarray(layer(keras.tree.map_structure(lambda array: array.astype("float32"), value)), np.float64)


def plain_nwot(model, images, assignment, batch_statistics=False):
    inputs = PlainNetwork(model, batch_statistics).activation_inputs(images, assignment)
    codes = [(value.reshape(len(images), -1) > 0).astype(np.float64) for value in inputs]
    kernel = sum(code @ code.T + (1 - code) @ (1 - code).T for code in codes)
    sign, value = np.linalg.slogdet(kernel)
    assert sign == 1
    return value


def random_assignment(seed):
    rng = np.random.default_rng(seed)
    return {site: str(rng.choice(CANDIDATES)) for site in SITES}


@pytest.fixture(scope="module")
def scorer(model, images):
    return NWOTScorer(model, images)


@pytest.fixture(scope="module")
def batch_scorer(model, images):
    return NWOTScorer(model, images, batch_norm="batch")


@pytest.mark.parametrize(
    "assignment", [{}, {"stem_act": "relu"}, {"shared_act": "relu6"}, *map(random_assignment, range(4))]
)
def test_the_definition_with_moving_statistics(scorer, model, images, assignment):
    assert scorer.score(assignment) == pytest.approx(plain_nwot(model, images, assignment), abs=1e-3)


@pytest.mark.parametrize("assignment", [{}, *map(random_assignment, range(4))])
def test_the_definition_with_batch_statistics(batch_scorer, model, images, assignment):
    expected = plain_nwot(model, images, assignment, batch_statistics=True)
    assert batch_scorer.score(assignment) == pytest.approx(expected, abs=1e-3)


def test_the_two_modes_differ(scorer, batch_scorer):
    assert abs(scorer.score({}) - batch_scorer.score({})) > 0.05


def test_training_mode_is_not_used_for_anything_but_batch_norm(batch_scorer):
    """Dropout in training mode would make the same network score differently each time."""
    assert len({batch_scorer.score({}) for _ in range(4)}) == 1


def test_a_frozen_batch_norm_takes_batch_statistics_too(model, images, batch_scorer):
    frozen = keras.models.clone_model(model)
    frozen.set_weights(model.get_weights())
    frozen.trainable = False
    assert NWOTScorer(frozen, images, batch_norm="batch").score({}) == pytest.approx(batch_scorer.score({}), abs=1e-6)


def test_the_last_activation_changes_nothing(scorer, batch_scorer):
    for seed in (None, 0):
        for each in (scorer, batch_scorer):
            assert {each.score({"last": name}, seed) for name in CANDIDATES} == {each.score({}, seed)}
    assert scorer.score({"stem_act": "relu"}) != scorer.score({})


def test_every_call_of_a_shared_activation_counts(images):
    def build(calls):
        shared = keras.layers.ReLU(name="act")
        inputs = x = keras.Input((32, 32, 3))
        for number in range(calls):
            x = shared(keras.layers.Conv2D(4, 3, name=f"conv{number}")(x))
        return keras.Model(inputs, x)

    keras.utils.set_random_seed(0)
    twice = build(2)
    layers = [layer for layer in twice.layers if layer.weights]
    first = layers[0](images)
    second = layers[1](keras.ops.relu(first))
    codes = [np.asarray(value).reshape(len(images), -1) > 0 for value in (first, second)]
    kernel = sum((code[:, None] == code[None]).sum(-1) for code in codes).astype(np.float64)
    assert NWOTScorer(twice, images).score({}) == pytest.approx(np.linalg.slogdet(kernel)[1], abs=1e-3)


def test_sites_inside_of_nested_models_count(images):
    def body():
        inputs = keras.Input((32, 32, 3))
        x = keras.layers.Conv2D(4, 3, activation="silu", name="inner")(inputs)
        return inputs, keras.layers.Conv2D(4, 3, name="second")(x)

    keras.utils.set_random_seed(0)
    inputs, outputs = body()
    flat = keras.Model(inputs, keras.layers.ReLU(name="outer")(outputs))
    nested_inputs = keras.Input((32, 32, 3))
    inner = keras.Model(*body(), name="backbone")
    nested = keras.Model(nested_inputs, keras.layers.ReLU(name="outer")(inner(nested_inputs)))
    nested.set_weights(flat.get_weights())
    for assignment in ({}, {"inner": "relu"}):
        expected = NWOTScorer(flat, images).score(assignment)
        assert NWOTScorer(nested, images).score(assignment) == pytest.approx(expected, abs=1e-9)


def test_one_trace_serves_every_assignment_and_seed(model, images):
    scorer = NWOTScorer(model, images)
    for seed in (None, 0, 1):
        for number in range(3):
            scorer.score(random_assignment(number), seed)
    parts = scorer._seeded.compiled.functions
    assert all(isinstance(part, tf.types.experimental.PolymorphicFunction) for part in parts)
    assert {part.experimental_get_tracing_count() for part in parts} == {1}


@pytest.mark.parametrize("mode", ["inference", "batch"])
def test_scoring_moves_nothing(model, images, mode):
    before = [weight.copy() for weight in model.get_weights()]
    scorer = NWOTScorer(model, images, batch_norm=mode)
    own = [weight.numpy().copy() for weight in scorer._seeded.model.weights]
    for number in range(3):
        scorer.score(random_assignment(number))
    scorer.score({})
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    for old, new in zip(own, scorer._seeded.model.weights, strict=True):
        np.testing.assert_array_equal(old, new.numpy())
    scorer.score({}, seed=3)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert current_assignment(model) == scorer.reference


def test_seeds_are_reproducible_whatever_came_before(model, images, scorer):
    keras.utils.set_random_seed(99)
    other = NWOTScorer(model, images)
    forth = [scorer.score({"mix": "silu"}, seed) for seed in (0, 1, 2)]
    back = [other.score({"mix": "silu"}, seed) for seed in (2, 1, 0)]
    assert forth == back[::-1]
    assert len(set(forth)) == 3
    assert forth[1] == scorer.score({"mix": "silu"}, 1)


def test_own_weights_come_back_after_a_seed(scorer):
    own = scorer.score({})
    assert scorer.score({}, 7) != own
    assert scorer.score({}) == own


def test_a_seed_is_a_new_initialization_with_new_statistics(model, images, scorer):
    """A score with a seed does not depend on the weights that the model has."""
    other = keras.models.clone_model(model)
    assert NWOTScorer(other, images).score({}, 4) == scorer.score({}, 4)


def test_random_states_are_left_alone(scorer):
    np.random.seed(1)  # noqa: NPY002
    first = np.random.random()  # noqa: NPY002
    np.random.seed(1)  # noqa: NPY002
    scorer.score({}, 11)
    assert np.random.random() == first  # noqa: NPY002


def test_conditions_tell_images_and_mode_apart(model, images, scorer, batch_scorer):
    assert scorer.conditions["input_shape"] == [32, 32, 3]
    assert scorer.conditions["batch_size"] == 6
    assert scorer.conditions != batch_scorer.conditions
    assert NWOTScorer(model, images[::-1]).conditions != scorer.conditions
    assert NWOTScorer(model, images.copy()).conditions == scorer.conditions


def test_activations_other_than_the_candidates(model, images):
    scorer = NWOTScorer(model, images, activations=["gelu", "leaky_relu(0.3)"])
    assert scorer.score({"mix": "gelu"}) != scorer.score({})
    with pytest.raises(InputError, match=r"Expected one of .*gelu.* at 'leaky'. Received: 'elu'"):
        scorer.score({"leaky": "elu"})
    with pytest.raises(InputError, match="prelu"):
        NWOTScorer(model, images, activations=["prelu"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda images: images[:1], "at least 2 images"),
        (lambda images: images[:, :16], r"its shape \(32, 32, 3\). Received: 1 inputs and images of shape \(6, 16"),
        (lambda images: images[0], "Expected a model with one image input"),
        (lambda images: images[[0, 1, 2, 1]], "image 3 is the same as image 1"),
        (lambda images: images * np.nan, "NaN or infinity in the images"),
        (lambda images: images * 0, "image 1 is the same as image 0"),
    ],
)
def test_images_that_cannot_be_used(model, images, change, message):
    with pytest.raises(InputError, match=message):
        NWOTScorer(model, change(images))


def test_models_that_cannot_be_used(images):
    first, second = keras.Input((32, 32, 3)), keras.Input((32, 32, 3))
    two = keras.Model([first, second], keras.layers.ReLU(name="act")(first + second))
    with pytest.raises(InputError, match="2 inputs"):
        NWOTScorer(two, images)
    plain = keras.Model(first, keras.layers.Conv2D(2, 1)(first), name="plain")
    with pytest.raises(InputError, match="'plain', which has none"):
        NWOTScorer(plain, images)
    with pytest.raises(InputError, match="functional or Sequential"):

        class Subclassed(keras.Model):
            inputs = [first]

        NWOTScorer(Subclassed(), images)


def test_the_mode_is_checked(model, images):
    with pytest.raises(InputError, match="Received: 'training'"):
        NWOTScorer(model, images, batch_norm="training")


def test_sites_of_another_model(scorer):
    with pytest.raises(InputError, match="another model"):
        scorer.score({"model.0.act": "relu"})


def test_nan_in_the_network_is_no_score(model, images):
    broken = keras.models.clone_model(model)
    layer = broken.get_layer("mix")
    kernel, bias = layer.get_weights()
    bias[3] = np.nan
    layer.set_weights([kernel, bias])
    scorer = NWOTScorer(broken, images)
    with pytest.raises(InputError, match="NaN or infinity"):
        scorer.score({})
    assert np.isfinite(scorer.score({}, 0))


def test_a_network_that_sees_no_difference_is_no_score(images):
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(2, 3, kernel_initializer="zeros", bias_initializer="ones", name="conv")(inputs)
    model = keras.Model(inputs, keras.layers.ReLU(name="act")(x))
    with pytest.raises(InputError, match="rank 1 for 6 images"):
        NWOTScorer(model, images).score({})


def test_log_determinant():
    rng = np.random.default_rng(0)
    factor = rng.normal(size=(12, 12))
    kernel = factor @ factor.T
    assert log_determinant(kernel) == pytest.approx(np.linalg.slogdet(kernel)[1], rel=1e-9)
    assert log_determinant(np.eye(3) * 1e9) == pytest.approx(3 * np.log(1e9))
    thin = rng.integers(0, 2, (12, 5)).astype(float)
    with pytest.raises(InputError, match="rank"):
        log_determinant(thin @ thin.T)


def test_large_codes_are_counted_exactly():
    """Sums beyond what float32 can count: the places in which codes agree are added up in float64."""
    inputs = x = keras.Input((1024, 1024, 1), batch_size=2)
    for number in range(40):
        x = keras.layers.ReLU(name=f"act{number}")(x)
    images = np.random.default_rng(0).uniform(-1, 1, (2, 1024, 1024, 1)).astype("float32")
    counts = [np.sum((images[0] > 0) == (images[1] > 0))] + [np.sum((images[0] > 0) == (images[1] > 0))] * 39
    total, agree = 40 * 1024 * 1024, float(sum(map(int, counts)))
    expected = np.log(total**2 - agree**2)
    assert NWOTScorer(keras.Model(inputs, x), images, ["relu"]).score({}) == pytest.approx(expected, abs=1e-10)


@pytest.mark.slow
def test_yolo(images):
    model = YOLO("yolov5n", input_shape=(64, 64, 3))
    photos = np.random.default_rng(0).uniform(0, 1, (4, 64, 64, 3))
    scorer = NWOTScorer(model, photos)
    relu = Assignment.uniform(scorer.reference, "relu")
    scores = [scorer.score(assignment, seed) for seed in (0, 1) for assignment in ({}, relu)]
    assert len(scorer.reference) == 69
    assert np.isfinite(scores).all() and len(set(scores)) == 4
