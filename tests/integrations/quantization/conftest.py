import keras
import numpy as np
import pytest


@pytest.fixture(autouse=True)
def _seeded():
    keras.utils.set_random_seed(0)


@pytest.fixture(scope="session")
def wake():
    """Returns the function that gives a network weights under which its outputs depend on every layer."""

    def random_weights(model, gain=1.3):
        random = np.random.default_rng(0)
        for weight in model.weights:
            if len(weight.shape) > 1:
                kernel = random.normal(0, 1, weight.shape)
                weight.assign(gain * kernel / np.sqrt(np.square(kernel).sum() / weight.shape[-1]))
            elif weight.name in ("gamma", "moving_variance"):
                weight.assign(random.uniform(0.5, 1.5, weight.shape))
            else:
                weight.assign(random.uniform(-0.5, 0.5, weight.shape))
        return model

    return random_weights
