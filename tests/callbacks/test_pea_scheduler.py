"""PEAScheduler: every training step uses the alpha of its position, in every way of training."""

import math

import keras
import numpy as np
import pytest

from keras_actnas.callbacks import PEAScheduler
from keras_actnas.core import InputError
from keras_actnas.layers import StochasticPEA, WeightedPEA

L = keras.layers
BACKEND = keras.backend.backend()

STEPS = 6
# A run that stops before its schedule does says so; where that is not the point of a test:
ends_early = pytest.mark.filterwarnings("ignore:Training ended before alpha reached 1")


def positions(epochs, steps=STEPS, first=0):
    """Returns the position of each step in epochs: a row for each epoch."""
    return first + np.arange((epochs - first) * steps).reshape(-1, steps) / steps


def ramp(position, start, end, shape=lambda t: t):
    """Equation (2) with an initial and a final phase."""
    progress = np.clip((np.asarray(position) - start) / (end - start), 0, 1)
    return np.vectorize(shape)(progress).astype(float)


def assert_alphas(received, expected):
    assert received.shape == expected.shape
    np.testing.assert_allclose(received, expected, atol=2e-5)


SHAPES = {
    "linear": (lambda t: t, {}),
    "cosine": (lambda t: (1 - math.cos(math.pi * t)) / 2, {"schedule": "cosine"}),
    "polynomial": (lambda t: t**3, {"schedule": "polynomial", "power": 3}),
    "function": (lambda t: math.sqrt(t), {"schedule": math.sqrt}),
}


@pytest.mark.parametrize("shape", list(SHAPES))
@pytest.mark.parametrize(("unit", "start", "end"), [("epoch", 0.5, 2.25), ("epoch", 1, 3), ("step", 4, 15)])
def test_every_step_uses_its_alpha(unit, start, end, shape, make_model, fit, recorder):
    function, options = SHAPES[shape]
    model, seen = make_model(STEPS), recorder()
    history = fit(model, PEAScheduler(start, end, unit, **options), seen, epochs=3).history
    scale = STEPS if unit == "step" else 1
    assert_alphas(seen.alphas(), ramp(positions(3) * scale, start, end, function))
    # The logs have the value at the end of an epoch.
    np.testing.assert_allclose(history["alpha"], ramp(np.arange(1, 4) * scale, start, end, function), atol=1e-6)


@pytest.mark.parametrize(("unit", "at"), [("epoch", 1.5), ("epoch", 1), ("step", 8), ("epoch", 0)])
def test_a_jump(unit, at, make_model, fit, recorder):
    model, seen = make_model(STEPS), recorder()
    fit(model, PEAScheduler(at, at, unit), seen, epochs=2)
    scale = STEPS if unit == "step" else 1
    assert_alphas(seen.alphas(), (positions(2) * scale >= at).astype(float))


def test_the_order_of_callbacks_does_not_matter(make_model, fit, recorder):
    model, seen = make_model(STEPS), recorder()
    fit(model, seen, PEAScheduler(0, 2), epochs=2)
    assert_alphas(seen.alphas(), ramp(positions(2), 0, 2))


@ends_early
def test_stochastic_steps_use_it_too(make_model, fit, recorder):
    model, seen = make_model(STEPS, StochasticPEA("identity", seed=1)), recorder()
    fit(model, PEAScheduler(0, 2), seen, epochs=1)
    # 4000 draws a step; alpha one step late would be 0.083 off.
    np.testing.assert_allclose(seen.alphas(), ramp(positions(1), 0, 2), atol=4 * 0.5 / math.sqrt(4000))


@ends_early
def test_schedules_of_layers(make_model, fit, recorder):
    layers = [WeightedPEA("identity", name=name) for name in ("stem", "stage1_a", "stage1_b", "stage2_a")]
    model, seen = make_model(STEPS, *layers), recorder()
    per_layer = {
        "stage1_b": {"start": 1, "end": 2},
        "stage1_*": {"schedule": "polynomial", "power": 3},
        "stage2_*": {"end": 4},
    }
    history = fit(model, PEAScheduler(0, 2, per_layer=per_layer), seen, epochs=3).history
    expected = [
        ramp(positions(3), 0, 2),
        ramp(positions(3), 0, 2, lambda t: t**3),
        ramp(positions(3), 1, 2),
        ramp(positions(3), 0, 4),
    ]
    # The prediction's gradient is not scaled by the number of layers.
    for number, alphas in enumerate(expected):
        assert_alphas(seen.alphas(f"record_{number}"), alphas)
    names = {"alpha", "alpha_stage1_b", "alpha_stage1_*", "alpha_stage2_*"}
    assert names <= set(history)
    assert history["alpha"] == pytest.approx([0.5, 1, 1])
    assert history["alpha_stage1_*"] == pytest.approx([1 / 8, 1, 1])
    assert history["alpha_stage1_b"] == pytest.approx([0, 1, 1])
    assert history["alpha_stage2_*"] == pytest.approx([0.25, 0.5, 0.75])


def test_logs_without_a_layer_of_the_common_schedule(make_model, fit):
    model = make_model(STEPS, WeightedPEA("identity", name="only"))
    history = fit(model, PEAScheduler(0, 2, per_layer={"on*": {"end": 1}}), epochs=1).history
    assert set(history) == {"loss", "alpha_on*"}


def test_layers_inside_of_models_and_arguments_are_found():
    inner_inputs = keras.Input((4,))
    inner = keras.Model(inner_inputs, WeightedPEA(name="nested")(inner_inputs))
    twice = StochasticPEA(name="twice")
    inputs = keras.Input((4,))
    x = L.Dense(4, activation=WeightedPEA(name="argument"))(inputs)
    x = L.TimeDistributed(WeightedPEA(name="wrapped"))(L.Reshape((2, 2))(inner(twice(twice(x)))))
    model = keras.Model(inputs, L.Dense(1)(L.Flatten()(x)))
    model(np.ones((1, 4), "float32"))
    model.compile("sgd", "mse")
    model.fit(np.ones((4, 4)), np.ones((4, 1)), epochs=1, verbose=0, callbacks=[PEAScheduler(0, 1)])
    found = [inner.layers[1], twice, model.layers[1].activation, model.layers[-3].layer]
    assert [layer.name for layer in found] == ["nested", "twice", "argument", "wrapped"]
    assert [float(layer.alpha) for layer in found] == [1] * 4


@pytest.mark.skipif(BACKEND == "torch", reason="the torch backend has no steps_per_execution")
@pytest.mark.parametrize(("unit", "end"), [("epoch", 2), ("step", 12)])
def test_several_steps_an_execution(unit, end, make_model, fit, recorder):
    model, seen = make_model(STEPS, steps_per_execution=3), recorder()
    fit(model, PEAScheduler(0, end, unit), seen, epochs=2)
    first = np.repeat(ramp(positions(2), 0, 2)[:, ::3], 3, axis=1)  # Of the first of each three.
    assert_alphas(seen.alphas(), first)


@pytest.mark.skipif(BACKEND == "torch", reason="tested with a whole number of steps by the others")
@ends_early
def test_executions_that_do_not_divide_the_epoch(make_model, fit, recorder):
    model, seen = make_model(5, steps_per_execution=3), recorder()
    fit(model, PEAScheduler(0, 4), seen, epochs=2)
    expected = ramp(positions(2, steps=5), 0, 4)
    assert_alphas(seen.alphas(), expected[:, [0, 0, 0, 3, 3]])


@pytest.mark.compiles
@pytest.mark.parametrize("jit", [False, True])
def test_compiled_training(jit, make_model, fit, recorder):
    model, seen = make_model(STEPS, jit_compile=jit), recorder()
    fit(model, PEAScheduler(0, 2), seen, epochs=2)
    assert_alphas(seen.alphas(), ramp(positions(2), 0, 2))


def test_eager_training(make_model, fit, recorder):
    model, seen = make_model(STEPS, run_eagerly=True), recorder()
    fit(model, PEAScheduler(0, 2), seen, epochs=2)
    assert_alphas(seen.alphas(), ramp(positions(2), 0, 2))


@pytest.mark.parametrize("unit", ["epoch", "step"])
def test_gradient_accumulation(unit, make_model, fit, recorder):
    model, seen = make_model(STEPS), recorder()
    model.compile(keras.optimizers.SGD(2.0, gradient_accumulation_steps=2), lambda y, p: -p)
    fit(model, PEAScheduler(0, 2 * (STEPS if unit == "step" else 1), unit), seen, epochs=2)
    assert_alphas(seen.alphas(), ramp(positions(2), 0, 2))


def test_validation_during_training(make_model, fit, recorder):
    model, seen = make_model(STEPS), recorder()
    data = (np.eye(STEPS, dtype="float32"), np.zeros((STEPS, 1), "float32"))
    fit(model, PEAScheduler(0, 2), seen, epochs=2, validation_data=data, validation_batch_size=2)
    assert_alphas(seen.alphas(), ramp(positions(2), 0, 2))


@ends_early
def test_a_run_resumed_at_a_later_epoch(make_model, fit, recorder):
    for unit, start, end in [("epoch", 0.5, 3), ("step", 3, 18)]:
        model, seen = make_model(STEPS), recorder()
        fit(model, PEAScheduler(start, end, unit), seen, epochs=4, initial_epoch=1)
        assert_alphas(seen.alphas(), ramp(positions(4, first=1), 0.5, 3))


@ends_early
def test_a_checkpoint_resumed(make_model, fit, recorder, tmp_path):
    model, seen, again = make_model(STEPS), recorder(), recorder()
    checkpoint = keras.callbacks.ModelCheckpoint(tmp_path / "at_{epoch}.keras")
    # Whether it saves before or after the scheduler's turn: the file has the alpha with which training goes on.
    fit(model, PEAScheduler(0, 3), checkpoint, seen, epochs=2)
    loaded = keras.models.load_model(tmp_path / "at_2.keras")
    pea = next(layer for layer in loaded.layers if isinstance(layer, WeightedPEA))
    assert float(pea.alpha) == pytest.approx(2 / 3)
    fit(loaded, PEAScheduler(0, 3), again, epochs=3, initial_epoch=2)
    assert_alphas(np.concatenate([seen.alphas(), again.alphas()]), ramp(positions(3), 0, 3))


class Interruption(keras.callbacks.Callback):
    """Breaks off in the middle of an epoch, once."""

    def __init__(self, epoch, batch):
        super().__init__()
        self.when, self.epoch, self.done = (epoch, batch), None, False

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if not self.done and (self.epoch, batch) == self.when:
            self.done = True
            raise KeyboardInterrupt


@pytest.mark.parametrize("unit", ["epoch", "step"])
@pytest.mark.parametrize("last", ["scheduler", "backup"])
def test_an_interrupted_run_goes_on(last, unit, make_model, fit, recorder, tmp_path):
    seen, breaking = recorder(), Interruption(epoch=2, batch=3)

    def train():
        model = make_model(STEPS)
        pair = [keras.callbacks.BackupAndRestore(tmp_path / "backup"), PEAScheduler(0, 4 * scale, unit)]
        fit(model, *(pair if last == "scheduler" else pair[::-1]), seen, breaking, epochs=5)

    scale = STEPS if unit == "step" else 1
    with pytest.raises(KeyboardInterrupt):
        train()
    assert len(seen.alphas()) == 2
    train()  # As a new process would: epoch 2 starts again.
    assert_alphas(seen.alphas(), ramp(positions(5), 0, 4))


class Batches(keras.utils.PyDataset):
    def __init__(self, steps):
        super().__init__()
        self.steps = steps

    def __len__(self):
        return self.steps

    def __getitem__(self, index):
        return np.eye(self.steps, dtype="float32")[index : index + 1], np.zeros((1, 1), "float32")


def test_a_dataset_of_known_length(make_model, fit, recorder):
    model, seen = make_model(STEPS), recorder()
    fit(model, PEAScheduler(0, 2 * STEPS, "step"), seen, epochs=2, data=Batches(STEPS))
    assert_alphas(seen.alphas(), ramp(positions(2), 0, 2))


def unknown_length(steps):
    tensorflow = pytest.importorskip("tensorflow")
    data = tensorflow.data.Dataset.from_tensor_slices((np.eye(steps, dtype="float32"), np.zeros((steps, 1), "float32")))
    data = data.batch(1).filter(lambda x, y: True)
    assert int(data.cardinality()) == tensorflow.data.UNKNOWN_CARDINALITY
    return data


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_a_dataset_of_unknown_length(make_model, fit, recorder):
    # In steps all is known. In epochs, the fraction of the first one is not, until it is over.
    model, seen = make_model(STEPS), recorder()
    fit(model, PEAScheduler(2, 2 * STEPS, "step"), seen, epochs=3, data=unknown_length(STEPS))
    assert_alphas(seen.alphas(), ramp(positions(3) * STEPS, 2, 2 * STEPS))

    model, seen = make_model(STEPS), recorder()
    fit(model, PEAScheduler(0, 3), seen, epochs=3, data=unknown_length(STEPS))
    expected = ramp(positions(3), 0, 3)
    expected[0] = 0
    assert_alphas(seen.alphas(), expected)


def test_epochs_of_changing_length():
    """In steps, what was done adds up, whatever length `fit` began with."""
    layer = WeightedPEA()
    scheduler = PEAScheduler(0, 10, "step")
    scheduler.set_model(keras.Sequential([keras.Input((2,)), layer]))
    scheduler.set_params({"steps": 4})
    scheduler.on_train_begin()
    alphas = []
    for epoch, steps in enumerate((4, 2, 3)):
        scheduler.on_epoch_begin(epoch)
        for batch in range(steps):
            alphas.append(layer.alpha_value())
            scheduler.on_train_batch_end(batch)
        scheduler.on_epoch_end(epoch)
    np.testing.assert_allclose(alphas, np.arange(9) / 10, atol=1e-6)


def test_a_generator(make_model, fit, recorder):
    def batches():
        while True:
            for index in range(STEPS):
                yield np.eye(STEPS, dtype="float32")[index : index + 1], np.zeros((1, 1), "float32")

    model, seen = make_model(STEPS), recorder()
    fit(model, PEAScheduler(0, 2), seen, epochs=2, data=batches(), steps_per_epoch=STEPS)
    assert_alphas(seen.alphas(), ramp(positions(2), 0, 2))


def test_a_resumed_run_of_unknown_length(make_model, fit):
    model = make_model(STEPS)
    with pytest.raises(ValueError, match="Expected a known number of steps per epoch.*Received: data of unknown"):
        fit(model, PEAScheduler(0, 9, "step"), epochs=3, initial_epoch=1, data=unknown_length(STEPS))


def test_one_scheduler_for_two_runs(make_model, fit, recorder):
    scheduler = PEAScheduler(0, 2)
    for steps in (STEPS, 4):  # The second has epochs of another length.
        model, seen = make_model(steps), recorder()
        fit(model, scheduler, seen, epochs=2)
        assert_alphas(seen.alphas(), ramp(positions(2, steps), 0, 2))


def test_a_warning_when_training_ends_early(make_model, fit):
    model = make_model(STEPS, WeightedPEA("identity"), WeightedPEA("identity", name="other"))
    with pytest.warns(
        UserWarning, match=r"2 PEA layers are not pure ReLU yet \(lowest alpha 0.500\).*epoch 4"
    ) as caught:
        fit(model, PEAScheduler(0, 4), epochs=2)
    assert sum("PEA layers" in str(warning.message) for warning in caught) == 1
    with pytest.warns(UserWarning, match=r"1 PEA layers .*alpha 0.250\).*to step 48"):
        fit(model, PEAScheduler(0, 6, "step", per_layer={"other": {"end": 48}}), epochs=2)


def test_numbers_of_numpy(make_model, fit, recorder):
    model, seen = make_model(STEPS), recorder()
    fit(model, PEAScheduler(np.int64(0), np.float32(2)), seen, epochs=2)
    assert_alphas(seen.alphas(), ramp(positions(2), 0, 2))


def test_no_warning_when_it_does_not(make_model, fit):
    fit(make_model(STEPS), PEAScheduler(0, 2), epochs=2)  # Warnings are errors here.
    fit(make_model(STEPS), PEAScheduler(0, 2 * STEPS, "step"), epochs=2)


def refuses(function, match):
    with pytest.raises(InputError, match=match):
        function()


def test_arguments_that_are_refused():
    refuses(lambda: PEAScheduler(0, 1, "batch"), "Expected unit 'epoch' or 'step'. Received: 'batch'")
    refuses(lambda: PEAScheduler(-1, 1), "Expected start .* Received: -1")
    refuses(lambda: PEAScheduler(0, float("nan")), "Expected end .* Received: nan")
    refuses(lambda: PEAScheduler(5, 2), "Expected end not before start=5.* Received: 2")
    refuses(lambda: PEAScheduler(0, 1, schedule="sine"), "Expected a schedule .* Received: 'sine'")
    refuses(lambda: PEAScheduler(0, 1, power=0), "Expected power .* Received: 0")
    refuses(
        lambda: PEAScheduler(0, 1, per_layer={"a": {"stop": 1}}), r"per_layer\['a'\] .* keys among start.* Received"
    )
    refuses(lambda: PEAScheduler(0, 1, per_layer={"a": 3}), r"Expected per_layer\['a'\] to be a mapping .* Received: 3")
    refuses(
        lambda: PEAScheduler(0, 1, per_layer={"a": {"start": 2}}), r"per_layer\['a'\]: Expected end not before start=2"
    )
    refuses(lambda: PEAScheduler(0, 1, per_layer=["a"]), "Expected per_layer to be a mapping .* Received: ")
    refuses(lambda: PEAScheduler(0, 1, schedule=[]), r"Expected a schedule .* Received: \[\]")


def test_models_that_are_refused(make_model, fit):
    model = keras.Sequential([keras.Input((2,)), L.Dense(1, activation="relu")], name="plain")
    model.compile("sgd", "mse")
    data = (np.ones((2, 2)), np.ones((2, 1)))
    refuses(
        lambda: model.fit(*data, verbose=0, callbacks=[PEAScheduler(0, 1)]),
        "Expected a model with .* Received: 'plain'",
    )
    model = make_model(STEPS, WeightedPEA(name="one"))
    for patterns in (["two"], ["on*", "one"]):
        per_layer = {pattern: {"end": 1} for pattern in patterns}
        refuses(lambda per_layer=per_layer: fit(model, PEAScheduler(0, 1, per_layer=per_layer), epochs=1), "are one")


def test_a_schedule_that_leaves_the_range(make_model, fit):
    refuses(
        lambda: fit(make_model(STEPS), PEAScheduler(0, 1, schedule=lambda t: 2 * t), epochs=1),
        "Expected a schedule that returns alpha from 0 to 1. Received: 1.3.* at progress 0.66",
    )
