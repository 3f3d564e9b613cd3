"""Fine-tuned scores: each network's own training, and a search by them."""

import dataclasses

import keras
import numpy as np
import pytest

from keras_actnas.core import Assignment, Constraint, InputError, Journal, MetricTable
from keras_actnas.devices import VelaDevice
from keras_actnas.search import Search, SearchSettings
from keras_actnas.search.proxies import FineTuned, Recipe, make_proxy
from keras_actnas.search.training_data import training_data
from keras_actnas.surgery import replace_activations

SHAPE = (6, 6, 1)
NAMES = ("relu", "silu", "identity")
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def two_sided(count=800):
    """Images of noise, and brighter or darker ones, which are one class: no linear network tells them apart."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, count)
    shift = labels * random.choice([-3, 3], count)
    return random.normal(shift[:, None, None, None], 1.0, (count, *SHAPE)), labels


def two_layers():
    inputs = keras.Input(SHAPE)
    x = keras.layers.Flatten()(inputs)
    for name in ("first", "second"):
        x = keras.layers.Dense(8, activation="silu", name=name)(x)
    return keras.Model(inputs, keras.layers.Dense(2, name="head")(x), name="tiny")


@pytest.fixture(scope="module")
def data():
    return training_data(two_sided(), batch_size=8)


@pytest.fixture(scope="module")
def trained(data):
    keras.utils.set_random_seed(3)
    model = two_layers()
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), LOSS)
    for _, batch in zip(range(200), data.batches(np.random.default_rng(9)), strict=False):
        model.train_on_batch(*batch)
    return model


def test_a_score_is_what_training_the_network_by_itself_gives(trained, data):
    short = dataclasses.replace(data, held_out=data.held_out[:1])
    before = trained.get_weights()
    proxy = FineTuned(trained, Recipe(short, steps=3, learning_rate=0.04), NAMES)
    got = proxy.score({"first": "relu"})
    plain = replace_activations(trained, {"first": "relu"})
    plain.compile(keras.optimizers.SGD(0.04, momentum=0.9), LOSS)
    for batch, share in zip(data.batches(np.random.default_rng(0)), (1.0, 0.75, 0.25), strict=False):
        plain.optimizer.learning_rate.assign(0.04 * share)  # Half a cosine at 0, 1/3 and 2/3.
        plain.train_on_batch(*batch)
    inputs, targets = short.held_out[0]
    assert got == pytest.approx(float(LOSS(targets, plain(inputs))), rel=1e-4)
    for kept, weight in zip(before, trained.get_weights(), strict=True):
        np.testing.assert_array_equal(kept, weight)


def test_no_score_depends_on_those_before(trained, data):
    proxy = FineTuned(trained, Recipe(data, steps=40, learning_rate=0.01), NAMES)
    linear = dict.fromkeys(proxy.reference, "identity")
    own, other, relu = proxy.score({}), proxy.score(linear), proxy.score({"first": "relu"})
    # By chance the loss is log(2), 0.69; a linear network cannot tell these classes apart.
    assert own < 0.5 and relu < 0.5 and other > 0.6
    assert (proxy.score({"first": "relu"}), proxy.score({})) == (relu, own)
    assert FineTuned(trained, Recipe(data, steps=40, learning_rate=0.01), NAMES[:2]).score({"first": "relu"}) == relu
    assert proxy.score({}, seed=0) != own  # From new weights.


def test_a_network_that_is_not_compiled_is_fine_tuned_gently(trained, data):
    plain = two_layers()
    assert FineTuned(plain, Recipe(data, steps=1)).conditions["optimizer"]["learning_rate"] == 0.02
    assert FineTuned(trained, Recipe(data, steps=1)).conditions["optimizer"]["learning_rate"] == pytest.approx(0.05)
    given = Recipe(data, steps=1, learning_rate=0.3)
    assert [FineTuned(model, given).conditions["optimizer"]["learning_rate"] for model in (plain, trained)] == [0.3] * 2
    with pytest.raises(InputError, match="converges"):
        FineTuned(trained, dataclasses.replace(given, steps=30, learning_rate=1e30)).score({})


def test_it_is_the_proxy_where_there_is_labelled_data():
    assert SearchSettings().proxy == "nwot" and SearchSettings().confidence is None
    settings = SearchSettings(train_data="data:load")
    assert (settings.proxy, settings.score_design, settings.confidence) == ("fine_tuned", "shares", 0.9)
    assert [str(each) for each in settings.constraints] == ["fine_tuned <= 100.5%"]
    assert settings.score_starts() == [(None, 0)]
    assert (settings.scored_networks, SearchSettings(networks=50).scored_networks) == (64, 50)
    assert dataclasses.replace(settings, confidence=0.5).confidence == 0.5
    for changes, message in (
        ({"trainings": 6}, "trainings of at least 7 for 5 activations. Received: 6. Raise --trainings"),
        ({"learning_rate": 0.0}, "learning_rate above 0"),
        ({"batches": 2}, "no --batches for fine_tuned"),
    ):
        with pytest.raises(InputError, match=message):
            dataclasses.replace(settings, **changes)


def test_a_search_trains_its_proposals_too_and_goes_on_where_it_was(tmp_path, monkeypatch):
    (tmp_path / "my_images.py").write_text(
        "import numpy as np\n\n\ndef load():\n    random = np.random.default_rng(0)\n"
        "    labels = random.integers(0, 2, 400)\n    shift = labels * random.choice([-3, 3], 400)\n"
        "    return random.normal(shift[:, None, None, None], 1.0, (400, 6, 6, 1)), labels\n"
    )
    monkeypatch.chdir(tmp_path)
    model = convolutional()
    settings = SearchSettings(
        train_data="my_images:load", train_steps=2, trainings=14, rounds=2, activations=("relu", "hard_swish"), top_k=2,
        min_distance=1, confidence=0.5,
    )  # fmt: skip

    def run(**changes):
        device = VelaDevice("ethos-u55-128", processes=1)
        with device:
            return Search(model, tmp_path / "run", dataclasses.replace(settings, **changes), device=device).run()

    result = run()
    journal = Journal(tmp_path / "run" / "journal.jsonl").select("fine_tuned")
    trained = {line.assignment for line in journal}
    table = result.tables["fine_tuned"]
    assert len(trained) == len(journal) and table.residual == 0.0 < table.context["noise"]
    assert 14 <= table.context["networks"] <= 14 + 2 * settings.rounds
    assert result.best.assignment in trained
    assert MetricTable.load(tmp_path / "run" / "tables" / "fine_tuned.json").context["noise"] == table.context["noise"]
    assert table.context["fit"].endswith("per element") and table.context["design"] == "shares"
    own = next(line.reference_samples[0] for line in journal)
    assert table.reference_value.value != own  # Its noise is fitted.
    noise = np.sqrt(2) * table.context["noise"]
    assert result.best.measured["fine_tuned"].standard_error == pytest.approx(noise)
    assert Assignment.uniform(result.reference.assignment, "relu") in trained
    again = run()
    assert len(Journal(tmp_path / "run" / "journal.jsonl").select("fine_tuned")) == len(journal)
    assert again.best.assignment == result.best.assignment
    run(loop=True, evaluations=60)  # The local search asks the table, not a training for each step.
    assert len(Journal(tmp_path / "run" / "journal.jsonl").select("fine_tuned")) < len(journal) + 20


def test_a_bound_on_a_noisy_score_is_kept_when_the_table_is_sure_of_it(tmp_path, monkeypatch):
    """Scoring says by how much a network misses the bound, counting in the errors of the table."""
    (tmp_path / "my_noise.py").write_text(
        "import numpy as np\n\n\ndef load():\n    random = np.random.default_rng(0)\n"
        "    return random.normal(size=(320, 6, 6, 1)), random.integers(0, 2, 320)\n"
    )
    monkeypatch.chdir(tmp_path)
    settings = SearchSettings(
        train_data="my_noise:load", train_steps=1, trainings=8, activations=("relu", "elu"),
        constraints=(Constraint.parse("fine_tuned<=reference"),),
    )  # fmt: skip
    with VelaDevice("ethos-u55-128", processes=1) as device:
        search = Search(convolutional(), tmp_path / "run", settings, device=device)
        table = search.score()
        network = Assignment.uniform(search.reference, "relu")
        predicted = table.predict(network)
        (missed,) = search.scoring.missed([network])
    sure = predicted.value + 1.2816 * predicted.standard_error - table.reference_value.value
    assert missed == pytest.approx(sure, rel=1e-3) and predicted.standard_error > 0


def convolutional():
    keras.utils.set_random_seed(3)
    x = inputs = keras.Input(SHAPE)
    for number in range(4):
        x = keras.layers.Conv2D(4, 3, padding="same", name=f"conv{number}")(x)
        x = keras.layers.Activation("silu", name=f"act{number}")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(2)(x), name="tiny")


def test_it_is_made_by_name(trained, data):
    proxy = make_proxy("fine_tuned", trained, Recipe(data, steps=1), NAMES)
    assert (proxy.metric, proxy.unit, proxy.higher_is_better) == ("fine_tuned", "loss", False)
    with pytest.raises(InputError, match="batch_norm='batch' for fine_tuned"):
        FineTuned(trained, Recipe(data, steps=1), NAMES, "inference")
