"""AFRBScheduler: the loss of every training step has the lambda of its position, and alpha follows it."""

import functools
import math

import keras
import numpy as np
import pytest

from keras_actnas.callbacks import AFRBScheduler, PEAScheduler
from keras_actnas.core import InputError
from keras_actnas.layers import AFRB, WeightedPEA

L = keras.layers
BACKEND = keras.backend.backend()
JIT = BACKEND == "jax"  # Where a test does not care: what is quickest for a few steps.

STEPS = 6
START = 0.25


@keras.saving.register_keras_serializable(package="keras_actnas_tests")
def nothing(targets, outputs):
    """A loss of zero: what is left is that of the blocks."""
    return 0.0 * keras.ops.sum(outputs)


class Lambdas(keras.callbacks.Callback):
    """Reads which lambda each step's loss used: a row for each epoch.

    The loss is lambda * (alpha - 1)^2 and alpha stays where it is; the logs have its mean over the epoch up to now.
    """

    def __init__(self):
        super().__init__()
        self.rows = []

    def on_epoch_begin(self, epoch, logs=None):
        self.rows.append([])
        self.done = self.total = 0

    def on_train_batch_end(self, batch, logs=None):
        done = min(batch + 1, self.params["steps"] or batch + 1)
        total, steps = logs["loss"] * done, done - self.done
        self.rows[-1] += [(total - self.total) / steps / (START - 1) ** 2] * steps
        self.total, self.done = total, done

    def read(self):
        return np.array(self.rows)


def blocks(*names, **options):
    inputs = keras.Input((2, 2, 2))
    x = inputs
    for name in names:
        x = AFRB(2, 1, expansion=1, name=name, **options)(x)
    return inputs, L.GlobalAveragePooling2D()(x)


def compiled(inputs, outputs, rate=0.0, **options):
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.SGD(rate), nothing, **{"jit_compile": JIT, **options})
    return model


@functools.cache
def still(**options):
    """Returns a model whose weights stay as they are, so that many tests can train it."""
    return compiled(*blocks("block"), **options)


def fit(model, *callbacks, epochs, steps=STEPS, **options):
    data = {"x": np.zeros((steps, 2, 2, 2), "float32"), "y": np.zeros((steps, 2), "float32"), "batch_size": 1}
    return model.fit(**data, shuffle=False, verbose=0, epochs=epochs, callbacks=list(callbacks), **options)


def positions(epochs, steps=STEPS, first=0):
    """Returns the position of each step in epochs: a row for each epoch."""
    return first + np.arange((epochs - first) * steps).reshape(-1, steps) / steps


def ramp(position, start, end, shape=lambda t: t):
    progress = np.clip((np.asarray(position) - start) / (end - start), 0, 1)
    return np.vectorize(shape)(progress).astype(float)


def assert_lambdas(seen, expected):
    assert seen.read().shape == expected.shape
    np.testing.assert_allclose(seen.read(), expected, atol=2e-6 * max(1, expected.max()))


SHAPES = {
    "linear": (lambda t: t, {}),
    "cosine": (lambda t: (1 - math.cos(math.pi * t)) / 2, {"schedule": "cosine"}),
    "polynomial": (lambda t: t**2, {"schedule": "polynomial"}),
    "cubic": (lambda t: t**3, {"schedule": "polynomial", "power": 3}),
    "function": (math.sqrt, {"schedule": math.sqrt}),
}


EPOCHS, STEPS_3 = ("epoch", 0.5, 2.25), ("step", 4, 15)
RAMPS = [("linear", *EPOCHS), ("linear", "epoch", 1, 3), ("linear", *STEPS_3), ("cosine", *STEPS_3)]
RAMPS += [("polynomial", *EPOCHS), ("cubic", *EPOCHS), ("function", *STEPS_3)]


@pytest.mark.parametrize(("shape", "unit", "start", "end"), RAMPS)
def test_every_step_uses_its_lambda(shape, unit, start, end):
    function, options = SHAPES[shape]
    seen = Lambdas()
    history = fit(still(), AFRBScheduler(0.2, start, end, unit, **options), seen, epochs=3).history
    scale = STEPS if unit == "step" else 1
    assert_lambdas(seen, 0.2 * ramp(positions(3) * scale, start, end, function))
    # The logs have the value at the end of an epoch.
    expected = 0.2 * ramp(np.arange(1, 4) * scale, start, end, function)
    np.testing.assert_allclose(history["linearity"], expected, atol=1e-9)


def test_unless_told_lambda_is_there_from_the_first_step():
    seen = Lambdas()
    history = fit(still(), AFRBScheduler(), seen, epochs=2).history
    assert_lambdas(seen, np.full((2, STEPS), 1e-3))
    assert history["linearity"] == [1e-3, 1e-3]


@pytest.mark.parametrize(("unit", "at"), [("epoch", 1.5), ("epoch", 1), ("step", 8)])
def test_a_jump(unit, at):
    scale = STEPS if unit == "step" else 1
    seen = Lambdas()
    fit(still(), AFRBScheduler(5, at, None if at == 1 else at, unit), seen, epochs=2)
    assert_lambdas(seen, 5.0 * (positions(2) * scale >= at))


def test_a_value_that_the_layer_had_is_replaced():
    model, seen = still(), Lambdas()
    model.get_layer("block").linearity.assign(7)
    fit(model, AFRBScheduler(1, 1, 2), seen, epochs=2)
    assert_lambdas(seen, ramp(positions(2), 1, 2))


def test_the_order_of_callbacks_does_not_matter():
    seen = Lambdas()
    fit(still(), seen, AFRBScheduler(1, 0, 2), epochs=2)
    assert_lambdas(seen, ramp(positions(2), 0, 2))


def test_values_at_a_position():
    scheduler = AFRBScheduler(1e-3, start=5, end=15, schedule="polynomial")
    assert scheduler.values_at(3) == {"linearity": 0}
    assert scheduler.values_at(10) == {"linearity": pytest.approx(2.5e-4)}
    assert scheduler.values_at(99) == {"linearity": 1e-3}


@pytest.mark.skipif(BACKEND == "torch", reason="the torch backend has no steps_per_execution")
@pytest.mark.parametrize(("unit", "end"), [("epoch", 2), ("step", 12)])
def test_several_steps_an_execution(unit, end):
    seen = Lambdas()
    fit(still(steps_per_execution=3), AFRBScheduler(1, 0, end, unit), seen, epochs=2)
    assert_lambdas(seen, np.repeat(ramp(positions(2), 0, 2)[:, ::3], 3, axis=1))  # Of the first of each three.


@pytest.mark.skipif(BACKEND == "torch", reason="the torch backend has no steps_per_execution")
@pytest.mark.parametrize(("unit", "end"), [("epoch", 4), ("step", 20)])
def test_executions_that_do_not_divide_the_epoch(unit, end):
    """The last one of an epoch has less steps, which count as what they are."""
    seen = Lambdas()
    fit(still(steps_per_execution=3), AFRBScheduler(1, 0, end, unit), seen, epochs=2, steps=5)
    assert_lambdas(seen, ramp(positions(2, steps=5), 0, 4)[:, [0, 0, 0, 3, 3]])


@pytest.mark.compiles
def test_compiled_training():
    seen = Lambdas()
    fit(still(jit_compile=True), AFRBScheduler(1, 0, 2), seen, epochs=2)
    assert_lambdas(seen, ramp(positions(2), 0, 2))


def test_eager_training():
    seen = Lambdas()
    fit(still(run_eagerly=True, jit_compile=False), AFRBScheduler(1, 0, 2), seen, epochs=2)
    assert_lambdas(seen, ramp(positions(2), 0, 2))


def test_validation_during_training():
    model, seen = still(), Lambdas()
    data = (np.zeros((2, 2, 2, 2), "float32"), np.zeros((2, 2), "float32"))
    history = fit(model, AFRBScheduler(1, 0, 2), seen, epochs=2, validation_data=data).history
    assert_lambdas(seen, ramp(positions(2), 0, 2))
    # Validation comes when the epoch's last step is over, and lambda that of the next one.
    np.testing.assert_allclose(history["val_loss"], np.array([0.5, 1]) * (START - 1) ** 2, rtol=1e-5)


def test_a_run_resumed_at_a_later_epoch():
    for unit, start, end in [("epoch", 0.5, 3), ("step", 3, 18)]:
        seen = Lambdas()
        fit(still(), AFRBScheduler(1, start, end, unit), seen, epochs=4, initial_epoch=1)
        assert_lambdas(seen, ramp(positions(4, first=1), 0.5, 3))


def test_one_scheduler_for_two_runs():
    scheduler = AFRBScheduler(1, 0, 2)
    for steps in (STEPS, 4):  # The second has epochs of another length.
        seen = Lambdas()
        fit(still(), scheduler, seen, epochs=2, steps=steps)
        assert_lambdas(seen, ramp(positions(2, steps), 0, 2))


def test_one_scheduler_for_two_models():
    """The second has another lambda, though the scheduler's own does not change."""
    scheduler, model = AFRBScheduler(0.5), still()
    for lambda_before in (0.0, 7.0):
        model.get_layer("block").linearity.assign(lambda_before)
        seen = Lambdas()
        fit(model, scheduler, seen, epochs=1)
        assert_lambdas(seen, np.full((1, STEPS), 0.5))


def test_a_checkpoint_resumed(tmp_path):
    checkpoint = keras.callbacks.ModelCheckpoint(tmp_path / "at_{epoch}.keras")
    seen, again = Lambdas(), Lambdas()
    fit(still(), checkpoint, AFRBScheduler(1, 0, 3), seen, epochs=1)
    fit(still(), AFRBScheduler(1, 0, 3), checkpoint, epochs=2)
    loaded = keras.models.load_model(tmp_path / "at_2.keras")
    assert float(loaded.get_layer("block").linearity) == pytest.approx(2 / 3)
    fit(loaded, AFRBScheduler(1, 0, 3), again, epochs=3, initial_epoch=2)
    np.testing.assert_allclose(np.concatenate([seen.read(), again.read()]), ramp(positions(3), 0, 3)[[0, 2]], atol=2e-6)


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_data_of_unknown_length():
    tensorflow = pytest.importorskip("tensorflow")
    arrays = (np.zeros((STEPS, 2, 2, 2), "float32"), np.zeros((STEPS, 2), "float32"))
    data = tensorflow.data.Dataset.from_tensor_slices(arrays).batch(1).filter(lambda x, y: True)
    seen = Lambdas()
    still().fit(data, epochs=3, verbose=0, shuffle=False, callbacks=[AFRBScheduler(1, 2, 12, "step"), seen])
    assert_lambdas(seen, ramp(positions(3) * STEPS, 2, 12))
    with pytest.raises(ValueError, match="Expected a known number of steps per epoch.*Received: data of unknown"):
        still().fit(
            data, epochs=3, initial_epoch=1, verbose=0, shuffle=False, callbacks=[AFRBScheduler(1, 2, 12, "step")]
        )


# Alpha.


def pulled(alpha, lambdas, rate):
    """Returns alpha after steps of gradient descent of the loss of equation (3)."""
    for weight in np.ravel(lambdas):
        alpha -= rate * 2 * weight * (alpha - 1)
    return alpha


def test_alpha_follows_and_is_logged():
    starts = {"a": 0.25, "b": -0.5, "c": 1.75}
    inputs = keras.Input((2, 2, 2))
    x = inputs
    for name, start in starts.items():
        initializer = keras.initializers.Constant(start)
        x = AFRB(2, 1, expansion=1, variant=3 if name == "b" else None, alpha_initializer=initializer, name=name)(x)
    model = compiled(inputs, L.GlobalAveragePooling2D()(x), rate=0.1)
    history = fit(model, AFRBScheduler(2.0, 0.5, 1.5), epochs=2).history
    assert set(history) == {"loss", "linearity", "alpha_a", "alpha_b", "alpha_c"}
    lambdas = 2 * ramp(positions(2), 0.5, 1.5)
    for name, start in starts.items():
        expected = [pulled(start, lambdas[:1], 0.1), pulled(start, lambdas, 0.1)]
        np.testing.assert_allclose(history[f"alpha_{name}"], expected, atol=1e-5)
        assert model.get_layer(name).alpha_value() == history[f"alpha_{name}"][-1]
        assert abs(expected[1] - 1) < 0.3 * abs(start - 1)


def test_a_strong_lambda_makes_a_trained_network_linear():
    random = np.random.default_rng(0)
    inputs, features = blocks("block")
    model = keras.Model(inputs, L.Dense(2)(features))
    model.compile(keras.optimizers.SGD(0.05), "mse", jit_compile=JIT)
    x, y, start = random.normal(size=(16, 2, 2, 2)), random.normal(size=(16, 2)), model.get_weights()

    def alphas(strength):
        model.set_weights(start)
        options = {"batch_size": 4, "epochs": 4, "verbose": 0, "callbacks": [AFRBScheduler(strength)]}
        return np.array(model.fit(x, y, **options).history["alpha_block"])

    distances, without = np.abs(alphas(5.0) - 1), np.abs(alphas(0.0) - 1)
    assert distances[0] < 0.3 and distances[-1] < 0.05
    assert without.min() > 0.3 and np.std(without) > 1e-3, "alpha should move without being pulled"


def test_blocks_anywhere_in_a_model():
    inner = keras.Model(*blocks("inside", "twice"), name="inner")
    outer = keras.Sequential([keras.Input((2, 2, 2)), AFRB(2, 1, expansion=1, name="nested")], name="outer")
    inputs = keras.Input((2, 2, 2))
    model = compiled(inputs, inner(outer(outer(inputs))))
    history = fit(model, AFRBScheduler(0.5), epochs=1).history
    names = ["nested", "inside", "twice"]
    assert {f"alpha_{name}" for name in names} <= set(history)
    found = [outer.get_layer("nested"), inner.get_layer("inside"), inner.get_layer("twice")]
    assert [float(block.linearity) for block in found] == [0.5] * 3
    assert history["loss"][0] == pytest.approx(3 * 0.5 * (START - 1) ** 2, rel=1e-5)  # Once for each block.


def test_a_model_that_fit_builds():
    model = keras.Sequential([AFRB(2, 1, expansion=1, name="block"), L.GlobalAveragePooling2D()])
    model.compile(keras.optimizers.SGD(0.0), nothing, jit_compile=JIT)
    seen = Lambdas()
    history = fit(model, AFRBScheduler(1, 0, 2), seen, epochs=2).history
    assert_lambdas(seen, ramp(positions(2), 0, 2))
    assert history["alpha_block"] == [START] * 2


def test_a_frozen_block_has_no_loss():
    model = compiled(*blocks("a", "b"))
    model.get_layer("a").trainable = False
    model.compile(keras.optimizers.SGD(0.1), nothing, jit_compile=JIT)
    history = fit(model, AFRBScheduler(1), epochs=1).history
    assert history["alpha_a"] == [START] and history["alpha_b"][0] > START


def test_weight_decay_without_alpha():
    """As the scheduler's documentation says."""
    model = compiled(*blocks("block"))
    optimizer = keras.optimizers.AdamW(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["alpha"])
    model.compile(optimizer, nothing, jit_compile=JIT)
    kernel = model.get_layer("block").parts[0].expand.kernel
    before = keras.ops.convert_to_numpy(kernel).copy()
    history = fit(model, AFRBScheduler(0.0), epochs=1).history
    assert history["alpha_block"] == [START]
    np.testing.assert_allclose(keras.ops.convert_to_numpy(kernel), before * 0.95**STEPS, rtol=1e-4)


def test_beside_another_schedule():
    inputs, features = blocks("block")
    model = compiled(inputs, WeightedPEA("identity", name="pea")(features))
    seen = Lambdas()
    history = fit(model, AFRBScheduler(1, 0, 2), PEAScheduler(0, 1), seen, epochs=2).history
    assert_lambdas(seen, ramp(positions(2), 0, 2))
    assert history["alpha"] == [1, 1] and history["linearity"] == [0.5, 1]


# Bad input.

ARGUMENTS = [
    ({"strength": -1}, "Expected a weight of the loss on alpha of 0 or more. Received: -1"),
    ({"strength": "much"}, "Expected a weight .* Received: 'much'"),
    ({"strength": math.nan}, "Expected a weight .* Received: nan"),
    ({"start": -1}, "Expected start .* Received: -1"),
    ({"start": 3, "end": 2}, "Expected end not before start=3.* Received: 2"),
    ({"end": "last"}, "Expected end .* Received: 'last'"),
    ({"unit": "batch"}, "Expected unit 'epoch' or 'step'. Received: 'batch'"),
    ({"schedule": "sine"}, "Expected a schedule of linear, cosine, polynomial.* Received: 'sine'"),
    ({"power": 0}, "Expected power .* Received: 0"),
]


@pytest.mark.parametrize(("options", "message"), ARGUMENTS, ids=[str(options) for options, _ in ARGUMENTS])
def test_arguments_that_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        AFRBScheduler(**options)


def test_a_model_without_blocks():
    model = keras.Sequential([keras.Input((2, 2, 2)), L.GlobalAveragePooling2D()], name="plain")
    model.compile("sgd", "mse")
    with pytest.raises(InputError, match="Expected a model with AFRB layers. Received: 'plain'.*RANESuperNet"):
        fit(model, AFRBScheduler(), epochs=1)


def test_a_schedule_that_leaves_the_range():
    with pytest.raises(InputError, match="Expected a schedule that returns .* from 0 to 1. Received: 1.3"):
        fit(still(), AFRBScheduler(1, 0, 1, schedule=lambda t: 2 * t), epochs=1)
