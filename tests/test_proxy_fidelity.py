"""The statistics of the study of proxies (`benchmarks/proxy_fidelity`), on made-up trainings whose truth is known."""

import importlib
import itertools
import json
import re
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from scipy.stats import kendalltau, spearmanr

from keras_actnas.core import CANDIDATES, Assignment, Estimate, InputError, MetricTable

FOLDER = Path(__file__).parents[1] / "benchmarks/proxy_fidelity"
NAMES = (
    "analyse",
    "calibrated",
    "calibration_curve",
    "candidates",
    "command",
    "correlation",
    "network_study",
    "predictors",
    "printed",
    "score_lines",
    "study",
    "trainings",
)


@pytest.fixture(scope="module")
def study():
    """The modules of the study that need no Keras, by name."""
    sys.path.insert(0, str(FOLDER))
    yield {name: importlib.import_module(name) for name in NAMES}
    sys.path.remove(str(FOLDER))
    for name in NAMES:
        del sys.modules[name]


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="module")
def shapes():
    return json.loads((FOLDER / "network_residual.json").read_text())["sites"]


@pytest.fixture(scope="module")
def assignments(study, shapes):
    return study["candidates"].candidates(Assignment.uniform(shapes, "silu"))


def counting_relu(shapes, unit, sign):
    """A table of a search that knows the trainings of `trained`."""
    delta = np.zeros((len(shapes), len(CANDIDATES)))
    delta[:, CANDIDATES.index("relu")] = sign
    silu, of = Assignment.uniform(shapes, "silu"), {"networks": 9}
    return MetricTable("score", unit, silu, CANDIDATES, Estimate(0.0), delta, np.zeros_like(delta), of)


def test_correlations_are_those_of_scipy(study, rng):
    first = rng.integers(0, 6, 40).astype(float)
    second = first + rng.normal(size=40).round()
    assert study["correlation"].kendall(first, second) == pytest.approx(kendalltau(first, second).statistic)
    assert study["correlation"].spearman(first, second) == pytest.approx(spearmanr(first, second).statistic)


def test_pairs_of_different_groups_do_not_count(study):
    groups = np.repeat([0, 1], 5)
    first = np.arange(10.0)
    second = np.concatenate([np.arange(5.0)[::-1], 10 + np.arange(5.0)[::-1]])
    assert study["correlation"].kendall(first, second) > 0
    assert study["correlation"].kendall(first, second, groups) == -1
    assert study["correlation"].spearman(first, second, groups) == -1


def test_a_draw_counts_networks_as_often_as_they_are_in_it(study, rng):
    values = rng.normal(size=(30, 1))
    scores = values[:, 0] + rng.normal(size=30)
    low, high = study["correlation"].Bootstrap(values, np.zeros(30), draws=400).kendall(scores)
    taus = []
    for _ in range(400):
        rows = rng.integers(0, 30, 30)
        taus.append(kendalltau(scores[rows], values[rows, 0]).statistic)
    assert [low, high] == pytest.approx(np.percentile(taus, [2.5, 97.5]), abs=0.06)


def test_what_the_given_predictors_say_is_taken_out(study, rng):
    share, noise = rng.normal(size=(2, 200))
    both = share + 0.5 * noise
    assert study["correlation"].partial(share + 0.5 * rng.normal(size=200), both, share[:, None]) < 0.2
    assert study["correlation"].partial(both, share + noise, share[:, None]) > 0.8


@pytest.mark.parametrize("gaps", [False, True])
def test_variance_components(study, rng, gaps):
    truth = rng.normal(size=400) * 3
    values = truth[:, None] + [10.0, 0.0, -10.0] + rng.normal(size=(400, 3)) * 2
    if gaps:
        values[200:, 2] = np.nan
    found = study["trainings"].effects(values)
    assert np.sqrt(found.noise) == pytest.approx(2, rel=0.1)
    assert np.sqrt(study["trainings"].between(found, np.zeros(400))) == pytest.approx(3, rel=0.1)
    assert np.corrcoef(found.values, truth)[0, 1] > 0.9
    assert found.errors[-1] == pytest.approx(2 / np.sqrt(2 if gaps else 3), rel=0.1)


def test_the_ceiling_is_what_the_truth_reaches(study, rng):
    reached, promised = [], []
    for _ in range(20):
        truth = rng.normal(size=60)
        found = study["trainings"].effects(truth[:, None] + rng.normal(size=(60, 3)))
        reached.append(study["correlation"].kendall(truth, found.values))
        promised.append(study["trainings"].ceilings(found, np.zeros(60), draws=50)[0])
    assert np.mean(promised) == pytest.approx(np.mean(reached), abs=0.05)


def test_one_seed_says_nothing_of_the_noise(study, rng):
    found = study["trainings"].effects(rng.normal(size=(10, 1)))
    assert np.isnan(found.noise) and np.isnan(study["trainings"].ceilings(found, np.zeros(10))).all()


def test_a_depth_that_matters_is_learned_from_the_others(study, rng, shapes, assignments):
    """ReLU pays early and costs late: no share of it tells, a calibration over depth does."""
    networks = list(assignments.values())
    relu = study["predictors"].chosen(networks, shapes)[:, :, 0]
    values = relu @ (0.5 - study["predictors"].depths(shapes)) + rng.normal(size=len(networks)) * 0.1
    errors = np.full(len(networks), 0.1)
    made = [study["calibrated"].PRIORS[name](shapes) for name in ("activation", "activation, depth, width")]
    predicted = [study["calibrated"].left_out(networks, shapes, values, errors, prior) for prior in made]
    shares = study["predictors"].linear_features(networks, shapes)["shares"]
    predicted.append(study["predictors"].left_out_linear(shares, values))
    plain, deep, linear = (np.corrcoef(one, values)[0, 1] for one in predicted)
    assert deep > 0.95 and deep > plain and deep > linear + 0.3


def test_a_calibration_serves_another_network(study, shapes, assignments):
    networks = list(assignments.values())
    relu = study["predictors"].chosen(networks, shapes)[:, :, 0]
    values = relu @ (0.5 - study["predictors"].depths(shapes))
    known = networks, shapes, values, np.full(len(networks), np.nan)
    other = {f"other {site}": shape for site, shape in shapes.items()}
    renamed = [Assignment(zip(other, one.values(), strict=True)) for one in networks]
    predicted = study["calibrated"].transferred(known, renamed, other, study["calibrated"].DepthPrior)
    assert np.corrcoef(predicted, values)[0, 1] > 0.99


def test_some_trainings_tell_of_the_others(study, rng, shapes, assignments):
    networks = list(assignments.values())
    size = study["predictors"].elements(shapes)
    relu = np.array([[name == "relu" for name in one.values()] for one in networks])
    values = relu @ size / size.mean() + rng.normal(size=len(networks)) / 10
    trained = study["trainings"].Trainings(tuple(assignments)[:40], tuple(networks[:40]), values[:40, None])
    prior = study["calibrated"].PRIORS["activation, per element"](shapes)
    found = study["calibrated"].predicted(trained, values[:40], networks[40:], shapes, prior)
    assert np.corrcoef(found, values[40:])[0, 1] > 0.99


def test_left_out_networks_do_not_take_part(study, rng):
    features, values = rng.normal(size=(20, 3)), rng.normal(size=20)
    found = study["predictors"].left_out_linear(features, values)
    design = np.column_stack([np.ones(19), features[1:]])
    solution = np.linalg.lstsq(design, values[1:], rcond=None)[0]
    assert found[0] == pytest.approx(solution[0] + features[0] @ solution[1:])


def test_proposals_come_behind_the_other_assignments(study, shapes, assignments):
    names, reference = list(assignments), Assignment.uniform(shapes, "silu")
    plain = study["candidates"].candidates(reference, proposals=False)
    assert names[:64] == list(plain) and "ilp, default, inference" in names[64:]
    assert len(set(assignments.values())) == len(names)
    others = Assignment.uniform(["stem"], "silu")
    assert study["candidates"].proposed(others) == {}


@pytest.fixture
def trained(rng, shapes, assignments, tmp_path, study):
    """Trainings whose accuracy is the share of ReLU, and scores that are the truth, or its opposite."""
    path, lines, scores = tmp_path / "trainings.jsonl", [], {}
    for name, assignment in assignments.items():
        truth = list(assignment.values()).count("relu") + rng.normal() / 4
        scores[assignment] = truth
        for seed in range(2):
            line = {"name": name, "seed": seed, "accuracy": truth + seed + rng.normal() / 20, "test_loss": -truth}
            lines.append(json.dumps({**line, "recipe": {"epochs": 1}, "assignment": dict(assignment)}))
    path.write_text("\n".join(lines) + "\n")
    for start in range(3):
        for proxy, higher in (("right", True), ("wrong", False)):
            setting = study["score_lines"].Setting(proxy, "batch", 16, 28)
            study["score_lines"].append_scores(tmp_path / "scores.jsonl", setting, start, scores, higher, 1.0)
    return path


def test_tables(study, trained, shapes):
    found = study["analyse"].Study("residual", trained, "accuracy", draws=50)
    right, wrong = study["analyse"].proxies(found, trained.with_name("scores.jsonl"))[0].rows
    assert right[:5] == ["right", "batch", "16", "28", "3"] and right[5].startswith("+0.9")
    assert wrong[5].startswith("-0.9")
    scores = zip(found.trainings.assignments, found.effects.values - found.effects.values.min(), strict=True)
    scores = list(scores)
    for proxy, start in itertools.product(("nwot", "sensitivity_batch"), range(3)):
        # Each is the truth of every other assignment: the two together say more.
        odd = {one: truth if (number % 2) == (proxy == "nwot") else 0.0 for number, (one, truth) in enumerate(scores)}
        mode, higher = ("inference", True) if proxy == "nwot" else ("batch", False)
        odd = {one: value if higher else -value for one, value in odd.items()}
        setting = study["score_lines"].Setting(proxy, mode, 16, 28)
        study["score_lines"].append_scores(trained.with_name("more.jsonl"), setting, start, odd, higher, 1.0)
    first, second, both = study["analyse"].proxies(found, trained.with_name("more.jsonl"))[0].rows
    assert both[0] == "nwot + sensitivity_batch, ranks"
    assert float(both[5].split()[0]) > max(float(one[5].split()[0]) for one in (first, second)) + 0.1
    for table in (counting_relu(shapes, "loss", -1.0), counting_relu(shapes, "", 1.0)):
        (*_, row) = study["analyse"].fitted(found, None, table).rows
        assert row[0] == "table of score, 9 networks" and float(row[1].split()[0]) > 0.8
    spread = study["analyse"].variances(found).rows[0]
    assert spread[:2] == ["all", str(len(found.trainings.names))] and float(spread[6]) > 20
    table = study["analyse"].networks(found)
    assert "| all relu | 0.670 |" in table.markdown()
    table.save(trained.parent, "x")
    assert (trained.parent / "x-uniform-networks-and-proposals.csv").read_text().startswith("network,latency")
    loss = study["trainings"].read_trainings(trained, "test_loss")
    assert study["correlation"].kendall(loss.values[:, 0], found.effects.values) > 0.9


def test_what_is_to_be_trained_is_checked(study, assignments, tmp_path, shapes):
    parser, run = study["study"].parser("A study."), study["study"].run
    reference, trained = Assignment.uniform(shapes, "silu"), []

    def train(assignment, seed):
        trained.append((assignment, seed))
        return {"accuracy": 0.5}

    out = tmp_path / "out.jsonl"
    for flags, message in (
        (["--only", "all relu;all rleu"], "Received: 'all rleu'. Did you mean 'all relu"),
        (["--before_rate", "0.1"], "Received: --before=0"),
        (["--before_seed", "1"], "Received: --before=0"),
        (["--before", "-1"], "Received: --before=-1"),
    ):
        with pytest.raises(InputError, match=message):
            run(parser.parse_args([*flags, "--out", str(out)]), reference, {}, train)
    assert not trained and not out.exists()
    options = parser.parse_args(["--only", "all relu; all silu", "--seeds", "1", "--out", str(out)])
    for _ in range(2):
        run(options, reference, {}, train)
    assert trained == [(assignments["all relu"], 0), (assignments["all silu"], 0)]


def test_all_trainings_can_go_on_from_one_network(study):
    parser = study["study"].parser("")
    own = parser.parse_args(["--before", "2", "--out", "x"])
    same = parser.parse_args(["--before", "2", "--before_seed", "0", "--out", "x"])
    assert [study["study"].first_seed(options, 3) for options in (own, same)] == [3, 0]
    # Lines that were written before there was the flag are of the same recipe as without it.
    assert study["study"].recipe_of(own, ["before"]) == {"before": 2}
    assert study["study"].recipe_of(same, ["before"]) == {"before": 2, "before_seed": 0}


def test_one_seed_has_no_other_to_predict(study, trained, monkeypatch, capsys):
    curve, run = study["calibration_curve"], study["command"].run_command
    flags = ["x", "--network", "residual", "--trainings", str(trained), "--numbers", "20", "--draws", "2"]
    monkeypatch.setattr(sys, "argv", flags)
    run(curve.main)
    first, *tables = capsys.readouterr().out.splitlines()
    assert "2 seeds" in first and len(tables) == 2
    assert all(float(re.search(r"20 trainings: ([-+\d.]+) ", line)[1]) > 0.5 for line in tables)
    lines = [line for line in trained.read_text().splitlines() if json.loads(line)["seed"] == 0]
    trained.write_text("\n".join(lines) + "\n")
    for wrong, message in (
        (flags, "two seeds or more"),
        ([*flags, "--network", "resnet"], "--network out of detector"),
    ):
        monkeypatch.setattr(sys, "argv", wrong)
        with pytest.raises(SystemExit, match=f"error: Expected .*{message}"):
            run(curve.main)


def test_damaged_files(study, trained, tmp_path):
    read = study["trainings"].read_trainings
    with pytest.raises(InputError, match=r"trainings of mobilenet \(--network\)"):
        study["analyse"].Study("mobilenet", trained, "accuracy")
    with pytest.raises(InputError, match="Expected trainings with 'mAP' in each line"):
        read(trained, "mAP")
    with pytest.raises(InputError, match=r"Received: .*missing.jsonl \(FileNotFoundError"):
        read(tmp_path / "missing.jsonl", "accuracy")
    text = trained.read_text()
    trained.write_text(text + '{"name": "all re')  # Being written.
    assert len(read(trained, "accuracy").names) == len({json.loads(line)["name"] for line in text.splitlines()})
    trained.write_text(text)
    line = json.loads(text.splitlines()[0])
    trained.write_text(trained.read_text() + json.dumps({**line, "recipe": {"epochs": 2}}) + "\n")
    with pytest.raises(InputError, match="Expected trainings of one recipe"):
        read(trained, "accuracy")
    (tmp_path / "broken.jsonl").write_text('{"proxy": "nwot"}\n')
    with pytest.raises(InputError, match="Expected lines of proxies.py"):
        study["score_lines"].read_scores(tmp_path / "broken.jsonl")


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the study trains with TensorFlow")
def test_a_training_goes_on_from_the_weights_that_it_is_given(monkeypatch, rng):
    for path in (*FOLDER.glob("*.py"), *FOLDER.with_name("papers_claims").glob("*.py")):
        monkeypatch.setitem(sys.modules, path.stem, None)  # So that what was there before is put back.
        del sys.modules[path.stem]
    monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])
    train, networks = (importlib.import_module(name) for name in ("train", "networks"))
    images, labels = rng.random((40, 28, 28, 1), np.float32), rng.integers(0, 10, 40).astype("int32")
    trainer = train.Trainer(networks.mobilenet, images, labels, (images, labels), 20)
    relu = Assignment.uniform(trainer.reference, "relu")
    first = trainer.train(trainer.reference, 0, epochs=2, rate=0.1)
    start = trainer.weights()
    assert trainer.train(trainer.reference, 0, epochs=2, rate=0.1) == first
    kernel = trainer.reference_model().get_layer("stem_conv").get_weights()[0]
    trainer.train(relu, 0, epochs=1, rate=0.0, start=start)  # At this rate it keeps them.
    np.testing.assert_array_equal(trainer.reference_model().get_layer("stem_conv").get_weights()[0], kernel)
    trainer.train(relu, 0, epochs=1, rate=0.0)
    assert np.abs(trainer.reference_model().get_layer("stem_conv").get_weights()[0] - kernel).max() > 0.01
    still = {"epochs": 1, "rate": 0.0}
    before = trainer.train(trainer.reference, 0, **still)  # The weights stay, so that losses are of the batches alone.
    assert trainer.train(trainer.reference, 0, **still, start=trainer.weights())["losses"] != before["losses"]
    tuned = [trainer.train(one, 0, epochs=1, rate=0.1, start=start) for one in (relu, trainer.reference, relu)]
    assert tuned[0] == tuned[2] != tuned[1]


def test_the_detector_s_search_asks_with_the_last_training_images(study, tmp_path):
    for module in ("torch", "cv2", "yaml"):
        pytest.importorskip(module)
    detection_images = importlib.import_module("detection_images")
    for number in range(10):
        for kind, content in (("images", ""), ("labels", "0 0.5 0.5 0.2 0.2\n")):
            suffix = {"images": "png", "labels": "txt"}[kind]
            file = tmp_path / "own set" / kind / "train" / f"{number}.{suffix}"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
    data = tmp_path / "own set" / "data.yaml"
    data.write_text("train: images/train\nval: images/val\nnames: [item]\n")
    held_out = detection_images.hold_out(str(data), 0.2)
    found = {split: detection_images.read_dataset(held_out, split).truths for split in ("train", "val")}
    assert {split: "".join(path.stem for path in paths) for split, paths in found.items()} == {
        "train": "01234567", "val": "89",
    }  # fmt: skip
    assert data.read_text().startswith("train: images/train")
    del sys.modules["detection_images"]
