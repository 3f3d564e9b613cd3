"""From a trained super-network to blocks: the paper's steps, measured costs, and the choice by ILP."""

import dataclasses
import functools
import itertools
import json

import keras
import numpy as np
import pytest

from keras_actnas.core import Estimate, InputError
from keras_actnas.models import RANE, Block, RANESuperNet
from keras_actnas.models.ran_e_blocks import NETWORKS
from keras_actnas.search import (
    CostTable,
    EthosULatency,
    HostLatency,
    choose_blocks,
    count_macs,
    measure_costs,
    ran_e,
)
from keras_actnas.search.ran_e_choice import evidence_lost
from keras_actnas.search.ran_e_costs import Option, as_option
from keras_actnas.surgery import collapse_afrb

SMALL = (Block("a", 8, 2), Block("b", 8, 3, variant=3), Block("c", 12, 2, strides=2))
FRAME = {"input_shape": (12, 12, 3), "num_classes": 4, "stem_filters": 4, "top_filters": 8, "top_kernel_size": 3}
ALPHAS = {"a": 0.1, "b": 0.95, "c": 1.25}

build = functools.partial(RANE, **FRAME)


def with_alphas(blocks, alphas):
    return tuple(dataclasses.replace(block, alpha=alphas[block.name]) for block in blocks)


@pytest.fixture
def supernet():
    model = RANESuperNet(SMALL, **FRAME)
    for name, alpha in ALPHAS.items():
        model.get_layer(name).alpha.assign(alpha)
    return model


def macs(model):
    return Estimate(float(count_macs(model).macs), 0.0)


def names_of_collapsed(blocks):
    return [block.name for block in blocks if block.collapsed]


def test_decisions(supernet):
    found = ran_e.decide(supernet)
    assert names_of_collapsed(found) == ["b", "c"]
    assert [block.alpha for block in found] == pytest.approx(list(ALPHAS.values()))
    assert [block.variant for block in found] == [1, 3, 1]
    own = [dataclasses.replace(block, alpha=None, collapsed=False, variant=None) for block in found]
    assert own == [dataclasses.replace(block, variant=None) for block in SMALL]
    assert names_of_collapsed(ran_e.decide(supernet, linear=(0.0, 0.5))) == ["a"]


def test_decisions_build_the_network_that_collapsing_gives(supernet):
    with pytest.warns(UserWarning, match="rounded to 1"):
        collapsed = collapse_afrb(supernet, activation="hard_swish")
    made = build(ran_e.decide(supernet))
    assert [layer.name for layer in made.layers] == [layer.name for layer in collapsed.layers]
    made.set_weights(collapsed.get_weights())
    x = np.random.default_rng(0).normal(size=(2, 12, 12, 3)).astype("float32")
    np.testing.assert_allclose(made(x), collapsed(x), atol=1e-6)


def test_the_momentum_of_batch_normalization_is_kept():
    def momenta(model):
        return {layer.momentum for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)}

    supernet = RANESuperNet(SMALL, **FRAME, momentum=0.9)
    parts = [part for layer in supernet.layers for part in getattr(layer, "parts", ())]
    norms = ("norm", "expand_norm", "depthwise_norm", "project_norm")
    assert {getattr(part, name).momentum for part in parts for name in norms} == momenta(supernet) == {0.9}
    assert momenta(collapse_afrb(supernet, blocks=[])) == momenta(build(SMALL, momentum=0.9)) == {0.9}


def test_an_untrained_network_decides_nothing():
    with pytest.raises(InputError, match="alphas were trained"):
        ran_e.decide(RANESuperNet(SMALL, **FRAME))


def test_square_kernels_only():
    inputs = keras.Input((8, 8, 3))
    from keras_actnas.layers import AFRB

    model = keras.Model(inputs, AFRB(4, (3, 5), alpha_initializer="ones", name="wide")(inputs))
    with pytest.raises(InputError, match="square kernels.*'wide'"):
        ran_e.decide(model)


def test_the_papers_stages():
    heavy = ran_e.collapse_heaviest(NETWORKS["A"], 2)
    assert heavy == NETWORKS["B"]
    kernels = {"stage6": 5, "stage8": 5, "stage13": 7, "stage16": 5, "stage17": 5}
    assert ran_e.enlarge_kernels(heavy, kernels) == NETWORKS["C"]


def test_macs_of_blocks():
    blocks = (Block("a", 4, 2), Block("a_b", 4, 2))
    found = ran_e.block_macs(blocks, build)
    # 36 positions: expansion, depthwise 3x3, projection; the second block reads what the first, of 4 channels, gives.
    assert found == dict.fromkeys(("a", "a_b"), 36 * (4 * 8 + 9 * 8 + 8 * 4))


@pytest.mark.parametrize("count", [-1, 4, 1.5])
def test_too_many_to_collapse(count):
    with pytest.raises(InputError, match="Expected count from 0 to the 3 blocks"):
        ran_e.collapse_heaviest(SMALL, count, build)


@pytest.mark.parametrize(
    ("kernels", "message"),
    [({"z": 5}, "Expected names of blocks. Received: 'z'"), ({"a": 4}, "odd"), ({"b": 5}, "not collapsed.*'b'")],
)
def test_kernels_that_cannot_be(kernels, message):
    blocks = ran_e.change(SMALL, {"b": {"collapsed": True}})
    with pytest.raises(InputError, match=message):
        ran_e.enlarge_kernels(blocks, kernels)


def test_costs_are_those_of_single_changes():
    table = measure_costs(SMALL, macs, build, (3, 5))
    assert table.options == (Option(3, False), Option(5, False), Option(0, True))
    base = macs(build(SMALL)).value
    assert table.base.value == base and np.all(table.delta[:, 0] == 0)
    changed = ran_e.change(SMALL, {"b": {"collapsed": True}})
    assert table.delta[1, 2] == macs(build(changed)).value - base < 0
    changed = ran_e.change(SMALL, {"c": {"kernel_size": 5}})
    assert table.delta[2, 1] == macs(build(changed)).value - base > 0
    # MACs add up exactly.
    everything = ran_e.change(SMALL, {"a": {"kernel_size": 5}, "b": {"collapsed": True}, "c": {"collapsed": True}})
    assert base + table.delta[0, 1] + table.delta[1, 2] + table.delta[2, 2] == macs(build(everything)).value


def test_smaller_kernels_are_no_option():
    table = measure_costs(ran_e.change(SMALL, {"a": {"kernel_size": 5}}), macs, build, (3, 5))
    assert np.isnan(table.delta[0, 0]) and np.isfinite(table.delta[1:]).all()
    assert choose_blocks(dataclasses.replace(table, blocks=with_alphas(table.blocks, ALPHAS)), 1e9).blocks[0] == (
        dataclasses.replace(table.blocks[0], alpha=ALPHAS["a"])
    )


def test_no_measurement_is_lost_or_repeated(tmp_path):
    path = tmp_path / "costs.jsonl"
    made = []

    def cost(model, fail_at=None):
        if len(made) == fail_at:
            raise KeyboardInterrupt
        made.append(model)
        return macs(model)

    with pytest.raises(KeyboardInterrupt):
        measure_costs(SMALL, functools.partial(cost, fail_at=3), build, (3,), path)
    assert len(path.read_text().splitlines()) == 3
    with path.open("a") as file:
        file.write('{"blocks": "a li')  # What a power cut leaves.
    table = measure_costs(SMALL, cost, build, (3,), path)
    assert len(made) == 3 + 1
    again = measure_costs(with_alphas(SMALL, ALPHAS), lambda model: pytest.fail("measured again"), build, (3,), path)
    np.testing.assert_array_equal(table.delta, again.delta)
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_a_file_of_something_else(tmp_path):
    (tmp_path / "costs.jsonl").write_text('{"value": 1}\n')
    with pytest.raises(InputError, match="Expected a file of measured blocks. Received: .*costs.jsonl"):
        measure_costs(SMALL, macs, build, (3,), tmp_path / "costs.jsonl")


@pytest.fixture(scope="module")
def random_table():
    random = np.random.default_rng(0)
    blocks = tuple(Block(f"s{number}", 8, alpha=alpha) for number, alpha in enumerate(random.uniform(-0.2, 1.3, 6)))
    options = (Option(3, False), Option(5, False), Option(7, False), Option(0, True))
    delta = np.column_stack([np.zeros(6), *random.uniform([0, 1, -6], [1, 2, 0], (6, 3)).T])
    return CostTable(blocks, options, Estimate(20.0, 0.1), delta, np.full(delta.shape, 0.2))


@pytest.mark.parametrize("budget", [8.0, 12.0, 16.0, 20.0, 30.0])
@pytest.mark.parametrize("solver", ["highs", "cbc"])
def test_the_choice_is_the_best_of_all(random_table, budget, solver):
    lost = evidence_lost(random_table)
    columns = range(len(random_table.options))
    rows = range(len(random_table.blocks))

    def total(of, chosen):
        return sum(of[row, column] for row, column in zip(rows, chosen, strict=True))

    every = itertools.product(columns, repeat=len(rows))
    best = min(total(lost, chosen) for chosen in every if 20 + total(random_table.delta, chosen) <= budget)
    choice = choose_blocks(random_table, budget, solver=solver)
    assert choice.status == "optimal"
    assert choice.evidence_lost == pytest.approx(best, abs=1e-9)
    assert choice.predicted.value <= budget + 1e-9
    assert choice.predicted.standard_error == pytest.approx(np.sqrt(0.1**2 + 6 * 0.2**2))


def test_what_is_lost(random_table):
    lost = evidence_lost(random_table, kernel_gain=0.1)
    need = np.array([(block.alpha - 1) ** 2 for block in random_table.blocks])
    np.testing.assert_allclose(lost, np.column_stack([0 * need, -0.1 * need, -0.2 * need, need]))


def test_more_budget_is_never_worse(random_table):
    lost = [choose_blocks(random_table, budget).evidence_lost for budget in (8, 10, 14, 20, 40)]
    assert lost == sorted(lost, reverse=True) and lost[-1] < 0 < lost[0]
    kernels = choose_blocks(random_table, 40, kernel_gain=0).blocks
    assert all(not block.collapsed for block in kernels)


def test_the_chosen_network_is_what_was_predicted():
    blocks = with_alphas(SMALL, ALPHAS)
    table = measure_costs(blocks, macs, build, (3, 5))
    choice = choose_blocks(table, 0.8 * table.base.value)
    assert names_of_collapsed(choice.blocks) and choice.blocks != blocks
    assert macs(build(choice.blocks)).value == choice.predicted.value <= 0.8 * table.base.value


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-30.0,), r"Expected a budget that some choice is predicted to keep: .* is the least.*Received: -30"),
        ((float("nan"),), "Expected numbers"),
        ((20.0, -1), "kernel_gain of 0 or more"),
    ],
)
def test_budgets_that_cannot_be(random_table, arguments, message):
    with pytest.raises(InputError, match=message):
        choose_blocks(random_table, *arguments)


def test_blocks_without_alpha(random_table):
    table = dataclasses.replace(
        random_table,
        blocks=with_alphas(random_table.blocks, dict.fromkeys([block.name for block in random_table.blocks])),
    )
    with pytest.raises(InputError, match="blocks with alpha.*'s0' without"):
        choose_blocks(table, 30.0)


def test_as_option():
    assert as_option(SMALL, 0, Option(5, False))[0] == dataclasses.replace(SMALL[0], kernel_size=5)
    assert as_option(SMALL, 0, Option(0, True))[0] == dataclasses.replace(SMALL[0], collapsed=True)


def test_latency_on_this_machine():
    latency = HostLatency(build(SMALL), runs=10)
    itself, larger = latency(build(SMALL)), latency(RANE(SMALL, **{**FRAME, "input_shape": (48, 48, 3)}))
    assert 0 < itself.value < larger.value
    assert itself.standard_error > 0


def test_latency_on_an_npu():
    pytest.importorskip("ethosu.vela")
    images = np.random.default_rng(0).uniform(size=(4, 12, 12, 3)).astype("float32")
    latency = EthosULatency(images, accelerator="ethos-u55-128")
    collapsed = ran_e.change(SMALL, {name: {"collapsed": True} for name in "abc"})
    assert 0 < latency(build(collapsed)).value < latency(build(SMALL)).value
