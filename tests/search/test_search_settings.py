"""What a search may be asked for: everything that cannot work is said before anything is measured."""

import math

import pytest

from keras_actnas.core import Constraint, InputError
from keras_actnas.search import SearchSettings


def constraints(*texts):
    return tuple(map(Constraint.parse, texts))


def test_defaults_are_the_paper_s_question():
    settings = SearchSettings()
    assert settings.objective == "latency"
    assert [str(each) for each in settings.constraints] == ["nwot >= reference"]
    assert settings.score_starts() == [(0, 0), (1, 0), (2, 0)]
    assert settings.activations == ("relu", "silu", "hard_swish", "relu6", "leaky_relu")


def test_seeds():
    assert SearchSettings(seed=5, seeds=2).score_starts() == [(5, 0), (6, 0)]
    assert SearchSettings(seed=5, seeds=0).score_starts() == [(None, 0)]


def test_names_are_made_canonical():
    assert SearchSettings(activations=("Swish", "relu", "silu")).activations == ("silu", "relu")
    assert SearchSettings(activations="relu,leaky_relu(0.3)").activations == ("relu", "leaky_relu(0.3)")


def test_objectives():
    assert SearchSettings(minimize=None, maximize="nwot").objective == "nwot"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"maximize": "nwot"}, "Expected one metric to minimize or maximize"),
        ({"minimize": None}, "Expected one metric to minimize or maximize"),
        ({"activations": ("rleu",)}, "Did you mean 'relu'"),
        ({"activations": ()}, "at least one activation"),
        ({"design": "factorial"}, "out of orthogonal, mixtures, shares, single_swaps, adaptive. Received: 'factorial'"),
        ({"solver": "gurobi"}, "Expected solver out of highs, cbc. Received: 'gurobi'"),
        ({"batch_norm": "train"}, "Expected batch_norm out of inference, batch. Received: 'train'"),
        ({"top_k": 0}, "top_k of at least 1. Received: 0"),
        ({"min_distance": 0}, "min_distance of at least 1"),
        ({"batch_size": 1}, "batch_size of at least 2"),
        ({"seeds": -1}, "seeds of at least 0"),
        ({"networks": 6}, "networks of at least 7 for 5 activations. Received: 6. Raise --networks"),
        ({"scheduler": "tcp://a:1", "score_processes": 2}, "either --scheduler or --score_processes"),
        ({"runs": 0}, "runs of at least 1"),
        ({"minutes": -1.0}, "minutes of at least 0"),
        ({"minutes": math.nan}, "minutes of at least 0"),
    ],
)
def test_what_cannot_be(arguments, message):
    with pytest.raises(InputError, match=message):
        SearchSettings(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"minimize": "latncy"}, "Received: 'latncy'. Did you mean 'latency'"),
        ({"minimize": None, "maximize": "map"}, "Received: 'map'"),
        ({"constraints": constraints("memory<=3")}, "Received: 'memory'. Known: latency, nwot"),
    ],
)
def test_metrics_are_those_that_are_measured(arguments, message):
    settings = SearchSettings(**arguments)
    with pytest.raises(InputError, match=message):
        settings.check_metrics(["latency", "nwot"])
    SearchSettings(constraints=constraints("sram<=90%")).check_metrics(["latency", "sram", "nwot"])


def test_the_design_depends_on_the_device_unless_it_is_given():
    settings = SearchSettings()
    assert (settings.device_design(exact=False), settings.device_design(exact=True)) == ("orthogonal", "single_swaps")
    assert settings.score_design == SearchSettings(design="adaptive").score_design == "orthogonal"
    trained = SearchSettings(proxy="sensitivity", design=None)
    assert (trained.device_design(exact=False), trained.score_design) == ("orthogonal", "single_swaps")
    assert SearchSettings(proxy="sensitivity", design="mixtures").score_design == "mixtures"
    paper = SearchSettings(design="single_swaps")
    assert paper.device_design(exact=False) == paper.score_design == "single_swaps"


@pytest.mark.parametrize(
    "texts",
    [
        ("latency<=80%", "latency>=90%"),
        ("latency>=90%", "latency<=80%"),
        ("nwot>=reference+1", "nwot<=reference"),
        ("nwot>=5", "nwot<=4"),
        ("latency<=reference-5%", "latency>=reference"),
    ],
)
def test_contradictions_that_no_measurement_can_mend(texts):
    with pytest.raises(InputError, match="do not contradict each other. Received: .* and .*"):
        SearchSettings(constraints=constraints(*texts))


@pytest.mark.parametrize(
    "texts",
    [
        ("latency<=90%", "latency>=80%"),
        ("latency<=90%", "latency>=90%"),
        ("latency<=90%", "latency>=20"),  # Depends on the reference.
        ("latency<=80%", "nwot>=90%"),
        ("nwot<=80%", "nwot>=90%"),  # Can be kept when the reference's score is negative.
        ("nwot>=reference-1", "nwot<=reference", "latency<=3"),
        (),
    ],
)
def test_constraints_that_may_be_kept(texts):
    assert SearchSettings(constraints=constraints(*texts)).constraints == constraints(*texts)
