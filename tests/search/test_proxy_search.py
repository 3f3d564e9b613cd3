"""A search by another proxy than NWOT: seeds, batches, the table, constraints, bad input."""

import dataclasses

import keras
import numpy as np
import PIL.Image
import pytest

from keras_actnas.core import InputError, Journal, MetricTable
from keras_actnas.search import Search, SearchSettings, make_proxies, scores
from keras_actnas.search.proxies import Sensitivity

SETTINGS = SearchSettings(proxy="jacob_cov", networks=14, runs=2, seeds=2, batches=2, batch_size=4, top_k=2, rounds=2)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for number in range(3):
        random = np.random.default_rng(number)
        coarse = random.integers(0, 256, (6, 6, 3), np.uint8).astype(int) * random.integers(1, 4, (1, 1, 3)) // 3
        pixels = np.kron(coarse, np.ones((8, 8, 1))).astype(np.uint8)
        PIL.Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def test_defaults_follow_the_proxy():
    assert [str(each) for each in SearchSettings(proxy="grad_norm").constraints] == ["grad_norm >= reference"]
    settings = SearchSettings(proxy="sensitivity", batches=2, constraints=SearchSettings().constraints)
    assert [str(each) for each in settings.constraints] == ["nwot >= reference"]  # What was given stays.
    with pytest.raises(InputError, match="Received: 'nwot'. Known: latency, sensitivity"):
        settings.check_metrics(["latency", "sensitivity"])
    assert [str(each) for each in SearchSettings(proxy="sensitivity").constraints] == ["sensitivity <= 0.05"]
    assert settings.score_starts() == [(None, 0), (None, 1)]
    assert SearchSettings(seeds=3, batches=2).score_starts() == [(0, 0), (1, 1), (2, 0)]
    for changes, message in (
        ({"proxy": "nowt"}, "Did you mean 'nwot'"),
        ({"seeds": 1, "batches": 2}, "at least as many seeds as batches"),
        ({"batches": 0}, "batches of at least 1"),
        ({"score_processes": -1}, "score_processes of at least 0"),
    ):
        with pytest.raises(InputError, match=message):
            SearchSettings(**changes)


def test_seeds_and_batches_are_paired_and_carried_into_the_table(model, tmp_path, photos):
    settings = dataclasses.replace(SETTINGS, images=str(photos))
    search = Search(model, tmp_path, settings, name="small")
    table = search.score()
    made = Journal(tmp_path / "journal.jsonl").select("jacob_cov")
    starts = {(m.conditions["images"], m.conditions["seed"]) for m in made}
    assert {seed for _, seed in starts} == {0, 1} and len({images for images, _ in starts}) == 2 == len(starts)
    first, second = make_proxies(model, settings)
    for one in made[:3] + made[-3:]:
        proxy = first if one.conditions["images"] == first.conditions["images"] else second
        seed = one.conditions["seed"]
        assert one.samples[0] == proxy.score(one.assignment, seed)
        assert one.reference_samples[0] == proxy.score({}, seed)
    assert table.metric == "jacob_cov"
    assert MetricTable.load(tmp_path / "tables" / "jacob_cov.json").context["batches"] == 2
    assert len(scores.score_observations(made)) == 2
    assert np.nanmax(table.standard_error) > 0


def test_a_search_by_sensitivity(model, tmp_path, photos):
    settings = SearchSettings(
        proxy="sensitivity_batch", images=str(photos), networks=14, runs=2, batches=2, batch_size=4, top_k=2, rounds=2
    )
    result = Search(model, tmp_path, settings, name="small").run()
    assert result.reference.measured["sensitivity_batch"].value == 0.0
    assert result.units["sensitivity_batch"] == ""
    assert result.tables["sensitivity_batch"].context["design"] == "single_swaps"
    values = [proxy.score(result.best.assignment) for proxy in make_proxies(model, settings)]
    assert result.best.measured["sensitivity_batch"].value == pytest.approx(np.mean(values))
    (bound,) = settings.constraints
    assert (result.best.standing(bound, result.reference) == "kept") == (np.mean(values) <= 0.05)


def test_sensitivity_needs_images_and_a_trained_model(model, photos):
    settings = SearchSettings(proxy="sensitivity", batch_size=4)
    with pytest.raises(InputError, match="Expected images for sensitivity.* --images"):
        make_proxies(model, settings)
    fresh = keras.models.clone_model(model)
    with pytest.raises(InputError, match="Expected a trained network"):
        make_proxies(fresh, dataclasses.replace(settings, images=str(photos)))
    assert isinstance(make_proxies(model, dataclasses.replace(settings, images=str(photos)))[0], Sensitivity)


def test_processes_give_the_same_table(model, tmp_path, photos):
    settings = dataclasses.replace(SETTINGS, proxy="nwot", constraints=(), batches=1, images=str(photos))
    here = Search(model, tmp_path / "here", settings, name="small").score()
    spread = Search(model, tmp_path / "spread", dataclasses.replace(settings, score_processes=1), name="small")
    np.testing.assert_array_equal(spread.score().delta, here.delta)
    assert len(spread.scoring._compute.pids) == 1
    del spread
