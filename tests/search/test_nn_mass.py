"""NN-Mass: the paper's equations, counted from the definition; models, and bounds."""

import fractions
import itertools
import math

import keras
import numpy as np
import pytest

from keras_actnas.core import InputError
from keras_actnas.models import ConvNeXt, ConvNeXtConfig
from keras_actnas.search import (
    Cell,
    densenet_cells,
    log2_linear_regions,
    nn_mass,
    nonlinear_units,
    resnet_cells,
)
from keras_actnas.surgery import restructure_linear

SMALL = {"widths": (10, 21), "depths": (2, 3), "input_shape": (16, 16, 3), "num_classes": 3}


def by_definition(channels):
    """Equation (4) for a chain of tensors around which there is one skip connection, all pairs of tensors looked at."""
    pairs = [(one, other) for one, other in itertools.combinations(range(len(channels)), 2) if other > one + 1]
    possible = sum(channels[one] for one, _ in pairs)
    return fractions.Fraction(sum(channels[:-1]) * channels[0], possible)


@pytest.mark.parametrize("expansion", [0.25, 0.5, 1, 2, 4])
def test_resnet_is_equation_6(expansion):
    widths, depths = (64, 128, 256), (3, 4, 2)
    total = sum(width * depth for width, depth in zip(widths, depths, strict=True))
    cells = resnet_cells(widths, depths, expansion)
    assert nn_mass(cells) == pytest.approx((1 + 2 * expansion) / (2 + expansion) * total)
    assert nonlinear_units(cells) == 2 * expansion * total  # Equation (7).
    k = 2 * expansion * (2 + expansion) / (1 + 2 * expansion)
    assert nonlinear_units(cells) == pytest.approx(k * nn_mass(cells))
    middle = int(64 * expansion)
    assert cells[0].mass == pytest.approx(float(by_definition((64, middle, middle, 64))))


@pytest.mark.parametrize("expansion", [0.5, 1, 2.5, 4])
def test_convnext_is_proportional_to_its_units_as_the_paper_says(expansion):
    config = ConvNeXtConfig((64, 128, 256), (3, 4, 2), expansion)
    total = 3 * 64 + 4 * 128 + 2 * 256
    assert nonlinear_units(config) == expansion * total
    k = 3 * expansion / (2 + expansion)
    assert nonlinear_units(config) == pytest.approx(k * nn_mass(config))
    hidden = int(64 * expansion)
    assert nn_mass(ConvNeXtConfig((64,), (1,), expansion)) == pytest.approx(float(by_definition((64, 64, hidden, 64))))


def test_figures():
    assert nn_mass(ConvNeXtConfig()) == 2 * (3 * 96 + 3 * 192 + 9 * 384 + 3 * 768)
    masses = [
        nn_mass(ConvNeXtConfig(widths, depths))
        for widths, depths in (
            ((64, 128, 256, 511), (5, 5, 15, 5)),
            ((76, 151, 303, 606), (5, 5, 15, 5)),
            ((87, 175, 350, 699), (7, 7, 21, 7)),
        )
    ]
    assert masses == pytest.approx([14710, 17420, 28154])


def test_cells_of_densenet_kind():
    # Bhardwaj et al. (2021): density 2 sum(min(w (i - 1), t)) / (w (d - 1) (d - 2)), NN-Mass w d density.
    width, depth, most = 8, 6, 20
    skips = sum(min(width * (layer - 1), most) for layer in range(2, depth))
    expected = width * depth * 2 * skips / (width * (depth - 1) * (depth - 2))
    (cell,) = densenet_cells((width,), (depth,), (most,))
    assert cell.mass == pytest.approx(expected)
    assert cell.density == pytest.approx((8 + 16 + 20 + 20) / (8 + 16 + 24 + 32))
    assert nn_mass(densenet_cells((8, 16), (6, 4), (20, 10**6))) == pytest.approx(expected + 16 * 4)


OPTIONS = {
    "plain": ({}, 2, 4),
    "pruned": ({"expansion": 2.4}, None, 2.4),
    "A": ({"linear_fraction": 0.4}, None, 2.4),
    "B": ({"linear_fraction": 0.4, "linear_activation": "gelu"}, None, 3.4),
    "C": ({"linear_fraction": 0.4, "linear_activation": "exponential"}, None, 3.4),
    "not restructured": ({"linear_fraction": 0.4, "restructured": False}, 2, 2.4),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_a_model_has_what_its_configuration_has(name):
    options, mass, units = OPTIONS[name]
    config, model = ConvNeXtConfig(**SMALL, **options), ConvNeXt(**SMALL, **options)
    assert nn_mass(model) == pytest.approx(nn_mass(config), rel=1e-12)
    assert nonlinear_units(model) == nonlinear_units(config) == pytest.approx(units * 83, rel=0.01)
    assert mass is None or nn_mass(model) == pytest.approx(mass * 83)


def test_the_linear_branch_is_a_layer_and_no_skip_connection():
    width, hidden = 10, 24
    config = ConvNeXtConfig((width,), (1,), linear_fraction=0.4)
    assert nn_mass(config) == pytest.approx((3 * width + hidden) / 3)


def test_surgery_leaves_a_model_readable():
    model = ConvNeXt(**SMALL, linear_fraction=0.4, restructured=False)
    assert nn_mass(restructure_linear(model)) == nn_mass(ConvNeXtConfig(**SMALL, linear_fraction=0.4))


def test_corollary_1_is_proposition_2_with_as_many_layers_as_blocks():
    n, n0, blocks = 12, 5, 7
    mass = nn_mass(resnet_cells((n,), (blocks,), expansion=1))
    assert mass == n * blocks
    exact = (fractions.Fraction(n, n0) ** ((blocks - 1) * n0)) * n**n0
    assert log2_linear_regions(mass, n, n0) == pytest.approx(math.log2(exact))
    # What a network can have at least cannot be more than what it can have at most: proposition 3.
    assert log2_linear_regions(mass, n, n0) <= nonlinear_units(resnet_cells((n,), (blocks,), expansion=1))


def test_nn_mass_matters_less_when_width_is_low():
    gains = [log2_linear_regions(200, width, 8) - log2_linear_regions(100, width, 8) for width in (8, 9, 12, 16)]
    assert gains[0] == 0 and gains == sorted(gains)


def test_nothing_overflows():
    assert np.isfinite(log2_linear_regions(1e12, 100_000, 50_000))
    assert nonlinear_units(ConvNeXtConfig((10**6,), (10**4,))) == 4 * 10**10


def test_cells_of_ones_own():
    assert nn_mass([Cell(100, 10, 40), Cell(50, 0, 10)]) == 25
    assert nn_mass(iter([Cell(100, 10, 40)])) == 25


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: nn_mass(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])), "models.ConvNeXt"),
        (lambda: nn_mass([1, 2]), "sequence of Cells"),
        (lambda: nn_mass([]), "sequence of Cells"),
        (lambda: nn_mass(3), "Received: 3"),
        (lambda: Cell(10, 5, 4), "5 of 4"),
        (lambda: Cell(10, 0, 0), "three layers or more"),
        (lambda: densenet_cells((8,), (2,), (4,)), "three layers or more"),
        (lambda: densenet_cells((8,), (4,), (4, 4)), "as many widths as links"),
        (lambda: resnet_cells((8, 8), (1,)), "as many widths as depths"),
        (lambda: resnet_cells((8,), (1,), 0), "Expected expansion"),
        (lambda: log2_linear_regions(100, 4, 5), "at least the number of inputs"),
        (lambda: log2_linear_regions(3, 4, 2), "at least the width"),
        (lambda: log2_linear_regions(float("nan"), 4, 2), "Received: nan"),
    ],
)
def test_what_is_refused(make, words):
    with pytest.raises(InputError, match="Expected.+Received: ") as caught:
        make()
    assert words in str(caught.value)
