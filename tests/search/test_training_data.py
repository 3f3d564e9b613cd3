"""Labelled data for scores that train: arrays, datasets, folders, functions, the loss, bad input."""

import itertools

import keras
import numpy as np
import PIL.Image
import pytest

from keras_actnas.core import InputError
from keras_actnas.search.labelled_images import load_training_data
from keras_actnas.search.losses import loss_for
from keras_actnas.search.training_data import training_data

SHAPE = (6, 4, 3)


def numbered(count=50):
    """Images whose first pixel is their number, in order of class, as data on a disk often is."""
    images = np.zeros((count, *SHAPE))
    images[:, 0, 0, 0] = np.arange(count)
    return images, np.arange(count) // (count // 2)


def numbers(batches):
    return [int(image[0, 0, 0]) for inputs, _ in batches for image in inputs]


class Numbered(keras.utils.PyDataset):
    """Batches of 8 and a last one of 2, with an index that never ends, as Keras allows."""

    def __init__(self, first, batches):
        super().__init__()
        self._images, self._labels = numbered()
        self._first, self._batches, self.epochs = first, batches, 0

    def __len__(self):
        return self._batches

    def __getitem__(self, number):
        rows = slice(self._first + 8 * number, self._first + 8 * number + (8 if number < 2 else 2))
        return self._images[rows], self._labels[rows]

    def on_epoch_end(self):
        self.epochs += 1


@pytest.fixture(scope="module")
def classifier():
    inputs = keras.Input(SHAPE)
    x = keras.layers.Activation("silu", name="act")(keras.layers.Flatten()(inputs))
    return keras.Model(inputs, keras.layers.Dense(2)(x), name="classifier")


def test_arrays_are_split_at_random_and_never_mixed():
    images, labels = numbered()
    data = training_data((images, {"a": labels, "b": labels + 10}), batch_size=5)
    held_out = numbers(data.held_out)
    assert len(held_out) == 10 and data.batch_size == 5 and data.input_shape == SHAPE
    assert {int(label) for _, targets in data.held_out for label in targets["a"]} == {0, 1}
    two_epochs = list(itertools.islice(data.batches(np.random.default_rng(0)), 16))
    first, second = numbers(two_epochs[:8]), numbers(two_epochs[8:])
    assert sorted(first) == sorted(second) == sorted(set(range(50)) - set(held_out)) and first != second
    for inputs, targets in two_epochs:
        assert inputs.dtype == np.float32
        np.testing.assert_array_equal(targets["b"], inputs[:, 0, 0, 0] // 25 + 10)
    again, other = training_data((images, labels), 5), training_data((images, 1 - labels), 5)
    assert numbers(again.held_out) == held_out and again.digest != other.digest


def test_datasets_are_taken_as_they_are_but_for_the_rest_of_an_epoch():
    train, validation = Numbered(0, 3), Numbered(24, 2)
    data = training_data((train, validation))
    assert numbers(data.held_out) == list(range(24, 40))
    batches = data.batches(np.random.default_rng(0))
    assert numbers(itertools.islice(batches, 4)) == [*range(16), *range(16)]
    assert train.epochs == 1
    import tensorflow as tf

    flowing = [tf.data.Dataset.from_tensor_slices(numbered()).batch(8) for _ in range(2)]
    assert numbers(training_data(flowing).held_out) == list(range(48))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "Received: nothing"),
        ((1, 2, 3), "Received: tuple of int, int, int"),
        ((1, 2), "Received: tuple of int, int"),
        ((np.zeros((9, 2)), np.zeros(8)), "as many targets as inputs"),
        ((np.zeros((9, 2)), np.zeros(9)), "at least 40 images .* batches of 8. Received: 9"),
        ((np.full((90, 2), np.nan), np.zeros(90)), "NaN"),
        (([(np.zeros((8, 2)), np.zeros(8))], [(np.zeros((7, 2)), np.zeros(7))]), "to train with, 8. Received: none"),
        (([np.zeros((8, 2))], [np.zeros((8, 2))]), "yields .inputs, targets.. Received: ndarray"),
        (([], []), "yields .inputs, targets.. Received: nothing"),
    ],
)
def test_what_is_no_labelled_data(given, message):
    with pytest.raises(InputError, match=message):
        training_data(given, batch_size=8)


def test_a_folder_has_a_folder_for_each_class(classifier, tmp_path):
    for number, name in enumerate(("boots", "bags")):
        (tmp_path / name).mkdir()
        for other in range(240):
            PIL.Image.new("RGB", (4, 6), (255, other, 0) if number else (0, other, 0)).save(
                tmp_path / name / f"{other}.png"
            )
    data = load_training_data(str(tmp_path), classifier, pixel_max=2.0)
    assert data.batch_size == 64 == sum(len(inputs) for inputs, _ in data.held_out)
    for inputs, targets in (data.held_out[0], next(data.batches(np.random.default_rng(0)))):
        np.testing.assert_allclose(inputs[:, 0, 0, 0], 2.0 * (targets == 0), atol=1e-6)  # bags come before boots.
    flat = keras.Sequential([keras.Input((24,)), keras.layers.Dense(2, "silu")])
    with pytest.raises(InputError, match=r"whose input is an image.* shape \(24,\)"):
        load_training_data(str(tmp_path), flat)
    for name in "ab":
        (tmp_path / "empty" / name).mkdir(parents=True)
    with pytest.raises(InputError, match="Expected images in the folders of"):
        load_training_data(str(tmp_path / "empty"), classifier)
    with pytest.raises(InputError, match="a folder of images for each class.* Received: 0 folders"):
        load_training_data(str(tmp_path / "bags"), classifier)
    with pytest.raises(InputError, match="--train_data to be a folder, or module:function"):
        load_training_data(str(tmp_path / "nowhere"), classifier)


def test_a_function_of_ones_own(classifier, tmp_path, monkeypatch):
    (tmp_path / "my_labelled.py").write_text(
        "import numpy as np\n\n\ndef good():\n    return np.zeros((400, 6, 4, 3)), np.zeros(400, int)\n\n\n"
        "def small():\n    return np.zeros((400, 5, 4, 3)), np.zeros(400, int)\n\n\n"
        "def none():\n    pass\n\n\ndef broken():\n    raise OSError('no disk')\n"
    )
    monkeypatch.chdir(tmp_path)
    assert load_training_data("my_labelled:good", classifier).batch_size == 64
    for name, message in (
        ("my_labelled:small", r"shape \(6, 4, 3\).* \(5, 4, 3\)"),
        ("my_labelled:none", "my_labelled:none: Expected .inputs, targets.*Received: nothing"),
        ("my_labelled:broken", "OSError: no disk"),
        ("my_labelled:absent", "train_data=module:function that can be imported"),
    ):
        with pytest.raises(InputError, match=message):
            load_training_data(name, classifier)


def test_the_loss_is_named_compiled_or_that_of_classes(classifier, tmp_path, monkeypatch):
    labels, outputs = np.array([0, 1, 1]), np.log(np.array([[0.5, 0.5], [0.2, 0.8], [0.9, 0.1]], "float32"))
    expected = -np.mean(outputs[range(3), labels])
    assert float(loss_for(classifier, labels)(labels, outputs)) == pytest.approx(expected, rel=1e-5)
    ended = keras.Sequential([classifier, keras.layers.Softmax()])
    assert float(loss_for(ended, labels)(labels, np.exp(outputs))) == pytest.approx(expected, rel=1e-5)
    assert float(loss_for(classifier, labels, "mse")(outputs + 2, outputs)) == pytest.approx(4.0, rel=1e-5)
    compiled = keras.models.clone_model(classifier)
    compiled.compile(loss=[keras.losses.MeanAbsoluteError()], loss_weights=[3.0])
    assert float(loss_for(compiled, labels)(outputs + 2, outputs)) == pytest.approx(6.0, rel=1e-5)
    (tmp_path / "my_loss.py").write_text("def biggest(targets, outputs):\n    return abs(targets - outputs)\n")
    monkeypatch.chdir(tmp_path)
    assert float(loss_for(compiled, labels, "my_loss:biggest")(outputs + 2, outputs)) == pytest.approx(2.0, rel=1e-5)
    for targets, name, message in (
        (labels + 1, None, "classes from 0 to 1, .* Received: 1 to 2"),
        (labels.astype(float), None, "give a loss of Keras"),
        (labels, "mean_squared_eror", "Did you mean 'mean_squared_error'"),
        (labels, "my_loss:smallest", "loss=module:function"),
    ):
        with pytest.raises(InputError, match=message):
            loss_for(classifier, targets, name)
