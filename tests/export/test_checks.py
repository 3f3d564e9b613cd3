"""The report of a conversion names every way in which one silently goes wrong."""

import keras
import numpy as np
import pytest

from keras_actnas.export import check_conversion, to_tflite
from keras_actnas.export.schema import pack_model, read_model

tf = pytest.importorskip("tensorflow")
L = keras.layers
CHECKED = "  checked: static shapes, no variables, BatchNorm folded, no TILE or SHAPE operators"


def converted(model, tmp_path, precision="float32"):
    return to_tflite(model, tmp_path / "m.tflite", precision, np.random.default_rng(0).random((4, 8, 8, 3)))


def model_of(apply, *shape):
    inputs = keras.Input(shape or (8, 8, 3))
    return keras.Model(inputs, apply(inputs))


def batch_norm(x):
    # Different values for the channels: equal ones become a single number.
    spread = keras.initializers.RandomUniform(0.5, 1.5, seed=0)
    spreads = {"gamma_initializer": spread, "beta_initializer": spread, "moving_variance_initializer": spread}
    return L.BatchNormalization(**spreads, name="bn")(x)


def from_keras(model):
    return tf.lite.TFLiteConverter.from_keras_model(model).convert()


def test_a_dynamic_batch():
    data = from_keras(model_of(lambda x: L.ReLU()(L.Conv2D(4, 3)(x))))
    report = check_conversion(data, "m.tflite", "float32")
    assert 1 <= len(report.errors) <= 3
    assert report.errors[0].endswith("has the dynamic shape [-1, 8, 8, 3]")
    assert f"  error: {report.errors[0]}" in str(report)
    assert CHECKED not in str(report)


def test_shapes_computed_at_run_time():
    data = from_keras(model_of(lambda x: L.Conv2DTranspose(4, 3)(x)))
    warnings = check_conversion(data, "m.tflite", "float32").warnings
    assert any("SHAPE: shapes are computed at run time; convert with a static batch" in text for text in warnings)


def test_variables_that_were_not_frozen(tmp_path):
    class Counter(tf.Module):
        def __init__(self):
            self.total = tf.Variable(tf.zeros((1, 4)))

        @tf.function(input_signature=[tf.TensorSpec((1, 4))])
        def step(self, values):
            return self.total.assign_add(values)

    counter = Counter()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([counter.step.get_concrete_function()], counter)
    converter.experimental_enable_resource_variables = True
    report = check_conversion(converter.convert(), "m.tflite", "float32")
    found = {text.split(":")[0].split()[1] for text in report.errors if text.endswith("variables were not frozen")}
    assert {"VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE"} <= found


def test_operators_of_tensorflow():
    model = model_of(lambda x: keras.ops.linalg.inv(x), 4, 4)
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    report = check_conversion(converter.convert(), "m.tflite", "float32")
    assert "FlexMatrixInverse needs the Flex delegate" in report.errors
    assert report.operators["FlexMatrixInverse"] == 1


@pytest.mark.parametrize(
    "convolution",
    [
        L.Conv2D(4, 3, name="c2"),
        L.DepthwiseConv2D(3, name="dw"),
        L.Conv2D(6, 3, groups=3, name="groups"),
        L.Conv2DTranspose(4, 3, strides=2, name="transposed"),
        L.Dense(5, name="dense"),
    ],
    ids=lambda layer: layer.name,
)
def test_folded_batch_norms_pass(convolution, tmp_path):
    report = converted(model_of(lambda x: batch_norm(convolution(x))), tmp_path)
    assert report.warnings == ()
    assert CHECKED in str(report)


def test_an_unfolded_batch_norm(tmp_path):
    # The converter does not fold into 3D convolutions.
    report = converted(model_of(lambda x: batch_norm(L.Conv3D(4, 3)(x)), 8, 8, 8, 3), tmp_path)
    assert len(report.warnings) == 1
    assert report.warnings[0].startswith("BatchNorm not folded into the CONV_3D before ")
    assert f"  warning: {report.warnings[0]}" in str(report)


@pytest.mark.parametrize(
    "apply",
    [
        lambda x: batch_norm(L.Conv2D(4, 3, activation="relu")(x)),  # Cannot be folded.
        lambda x: batch_norm(L.Conv2D(4, 3, activation="silu")(x)),
        lambda x: L.Add()([batch_norm(convolved := L.Conv2D(4, 3)(x)), convolved]),
        lambda x: batch_norm(x),
        lambda x: L.Conv2D(4, 3)(x) * np.random.default_rng(0).random((1, 6, 6, 1)).astype("float32"),
        lambda x: L.Conv2D(4, 3)(x) * L.Conv2D(4, 3)(x),
        lambda x: L.Conv2D(4, 3)(x) * 3.0,
    ],
    ids=["behind relu", "behind silu", "two readers", "behind the input", "a mask", "a product", "a number"],
)
def test_multiplications_that_are_no_unfolded_batch_norm(apply, tmp_path):
    assert converted(model_of(apply), tmp_path).warnings == ()


def test_tile_from_upsampling(tmp_path):
    report = converted(model_of(lambda x: L.UpSampling2D()(x)), tmp_path)
    assert report.warnings == ("2 TILE: UpSampling2D becomes TILE; keras.layers.Resizing(nearest) does not",)
    assert converted(model_of(lambda x: L.Resizing(16, 16, "nearest")(x)), tmp_path).warnings == ()


def test_float_islands_of_an_int8_graph(tmp_path):
    model = model_of(lambda x: L.Conv2D(4, 3, activation="relu")(L.Conv2D(4, 3, activation="elu")(x)))
    assert converted(model, tmp_path, "int8").warnings == ("1 ELU stayed in float32",)
    assert converted(model, tmp_path).warnings == ()
    silu = model_of(lambda x: L.Conv2D(4, 3, activation="silu")(x))
    assert converted(silu, tmp_path, "int8").warnings == ()


def test_operators_are_counted_most_frequent_first(tmp_path):
    report = converted(
        model_of(lambda x: L.Conv2D(4, 3, activation="silu")(L.Conv2D(4, 3, activation="silu")(x))), tmp_path
    )
    assert list(report.operators.items()) == [("CONV_2D", 2), ("LOGISTIC", 2), ("MUL", 2)]


def test_nothing_is_written_when_there_is_an_error(tmp_path, monkeypatch):
    from keras_actnas.core import InputError
    from keras_actnas.export import convert

    def dynamic(model, *_):
        content = read_model(from_keras(model))
        content.subgraphs[0].tensors[0].shapeSignature = np.array([-1, 8, 8, 3], np.int32)
        return pack_model(content)

    monkeypatch.setattr(convert, "convert", dynamic)
    with pytest.raises(InputError, match=r"went wrong, so nothing was written: tensor .*\[-1, 8, 8, 3\]"):
        to_tflite(model_of(lambda x: L.ReLU()(x)), tmp_path / "m.tflite")
    assert not list(tmp_path.iterdir())
