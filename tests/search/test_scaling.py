"""Scaling by NN-Mass: the paper's networks come out, nothing better is overlooked, budgets are kept."""

import dataclasses
import itertools

import pytest

from keras_actnas.core import InputError
from keras_actnas.models import ConvNeXtConfig
from keras_actnas.search import ScaledNetwork, nn_mass, scale

BASE = ConvNeXtConfig()
PAPER = {
    "RAN-i-T": (((64, 128, 256, 511), (5, 5, 15, 5)), (0.666, 1.65), (3.3e9, 21e6)),
    "RAN-i-S": (((76, 151, 303, 606), (5, 5, 15, 5)), (0.789, 1.65), (4.5e9, 28e6)),
    "RAN-i-B": (((87, 175, 350, 699), (7, 7, 21, 7)), (0.9105, 2.30), (8.5e9, 50e6)),
}
"""Networks and multipliers of table 7, budgets of section 3.4."""

TINY = ConvNeXtConfig((6, 11), (1, 2), input_shape=(16, 16, 3), num_classes=4)


@pytest.mark.parametrize("name", PAPER)
def test_multipliers_give_the_networks_of_table_7(name):
    structure, (width, depth), _ = PAPER[name]
    ranges = {"widths": (width - 1e-5, width + 1e-5), "depths": (depth - 0.01, depth + 0.01)}
    own = ConvNeXtConfig(*structure)
    (network,) = scale(BASE, macs=own.macs(), samples=1, **ranges)
    assert (network.widths, network.depths) == structure


@pytest.mark.parametrize("name", PAPER)
def test_within_the_cost_of_the_paper_s_network_none_of_its_depth_is_better(name):
    structure, (_, depth), _ = PAPER[name]
    own = ConvNeXtConfig(*structure)
    costs = {"macs": own.macs(), "params": own.parameters()}
    (network,) = scale(BASE, **costs, depths=(depth - 0.01, depth + 0.01))
    assert (network.widths, network.depths) == structure
    best = scale(BASE, **costs)[0]
    assert best.nn_mass > nn_mass(own)
    assert best.macs <= own.macs() and best.parameters <= own.parameters()


def test_several_budgets_at_once_are_those_one_by_one():
    budgets = [budget for *_, budget in PAPER.values()]
    macs, params = zip(*budgets, strict=True)
    answers = scale(BASE, macs=macs, params=list(params))
    assert answers == [scale(BASE, macs=most, params=parameters) for most, parameters in budgets]
    for networks, (most, parameters), (structure, *_) in zip(answers, budgets, PAPER.values(), strict=True):
        assert len(networks) == 5
        masses = [network.nn_mass for network in networks]
        assert masses == sorted(masses, reverse=True)
        assert masses[0] >= nn_mass(ConvNeXtConfig(*structure))
        assert len({network.depths for network in networks}) == 5
        for network in networks:
            assert network.macs <= most and network.parameters <= parameters
            assert max(network.macs / most, network.parameters / parameters) >= 0.95
            config = dataclasses.replace(BASE, widths=network.widths, depths=network.depths)
            assert network.config == config
            assert (network.macs, network.parameters) == (config.macs(), config.parameters())
            assert network.nn_mass == nn_mass(config)


def test_nothing_better_is_overlooked():
    macs, params = 400_000, 12_000
    best: dict[tuple, float] = {}
    for depth, width in itertools.product(range(60, 256), range(250, 1600)):
        depths = tuple(int(depth / 100 * size + 0.5) for size in TINY.depths)
        widths = tuple(int(width / 1000 * size + 0.5) for size in TINY.widths)
        if (depths, widths) not in best:
            config = dataclasses.replace(TINY, widths=widths, depths=depths)
            fits = config.macs() <= macs and config.parameters() <= params
            best[depths, widths] = nn_mass(config) if fits else -1
    networks = scale(TINY, macs=macs, params=params, tolerance=0.9, top_k=1000)
    assert networks[0].nn_mass == max(best.values())
    for network in networks:
        assert network.nn_mass == max(mass for (depths, _), mass in best.items() if depths == network.depths)
    assert {network.depths for network in networks} == {depths for (depths, _), mass in best.items() if mass > 0}


def test_the_paper_s_way_of_drawing():
    own = ConvNeXtConfig(*PAPER["RAN-i-T"][0])
    drawn = scale(BASE, macs=own.macs(), params=own.parameters(), samples=800)
    assert drawn == scale(BASE, macs=own.macs(), params=own.parameters(), samples=800, seed=0)
    assert drawn != scale(BASE, macs=own.macs(), params=own.parameters(), samples=800, seed=1)
    assert drawn[0].nn_mass >= nn_mass(own)
    exact = scale(BASE, macs=own.macs(), params=own.parameters())
    assert drawn[0].nn_mass <= exact[0].nn_mass
    assert all(0.25 < network.width_multiplier < 1.6 and 0.6 < network.depth_multiplier < 2.56 for network in drawn)


def test_one_bound_alone():
    macs, params = scale(BASE, macs=4.5e9)[0], scale(BASE, params=28e6)[0]
    assert 0.95 * 4.5e9 <= macs.macs <= 4.5e9
    assert 0.95 * 28e6 <= params.parameters <= 28e6
    assert scale(BASE, params=[28e6]) == [scale(BASE, params=28e6)]


def test_networks_are_built_as_counted():
    network = scale(TINY, params=9000, tolerance=0.2)[0]
    model = network.build(drop_path=0.1, name="scaled")
    assert model.count_params() == network.parameters
    assert model.name == "scaled"
    assert nn_mass(model) == pytest.approx(network.nn_mass)
    assert isinstance(network, ScaledNetwork)
    for number in (f"{network.nn_mass:,.0f}", f"{network.macs:,}", str(list(network.widths))):
        assert number in str(network)


def test_the_base_s_other_properties_are_kept():
    base = dataclasses.replace(TINY, linear_fraction=0.4, linear_activation="exponential", layer_scale=None)
    network = scale(base, params=9000, tolerance=0.2)[0]
    assert dataclasses.replace(network.config, widths=base.widths, depths=base.depths) == base


@pytest.mark.parametrize(
    ("budget", "closest"),
    [
        ({"macs": 1e6}, "190,195,968 MACs"),
        ({"macs": 1e12}, "depths [8, 8, 23, 8]"),
        ({"macs": [4.5e9, 1e6]}, "Received: macs=1,000,000. "),
        ({"macs": 4.5e9, "params": 1e5}, "macs=4,500,000,000, params=100,000"),
        ({"macs": 4.5e9, "samples": 3}, "`samples`"),
    ],
)
def test_budgets_that_nothing_fits(budget, closest):
    with pytest.raises(InputError, match="Expected a budget.+Received: macs=.+The closest has widths") as caught:
        scale(BASE, **budget)
    assert closest in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "`macs`, `params` or both"),
        ({"macs": [1e9], "params": 1e6}, "two sequences of one length"),
        ({"macs": [1e9, 2e9], "params": [1e6]}, "two sequences of one length"),
        ({"macs": []}, "Received: macs=[]"),
        ({"macs": [[1e9]]}, "Received: macs=[[1"),
        ({"macs": 0}, "above 0. Received: 0"),
        ({"macs": "many"}, "Received: 'many'"),
        ({"macs": float("nan")}, "Received: nan"),
        ({"macs": 1e9, "widths": (1, 0.5)}, "Expected widths"),
        ({"macs": 1e9, "depths": 2}, "Expected depths"),
        ({"macs": 1e9, "depths": (0, 2)}, "Expected depths"),
        ({"macs": 1e9, "samples": 0}, "Expected samples"),
        ({"macs": 1e9, "top_k": None}, "Expected top_k"),
        ({"macs": 1e9, "seed": -1}, "Expected seed"),
        ({"macs": 1e9, "tolerance": 0}, "Expected tolerance"),
        ({"macs": 1e9, "base": "tiny"}, "ConvNeXtConfig()`. Received: 'tiny'"),
    ],
)
def test_what_is_refused(arguments, words):
    with pytest.raises(InputError, match="Expected.+Received: ") as caught:
        scale(**{"base": BASE, **arguments})
    assert words in str(caught.value)
