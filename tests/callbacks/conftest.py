"""Models whose weights tell, after training, which alpha each step used."""

import keras
import numpy as np
import pytest

from keras_actnas.layers import WeightedPEA


@pytest.fixture(autouse=True)
def _seeded():
    keras.utils.set_random_seed(0)


@keras.saving.register_keras_serializable(package="keras_actnas_tests")
def negative(targets, outputs):
    """The loss: what a `Recorder` needs."""
    return -outputs


class Recorder(keras.callbacks.Callback):
    """Reads at the end of each epoch which alpha every step of it used: a row for each epoch.

    Step n of an epoch gets the n-th unit vector. The model multiplies its weight n by 1 - alpha, and its loss is its
    output: the gradient of weight n is 1 - alpha of step n.
    """

    def __init__(self):
        super().__init__()
        self.rows = {}

    def read(self):
        return {
            layer.name: keras.ops.convert_to_numpy(layer.kernel)[:, 0].copy()
            for layer in self.model.layers
            if layer.name.startswith("record")
        }

    def on_train_begin(self, logs=None):
        self.before = self.read()

    def on_epoch_end(self, epoch, logs=None):
        now = self.read()
        for name, kernel in now.items():
            self.rows.setdefault(name, []).append(1 + kernel - self.before[name])
        self.before = now

    def alphas(self, name="record_0"):
        return np.array(self.rows[name])


@pytest.fixture
def recorder():
    return Recorder


@pytest.fixture
def make_model():
    """A function: number of steps, PEA layers -> compiled model that a `Recorder` can read."""

    def make(steps, *layers, **compile_options):
        inputs = keras.Input((steps,))
        outputs = []
        for number, layer in enumerate(layers or [WeightedPEA("identity")]):
            weight = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros", name=f"record_{number}")(inputs)
            minus_ones = keras.layers.Rescaling(0.0, -1.0)(keras.layers.RepeatVector(4000)(weight))
            share = keras.layers.GlobalAveragePooling1D()(layer(minus_ones))  # alpha - 1: ReLU gives 0, identity -1.
            outputs.append(keras.layers.Multiply()([weight, share]))
        model = keras.Model(inputs, sum(outputs[1:], outputs[0]))
        model.compile(keras.optimizers.SGD(1.0), negative, **compile_options)
        return model

    return make


@pytest.fixture
def fit():
    """A function that trains a recording model, a batch of one unit vector a step."""

    def train(model, *callbacks, epochs, data=None, **options):
        steps = model.input_shape[-1]
        x, y = np.eye(steps, dtype="float32"), np.zeros((steps, 1), "float32")
        data = {"x": x, "y": y, "batch_size": 1} if data is None else {"x": data}
        return model.fit(**data, shuffle=False, verbose=0, epochs=epochs, callbacks=[*callbacks], **options)

    return train
