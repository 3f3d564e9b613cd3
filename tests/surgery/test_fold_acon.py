"""Folding: the outputs stay, and what is left of each ACON is as little as its neighbours allow."""

import keras
import numpy as np
import pytest

from keras_actnas.core import InputError
from keras_actnas.layers import ACONA, ACONB, ACONC, FoldedACON, MetaACON
from keras_actnas.surgery import activation_sites, fold_acon, to_acon

L = keras.layers
VARIANTS = [ACONA, ACONB, ACONC]


def settle(model):
    """Gives ACON and BatchNorm weights as after training."""
    random = np.random.default_rng(3)
    for layer in model._flatten_layers():
        if isinstance(layer, (ACONA, ACONB, ACONC)):
            for weight in layer.weights:
                values = random.normal(0 if weight.name in ("p", "p2") else 1, 0.5, weight.shape)
                weight.assign(np.abs(values) + 0.1 if weight.name == "beta" else values)
        if isinstance(layer, L.BatchNormalization):
            for weight in layer.weights:
                weight.assign(random.uniform(0.5, 1.5, weight.shape))
        elif getattr(layer, "use_bias", False) and getattr(layer, "bias", None) is not None:
            layer.bias.assign(random.normal(0, 0.3, layer.bias.shape))
    return model


def same(model, folded, atol=1e-4):
    image = np.random.default_rng(0).normal(size=(2, *model.input_shape[1:])).astype("float32")
    expected = [keras.ops.convert_to_numpy(output) for output in keras.tree.flatten(model(image))]
    outputs = [keras.ops.convert_to_numpy(output) for output in keras.tree.flatten(folded(image))]
    for one, other in zip(outputs, expected, strict=True):
        assert np.std(other) > 1e-3
        np.testing.assert_allclose(one, other, atol=atol * max(1, np.abs(other).max()))


def chain(*layers, shape=(8, 8, 6)):
    model = keras.Sequential([keras.Input(shape), *layers])
    model(np.zeros((1, *shape), "float32"))  # Gives an `activation=` its weights.
    return settle(model)


def left(model, name="act"):
    """Returns which factors a site has after folding; an empty tuple for SiLU."""
    layer = next(layer for layer in model._flatten_layers() if layer.name == name)
    layer = layer if isinstance(layer, FoldedACON) else getattr(layer, "activation", layer)
    return layer.factors if isinstance(layer, FoldedACON) else () if layer is keras.activations.silu else None


WRITERS = {
    "conv": lambda: L.Conv2D(12, 3),
    "conv without bias": lambda: L.Conv2D(12, 3, use_bias=False),
    "grouped conv": lambda: L.Conv2D(12, 3, groups=3),
    "transposed conv": lambda: L.Conv2DTranspose(12, 3, strides=2),
    "depthwise conv": lambda: L.DepthwiseConv2D(3, depth_multiplier=2),
    "separable conv": lambda: L.SeparableConv2D(12, 3),
    "dense": lambda: L.Dense(12),
    "batch normalization": L.BatchNormalization,
}
READERS = {
    "conv": [lambda: L.Conv2D(4, 3, padding="same")],
    "grouped conv": [lambda: L.Conv2D(9, 3, groups=3)],
    "transposed conv": [lambda: L.Conv2DTranspose(5, 3)],
    "depthwise conv": [lambda: L.DepthwiseConv2D(3, depth_multiplier=2)],
    "separable conv": [lambda: L.SeparableConv2D(5, 3)],
    "dense": [lambda: L.Dense(5)],
    "batch normalization": [L.BatchNormalization],
    "maximum, average, padding, dropout": [
        lambda: L.MaxPooling2D(2),
        lambda: L.AveragePooling2D(2),
        lambda: L.ZeroPadding2D(1),
        lambda: L.Dropout(0.5),
        lambda: L.Conv2D(4, 1),
    ],
    "upsampling, cropping, linear": [
        lambda: L.UpSampling2D(2),
        lambda: L.Cropping2D(1),
        lambda: L.Activation("linear"),
        lambda: L.Conv2D(4, 1),
    ],
    "pooling to a vector": [L.GlobalAveragePooling2D, lambda: L.Dense(5)],
    "maxima to a vector": [L.GlobalMaxPooling2D, lambda: L.Dense(5)],
    "flattening": [L.Flatten, lambda: L.Dense(5)],
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("writer", WRITERS)
def test_every_kind_of_layer_before(writer, variant):
    model = chain(WRITERS[writer](), variant(name="act"), L.Conv2D(4, 1))
    folded = fold_acon(model)
    assert left(folded) == (() if variant is ACONA else ("shift",))
    same(model, folded)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("reader", READERS)
def test_every_kind_of_layer_behind(reader, variant):
    model = chain(L.Conv2D(6, 3), variant(name="act"), *(make() for make in READERS[reader]))
    folded = fold_acon(model)
    assert left(folded) == (() if variant is ACONA else ("shift",))
    same(model, folded)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("shape", [(6,), (9, 6), (4, 4, 4, 6)])
def test_other_ranks(shape, variant):
    conv = {1: L.Dense, 2: lambda n: L.Conv1D(n, 3), 3: L.Dense, 4: lambda n: L.Conv3D(n, 2)}[len(shape)]
    model = chain(conv(6), variant(name="act"), conv(4), shape=shape)
    folded = fold_acon(model)
    assert left(folded) == (() if variant is ACONA else ("shift",))
    same(model, folded)


def test_arguments_stay_arguments():
    model = chain(
        L.Conv2D(6, 3, activation=ACONA(), name="a"), L.Conv2D(6, 3, activation=ACONC(), name="c"), L.Dense(4)
    )
    folded = fold_acon(model)
    assert [layer.name for layer in folded.layers] == [layer.name for layer in model.layers]
    assert (left(folded, "a"), left(folded, "c")) == ((), ("shift",))
    assert activation_sites(folded)[0].activation == "silu"
    same(model, folded)


def branches(variant):
    """A network with a skip, a concatenation, a split and two outputs."""
    inputs = keras.Input((8, 8, 6))
    x = variant(name="added")(L.Conv2D(6, 3, padding="same")(inputs))
    y = variant(name="before add")(L.Conv2D(6, 3, padding="same")(x))
    x = L.Add()([x, y])
    beside = variant(name="concatenated")(L.Conv2D(4, 1)(x))
    pooled = L.MaxPooling2D(3, 1, padding="same")(beside)
    x = L.Concatenate()([beside, x, pooled])
    x = variant(name="sliced")(L.BatchNormalization()(L.Conv2D(8, 1)(x)))
    one, other = keras.ops.split(x, [3], axis=-1)
    resized = keras.ops.image.resize(other, (16, 16), interpolation="nearest")
    out = variant(name="output")(L.Conv2D(3, 1)(one))
    return settle(keras.Model(inputs, [out, L.Conv2D(2, 1)(resized)]))


@pytest.mark.parametrize("form", ["multiply", "depthwise"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_branches(variant, form):
    model = branches(variant)
    folded = fold_acon(model, form)
    same(model, folded)
    stays = ("slope",) if variant is ACONA else ("scale", "shift")
    goes = () if variant is ACONA else ("shift",)
    factors = {name: left(folded, name) for name in ("added", "before add", "concatenated", "sliced", "output")}
    assert factors == {"added": stays, "before add": stays, "concatenated": goes, "sliced": goes, "output": stays}


def test_an_input_with_another_reader_keeps_its_scale():
    inputs = keras.Input((8, 8, 6))
    shared = L.Conv2D(6, 3, padding="same")(inputs)
    x = ACONC(name="act")(shared)
    model = settle(keras.Model(inputs, L.Conv2D(3, 1)(L.Conv2D(6, 1)(x) + shared)))
    folded = fold_acon(model)
    assert left(folded) == ("slope", "shift")
    same(model, folded)


def test_negative_betas_do_not_go_through_a_maximum():
    layers = [L.Conv2D(6, 3), ACONC(name="act"), L.MaxPooling2D(2), L.Conv2D(4, 1)]
    model = settle(keras.Sequential([keras.Input((8, 8, 6)), *layers]))
    model.get_layer("act").beta.assign(np.reshape([1, -1, 2, 0.5, -0.1, 0], (1, 1, 6)))
    folded = fold_acon(model)
    assert left(folded) == ("scale", "shift")
    same(model, folded)


def test_layers_that_are_called_twice_keep_their_weights():
    conv, act = L.Conv2D(6, 3, padding="same", name="conv"), ACONC(name="act")
    inputs = keras.Input((8, 8, 6))
    model = settle(keras.Model(inputs, L.Conv2D(3, 1)(act(conv(act(conv(inputs)))))))
    folded = fold_acon(model)
    assert left(folded) == ("slope", "scale", "shift")
    np.testing.assert_array_equal(folded.get_layer("conv").kernel, conv.kernel)
    same(model, folded)


def test_nested_models():
    inner = keras.Sequential([keras.Input((8, 8, 6)), L.Conv2D(6, 3), ACONA(name="act"), L.Conv2D(4, 1)], name="inner")
    model = chain(inner, ACONA(name="last"), L.Conv2D(2, 1))
    folded = fold_acon(model)
    assert (left(folded), left(folded, "last")) == ((), ("slope",))
    same(model, folded)


def test_what_is_not_per_channel_stays():
    model = chain(L.Conv2D(6, 3), ACONC(shared_axes=[], name="pixels"), L.Conv2D(6, 1), ACONC(name="act"), L.Dense(3))
    folded = fold_acon(model)
    assert type(folded.get_layer("pixels")) is ACONC
    same(model, folded)


def test_one_number_for_all_channels():
    model = chain(L.Conv2D(6, 3), ACONC(shared_axes=[1, 2, 3], name="act"), L.Dense(3))
    folded = fold_acon(model)
    assert left(folded) == ("shift",)
    same(model, folded)


def test_meta_acon_stays():
    model = chain(L.Conv2D(6, 3), MetaACON(reduction=2, name="meta"), L.Conv2D(6, 1), ACONA(name="act"), L.Dense(3))
    folded = fold_acon(model)
    assert type(folded.get_layer("meta")) is MetaACON and left(folded) == ()
    same(model, folded)


def test_a_layer_of_the_user_s_own_is_left_alone():
    class Shouting(L.Conv2D):
        def call(self, inputs):
            return super().call(inputs) ** 2

    model = chain(Shouting(6, 3), ACONC(name="act"), L.Dense(3))
    folded = fold_acon(model)
    assert left(folded) == ("slope", "shift")
    same(model, folded)


class Doubled(L.GlobalAveragePooling2D):
    def call(self, inputs):
        return super().call(inputs) ** 2


def quantized(layer):
    layer.build((None, 6))
    layer.quantize("int8")
    return layer


def with_lora(layer):
    layer.build((None, 6))
    layer.enable_lora(2)
    layer.lora_kernel_b.assign(np.ones((2, 6)))
    return layer


BARRIERS = {
    "einsum": lambda: [L.GlobalAveragePooling2D(), L.EinsumDense("bc,cd->bd", 6), L.Dense(3)],
    "quantized": lambda: [L.GlobalAveragePooling2D(), quantized(L.Dense(6)), L.Dense(3)],
    "lora": lambda: [L.GlobalAveragePooling2D(), with_lora(L.Dense(6)), L.Dense(3)],
    "a pooling of the user's own": lambda: [Doubled(), L.Dense(3)],
    "softmax": lambda: [L.Activation("softmax"), L.Dense(3)],
    "layer normalization": lambda: [L.LayerNormalization(), L.Dense(3)],
    "permutation": lambda: [L.Permute((3, 1, 2)), L.Dense(3)],
    "reshape": lambda: [L.Reshape((-1,)), L.Dense(3)],
}


@pytest.mark.parametrize("variant", [ACONA, ACONC])
@pytest.mark.parametrize("barrier", BARRIERS)
def test_factors_do_not_go_through_everything(barrier, variant):
    model = chain(L.Conv2D(6, 3), variant(name="act"), *BARRIERS[barrier]())
    folded = fold_acon(model)
    assert left(folded) == (("slope",) if variant is ACONA else ("scale", "shift"))
    # An int8 kernel rounds its inputs for each image: the last bits before it make a step behind it.
    same(model, folded, atol=2e-2 if barrier == "quantized" else 1e-4)


def test_batch_normalization_in_training_mode_takes_up_nothing():
    inputs = keras.Input((8, 8, 6))
    x = L.BatchNormalization()(ACONC(name="act")(L.Conv2D(6, 3)(inputs)), training=True)
    model = settle(keras.Model(inputs, L.Conv2D(3, 1)(x)))
    folded = fold_acon(model)
    assert left(folded) == ("scale", "shift")
    same(model, folded)


def test_resizing_with_a_border_takes_up_nothing():
    inputs = keras.Input((8, 6, 6))
    x = ACONC(name="act")(L.Conv2D(6, 1)(inputs))
    x = keras.ops.image.resize(x, (12, 12), pad_to_aspect_ratio=True, fill_value=3.0)
    model = settle(keras.Model(inputs, L.Conv2D(3, 1)(x)))
    folded = fold_acon(model)
    assert left(folded) == ("scale", "shift")
    same(model, folded)


def test_subclasses_are_not_taken_for_what_they_extend():
    class Shifted(ACONC):
        def call(self, inputs, training=None):
            return super().call(inputs, training) + 1

    model = chain(L.Conv2D(6, 3), Shifted(name="mine"), L.Conv2D(6, 1), ACONA(name="act"), L.Conv2D(3, 1))
    folded = fold_acon(model)
    assert type(folded.get_layer("mine")) is Shifted and left(folded) == ()
    same(model, folded)


def test_an_argument_with_channels_on_another_axis():
    model = chain(L.Conv2D(4, 3, activation=ACONC(data_format="channels_first"), name="act"), L.Conv2D(3, 1))
    folded = fold_acon(model)
    assert left(folded) == ("slope", "scale", "shift")
    same(model, folded)


@pytest.mark.parametrize("order", ["channels_last", "channels_first"])
def test_flattening_in_both_orders(order):
    model = chain(L.Conv2D(6, 3), ACONC(name="act"), L.Flatten(data_format=order), L.Dense(3))
    folded = fold_acon(model)
    assert left(folded) == ("shift",)
    same(model, folded)


def test_flattening_channels_first():
    layers = [L.ZeroPadding2D(1, data_format="channels_first"), L.BatchNormalization(axis=1)]
    layers += [ACONC(name="act", data_format="channels_first"), L.Flatten(data_format="channels_first"), L.Dense(3)]
    model = chain(*layers, shape=(6, 4, 5))
    folded = fold_acon(model)
    assert left(folded) == ("shift",)
    same(model, folded)


def test_cropping_a_sequence_along_its_channels():
    layers = [L.BatchNormalization(axis=1), ACONC(name="act", data_format="channels_first"), L.Cropping1D(1)]
    model = chain(*layers, L.BatchNormalization(axis=1), L.Dense(3), shape=(6, 5))
    folded = fold_acon(model)
    assert left(folded) == ("scale", "shift")
    same(model, folded)


def test_unknown_image_sizes():
    layers = [L.Conv2D(6, 3), ACONC(name="act"), L.Conv2D(4, 1), L.GlobalAveragePooling2D(), L.Dense(3)]
    folded = fold_acon(settle(keras.Sequential([keras.Input((None, None, 3)), *layers])))
    assert left(folded) == ("shift",)


@pytest.mark.parametrize("beta", [0.0, 1e-5, 2000.0])
@pytest.mark.parametrize("variant", [ACONA, ACONC])
def test_factors_that_half_precision_cannot_hold_stay_where_they_are(variant, beta):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = chain(L.Conv2D(6, 3), variant(name="act"), L.Conv2D(4, 1))
    finally:
        keras.config.set_dtype_policy("float32")
    model.get_layer("act").beta.assign(np.full((1, 1, 6), beta))
    folded = fold_acon(model)
    assert left(folded) == (("slope",) if variant is ACONA else ("slope", "scale", "shift"))
    same(model, folded, atol=2e-2)


def test_channels_first():
    conv = {"data_format": "channels_first"}
    model = keras.Sequential(
        [
            keras.Input((6, 8, 8)),
            L.ZeroPadding2D(1, **conv),
            L.BatchNormalization(axis=1),
            ACONC(name="act", **conv),
            L.GlobalAveragePooling2D(**conv),
            L.Dense(3),
        ]
    )
    folded = fold_acon(settle(model))
    assert left(folded) == ("shift",)
    same(model, folded)


def test_the_original_is_left_as_it_is(tmp_path):
    model = chain(L.Conv2D(6, 3), ACONC(name="act"), L.Dense(3))
    before = [keras.ops.convert_to_numpy(weight).copy() for weight in model.weights]
    folded = fold_acon(model)
    for weight, old in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight, old)
    folded.save(tmp_path / "folded.keras")
    same(model, keras.models.load_model(tmp_path / "folded.keras"))


def test_a_whole_network():
    model = keras.applications.MobileNetV2(weights=None, input_shape=(64, 64, 3), classifier_activation=None)
    model = settle(to_acon(model, ACONC))
    folded = fold_acon(model)
    assert {left(folded, site.name) for site in activation_sites(keras.applications.MobileNetV2(weights=None))} == {
        ("shift",)
    }
    same(model, folded)


def test_bad_input():
    with pytest.raises(InputError, match="Expected form 'multiply' or 'depthwise'. Received: 'gpu'"):
        fold_acon(chain(ACONA()), "gpu")
    with pytest.raises(InputError, match="which has none"):
        fold_acon(chain(L.Conv2D(6, 3), L.ReLU()))
    model = chain(L.Conv2D(6, 3), ACONC(name="act"))
    model.get_layer("act").beta.assign(np.full((1, 1, 6), np.nan))
    with pytest.raises(InputError, match="Expected finite parameters of 'act'. Received: beta"):
        fold_acon(model)
    fresh = keras.Sequential([keras.Input((8, 8, 3)), L.Conv2D(6, 3, activation=ACONA(name="young"))])
    with pytest.raises(InputError, match="Received: 'young', .* call the model once"):
        fold_acon(fresh)
