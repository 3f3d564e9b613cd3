"""The search from end to end on a small network: what it leaves, that it continues, that it fails early."""

import collections
import dataclasses
import json
import shutil

import keras
import numpy as np
import pytest

from keras_actnas.core import Assignment, Constraint, InputError, Journal, MetricTable, load_proposals
from keras_actnas.export import TFLiteNetwork
from keras_actnas.search import Search, SearchSettings, make_proxies
from keras_actnas.search.fingerprint import model_fingerprint
from keras_actnas.search.readings import estimate
from keras_actnas.search.verification import rank, with_measured
from keras_actnas.surgery import current_assignment
from keras_actnas.tflite_bench import load_runtime

SETTINGS = SearchSettings(
    activations=("relu", "silu", "hard_swish", "relu6", "leaky_relu"),
    constraints=(Constraint.parse("nwot>=reference-20"),),
    networks=14,
    runs=3,
    seeds=2,
    batch_size=6,
    top_k=3,
    min_distance=2,
)


@dataclasses.dataclass
class Brake:
    """A progress bar that breaks off after some networks."""

    after: int

    def __call__(self, items, label):
        for item in items:
            if self.after == 0:
                raise KeyboardInterrupt
            self.after -= 1
            yield item


def once(journal):
    """The measurements of a journal, each of which must have been made once."""
    keys = [(m.metric, m.purpose, m.assignment.digest, m.conditions.get("seed")) for m in journal]
    assert len(set(keys)) == len(keys)
    scored = [key[2:] for key in keys if key[0] == "nwot"]
    assert len(set(scored)) == len(scored)
    return keys


def invoke(data, images):
    interpreter = load_runtime().interpreter(model_content=data)
    interpreter.allocate_tensors()
    (detail,) = interpreter.get_input_details()
    (output,) = interpreter.get_output_details()
    results = []
    for image in images:
        interpreter.set_tensor(detail["index"], image[None])
        interpreter.invoke()
        results.append(interpreter.get_tensor(output["index"])[0].copy())
    return np.array(results)


@pytest.fixture(scope="module")
def searched(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("searched") / "run"
    lines = []
    before = [weight.copy() for weight in model.get_weights()]
    search = Search(model, folder, SETTINGS, name="small", say=lines.append)
    result = search.run()
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    return folder, result, lines


@pytest.fixture
def copied(searched, tmp_path):
    """A copy of the folder, for what adds to it."""
    return shutil.copytree(searched[0], tmp_path / "copied")


def test_the_folder_holds_everything(searched):
    folder, _, lines = searched
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert names == {
        "run.json", "journal.jsonl", "reference.tflite", "proposals.json", "best.json", "best.keras", "best.tflite",
        "tables/latency.csv", "tables/latency.json", "tables/nwot.csv", "tables/nwot.json",
    }  # fmt: skip
    assert "operators" in lines[0]


def test_every_measurement_was_made_once(searched):
    folder, result, _ = searched
    keys = once(Journal(folder / "journal.jsonl"))
    counts = collections.Counter((metric, purpose) for metric, purpose, *_ in keys)
    assert counts["latency", "design"] == 14
    # The design, the reference, and every proposal of every round, with two seeds.
    assert counts["nwot", "design"] >= 2 * (14 + 1 + len(result.proposals))
    rows = [result.reference, *result.proposals, *result.baselines]
    assert counts["latency", "verify"] == counts["memory", "verify"] == len({row.assignment for row in rows})
    assert counts["latency", "probe"] == len(SETTINGS.activations)
    assert counts["latency", "confirm"] == 1


def test_proposals_are_predicted_and_measured(searched):
    _, result, _ = searched
    assert 1 <= len(result.proposals) <= 3
    assert [row.name for row in result.baselines] == [f"all {name}" for name in SETTINGS.activations]
    for row in [*result.proposals, *result.baselines]:
        assert set(row.predicted) == {"latency", "nwot"}
        assert set(row.measured) == {"latency", "nwot", "memory", "tensor_memory"}
    assert set(result.reference.measured) == {"latency", "nwot", "memory", "tensor_memory"}
    assert set(result.seconds) == {"convert", "bench", "score", "solve", "verify", "write"}


def test_the_verified_latency_is_measured_in_one_run_with_the_reference(searched):
    """The best, which luck may have made the best, is reported with a second measurement."""
    folder, result, _ = searched
    latencies = [m for m in Journal(folder / "journal.jsonl") if m.metric == "latency"]
    made = [m for m in latencies if m.purpose == "verify"]
    own = np.median(np.concatenate([m.reference_samples for m in made]))
    assert result.reference.measured["latency"].value == pytest.approx(own)
    for row in result.proposals:
        purpose = "confirm" if row is result.best else "verify"
        (measurement,) = [m for m in latencies if (m.purpose, m.assignment) == (purpose, row.assignment)]
        ratio = np.median(np.array(measurement.samples) / np.array(measurement.reference_samples))
        assert row.measured["latency"].value == pytest.approx(own * ratio)


def test_predictions_are_those_of_the_tables_at_today_s_speed(searched):
    _, result, _ = searched
    latency, nwot = result.tables["latency"], result.tables["nwot"]
    scale = result.reference.measured["latency"].value / latency.reference_value.value
    for row in [*result.proposals, *result.baselines]:
        assert row.predicted["latency"].value == pytest.approx(scale * latency.predict(row.assignment).value)
    for row in result.baselines:
        assert row.predicted["nwot"].value == pytest.approx(nwot.predict(row.assignment).value)


def test_a_changed_structure_is_another_model():
    """A stride changes no weight and no site, and every measurement."""
    keras.utils.set_random_seed(5)
    one = strided(1)
    keras.utils.set_random_seed(5)
    two = strided(2)
    keras.utils.set_random_seed(5)
    assert model_fingerprint(one) != model_fingerprint(two)
    assert model_fingerprint(one) == model_fingerprint(strided(1))


def strided(strides):
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(4, 3, strides=strides, activation="relu", name="conv")(inputs) * 0.5
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))


def test_sites_that_a_tflite_cannot_exchange_stay_as_they_are(tmp_path):
    inputs = keras.Input((32, 32, 3))
    x = inputs
    for name in ("relu", "mish", "silu"):
        x = keras.layers.Conv2D(6, 3, strides=2, name=f"conv_{name}")(x)
        x = keras.layers.Activation(name, name=name)(x)
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))
    settings = dataclasses.replace(SETTINGS, activations=("relu", "silu"), networks=6, seeds=1)
    result = Search(model, tmp_path, settings).run()
    assert [table.sites for table in result.tables.values()] == [("relu", "silu")] * 2
    assert current_assignment(keras.models.load_model(tmp_path / "best.keras"))["mish"] == "mish"


def test_the_verified_score_is_the_scorer_s(searched, model):
    _, result, _ = searched
    (scorer,) = make_proxies(model, SETTINGS)
    for row in (result.reference, result.best):
        expected = np.mean([scorer.score(row.assignment, seed) for seed in (0, 1)])
        assert row.measured["nwot"].value == pytest.approx(expected, abs=1e-6)


def verified(searched):
    return [m for m in Journal(searched[0] / "journal.jsonl") if (m.metric, m.purpose) == ("latency", "verify")]


def test_the_best_comes_first(searched):
    _, result, _ = searched
    bound = SETTINGS.constraints[0]
    standings = [row.standing(bound, result.reference) for row in result.proposals]
    assert standings == ["kept"] * len(standings)
    own = result.reference.measured["latency"]
    first = {m.assignment: estimate(m, own) for m in verified(searched)}
    rows = [with_measured(row, "latency", first[row.assignment]) for row in result.proposals]
    assert rank(rows[::-1], result.reference, SETTINGS) == rows
    assert [row.name for row in rows] == [f"ilp-{number}" for number in range(1, len(rows) + 1)]


def test_the_best_network_is_the_same_in_all_files(searched, model, images):
    folder, result, _ = searched
    best = Assignment.load(folder / "best.json")
    assert best == result.best.assignment
    rebuilt = keras.models.load_model(folder / "best.keras")
    assert current_assignment(rebuilt) == best
    assert TFLiteNetwork(folder / "best.tflite").reference == best
    assert TFLiteNetwork(folder / "reference.tflite").reference == current_assignment(model)
    expected = np.asarray(rebuilt(images))
    np.testing.assert_allclose(invoke((folder / "best.tflite").read_bytes(), images), expected, atol=1e-4)
    assert np.abs(expected - np.asarray(model(images))).max() > 1e-3


def test_proposals_come_back_from_the_file(searched):
    folder, result, _ = searched
    assert load_proposals(folder / "proposals.json") == result.proposals
    content = json.loads((folder / "proposals.json").read_text(encoding="utf-8"))
    assert content["minimize"] == "latency"
    assert content["constraints"] == [str(each) for each in SETTINGS.constraints]
    assert content["reference"]["measured"]["latency"]["value"] > 0
    assert len(content["baselines"]) == 5


def test_tables_come_back_from_the_files(searched):
    folder, result, _ = searched
    for metric, table in result.tables.items():
        loaded = MetricTable.load(folder / "tables" / f"{metric}.json")
        np.testing.assert_allclose(loaded.delta, table.delta, rtol=1e-8)
        text = (folder / "tables" / f"{metric}.csv").read_text(encoding="utf-8")
        csv = MetricTable.from_csv(text, table.reference)
        assert csv.unit == table.unit
        np.testing.assert_allclose(csv.delta, table.delta, rtol=1e-6)
    assert result.tables["latency"].context["networks"] == 14
    assert result.tables["nwot"].context["seeds"] == [0, 1]
    last = result.tables["nwot"].sites.index("last")
    assert np.abs(result.tables["nwot"].delta[last]).max() < np.abs(result.tables["nwot"].delta).max()


def test_running_again_measures_nothing(searched, model):
    folder, result, _ = searched
    before = (folder / "journal.jsonl").read_bytes()
    again = Search(model, folder, SETTINGS, name="small").run()
    assert (folder / "journal.jsonl").read_bytes() == before
    assert again.proposals == result.proposals


def test_another_question_in_the_same_folder_keeps_the_tables(searched, copied, model):
    folder, (_, result, _) = copied, searched
    count = len(Journal(folder / "journal.jsonl"))
    other = dataclasses.replace(
        SETTINGS, minimize=None, maximize="nwot", constraints=(Constraint.parse("latency<=1000%"),), top_k=1
    )
    found = Search(model, folder, other, name="small").run()
    new = list(Journal(folder / "journal.jsonl"))[count:]
    assert {m.purpose for m in new if m.metric in ("latency", "memory")} <= {"verify", "confirm"}
    assert found.best.predicted["nwot"].value == max(
        found.best.predicted["nwot"].value, *(row.predicted["nwot"].value for row in found.baselines)
    )
    np.testing.assert_array_equal(result.tables["latency"].delta, found.tables["latency"].delta)


def test_another_model_in_the_same_folder_is_refused(searched, model):
    folder, _, _ = searched
    other = keras.models.clone_model(model)
    with pytest.raises(InputError, match="belongs to a run with weights and structure="):
        Search(other, folder, SETTINGS, name="small")


def test_interrupted_at_many_moments_it_continues(searched, model, tmp_path):
    """Nothing but the network in progress is lost, nothing is made twice, and the tables come out the same."""
    first = searched[0]
    counts = []
    for after in (0, 1, 12, 5, 20, 1):
        with pytest.raises(KeyboardInterrupt):
            Search(model, tmp_path, SETTINGS, name="small", progress=Brake(after)).run()
        counts.append(len(once(Journal(tmp_path / "journal.jsonl"))))
    assert counts == [0, 6, 18, 23, 43, 44]  # Five activations are tried out before the design is measured.
    result = Search(model, tmp_path, SETTINGS, name="small", progress=Brake(10**9)).run()
    once(Journal(tmp_path / "journal.jsonl"))
    again, before = (
        {(m.assignment, m.conditions["seed"]): m.samples for m in Journal(folder / "journal.jsonl").select("nwot")}
        for folder in (tmp_path, first)
    )
    same = set(again) & set(before)
    assert len(same) >= 2 * 15
    for key in same:
        assert again[key] == pytest.approx(before[key], abs=1e-6)
    assert result.best.measured
    assert (tmp_path / "best.tflite").exists()


def test_stages_by_themselves(model, tmp_path):
    search = Search(model, tmp_path, dataclasses.replace(SETTINGS, networks=12), name="small")
    table = search.score()
    assert table.metric == "nwot"
    assert len(Journal(tmp_path / "journal.jsonl").select("nwot")) == 2 * 13
    latency = Search(model, tmp_path, search.settings, name="small").bench()["latency"]
    assert latency.unit == "ms"
    proposals = search.solve({"latency": latency, "nwot": table})
    assert proposals[0].name == "ilp-1" and not proposals[0].measured


def test_two_searches_in_one_process_take_turns(model, tmp_path):
    settings = dataclasses.replace(SETTINGS, networks=11, seeds=1)
    first, second = (Search(model, tmp_path, settings, name="small") for _ in range(2))
    first.score()
    with pytest.raises(InputError, match="changed since it was read"):
        second.score()
    assert Search(model, tmp_path, settings, name="small").score().metric == "nwot"


def test_a_network_that_is_proposed_twice_counts_once(searched, copied, model):
    """A proposal that is also a baseline: its standard error is that of two seeds, not of four."""
    _, result, _ = searched
    search = Search(model, copied, SETTINGS, name="small")
    baseline = result.baselines[0]
    same = dataclasses.replace(baseline, name="ilp-1", measured={}, predicted={})
    found = search.verify([same], result.tables)
    assert found.best.measured["nwot"] == found.baselines[0].measured["nwot"]


def test_own_weights_and_single_swaps_and_one_run(model, tmp_path):
    settings = dataclasses.replace(SETTINGS, design="single_swaps", seeds=0, runs=1, activations=("relu", "silu"))
    result = Search(model, tmp_path, settings, name="small").run()
    table = result.tables["nwot"]
    assert table.context["fit"] == result.tables["latency"].context["fit"] == "least squares"
    assert table.context["seeds"] == [None]
    (scorer,) = make_proxies(model, settings)
    delta = scorer.score({"mix": "silu"}) - scorer.score({})
    assert table.delta[table.sites.index("mix"), table.activations.index("silu")] == pytest.approx(delta, abs=1e-9)
    np.testing.assert_allclose(table.delta[table.sites.index("last")][:2], 0.0, atol=1e-9)
    assert np.isnan(result.best.measured["nwot"].standard_error)
    assert (tmp_path / "best.keras").exists()


def test_few_runs_are_announced(model, tmp_path):
    lines = []
    settings = dataclasses.replace(SETTINGS, runs=None, minutes=0.0, networks=11)
    search = Search(model, tmp_path, settings, name="small", say=lines.append)
    search.bench()
    assert "gets 4 timed runs, not 50" in lines[-1]
    assert {len(m.samples) for m in search.folder.journal if m.purpose == "design"} == {4}


class NoBench:
    def __init__(self, *arguments, **keywords):
        raise AssertionError("nothing may be measured")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"activations": ("relu", "mish")}, "that a .tflite can take on: .* Received: 'mish'"),
        ({"activations": ("relu", "prelu")}, "Received: 'prelu'"),
        ({"images": "/nonexistent"}, "which is no folder"),
        ({"pixel_max": 0.0}, "pixel_max above 0"),
        ({"batch_size": 5000}, "NWOT is not defined. Use fewer images"),
    ],
)
def test_what_would_fail_later_fails_before_anything_is_converted(model, tmp_path, monkeypatch, change, message):
    monkeypatch.setattr("keras_actnas.devices.HostDevice.convert", NoBench)
    monkeypatch.setattr("keras_actnas.devices.HostDevice.measure", NoBench)
    if "batch_size" in change:
        change = {"batch_size": 12}
        model = tiny_codes()
    with pytest.raises(InputError, match=message):
        Search(model, tmp_path, dataclasses.replace(SETTINGS, **change), name="small").run()
    assert not list(Journal(tmp_path / "journal.jsonl"))


def tiny_codes():
    """A network with too few activations to tell twelve images apart."""
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.GlobalAveragePooling2D(name="pool")(inputs)
    return keras.Model(inputs, keras.layers.Dense(2, activation="relu", name="fc")(x))


def test_the_reference_s_own_activations_count_for_the_size_of_the_design(model, tmp_path):
    """Enough networks for two candidates, but the model has three other activations, which take part as well."""
    search = Search(model, tmp_path, dataclasses.replace(SETTINGS, activations=("relu", "silu"), networks=6))
    with pytest.raises(InputError, match="networks of at least 7 for 5 activations. Received: 6"):
        search.bench()
    assert not (tmp_path / "journal.jsonl").exists()


def test_a_model_with_nan_is_found_out_before_the_measuring(model, tmp_path):
    broken = keras.models.clone_model(model)
    kernel, bias = broken.get_layer("mix").get_weights()
    broken.get_layer("mix").set_weights([kernel * np.nan, bias])
    with pytest.raises(InputError, match="NaN"):
        Search(broken, tmp_path, SETTINGS, name="small").run()
    assert not list(Journal(tmp_path / "journal.jsonl"))


def test_an_impossible_bound_says_what_is_possible(copied, model):
    settings = dataclasses.replace(SETTINGS, constraints=(Constraint.parse("latency<=1%"),))
    with pytest.raises(InputError, match=r"some assignment keeps.*latency <= .*closest that can be met is latency <= "):
        Search(model, copied, settings, name="small").run()


def test_score_models_must_have_the_same_sites(model, tmp_path):
    with pytest.raises(InputError, match="Expected a score_model with the sites of the model"):
        Search(model, tmp_path, SETTINGS, score_model=tiny_codes())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: keras.Model(x := keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 1)(x)), "which has none"),
        (lambda: keras.Sequential([keras.layers.Dense(2, activation="relu")]), "not built"),
        (lambda: type("Own", (keras.Model,), {})(), "Expected a functional or Sequential Keras model"),
    ],
)
def test_models_that_cannot_be_searched(tmp_path, build, message):
    with pytest.raises(InputError, match=message):
        Search(build(), tmp_path / "run", SETTINGS)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("shape", "message"),
    [((None, None, 3), "image of fixed size"), ((32, 32, 4), "image of fixed size"), ((10,), "image of fixed size")],
)
def test_inputs_that_are_no_image(tmp_path, shape, message):
    inputs = keras.Input(shape)
    model = keras.Model(inputs, keras.layers.ReLU(name="act")(inputs))
    with pytest.raises(InputError, match=message):
        Search(model, tmp_path, SETTINGS).run()


def test_two_inputs(tmp_path):
    first, second = keras.Input((32, 32, 3)), keras.Input((32, 32, 3))
    model = keras.Model([first, second], keras.layers.ReLU(name="act")(first + second))
    with pytest.raises(InputError, match="one image input"):
        Search(model, tmp_path, SETTINGS).run()
