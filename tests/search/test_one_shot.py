"""One-shot scores: the super-network's training, what it is asked, what is kept, bad input."""

import dataclasses
import itertools

import keras
import numpy as np
import pytest

from keras_actnas.core import Assignment, InputError, Journal
from keras_actnas.search import Search, SearchSettings
from keras_actnas.search.optimizers import cosine_rates, optimizer_for
from keras_actnas.search.paths import fair_paths
from keras_actnas.search.proxies import OneShot, Recipe
from keras_actnas.search.proxies.network_proxy import random_state
from keras_actnas.search.super_network import SuperNetwork
from keras_actnas.search.switchable import SwitchableNetwork
from keras_actnas.search.training_data import training_data
from keras_actnas.surgery import replace_activations

SHAPE = (6, 6, 1)
NAMES = ("relu", "silu", "identity")


def two_sided(count=800):
    """Images of noise, and brighter or darker ones, which are one class: no linear network tells them apart."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, count)
    shift = labels * random.choice([-3, 3], count)
    return random.normal(shift[:, None, None, None], 1.0, (count, *SHAPE)), labels


def tiny_model():
    layers = keras.layers
    inputs = keras.Input(SHAPE)
    x = layers.Conv2D(4, 3, use_bias=False, name="conv")(inputs)
    x = layers.Activation("silu", name="first")(layers.BatchNormalization(name="norm")(x))
    x = layers.Dense(8, activation="silu", name="second")(layers.Flatten()(x))
    return keras.Model(inputs, layers.Dense(2, name="head")(x), name="tiny")


@pytest.fixture(scope="module")
def tiny():
    keras.utils.set_random_seed(7)
    return tiny_model()


@pytest.fixture(scope="module")
def data():
    return training_data(two_sided(), batch_size=8)


def test_fair_paths_give_every_activation_every_site_equally_often():
    reference = Assignment({"a": "silu", "b": "relu6", "c": "silu"})  # b has one activation more to choose from.
    paths = list(itertools.islice(fair_paths(reference, ("relu", "silu"), np.random.default_rng(0)), 30))
    for site, names in (("a", ("relu", "silu")), ("b", ("relu", "relu6", "silu"))):
        got = [path[site] for path in paths]
        for name in names:
            assert got.count(name) == 30 / len(names)
    assert sorted(path["b"] for path in paths[:3]) == ["relu", "relu6", "silu"]
    assert len({path["a"] + path["c"] for path in paths}) == 4  # Sites do not go together.


def test_a_step_is_a_step_of_the_plain_network(tiny, data):
    """With one assignment, and without BatchNorm's moving statistics, training is what Keras's own `fit` does."""
    assignment = {"first": "relu", "second": "identity"}
    batches = list(itertools.islice(data.batches(np.random.default_rng(0)), 5))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network = SwitchableNetwork(tiny, NAMES, 8, batch_statistics=True)
    made = SuperNetwork(network, loss, keras.optimizers.SGD(momentum=0.9))
    made.restart(network.model.get_weights())
    plain = replace_activations(tiny, assignment)
    plain.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss)
    expected = [plain.train_on_batch(*batch) for batch in batches[:1]]
    plain.reset_metrics()
    got = made.train((Assignment(network.reference.with_swaps(assignment)), batch, 0.1) for batch in batches)
    assert got[0] == pytest.approx(expected[0], rel=1e-5)
    for batch in batches[1:]:
        plain.train_on_batch(*batch)
    plain_weights = [weight.numpy() for weight in plain.trainable_weights]
    for own, other in zip(network.model.trainable_weights, plain_weights, strict=True):
        np.testing.assert_allclose(own.numpy(), other, atol=1e-5)
    inputs, targets = data.held_out[0]
    outputs = plain(inputs, training=True)  # No dropout here: BatchNorm with the batch's statistics.
    (asked,) = made.losses(assignment, data.held_out[:1])
    assert asked == pytest.approx(float(loss(targets, outputs)), rel=1e-4)


def test_regularization_of_the_model_counts_in_training_alone(data):
    inputs = keras.Input(SHAPE)
    x = keras.layers.Activation("silu", name="act")(keras.layers.Flatten()(inputs))
    outputs = keras.layers.Dense(2, kernel_regularizer=keras.regularizers.L2(1.0))(x)
    network = SwitchableNetwork(keras.Model(inputs, outputs), NAMES, 8, batch_statistics=True)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    made = SuperNetwork(network, loss, keras.optimizers.SGD())
    made.restart(network.model.get_weights())
    kernel = network.model.trainable_weights[0]
    before = np.linalg.norm(kernel)
    dark = (np.zeros((8, *SHAPE), "float32"), data.held_out[0][1])  # The kernel has no gradient but the penalty's.
    (asked,) = made.losses({}, [dark])
    assert asked == pytest.approx(np.log(2))
    assert made.train([(network.reference, dark, 0.2)]) == [pytest.approx(asked)]
    assert np.linalg.norm(kernel) == pytest.approx((1 - 0.2 * 2) * before)


def test_a_restart_forgets_dropout_and_momentum(data):
    inputs = keras.Input(SHAPE)
    x = keras.layers.Dropout(0.5)(keras.layers.Activation("silu", name="act")(keras.layers.Flatten()(inputs)))
    model = keras.Model(inputs, keras.layers.Dense(2)(x))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def made():
        with random_state(0):
            network = SwitchableNetwork(model, NAMES, 8, batch_statistics=True)
        return network, SuperNetwork(network, loss, keras.optimizers.SGD(momentum=0.9))

    def losses(network, trained):
        trained.restart(weights)
        return trained.train([(network.reference, batch, 0.01) for batch in data.held_out[:3]])

    network, trained = made()
    weights = network.model.get_weights()
    first = losses(network, trained)
    assert losses(network, trained) == first == losses(*made())
    assert trained.losses({}, data.held_out[:1]) == trained.losses({}, data.held_out[:1])  # No dropout when asked.


def test_scores_learn_and_are_kept(tiny, data, tmp_path):
    trained = []

    def progress(steps, label):
        trained.append(label)
        return steps

    recipe = Recipe(data, steps=300, folder=tmp_path, progress=progress)
    proxy = OneShot(tiny, recipe, NAMES)
    linear = dict.fromkeys(proxy.reference, "identity")
    scores = [proxy.score(assignment, 0) for assignment in ({}, {"first": "relu"}, linear)]
    # By chance the loss is log(2), 0.69; a linear network cannot tell these classes apart.
    assert max(scores[:2]) < 0.65 < 0.69 < scores[2]
    assert proxy.score({"first": "relu"}, 0) == scores[1]
    with pytest.raises(InputError, match="'elu'"):
        proxy.score({"first": "elu"}, 0)
    again = OneShot(tiny, recipe, NAMES)
    assert again.score({"first": "relu"}, 0) == scores[1]
    assert again.conditions == proxy.conditions and trained == ["one_shot (training, seed 0)"]
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:100])
    again.score({}, 0)  # It has them in memory.
    with pytest.raises(InputError, match="damaged"):
        OneShot(tiny, recipe, NAMES).score({}, 0)


def test_seeds_and_own_weights_are_different_starts(tiny, data, tmp_path):
    one = dataclasses.replace(data, held_out=data.held_out[:1])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model, plain = (replace_activations(tiny, {}) for _ in range(2))  # Copies: `plain` moves BatchNorm's statistics.
    model.compile(keras.optimizers.Adam(0.001), loss)
    proxy = OneShot(model, Recipe(one, steps=1, folder=tmp_path), NAMES)
    inputs, targets = one.held_out[0]
    expected = float(loss(targets, plain(inputs, training=True)))
    own, first, second = (proxy.score({}, seed) for seed in (None, 0, 1))
    assert own == pytest.approx(expected, rel=0.05)  # One step with a small rate.
    assert len({own, first, second}) == 3 == len(list(tmp_path.iterdir()))
    assert proxy.score({}, 0) == first
    other = OneShot(model, Recipe(one, steps=1, folder=tmp_path), NAMES[:2])
    assert other.conditions != proxy.conditions  # The weights are shared with other candidates.


def test_a_compiled_model_is_trained_by_its_own_optimizer(tiny):
    made, rate = optimizer_for(tiny, 10)
    assert (type(made), rate, made.momentum) == (keras.optimizers.SGD, 0.1, 0.9)
    compiled = keras.models.clone_model(tiny)
    compiled.compile(keras.optimizers.AdamW(0.02, weight_decay=0.3, clipnorm=2.0), "mse")
    made, rate = optimizer_for(compiled, 10)
    assert made is not compiled.optimizer and (made.weight_decay, made.clipnorm) == (0.3, 2.0)
    assert rate == pytest.approx(0.02)
    warm_up = keras.optimizers.schedules.CosineDecay(0.0, 20, warmup_target=0.5, warmup_steps=10)
    compiled.compile(keras.optimizers.SGD(warm_up), "mse")
    made, rate = optimizer_for(compiled, 40)
    assert rate == pytest.approx(0.5, rel=0.05)
    made.learning_rate.assign(0.25)  # It is a number now, which the training sets.
    np.testing.assert_allclose(cosine_rates(0.5, 4), [0.5, 0.25 + 0.25 / 2**0.5, 0.25, 0.25 - 0.25 / 2**0.5])
    assert len(cosine_rates(0.5, 0)) == 0


def test_what_diverges_or_has_no_loss_is_told(tiny, data):
    def scaled(factor):
        return dataclasses.replace(data, held_out=[(inputs * factor, targets) for inputs, targets in data.held_out])

    with pytest.raises(InputError, match="one finite number"):
        OneShot(tiny, Recipe(scaled(np.inf), 1), NAMES)
    broken = dataclasses.replace(data, batches=lambda rng: iter([(np.full((8, *SHAPE), 1e38), data.held_out[0][1])]))
    with pytest.raises(InputError, match="converges.* step 1;"):
        OneShot(tiny, Recipe(broken, 1), NAMES).score({}, 0)
    with pytest.raises(InputError, match=r"these shapes: \[\(8,\), \(8, 2\)\]"):
        OneShot(tiny, Recipe(data, 1, loss="categorical_crossentropy"), NAMES)
    with pytest.raises(InputError, match="batch_norm='batch'"):
        OneShot(tiny, Recipe(data, 1), NAMES, "inference")


def test_settings_that_do_not_go_together():
    settings = SearchSettings(proxy="one_shot", train_data="data:load")
    assert [str(each) for each in settings.constraints] == ["one_shot <= reference"]
    for changes, message in (
        ({"train_data": None}, "give --train_data=FOLDER"),
        ({"batches": 2}, "no --batches for one_shot"),
        ({"score_processes": 2}, "no --score_processes for one_shot"),
        ({"scheduler": "tcp://x:1"}, "no --scheduler for one_shot"),
        ({"train_steps": 0}, "train_steps of at least 1"),
        ({"proxy": "nwot"}, "no --train_data for nwot"),
    ):
        with pytest.raises(InputError, match=message):
            dataclasses.replace(settings, **{"constraints": (), **changes})


def test_a_search_by_one_shot_goes_on_where_it_was(tiny, tmp_path, monkeypatch):
    (tmp_path / "my_spots.py").write_text(
        "import numpy as np\n\n\ndef load():\n    random = np.random.default_rng(0)\n"
        "    return random.normal(size=(320, 6, 6, 1)), random.integers(0, 2, 320)\n"
    )
    monkeypatch.chdir(tmp_path)
    settings = SearchSettings(
        proxy="one_shot", train_data="my_spots:load", train_steps=3, networks=8, seeds=2, activations=("relu", "silu")
    )
    table = Search(tiny, tmp_path / "run", settings, name="tiny").score()
    made = Journal(tmp_path / "run" / "journal.jsonl").select("one_shot")
    assert {one.conditions["seed"] for one in made} == {0, 1}
    kept = {file: file.stat().st_mtime_ns for file in (tmp_path / "run").glob("one_shot-*.npz")}
    assert (table.metric, table.unit) == ("one_shot", "loss") and np.nanmax(table.standard_error) > 0 and len(kept) == 2
    again = Search(tiny, tmp_path / "run", settings, name="tiny").score()
    np.testing.assert_array_equal(again.delta, table.delta)
    assert len(Journal(tmp_path / "run" / "journal.jsonl").select("one_shot")) == len(made)
    assert all(file.stat().st_mtime_ns == time for file, time in kept.items())
