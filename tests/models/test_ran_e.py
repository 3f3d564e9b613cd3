"""RAN-e: the networks of table 1, counted; their structure; super-networks of own blocks; blocks in files."""

import dataclasses
import json

import keras
import numpy as np
import pytest

from keras_actnas.callbacks import AFRBScheduler
from keras_actnas.core import InputError
from keras_actnas.layers import AFRB
from keras_actnas.models import RANE, Block, RANESuperNet, load_blocks, save_blocks
from keras_actnas.models.ran_e_blocks import NETWORKS, SUPERNET, scaled
from keras_actnas.search import count_macs

L = keras.layers

TABLE_1 = {
    # Multiply-accumulates and parameters in millions, as the paper prints them; and ours, where they differ.
    "supernet": ("590", "4.7"),
    "W": ("488", "4.13", "486", "4.12"),
    "A": ("561", "4.6"),
    "B": ("482", "4.6"),
    "C": ("488", "4.7"),
    "GT": ("433", "4.5"),
}

# Figure 4 and table 5, stage by stage: 2, 3, 4, 5, (6, 7), (8, 9), (10, 11), 12, (13, 14, 15), (16, 17).
CHANNELS = [16, 32, 48, 64, 80, 80, 80, 96, 96, 128, 128, 160, 176, 176, 176, 224, 224]
SIZES = [112, 56, 28, 28, 14, 14, 14, 14, 14, 14, 7, 7, 7, 7, 7, 7]
EXPANSIONS = [6, 6, 6, 6, 6, 6, 4, 4, 6, 6, 6, 4, 4, 4, 6, 6]
VARIANTS = [1, 1, 1, 1, 1, 2, 1, 2, 1, 3, 1, 1, 2, 2, 1, 2]
ALL_3 = [3] * 16
COLLAPSED = {
    "supernet": [0] * 16,
    "W": [0] * 16,
    "A": [0, 0, 0, 1, 0, 1, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0],
    "B": [1, 1, 0, 1, 0, 1, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0],
    "C": [1, 1, 0, 1, 0, 1, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0],
    "GT": [1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0],
}
KERNELS = {
    "C": [3, 3, 3, 3, 5, 3, 5, 3, 3, 3, 3, 7, 3, 3, 5, 5],
    "GT": [3, 3, 3, 3, 5, 5, 3, 3, 3, 3, 7, 3, 3, 3, 5, 5],
}
GT_EXPANSIONS = [2, 2, 2, 2, 6, 6, 4, 4, 2, 2, 6, 4, 4, 4, 6, 6]
NAMES = [f"stage{number}" for number in range(2, 18)]


@pytest.fixture(autouse=True)
def _seeded():
    keras.utils.set_random_seed(0)


@pytest.fixture(scope="module")
def network():
    """Returns a function: name -> the network, built once."""
    built = {}

    def get(name):
        if name not in built:
            built[name] = RANESuperNet() if name == "search" else RANE(name)
        return built[name]

    return get


@pytest.fixture
def channels_first():
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    yield
    keras.config.set_image_data_format(before)


def counted(name):
    """Returns multiply-accumulates, without the classifier's, and parameters, by arithmetic of our own."""
    kernels = KERNELS.get(name, ALL_3)
    expansions = GT_EXPANSIONS if name == "GT" else EXPANSIONS
    channels = CHANNELS if name != "W" else [16, *(int(0.91 * n) // 2 * 2 for n in CHANNELS[1:])]
    size = 112
    macs, parameters = 112 * 112 * 27 * 16, 27 * 16
    pairs = zip(channels, channels[1:], strict=False)
    rows = zip(pairs, SIZES, COLLAPSED[name], kernels, expansions, VARIANTS, strict=True)
    for (inside, outside), after, is_collapsed, kernel, expansion, variant in rows:
        hidden = expansion * inside
        parts = [(inside, outside)] if variant != 3 else [(inside, outside // 2), (outside // 2, outside)]
        for one, other in parts:
            if is_collapsed:
                macs += after**2 * kernel**2 * one * other
                parameters += 4 * one + kernel**2 * one * other + other
            else:
                macs += size**2 * one * hidden + after**2 * hidden * (kernel**2 + other)
                parameters += hidden * (one + kernel**2 + other) + 4 * (2 * hidden + other)
            size = after
    macs += 7 * 7 * 1344 * (channels[-1] + 7 * 7)
    parameters += 1344 * (channels[-1] + 7 * 7 + 2 * 4) + 1344 * 1000 + 1000
    return macs, parameters


@pytest.mark.parametrize("name", list(TABLE_1))
def test_macs_and_parameters_of_table_1(name, network):
    model = network(name)
    count = count_macs(model)
    classifier = 1344 * 1000
    assert (count.macs - classifier, count.parameters) == counted(name)
    assert model.count_params() == count.parameters
    macs, parameters = (count.macs - classifier) / 1e6, count.parameters / 1e6
    printed, ours = TABLE_1[name][:2], TABLE_1[name][-2:]
    digits = len(ours[1].split(".")[1])
    assert (f"{macs:.0f}", f"{parameters:.{digits}f}") == ours
    assert macs == pytest.approx(float(printed[0]), rel=6e-3)
    assert parameters == pytest.approx(float(printed[1]), rel=0.012)


def test_the_super_network_has_the_macs_of_its_inverted_bottlenecks(network):
    search, found = count_macs(network("search")), count_macs(network("supernet"))
    assert search.macs == pytest.approx(found.macs, rel=1e-9)
    # For each part: the first normalization. For each block: alpha and lambda.
    parts = [*CHANNELS[:-1], 64]
    assert search.parameters - found.parameters == 4 * sum(parts) + 2 * 16


@pytest.mark.parametrize("name", list(COLLAPSED))
def test_the_structure_of_figure_4(name, network):
    model = network(name)
    names = {layer.name for layer in model.layers}
    assert sum(COLLAPSED[name]) == {"A": 5, "B": 7, "C": 7, "GT": 6}.get(name, 0)
    kernels, expansions = KERNELS.get(name, ALL_3), GT_EXPANSIONS if name == "GT" else EXPANSIONS
    for number, stage in enumerate(NAMES):
        prefixes = [stage] if VARIANTS[number] != 3 else [f"{stage}_part1", f"{stage}_part2"]
        for prefix in prefixes:
            is_collapsed = f"{prefix}_conv" in names
            assert is_collapsed == COLLAPSED[name][number], prefix
            assert is_collapsed != (f"{prefix}_depthwise" in names)
            spatial = model.get_layer(f"{prefix}_conv" if is_collapsed else f"{prefix}_depthwise")
            assert spatial.kernel_size == (kernels[number],) * 2, prefix
            if not is_collapsed:
                inside = model.get_layer(f"{prefixes[0]}_expand").input.shape[-1]
                assert model.get_layer(f"{prefix}_expand").filters == expansions[number] * inside
        assert (f"{stage}_add" in names) == (VARIANTS[number] != 1)
        last = model.get_layer(f"{prefixes[-1]}_conv" if is_collapsed else f"{prefixes[-1]}_project_norm")
        filters = CHANNELS[number + 1] if name != "W" else int(0.91 * CHANNELS[number + 1]) // 2 * 2
        assert last.output.shape == (None, SIZES[number], SIZES[number], filters)


def test_the_super_network_of_table_5(network):
    model = network("search")
    blocks = [layer for layer in model.layers if isinstance(layer, AFRB)]
    assert [block.name for block in blocks] == NAMES
    assert [block.filters for block in blocks] == CHANNELS[1:]
    assert [block.expansion for block in blocks] == EXPANSIONS
    assert [block.geometry.variant for block in blocks] == VARIANTS
    assert {block.kernel_size for block in blocks} == {(3, 3)}
    assert [number for number, block in enumerate(blocks, 2) if block.strides == (2, 2)] == [3, 4, 6, 12]
    assert {block.alpha_value() for block in blocks} == {0.25}
    assert [block.output.shape[1:] for block in blocks] == [
        (size, size, filters) for size, filters in zip(SIZES, CHANNELS[1:], strict=True)
    ]


@pytest.mark.parametrize("name", ["search", "GT"])
def test_stem_and_top(name, network):
    model = network(name)
    stem = model.get_layer("stem")
    assert model.input_shape == (None, 224, 224, 3)
    assert (stem.kernel.shape, stem.strides, stem.padding, stem.use_bias) == ((3, 3, 3, 16), (2, 2), "same", False)
    assert [layer.name for layer in model.layers[:2]] == ["image", "stem"]  # Stage 2 follows, no normalization.
    assert model.layers[2].name.startswith("stage2")
    steps = ["conv", "conv_norm", "conv_act", "depthwise", "depthwise_norm", "depthwise_act", "pool"]
    assert [layer.name for layer in model.layers[-8:]] == [*(f"top_{step}" for step in steps), "classifier"]
    conv, depthwise, pool = (model.get_layer(f"top_{step}") for step in ("conv", "depthwise", "pool"))
    assert conv.kernel.shape == (1, 1, 224, 1344) and not conv.use_bias
    assert depthwise.kernel.shape == (7, 7, 1344, 1) and not depthwise.use_bias
    assert depthwise.output.shape == (None, 7, 7, 1344) and pool.output.shape == (None, 1344)
    assert model.output_shape == (None, 1000)
    assert model.get_layer("classifier").activation is keras.activations.softmax
    for step in ("conv", "depthwise"):
        assert model.get_layer(f"top_{step}_act").activation is keras.activations.hard_silu


def test_activations_of_the_networks(network):
    acts = [layer for layer in network("C").layers if isinstance(layer, L.Activation)]
    # One for a convolution, two for a bottleneck, of which stage 11 is two; two of the top.
    assert len(acts) == 7 + 2 * (9 + 1) + 2
    assert {layer.activation for layer in acts} == {keras.activations.hard_silu}
    model = RANE("GT", "relu6", (32, 32, 3), 10)
    assert {layer.activation for layer in model.layers if isinstance(layer, L.Activation)} == {keras.activations.relu6}


# Own networks.

SMALL = [Block("a", 6, expansion=2), Block("b", 8, 2, 2, 5), Block("c", 8, 2), Block("d", 8, 1.5, variant=3)]


def test_arguments():
    options = {
        "input_shape": (20, 18, 1),
        "num_classes": 7,
        "stem_filters": 4,
        "stem_strides": 1,
        "top_filters": 10,
        "top_kernel_size": 3,
        "batch_size": 2,
        "classifier_activation": None,
        "momentum": 0.5,
    }
    for model in (RANE(SMALL, "silu", **options), RANESuperNet(SMALL, activation="silu", **options)):
        assert (model.input_shape, model.output_shape) == ((2, 20, 18, 1), (2, 7))
        assert model.get_layer("stem").kernel.shape == (3, 3, 1, 4)
        assert model.get_layer("top_depthwise").kernel.shape == (3, 3, 10, 1)
        assert model.get_layer("top_depthwise").output.shape == (2, 10, 9, 10)
        assert model.get_layer("top_conv_act").activation is keras.activations.silu
        assert model.get_layer("classifier").activation is keras.activations.linear
        assert model.get_layer("classifier").units == 7
        norms = [layer for layer in model._flatten_layers() if isinstance(layer, L.BatchNormalization)]
        assert len(norms) > 15 and {layer.momentum for layer in norms} == {0.5}


def test_blocks_become_what_they_say():
    blocks = [dataclasses.replace(block, collapsed=block.name in "bd") for block in SMALL]
    model = RANE(blocks, input_shape=(20, 20, 3), num_classes=2, stem_filters=4, top_filters=8)
    names = {layer.name for layer in model.layers}
    assert {"a_project", "b_conv", "c_project", "c_add", "d_part1_conv", "d_part2_conv", "d_add"} <= names
    assert model.get_layer("b_conv").kernel.shape == (5, 5, 6, 8) and model.get_layer("b_conv").strides == (2, 2)
    assert model.get_layer("c_expand").filters == 16
    search = RANESuperNet(blocks, (20, 20, 3), 2, linearity=0.5, stem_filters=4, top_filters=8)
    blocks = [layer for layer in search.layers if isinstance(layer, AFRB)]
    assert [block.geometry.variant for block in blocks] == [1, 1, 2, 3]
    assert [block.kernel_size for block in blocks] == [(3, 3), (5, 5), (3, 3), (3, 3)]
    assert [float(block.linearity) for block in blocks] == [0.5] * 4
    assert (search.name, model.name, RANE("A", input_shape=(32, 32, 3)).name) == ("ran_e_supernet", "ran_e", "ran_e_A")


def test_a_small_super_network_trains_and_is_saved(tmp_path):
    model = RANESuperNet(SMALL[2:3], (12, 12, 1), 2, stem_filters=8, top_filters=8, top_kernel_size=3)
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 48)
    x = (random.normal(size=(48, 12, 12, 1)) + 2 * labels[:, None, None, None]).astype("float32")
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", jit_compile=False)
    history = model.fit(x, labels, epochs=5, batch_size=16, verbose=0, callbacks=[AFRBScheduler(0.01)]).history
    assert history["loss"][-1] < 0.7 * history["loss"][0]
    assert {"linearity", "alpha_c"} <= set(history)
    model.save(tmp_path / "net.keras")
    loaded = keras.models.load_model(tmp_path / "net.keras")
    np.testing.assert_array_equal(np.asarray(loaded(x[:4])), np.asarray(model(x[:4])))
    assert loaded.get_layer("c").alpha_value() == pytest.approx(history["alpha_c"][-1])


def test_channels_first(channels_first):
    options = {"input_shape": (3, 20, 18), "num_classes": 5, "stem_filters": 4, "top_filters": 12}
    for model in (RANESuperNet(SMALL, **options), RANE(SMALL, **options)):
        assert model.get_layer("stem").output.shape == (None, 4, 10, 9)
        assert model.get_layer("top_depthwise").output.shape == (None, 12, 5, 5)
        assert model.output_shape == (None, 5)
        axes = {layer.axis for layer in model.layers if isinstance(layer, L.BatchNormalization)}
        assert axes == {1}
    assert model.get_layer("b_depthwise").kernel.shape == (5, 5, 12, 1)
    search = RANESuperNet(SMALL, **options)
    assert [layer.parts[0].expand.filters for layer in search.layers if isinstance(layer, AFRB)] == [8, 12, 16, 12]


def test_narrower_blocks():
    blocks = scaled([Block("a", 10), Block("b", 11, strides=2, kernel_size=5)], 0.5)
    assert blocks == (Block("a", 4), Block("b", 4, strides=2, kernel_size=5))
    assert scaled(SUPERNET, 1.0) == SUPERNET
    assert all(block.filters % 2 == 0 for block in NETWORKS["W"])


# Blocks in files.


@pytest.mark.parametrize("name", ["GT", "C", "own"])
def test_blocks_come_back_from_a_file(name, tmp_path):
    own = [*SMALL, Block("e", 8, 2.5, collapsed=True, alpha=0.875)]
    blocks = own if name == "own" else NETWORKS[name]
    save_blocks(iter(blocks), tmp_path / "blocks.json")
    assert load_blocks(tmp_path / "blocks.json") == tuple(blocks)
    assert load_blocks(str(tmp_path / "blocks.json")) == tuple(blocks)


def test_the_file_can_be_read(tmp_path):
    save_blocks([Block("a", 8, 4, collapsed=True)], tmp_path / "blocks.json")
    (written,) = json.loads((tmp_path / "blocks.json").read_text())["blocks"]
    expected = {"name": "a", "filters": 8, "expansion": 4, "strides": 1, "kernel_size": 3, "variant": None}
    assert written == {**expected, "collapsed": True, "alpha": None}


def test_a_published_network_by_name_in_a_file(tmp_path):
    save_blocks("A", tmp_path / "blocks.json")
    assert load_blocks(tmp_path / "blocks.json") == NETWORKS["A"]


CONTENTS = {
    "no JSON": "blocks",
    "a list": "[]",
    "without blocks": "{}",
    "no list of blocks": '{"blocks": 3}',
    "no blocks": '{"blocks": []}',
    "no mapping": '{"blocks": [["a", 8]]}',
    "without a name": '{"blocks": [{"filters": 8}]}',
    "another key": '{"blocks": [{"name": "a", "filters": 8, "width": 3}]}',
    "one name twice": '{"blocks": [{"name": "a", "filters": 8}, {"name": "a", "filters": 8}]}',
    "no text": b"\xff\xfe\x00",
}


@pytest.mark.parametrize("case", list(CONTENTS))
def test_files_that_are_refused(case, tmp_path):
    content = CONTENTS[case]
    path = tmp_path / "blocks.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match="Expected a file that `save_blocks` wrote. Received: .*blocks.json"):
        load_blocks(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="Expected a file that `save_blocks` wrote. Received: .*missing.json"):
        load_blocks(tmp_path / "missing.json")


def test_blocks_that_are_refused(tmp_path):
    for make in (RANE, RANESuperNet):
        with pytest.raises(InputError, match="Expected a RAN-e network. Received: 'supernett'.*supernet"):
            make("supernett")
        for blocks in ([], [Block("a", 8), Block("a", 8)], ["a"], [Block("a", 8), 3]):
            with pytest.raises(
                InputError, match="Expected a name, or blocks with a name each of their own. Received: "
            ):
                make(blocks)
        with pytest.raises(InputError, match="variant 2 of AFRB 'b'"):
            make([Block("a", 8), Block("b", 6, variant=2)], input_shape=(16, 16, 3))
    with pytest.raises(InputError, match="Expected a name, or blocks"):
        save_blocks([Block("a", 8), Block("a", 8)], tmp_path / "blocks.json")
    assert not (tmp_path / "blocks.json").exists()
    with pytest.raises(InputError, match="Received: 'wobble'"):
        RANE(SMALL, "wobble", (16, 16, 3))
