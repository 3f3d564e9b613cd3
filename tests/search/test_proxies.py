"""Proxies on small networks against plain statements of their definitions."""

import keras
import numpy as np
import pytest

from keras_actnas.core import CANDIDATES, InputError
from keras_actnas.search import NWOTScorer
from keras_actnas.search.proxies import (
    PROXIES,
    GradientNorm,
    JacobianCovariance,
    Sensitivity,
    SynFlow,
    make_proxy,
    proxies_on,
    proxy_kind,
)
from keras_actnas.search.proxies.segments import SegmentedNetwork
from keras_actnas.search.switchable import SwitchableNetwork
from keras_actnas.surgery import replace_activations

SHAPE = (6, 6, 2)
UNLABELLED = [name for name, kind in PROXIES.items() if not kind.labelled]  # See test_one_shot for the others.
ASSIGNMENTS = [{}, {"conv": "relu"}, {"conv": "hard_swish", "second": "leaky_relu"}]


def tiny_model():
    """Two sites, BatchNorm that is awake, two outputs."""
    layers = keras.layers
    inputs = keras.Input(SHAPE)
    x = layers.Conv2D(3, 3, name="conv", activation="silu")(inputs)
    x = layers.BatchNormalization(name="bn")(x)
    x = layers.Activation("silu", name="second")(layers.Conv2D(4, 2, name="deep")(x))
    x = layers.Flatten()(x)
    model = keras.Model(inputs, [layers.Dense(3, name="a")(x), layers.Dense(1, name="b")(x)], name="tiny")
    random = np.random.default_rng(1)
    model.set_weights([random.uniform(0.2, 1, w.shape) * random.choice([-1, 1], w.shape) for w in model.get_weights()])
    norm = model.get_layer("bn")
    norm.set_weights([np.abs(weight) for weight in norm.get_weights()])
    return model


@pytest.fixture(scope="module")
def tiny():
    return tiny_model()


@pytest.fixture(scope="module")
def crops():
    return np.random.default_rng(0).uniform(0, 1, (5, *SHAPE)).astype("float32")


def plain_outputs(model, images, assignment, batch_statistics=False):
    """Runs the tiny network with other activations, by NumPy where BatchNorm takes the batch's statistics."""
    swapped = replace_activations(model, assignment)
    if batch_statistics:
        norm = swapped.get_layer("bn")
        entering = keras.Model(swapped.inputs[0], norm.input)(images, training=False)
        gamma, beta, _, _ = norm.get_weights()
        norm.set_weights([gamma, beta, np.mean(entering, (0, 1, 2)), np.var(entering, (0, 1, 2))])
    return [np.float64(output) for output in swapped(images, training=False)]


def in_float64(model):
    config = keras.models.clone_model(model).get_config()
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    try:
        for layer in config["layers"]:
            layer["config"]["dtype"] = "float64"
        copy = keras.Model.from_config(config)
    finally:
        keras.config.set_dtype_policy(policy)
    copy.set_weights(model.get_weights())
    return copy


def finite_differences(function, array, step=1e-6):
    """Returns the gradient of a number by every element of an array, which is changed in place meanwhile."""
    gradient = np.zeros_like(array)
    for index in np.ndindex(array.shape):
        value = array[index]
        array[index] = value + step
        above = function()
        array[index] = value - step
        gradient[index] = (above - function()) / (2 * step)
        array[index] = value
    return gradient


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_jacobian_covariance_by_finite_differences(tiny, crops, assignment):
    model = in_float64(replace_activations(tiny, assignment))
    steps = 1e-6 * np.eye(np.prod(SHAPE)).reshape(-1, *SHAPE)

    def totals(images):
        return sum(np.sum(output, axis=1) for output in model(images, training=False))

    rows = [(totals(image + steps) - totals(image - steps)) / 2e-6 for image in np.float64(crops)]
    values = np.linalg.eigvalsh(np.corrcoef(rows))
    expected = -np.sum(np.log(values + 1e-5) + 1 / (values + 1e-5))
    proxy = JacobianCovariance(tiny, crops)
    assert proxy.score(assignment) == pytest.approx(expected, rel=2e-3)


@pytest.mark.parametrize("assignment", ASSIGNMENTS[1:])
def test_gradient_norm_by_finite_differences(tiny, crops, assignment):
    model = in_float64(replace_activations(tiny, assignment))

    def loss():
        return sum(float(np.mean(np.square(y))) / 2 for y in model(np.float64(crops), training=False))

    expected = 0.0
    for name in ("conv", "deep", "a", "b"):
        layer = model.get_layer(name)
        kernel = layer.get_weights()[0]

        def changed(layer=layer, kernel=kernel):
            layer.kernel.assign(kernel)
            return loss()

        expected += np.linalg.norm(finite_differences(changed, kernel))
        layer.kernel.assign(kernel)
    assert GradientNorm(tiny, crops).score(assignment) == pytest.approx(expected, rel=1e-4)


def test_synflow_of_a_chain_is_the_flow_of_every_layer():
    """Where activations pass positive values as they are, each of the kernels carries the whole flow."""
    inputs = keras.Input((6, 6, 2))
    x = keras.layers.Conv2D(4, 3, activation="relu", name="one")(inputs)
    x = keras.layers.DepthwiseConv2D(3, activation="relu", name="two")(x)
    model = keras.Model(inputs, keras.layers.Dense(3, name="three")(keras.layers.Flatten()(x)))
    images = np.random.default_rng(0).uniform(0, 1, (2, 6, 6, 2))
    flow = np.ones((6, 6, 2))
    kernels = [np.abs(np.float64(layer.get_weights()[0])) for layer in model.layers if layer.weights]
    for number, kernel in enumerate(kernels[:2]):
        kernel /= kernel.sum() / 4
        size = flow.shape[0] - 2
        made = np.zeros((size, size, 4))
        for i, j in np.ndindex(size, size):
            patch = flow[i : i + 3, j : j + 3]
            made[i, j] = (
                np.einsum("abc,abco->o", patch, kernel) if number == 0 else np.sum(patch * kernel[..., 0], axis=(0, 1))
            )
        flow = made
    last = kernels[2] / (kernels[2].sum() / 3)
    total = float((flow.ravel() @ last).sum())
    proxy = SynFlow(model, images)
    assert proxy.score({}) == pytest.approx(np.log(3 * total), abs=1e-5)
    assert proxy.score({"one": "silu"}) < proxy.score({})


def test_synflow_does_not_look_at_images_or_signs(tiny, crops):
    proxy = SynFlow(tiny, crops)
    other = tiny_model()
    for layer in other.layers:
        if isinstance(layer, keras.layers.Conv2D):
            kernel, bias = layer.get_weights()
            layer.set_weights([-kernel, bias + 3])
    assert SynFlow(other, crops[::-1]).score({}) == proxy.score({})
    assert proxy.on(crops[::-1]).conditions == proxy.conditions
    assert "images" not in proxy.conditions
    assert proxy.score({}, 3) != proxy.score({}, 4)
    with pytest.raises(InputError, match="no statistics. Received: 'batch'"):
        SynFlow(tiny, crops, batch_norm="batch")


@pytest.mark.parametrize("mode", ["inference", "batch"])
@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_sensitivity_is_the_relative_squared_error(tiny, crops, mode, assignment):
    own = plain_outputs(tiny, crops, {}, mode == "batch")
    made = plain_outputs(tiny, crops, assignment, mode == "batch")
    expected = np.mean([np.mean((y - r) ** 2) / np.mean(r.var(axis=0)) for y, r in zip(made, own, strict=True)])
    proxy = Sensitivity(tiny, crops, batch_norm=mode)
    assert proxy.score(assignment) == pytest.approx(expected, rel=1e-4, abs=1e-12)
    assert (proxy.score({}), proxy.higher_is_better) == (0.0, False)


@pytest.mark.parametrize("name", UNLABELLED)
def test_every_proxy_is_reproducible_and_moves_nothing(tiny, crops, name):
    before = [weight.copy() for weight in tiny.get_weights()]
    seed = None if PROXIES[name].trained else 2
    first, again = (make_proxy(name, tiny, crops, CANDIDATES) for _ in range(2))
    scores = [first.score({}, seed), first.score({"conv": "relu"}, seed), first.score({}, seed)]
    assert scores[0] == scores[2] != scores[1]
    assert again.score({"conv": "relu"}, seed) == scores[1]
    assert first.metric == name
    for old, new in zip(before, tiny.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("name", UNLABELLED)
def test_a_second_batch_goes_through_the_same_compiled_network(tiny, crops, name):
    other = crops[::-1] + np.float32(0.1)
    seed = None if PROXIES[name].trained else 0
    first, second = proxies_on(name, tiny, [crops, other], CANDIDATES)
    score = first.score({"conv": "relu"}, seed)
    alone = make_proxy(name, tiny, other, CANDIDATES)
    assert second.score({"conv": "relu"}, seed) == alone.score({"conv": "relu"}, seed)
    assert second.conditions == alone.conditions
    assert second.metric == name
    assert second._seeded is first._seeded
    assert first.score({"conv": "relu"}, seed) == score


def test_parts_that_are_kept_change_no_score(model, images):
    """Networks in an order in which almost nothing, or almost everything, is kept from the one before."""
    fresh, kept = NWOTScorer(model, images), NWOTScorer(model, images)
    sites = list(kept.reference)
    rows = [{}, *({site: name} for site in reversed(sites) for name in ("relu", "leaky_relu")), {}]
    segments = kept._seeded.prepare({}, None)
    assert len(segments.functions) > 4
    scores = [(seed, row, kept.score(row, seed)) for seed in (None, 0) for row in rows]
    other = fresh.on(images[::-1])
    for seed, row, score in scores[::5]:
        other.score({}, 1)  # Of other images and another seed nothing can be kept.
        assert fresh.score(row, seed) == score


def test_what_lies_before_a_swap_is_not_computed_again(model, images, monkeypatch):
    scorer = NWOTScorer(model, images)
    segments = scorer._seeded.prepare({}, None)
    calls = []
    segments.functions = [
        lambda tensors, number=number, part=part: calls.append(number) or part(tensors)
        for number, part in enumerate(segments.functions)
    ]
    last = len(segments.functions) - 1
    for row, expected in (
        ({}, 0),
        ({"last": "relu"}, last),
        ({"last": "relu"}, last + 1),
        ({"stem_act": "relu"}, None),
    ):
        calls.clear()
        scorer.score(row)
        if expected is None:
            assert 0 < len(calls) <= last + 1 and calls[-1] == last
        else:
            assert calls == list(range(expected, last + 1))
    with pytest.raises(InputError):
        scorer.score({"last": "elu"})
    own = scorer.score({})
    monkeypatch.setattr(segments, "functions", [*segments.functions[:-1], _interrupt])
    with pytest.raises(KeyboardInterrupt):
        scorer.score({"stem_act": "relu", "mix": "silu"})
    monkeypatch.undo()
    assert scorer.score({}) == own  # Not from what the interrupted run left.


def _interrupt(tensors):
    raise KeyboardInterrupt


def test_parts_are_of_about_equal_size(model):
    network = SwitchableNetwork(model, CANDIDATES, 2)
    assert [len(SegmentedNetwork(network, len, parts).functions) for parts in (1, 2, 4)] == [1, 2, 4]


def test_the_registry():
    assert proxy_kind("sensitivity").constraint.sense == "<="
    assert str(proxy_kind(f"{__name__}:constant").constraint) == "constant >= reference"
    loss = proxy_kind(f"{__name__}:trained_loss")
    assert str(loss.constraint) == "trained_loss <= reference" and loss.noisy and loss.design == "shares"
    for name, message in (
        ("nwto", "Did you mean 'nwot'"),
        ("module:Function", "function in snake_case"),
        ("module:nwot", "another name than 'nwot'"),
        ("my.module:my_score", "can be imported"),
        (f"{__name__}:strange", "design, confidence, bound. Received: noise"),
    ):
        with pytest.raises(InputError, match=message):
            proxy_kind(name)


class Constant:
    metric, unit, higher_is_better = "constant", "u", True

    def __init__(self, model, images, activations, batch_norm):
        self.reference, self.conditions = {}, {"images": float(images.sum())}

    def score(self, assignment, seed=None):
        return float("nan")


def trained_loss(*arguments):
    return Constant(*arguments)


trained_loss.kind = {"higher_is_better": False, "noisy": True, "design": "shares", "bound": "<=reference"}


def strange(*arguments):
    return Constant(*arguments)


strange.kind = {"noise": True}


def constant(*arguments):
    return Constant(*arguments)


def wrong_name(*arguments):
    return Constant(*arguments)


def no_proxy(*arguments):
    return object()


@pytest.fixture
def own_module(monkeypatch):
    import sys
    import types

    module = types.ModuleType("own_proxies")
    module.constant, module.wrong_name, module.no_proxy = constant, wrong_name, no_proxy
    monkeypatch.setitem(sys.modules, "own_proxies", module)


def test_proxies_of_one_s_own(own_module, tiny, crops):
    first, second = proxies_on("own_proxies:constant", tiny, [crops, crops + 1], CANDIDATES)
    assert first.conditions != second.conditions
    for name, message in (
        ("own_proxies:wrong_name", "metric 'wrong_name'. Received: 'constant'"),
        ("own_proxies:no_proxy", "Received: object without 'metric'"),
        ("own_proxies:missing", "can be imported"),
        ("no_such_module:missing", "can be imported"),
    ):
        with pytest.raises(InputError, match=message):
            make_proxy(name, tiny, crops, CANDIDATES)


def test_sensitivity_of_what_is_not_trained(tiny, crops, images):
    with pytest.raises(InputError, match="--seeds=0"):
        Sensitivity(tiny, crops).score({}, 1)
    fresh = keras.models.clone_model(tiny)
    with pytest.raises(InputError, match="Expected a trained network.*'tiny'.*statistics of a new one"):
        Sensitivity(fresh, crops)
    constant = tiny_model()
    constant.get_layer("a").set_weights([np.zeros_like(w) for w in constant.get_layer("a").get_weights()])
    with pytest.raises(InputError, match="the same for all images"):
        Sensitivity(constant, crops).score({})


@pytest.mark.parametrize("name", [name for name in UNLABELLED if not PROXIES[name].trained])
def test_nan_in_the_network_is_no_score(crops, name):
    broken = tiny_model()
    layer = broken.get_layer("deep")
    kernel, bias = layer.get_weights()
    layer.set_weights([kernel * np.nan, bias])
    with pytest.raises(InputError, match="Received"):
        make_proxy(name, broken, crops, CANDIDATES).score({})


def test_a_gradient_of_zero_is_no_score(crops):
    dead = tiny_model()
    for name in "ab":
        dead.get_layer(name).set_weights([np.zeros_like(weight) for weight in dead.get_layer(name).get_weights()])
    with pytest.raises(InputError, match="depend on every image"):
        JacobianCovariance(dead, crops).score({})
    with pytest.raises(InputError, match="a flow of 0"):
        SynFlow(dead, crops).score({})


@pytest.mark.parametrize("proxy", [JacobianCovariance, GradientNorm, SynFlow])
@pytest.mark.parametrize("apart", [False, True])
def test_a_softmax_is_left_out(crops, proxy, apart):
    """Probabilities add up to 1: the gradient of their sum would be noise."""
    inputs = keras.Input(SHAPE)
    x = keras.layers.Flatten()(keras.layers.Conv2D(3, 3, activation="silu", name="conv")(inputs))
    head = keras.layers.Dense(3, name="head")
    logits = keras.Model(inputs, head(x))
    config = {**head.get_config(), "activation": "linear" if apart else "softmax"}
    x = keras.layers.Dense.from_config(config)(x)
    probabilities = keras.Model(inputs, keras.layers.Softmax()(x) if apart else x)
    probabilities.set_weights(logits.get_weights())
    assert proxy(probabilities, crops).score({}) == proxy(logits, crops).score({})


def test_a_batch_of_another_size(tiny, crops):
    with pytest.raises(InputError, match="batch of 5 images. Received: 4"):
        NWOTScorer(tiny, crops).on(crops[:4])
