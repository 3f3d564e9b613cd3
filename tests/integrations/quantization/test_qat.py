"""Quantization-aware training: what can be trained, the ranges it starts with, the int8 file that comes out."""

import keras
import numpy as np
import pytest
import tf_keras

from keras_actnas.core import InputError
from keras_actnas.export import summarize_graph, to_named_tflite, to_tflite
from keras_actnas.export.schema import read_model
from keras_actnas.integrations import qat_to_tflite, quantization_report, quantize_aware
from keras_actnas.integrations.qat import REFUSED
from keras_actnas.layers import ACONC, StochasticPEA, activation_layer
from keras_actnas.surgery import fold_acon
from keras_actnas.tflite_bench.runtime import load_runtime

L = keras.layers


def network(activation="relu"):
    """Everything around convolutions that ranges depend on: residual, split, concatenation, resizing, a lone norm."""
    inputs = keras.Input((16, 16, 3), name="image")
    x = L.Conv2D(8, 3, padding="same", use_bias=False, name="stem")(inputs)
    x = activation_layer(activation, name="stem_act")(L.BatchNormalization(name="stem_bn")(x))
    first, second = keras.ops.split(x, 2, axis=-1)
    second = L.Conv2D(4, 3, padding="same", name="inner")(second)
    second = first + activation_layer(activation, name="inner_act")(second)
    x = L.Concatenate(name="join")([first, second])
    y = keras.ops.image.resize(L.MaxPooling2D(2)(x), (16, 16), interpolation="nearest")
    x = L.BatchNormalization(name="lone")(L.Concatenate()([x, y]))
    gate = L.Dense(16, activation="sigmoid", name="gate")(L.GlobalAveragePooling2D(keepdims=True)(x))
    x = L.GlobalAveragePooling2D()(L.Multiply()([x, gate]))
    return keras.Model(inputs, L.Dense(4, name="head")(x), name="network")


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(3).normal(0, 1, (12, 16, 16, 3)).astype("float32")


def run(path, images):
    interpreter = load_runtime().interpreter(model_path=str(path))
    interpreter.allocate_tensors()
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    assert source["dtype"] == target["dtype"] == np.int8
    (scale, zero), (out_scale, out_zero) = source["quantization"], target["quantization"]
    results = []
    for image in np.clip(np.round(images / scale) + zero, -128, 127).astype(np.int8):
        interpreter.set_tensor(source["index"], image[None])
        interpreter.invoke()
        results.append((interpreter.get_tensor(target["index"])[0].astype("float32") - out_zero) * out_scale)
    return np.stack(results)


def error(received, expected):
    return np.sqrt(np.mean(np.square(received - expected)) / np.mean(np.square(expected)))


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("relu", "relu6", "leaky_relu", "gelu")]


@pytest.mark.parametrize("activation", ["silu", "hard_swish", *SLOW])
def test_before_any_step_it_is_a_quantized_network(wake, images, tmp_path, activation):
    model = wake(network(activation))
    expected = np.asarray(model(images))
    aware = quantize_aware(model, images)
    emulated = aware(images, training=False).numpy()
    assert 0 < error(emulated, expected) < 0.1
    report = qat_to_tflite(aware, tmp_path / "net.tflite")
    assert not report.warnings and not report.errors and report.precision == "int8"
    summary = summarize_graph(tmp_path / "net.tflite")
    assert not summary["float_islands"] and "DEQUANTIZE" not in summary["operators"]
    types = {tensor.type for tensor in read_model(tmp_path / "net.tflite").subgraphs[0].tensors}
    assert types == {9, 2}  # int8, and int32 for biases.
    # The file computes what training sees, to within a few roundings.
    assert error(run(tmp_path / "net.tflite", images), emulated) < 0.05
    np.testing.assert_array_equal(np.asarray(model(images)), expected)


def test_ranges_start_at_those_of_the_images(wake, images):
    model = wake(network())
    aware = quantize_aware(model, 10 * images)
    values = np.asarray(keras.Model(model.input, model.get_layer("stem_act").output)(10 * images))
    ranges = aware.get_layer("quant_stem_act")._output_quantizer_vars
    assert float(ranges["max_var"]) == pytest.approx(values.max(), rel=1e-4) and values.max() > 12
    assert float(ranges["min_var"]) == 0


def test_a_few_steps_and_the_file(wake, images, tmp_path):
    aware = quantize_aware(wake(network("hard_swish")), images)
    labels = np.arange(len(images)) % 4
    aware.compile(tf_keras.optimizers.Adam(0.02), tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    losses = aware.fit(images, labels, batch_size=6, epochs=20, verbose=0).history["loss"]
    assert losses[-1] < 0.9 * losses[0]
    qat_to_tflite(aware, tmp_path / "net.tflite")
    assert error(run(tmp_path / "net.tflite", images), aware(images, training=False).numpy()) < 0.1


def test_a_folded_acon(wake, images, tmp_path):
    inputs = keras.Input((16, 16, 3))
    x = L.MaxPooling2D(2)(ACONC(name="acon")(L.Conv2D(4, 3, name="conv")(inputs)))
    plain = fold_acon(wake(keras.Model(inputs, L.GlobalAveragePooling2D()(L.Conv2D(4, 1)(x)))))
    aware = quantize_aware(plain, images)
    emulated = aware(images, training=False).numpy()
    # Random factors make it hard to quantize: plain int8 conversion errs by 0.15 here.
    assert error(emulated, np.asarray(plain(images))) < 0.25
    assert not qat_to_tflite(aware, tmp_path / "net.tflite").warnings
    assert error(run(tmp_path / "net.tflite", images), emulated) < 0.05
    assert not summarize_graph(tmp_path / "net.tflite")["float_islands"]


def test_several_inputs(wake, images, tmp_path):
    first, second = keras.Input((16, 16, 3), name="b"), keras.Input((16, 16, 3), name="a")
    convolved = [L.Conv2D(4, 3, activation="relu", name=f"conv{n}")(x) for n, x in enumerate((first, second))]
    model = wake(keras.Model([first, second], L.GlobalAveragePooling2D()(L.Subtract()(convolved))))
    aware = quantize_aware(model, [images, 3 * images])
    expected = np.asarray(model([images, 3 * images]))
    assert error(aware([images, 3 * images], training=False).numpy(), expected) < 0.1
    assert not qat_to_tflite(aware, tmp_path / "net.tflite").warnings


def sited():
    """Sites as layers and as arguments, fused behind a convolution and a sum, called twice, in a nested model."""
    x = inputs = keras.Input((16, 16, 3), name="image")
    x = L.Activation("relu", name="fused")(L.BatchNormalization()(L.Conv2D(6, 3, name="first")(x)))
    x = L.Conv2D(6, 3, padding="same", activation="silu", name="argument")(x)
    twice = L.Activation("hard_swish", name="twice")
    x = twice(L.Conv2D(6, 3, name="third")(twice(L.Conv2D(6, 3, name="second")(x))))
    x = L.ReLU(name="sum")(L.Add(name="add")([x, L.Conv2D(6, 1, name="fourth")(x)]))
    inner = keras.Input((10, 10, 6))
    nested = keras.Model(inner, L.LeakyReLU(0.1, name="inside")(L.Conv2D(6, 3, name="fifth")(inner)), name="nested")
    x = L.Dense(4, name="head")(L.GlobalAveragePooling2D()(nested(x)))
    return keras.Model(inputs, L.Activation("silu", name="last")(x), name="sited")


def test_the_file_lists_its_sites(wake, images, tmp_path):
    model = wake(sited())
    aware = quantize_aware(model, images)
    qat_to_tflite(aware, tmp_path / "qat.tflite", model)
    to_named_tflite(model, tmp_path / "float32.tflite")
    report = quantization_report(tmp_path / "float32.tflite", tmp_path / "qat.tflite", images)
    names = ["fused", "argument", "twice", "twice:1", "sum", "inside", "last"]
    assert sorted(site.name for site in report.sites) == sorted(names)
    activations = {site.name: site.activation for site in report.sites}
    assert activations == dict(
        zip(names, ("relu", "silu", "hard_swish", "hard_swish", "relu", "leaky_relu", "silu"), strict=True)
    )
    # A tensor of another place would be nothing like the original's.
    assert all(site.sqnr > 15 for site in report.sites)
    plain = qat_to_tflite(aware, tmp_path / "plain.tflite")
    assert (
        summarize_graph(tmp_path / "plain.tflite")["operators"] == summarize_graph(tmp_path / "qat.tflite")["operators"]
    )
    assert not plain.warnings


def test_another_original(wake, images, tmp_path):
    aware = quantize_aware(network(), images)
    with pytest.raises(
        InputError, match="the original of 'network'. Received: 'sited', whose sites fused, argument, twi"
    ):
        qat_to_tflite(aware, tmp_path / "net.tflite", sited())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("activation", REFUSED)
def test_activations_are_refused_before_anything(images, activation):
    with pytest.raises(
        InputError, match=f"Received: '{activation}' at 'stem_act' \\(2 such sites; {activation}: "
    ) as e:
        quantize_aware(network(activation), images)
    assert REFUSED[activation] in str(e.value)


def test_the_reasons_are_those_that_were_measured(images, tmp_path):
    """The reason for `elu` is a float island, that for `mish` and `selu` the number of operators."""
    found = {}
    for activation in ("identity", "elu", "mish", "selu", "softplus"):
        x = inputs = keras.Input((16, 16, 3))
        x = activation_layer(activation)(L.Conv2D(4, 3)(x))
        to_tflite(keras.Model(inputs, L.Conv2D(4, 3)(x)), tmp_path / "net.tflite", "int8", images)
        found[activation] = summarize_graph(tmp_path / "net.tflite")
    count = {name: sum(summary["operators"].values()) - 2 for name, summary in found.items()}
    assert found["elu"]["float_islands"] == {"ELU": 1} and count["identity"] == 0
    assert (count["selu"], count["mish"], count["softplus"]) == (6, 5, 3)
    words = {"selu": "six", "mish": "five", "softplus": "three"}
    assert all(f"{word} int8 operators" in REFUSED[name] for name, word in words.items())


@pytest.mark.parametrize(("layer", "mend"), [(ACONC, "surgery.fold_acon"), (StochasticPEA, "surgery.strip_pea")])
def test_training_layers_name_what_takes_them_out(images, layer, mend):
    inputs = keras.Input((16, 16, 3))
    with pytest.raises(InputError, match=f"of type {layer.__name__}.* Apply {mend} first"):
        quantize_aware(keras.Model(inputs, layer()(L.Conv2D(4, 3)(inputs))), images)


def test_layers_that_tfmot_does_not_know(images):
    inputs = keras.Input((16, 16, 3))
    model = keras.Model(inputs, L.LayerNormalization(name="norm")(L.Conv2D(4, 3)(inputs)))
    with pytest.raises(InputError, match="'norm' of type LayerNormalization"):
        quantize_aware(model, images)
    shared = L.Conv2D(3, 3, padding="same", name="shared")
    with pytest.raises(InputError, match="'shared', which is called 2 times"):
        quantize_aware(keras.Model(inputs, shared(shared(inputs))), images)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (lambda images: images[:0], r"arrays of shape \(images, ...\)"),
        (lambda images: images[..., :1], r"\[\(16, 16, 3\)\]. Received: \[\(12, 16, 16, 1\)\]"),
        (lambda images: images * np.nan, "NaN or infinity"),
        (lambda images: "photos", "Received: \\['str'\\]"),
    ],
)
def test_images_that_do_not_fit(images, bad, message):
    with pytest.raises(InputError, match=message):
        quantize_aware(network(), bad(images))


def test_only_a_quantized_model_is_converted(tmp_path):
    with pytest.raises(InputError, match="that quantize_aware returned. Received: Functional"):
        qat_to_tflite(network(), tmp_path / "net.tflite")
    assert not list(tmp_path.iterdir())
