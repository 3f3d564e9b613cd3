"""`count_macs`: against formulas written out by hand, and against the graph that TFLite executes."""

import doctest
import math

import keras
import numpy as np
import pytest

from keras_actnas.core import InputError
from keras_actnas.export.convert import convert
from keras_actnas.models import YOLO
from keras_actnas.search import count_macs, loops, macs, model_inputs
from keras_actnas.surgery import set_batch_size

L = keras.layers
ops = keras.ops


def in_tflite(model):
    """Returns the count of the float32 .tflite that a model becomes."""
    return count_macs(convert(set_batch_size(model), "float32"))


def by_name(count):
    return {layer.name: layer.macs for layer in count.layers}


def sequential(shape, *layers):
    return keras.Sequential([keras.Input(shape), *layers])


def of_two(function, shape=(5, 8)):
    """A model of one input that is used twice, as attention does."""
    inputs = keras.Input(shape)
    return keras.Model(inputs, function(inputs))


# Hand-written figures: (model, MACs of one image).
LAYERS = {
    "conv": (lambda: sequential((9, 8, 3), L.Conv2D(5, (3, 2), padding="same")), 9 * 8 * 5 * 3 * 2 * 3),
    "stride": (lambda: sequential((9, 8, 3), L.Conv2D(5, 3, strides=2)), 4 * 3 * 5 * 9 * 3),
    "grouped": (lambda: sequential((8, 8, 4), L.Conv2D(6, 3, groups=2)), 6 * 6 * 6 * 9 * 2),
    "dilated": (lambda: sequential((15, 15, 3), L.Conv2D(4, 3, dilation_rate=2, padding="same")), 15 * 15 * 4 * 27),
    "dilated valid": (lambda: sequential((15, 14, 3), L.Conv2D(4, 3, dilation_rate=2)), 11 * 10 * 4 * 27),
    "depthwise": (lambda: sequential((8, 8, 3), L.DepthwiseConv2D(3, depth_multiplier=2)), 36 * 6 * 9),
    "dilated depthwise": (lambda: sequential((9, 9, 3), L.DepthwiseConv2D(3, dilation_rate=3)), 3 * 3 * 3 * 9),
    "separable": (lambda: sequential((8, 8, 4), L.SeparableConv2D(5, 3)), 36 * 4 * 9 + 36 * 4 * 5),
    "transposed": (lambda: sequential((7, 7, 4), L.Conv2DTranspose(5, 3, 2, padding="same")), 49 * 4 * 9 * 5),
    "conv1d": (lambda: sequential((9, 4), L.Conv1D(6, 3, padding="causal", dilation_rate=2)), 9 * 6 * 3 * 4),
    "transposed conv1d": (lambda: sequential((9, 4), L.Conv1DTranspose(6, 3, strides=2)), 9 * 4 * 3 * 6),
    "depthwise conv1d": (lambda: sequential((9, 4), L.DepthwiseConv1D(3)), 7 * 4 * 3),
    "conv3d": (lambda: sequential((5, 6, 7, 2), L.Conv3D(3, 3)), 3 * 4 * 5 * 3 * 27 * 2),
    "transposed conv3d": (lambda: sequential((4, 4, 4, 2), L.Conv3DTranspose(3, 3)), 64 * 2 * 27 * 3),
    "dense": (lambda: sequential((7,), L.Dense(9)), 63),
    "dense on a sequence": (lambda: sequential((5, 7), L.Dense(9)), 5 * 63),
    "einsum": (lambda: sequential((5, 6), L.EinsumDense("abc,cde->abde", (None, 3, 4))), 5 * 6 * 12),
    "attention": (lambda: of_two(lambda x: L.Attention()([x, x])), 2 * 5 * 5 * 8),
    "heads": (lambda: of_two(lambda x: L.MultiHeadAttention(2, 3)(x, x)), 4 * 5 * 8 * 6 + 2 * 2 * 5 * 5 * 3),
    "dot": (lambda: of_two(lambda x: L.Dot(axes=(2, 2))([x, x])), 5 * 5 * 8),
    "operation": (lambda: of_two(lambda x: ops.matmul(x, ops.transpose(x, (0, 2, 1)))), 5 * 5 * 8),
    "outer product": (lambda: of_two(lambda x: ops.einsum("bij,bkj->bikj", x, x)), 5 * 5 * 8),
    "lstm": (lambda: sequential((5, 6), L.LSTM(7)), 5 * 4 * 7 * (6 + 7)),
    # Unrolled, the first step's product with the initial state, zeros, is a constant.
    "unrolled gru": (lambda: sequential((4, 6), L.GRU(7, unroll=True)), 4 * 21 * 6 + 3 * 21 * 7),
    "both ways": (lambda: sequential((5, 6), L.Bidirectional(L.SimpleRNN(7))), 2 * 5 * 7 * (6 + 7)),
    "conv lstm": (lambda: sequential((3, 6, 6, 2), L.ConvLSTM2D(4, 3)), 3 * 4 * 16 * 4 * 9 * (2 + 4)),
    "in every step": (lambda: sequential((3, 6, 6, 2), L.TimeDistributed(L.Conv2D(4, 3))), 3 * 16 * 4 * 9 * 2),
    "channels first": (lambda: sequential((3, 8, 9), L.Conv2D(5, 3, data_format="channels_first")), 6 * 7 * 5 * 27),
    "free of MACs": (
        lambda: sequential((8, 8, 3), L.BatchNormalization(), L.ReLU(), L.MaxPooling2D(), L.UpSampling2D()),
        0,
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_count_what_the_formula_says_and_tflite_executes(name):
    build, expected = LAYERS[name]
    model = build()
    count = count_macs(model)
    assert count.macs == sum(layer.macs for layer in count.layers) == expected
    assert count.parameters == sum(layer.parameters for layer in count.layers) == model.count_params()
    assert in_tflite(model).macs == expected


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (L.Conv2DTranspose(5, 3, dilation_rate=2), (7, 7, 4), 49 * 4 * 9 * 5),
        (L.Conv3D(4, 3, groups=2), (5, 5, 5, 2), 27 * 4 * 27),
        (L.Conv3D(4, 3, dilation_rate=2), (7, 7, 7, 2), 27 * 4 * 27 * 2),
    ],
)
def test_layers_that_tflite_does_not_have(layer, shape, expected):
    assert count_macs(sequential(shape, layer)).macs == expected


def mobilenet_v2_macs():
    """Table 2 of Sandler et al. 2018 at 224 px, multiplied out."""
    total, channels, size = 112 * 112 * 32 * 27, 32, 112
    for expansion, filters, repeats, first_stride in [
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ]:
        for repeat in range(repeats):
            hidden = channels * expansion
            total += size**2 * channels * hidden if expansion > 1 else 0
            size //= 1 if repeat else first_stride
            total += size**2 * hidden * (9 + filters)
            channels = filters
    return total + size**2 * 320 * 1280 + 1280 * 1000


def test_mobilenet_v2_has_its_published_figures():
    model = keras.applications.MobileNetV2(weights=None)
    count = count_macs(model)
    assert count.macs == mobilenet_v2_macs()
    assert round(count.macs / 1e6) in (300, 301)  # The paper's 300 M.
    assert count.parameters == model.count_params() == 3_538_984
    assert count.trainable_parameters == 3_504_872
    dense = count.layers[-1]
    assert (dense.name, dense.type, dense.output_shape) == ("predictions", "Dense", (1000,))
    assert (dense.parameters, dense.macs) == (1_281_000, 1_280_000)


def test_a_whole_network_counts_what_tflite_executes():
    model = keras.applications.MobileNetV3Small(input_shape=(64, 64, 3), weights=None)
    assert count_macs(model).macs == in_tflite(model).macs > 5e6


@pytest.mark.slow
@pytest.mark.parametrize("name", ["yolov5n", "yolo11n"])
def test_a_yolo_counts_what_tflite_executes(name):
    model = YOLO(name, input_shape=(64, 96, 3))
    assert count_macs(model).macs == in_tflite(model).macs > 4e7


def test_a_transformer_block_counts_what_tflite_executes():
    inputs = keras.Input((6, 8))
    attention = L.MultiHeadAttention(2, 4, name="attention")(L.LayerNormalization()(inputs), inputs)
    x = L.Add()([inputs, attention])
    x = L.Add()([x, L.Dense(8, name="down")(L.Dense(16, activation="gelu", name="up")(x))])
    model = keras.Model(inputs, x)
    macs = by_name(count_macs(model))
    assert macs["attention"] == 2 * 2 * 6 * 6 * 4  # Scores, and the mixing of the values.
    assert [macs[f"attention/{part}"] for part in ("query", "key", "value", "attention_output")] == [6 * 64] * 4
    assert (macs["up"], macs["down"]) == (6 * 128, 6 * 128)
    assert count_macs(model).macs == in_tflite(model).macs == sum(macs.values())


def test_a_layer_that_is_called_twice_holds_its_weights_once():
    shared = L.Dense(8, name="shared")
    inputs = keras.Input((8,))
    count = count_macs(keras.Model(inputs, shared(shared(shared(inputs)))))
    assert by_name(count) == {"shared": 3 * 64}
    assert count.parameters == 72


class Tied(L.Layer):
    """Multiplies with another layer's weights, turned round."""

    def __init__(self, other, **kwargs):
        super().__init__(**kwargs)
        self.kernel = other.kernel

    def call(self, x):
        return ops.matmul(x, ops.transpose(self.kernel))


def test_layers_that_share_their_weights_hold_them_once():
    inputs = keras.Input((8,))
    encoder = L.Dense(3, use_bias=False, name="encoder")
    codes = encoder(inputs)
    model = keras.Model(inputs, Tied(encoder, name="decoder")(codes))
    count = count_macs(model)
    assert by_name(count) == {"encoder": 24, "decoder": 24}
    assert [layer.parameters for layer in count.layers] == [24, 0]
    assert count.parameters == model.count_params() == count.trainable_parameters == 24


def test_calls_at_different_sizes_all_count():
    shared = L.Conv2D(3, 3, padding="same", name="shared")
    inputs = keras.Input((8, 8, 3))
    count = count_macs(keras.Model(inputs, shared(L.MaxPooling2D()(shared(inputs)))))
    assert by_name(count)["shared"] == (64 + 16) * 81
    assert next(layer for layer in count.layers if layer.name == "shared").output_shape == (8, 8, 3)


def encoder(name):
    inputs = keras.Input((8,))
    x = L.Dense(4, name="fc")(inputs)
    return keras.Model(inputs, L.Dense(8, name="out")(x), name=name)


def test_nested_models_are_counted_by_path_even_where_names_repeat():
    first, second = encoder("first"), encoder("second")
    inputs = keras.Input((8,))
    x = L.Dense(8, name="fc")(second(second(first(inputs))))
    tail = keras.Sequential([keras.Input((8,)), L.Dense(2, name="fc")], name="tail")
    count = count_macs(keras.Model(inputs, tail(x)))
    expected = {"first/fc": 32, "first/out": 32, "second/fc": 64, "second/out": 64, "fc": 64, "tail/fc": 16}
    assert {name: value for name, value in by_name(count).items() if value} == expected
    assert count.parameters == 2 * (36 + 40) + 72 + 18


def test_a_layer_named_like_the_second_call_of_another_is_not_taken_for_it():
    # In the graph, both are called "fc_1".
    inputs = keras.Input((8,))
    shared = L.Dense(8, name="fc")
    x = shared(shared(inputs))
    count = count_macs(keras.Model(inputs, L.Dense(2, name="fc_1")(x)))
    assert by_name(count) == {"fc": 128, "fc_1": 16}


class Composite(L.Layer):
    """Several convolutions, and a product of its own with a weight of its own."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first = L.Conv2D(4, 3, padding="same", name="first")
        self.blocks = [L.Conv2D(4, 1, name="left"), L.DepthwiseConv2D(3, padding="same", name="right")]

    def build(self, input_shape):
        self.mix = self.add_weight(shape=(4, 2), name="mix")
        self.first.build(input_shape)
        for block in self.blocks:
            block.build((*input_shape[:-1], 4))

    def call(self, x):
        x = self.first(x)
        return ops.matmul(self.blocks[0](x) + self.blocks[1](x), self.mix)


def test_a_composite_layer_is_counted_with_all_that_is_inside():
    count = count_macs(sequential((6, 6, 3), Composite(name="block"), L.Flatten(), L.Dense(2, name="head")))
    macs = by_name(count)
    assert macs["block"] == 36 * 4 * 2
    assert [macs[f"block/{name}"] for name in ("first", "left", "right")] == [36 * 4 * 27, 36 * 16, 36 * 4 * 9]
    assert next(layer for layer in count.layers if layer.name == "block").parameters == 8
    assert next(layer for layer in count.layers if layer.name == "block").output_shape == (6, 6, 2)
    assert [layer.name for layer in count.layers][:2] == ["block", "block/first"]


class Subclassed(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.stem = L.Conv2D(4, 3, name="stem")
        self.head = L.Dense(2, name="head")
        self.auxiliary = L.Dense(5, name="auxiliary")

    def call(self, x, training=False):
        x = self.stem(x)
        if training:
            return self.auxiliary(x)
        pooled = ops.mean(x, axis=(1, 2))
        self.auxiliary(pooled)  # Nothing comes of it.
        return self.head(ops.matmul(pooled[:, None], ops.ones((4, 4)))[:, 0])


def test_a_subclassed_model_counts_what_it_computes_in_inference():
    model = Subclassed(name="subclassed")
    model(np.zeros((3, 8, 8, 3), "float32"))
    count = count_macs(model)
    assert by_name(count) == {"subclassed": 16, "stem": 36 * 4 * 27, "head": 8, "auxiliary": 0}
    assert count.parameters == model.count_params()
    assert by_name(count_macs(model, (16, 16, 3)))["stem"] == 14 * 14 * 4 * 27


class Product(L.Layer):
    """Applies any function."""

    def __init__(self, function, **kwargs):
        super().__init__(**kwargs)
        self.function = function
        self.kernel = self.add_weight(shape=(5, 5), name="kernel")

    def call(self, x):
        return self.function(x, self.kernel)


def dynamic_loop(x, kernel):
    return ops.while_loop(lambda i, a: ops.sum(a) > i, lambda i, a: (i + 1, ops.matmul(a, kernel)), (0.0, x))[1]


def counting_loop(x, kernel):
    return ops.while_loop(lambda i, a: i < 9, lambda i, a: (i + 2, ops.matmul(a, kernel)), (0, x))[1]


def nested_loops(x, kernel):
    def row(i, a):
        return ops.fori_loop(0, 3, lambda j, b: ops.matmul(b, kernel), a)

    return ops.fori_loop(0, 4, row, x)


FUNCTIONS = {
    "weights alone": (lambda x, w: ops.matmul(x, ops.matmul(w, ops.matmul(w, w))), 125),
    "a branch": (lambda x, w: ops.cond(ops.sum(x) > 0, lambda: ops.matmul(ops.matmul(x, w), w), lambda: x), 250),
    "a loop": (counting_loop, 5 * 125),
    "loops": (nested_loops, 12 * 125),
    "a scan": (lambda x, w: ops.scan(lambda c, a: (ops.matmul(c, w), c), x[0], ops.ones((6, 5)))[0][None], 6 * 125),
    "a map": (lambda x, w: ops.map(lambda a: ops.matmul(a[None], w)[0], x[0])[None], 125),
    "nothing": (lambda x, w: (ops.matmul(x, w), x * w)[1], 0),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_control_flow_and_constants(name):
    function, expected = FUNCTIONS[name]
    assert count_macs(sequential((5, 5), Product(function))).macs == expected


def function_in_tflite(function, shape):
    """Returns the .tflite of a function of one tensor, which no layer stands for."""
    import tensorflow as tf

    traced = tf.function(function, input_signature=[tf.TensorSpec(shape)])
    holder = tf.Module()
    return tf.lite.TFLiteConverter.from_concrete_functions([traced.get_concrete_function()], holder).convert()


@pytest.mark.parametrize("name", ["a branch", "loops"])
def test_control_flow_in_tflite(name):
    function, expected = FUNCTIONS[name]
    model = sequential((5, 5), Product(function))
    assert count_macs(function_in_tflite(lambda x: model(x), (1, 5, 5))).macs == expected


def test_transposed_matrices():
    import tensorflow as tf

    def function(x, kernel=None):
        return tf.matmul(x, x, transpose_a=True)

    assert count_macs(sequential((4, 7), Product(function))).macs == 7 * 7 * 4
    assert count_macs(function_in_tflite(function, (1, 4, 7))).macs == 7 * 7 * 4


def data_dependent(x, kernel):
    import tensorflow as tf

    return tf.matmul(tf.boolean_mask(x[0], x[0, :, 0] > 0), kernel)


def foreign(x, kernel):
    import tensorflow as tf

    return tf.ensure_shape(tf.numpy_function(lambda a, b: a @ b, [x, kernel], tf.float32), (1, 5, 5))


class Opaque(Product):
    def compute_output_shape(self, input_shape):
        return input_shape


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (dynamic_loop, r"Expected loops whose number of rounds is known.*Received: one in 'opaque'"),
        (data_dependent, r"Expected shapes that do not depend on data\. Received: MatMul of \(None, 5\).*in 'opaque'"),
        (foreign, r"Expected operations whose multiply-accumulates can be told\. Received: PyFunc in 'opaque'"),
    ],
)
def test_what_cannot_be_told_is_refused(function, message):
    with pytest.raises(InputError, match=message):
        count_macs(sequential((5, 5), Opaque(function, name="opaque")))


def test_dynamic_loops_in_tflite_are_refused():
    data = function_in_tflite(lambda x: dynamic_loop(x, ops.ones((5, 5))), (1, 5, 5))
    with pytest.raises(InputError, match="Expected loops whose number of rounds is known.*the given bytes"):
        count_macs(data)


def test_unknown_sizes_need_an_input_shape():
    model = sequential((None, None, 3), L.Conv2D(4, 3, padding="same"))
    with pytest.raises(InputError, match=r"dimensions are known.*input_shape=\(224, 224, 3\)"):
        count_macs(model)
    assert count_macs(model, (10, 12, 3)).macs == 120 * 4 * 27
    assert count_macs(model, [10, np.int64(12), 3]).macs == 120 * 4 * 27


@pytest.mark.parametrize("shape", [(10, 12, 1), (10, 12), (10, None, 3), (10, 0, 3), (1, 10, 12, 3), (10.0, 12, 3)])
def test_an_input_shape_that_does_not_fit_is_refused(shape):
    with pytest.raises(InputError, match=r"Expected input_shape to fit.*\(None, None, 3\)\. Received"):
        count_macs(sequential((None, None, 3), L.ReLU()), shape)


def test_several_inputs():
    left, right = keras.Input((None, 4), name="left"), keras.Input((6,), name="right")
    x = L.Concatenate()([L.GlobalAveragePooling1D()(L.Dense(3, name="fc")(left)), L.Dense(2, name="other")(right)])
    by_list = keras.Model([left, right], x)
    assert by_name(count_macs(by_list, [(7, 4), (6,)]))["fc"] == 7 * 12
    by_mapping = keras.Model({"left": left, "right": right}, x)
    assert by_name(count_macs(by_mapping, {"left": (7, 4), "right": (6,)})) == by_name(
        count_macs(by_list, [(7, 4), (6,)])
    )
    for wrong in ((7, 4), [(7, 4)], {"left": (7, 4)}):
        with pytest.raises(InputError, match="Expected input_shape to fit"):
            count_macs(by_list, wrong)


def test_a_fixed_batch_counts_one_image():
    inputs = keras.Input(batch_shape=(4, 8, 8, 3))
    x = L.Conv2D(5, 3, name="conv")(inputs)
    model = keras.Model(inputs, L.Dense(2)(ops.reshape(x, (4, 6 * 6 * 5))))
    assert count_macs(model).macs == 36 * 5 * 27 + 180 * 2
    assert next(layer for layer in count_macs(model).layers if layer.name == "conv").output_shape == (6, 6, 5)


def test_mixed_precision_and_integer_inputs():
    model = keras.Sequential(
        [keras.Input((6,), dtype="int32"), L.Embedding(10, 4), L.Dense(3, dtype="mixed_float16"), L.LSTM(2)]
    )
    assert count_macs(model).macs == 6 * 12 + 6 * 8 * (3 + 2)


def test_quantized_weights():
    model = sequential((8, 6), L.Dense(4, name="fc"))
    model.layers[0].quantize("int8")
    assert by_name(count_macs(model)) == {"fc": 8 * 24}


def test_frozen_weights_are_not_trainable():
    model = sequential((8,), L.Dense(4), L.BatchNormalization(), L.Dense(2))
    model.layers[0].trainable = False
    count = count_macs(model)
    assert (count.parameters, count.trainable_parameters) == (36 + 16 + 10, 8 + 10)


@pytest.mark.parametrize("build", [Subclassed, lambda: keras.Sequential([L.Dense(2)])])
def test_an_unbuilt_model_is_refused(build):
    with pytest.raises(InputError, match="Expected a model that is built. Received.*call it once"):
        count_macs(build(), (8, 8, 3))


def test_a_model_that_cannot_be_called_is_refused():
    model = Subclassed()
    model(np.zeros((3, 8, 8, 3), "float32"))
    with pytest.raises(InputError, match=r"can be called on inputs of shape \(1, 8, 8, 5\)"):
        count_macs(model, (8, 8, 5))


@pytest.mark.parametrize("thing", [None, 3, L.ReLU()])
def test_other_things_are_refused(thing):
    with pytest.raises(InputError, match=r"Expected a Keras model, or a \.tflite.*Received"):
        count_macs(thing)


def test_counting_leaves_the_model_as_it_is():
    model = sequential((8, 8, 3), L.Conv2D(4, 3, activity_regularizer="l2"), L.Dropout(0.5), L.BatchNormalization())
    model.compile("sgd", "mse")
    methods = [dict(vars(layer)).keys() for layer in model.layers]
    weights = [np.asarray(weight) for weight in model.weights]
    count_macs(model)
    assert [dict(vars(layer)).keys() for layer in model.layers] == methods
    assert model.losses == []
    for before, after in zip(weights, model.weights, strict=True):
        np.testing.assert_array_equal(before, after)
    model.fit(np.zeros((2, 8, 8, 3)), np.zeros((2, 6, 6, 4)), verbose=0)


def test_int8_and_float16_graphs_count_the_same(tmp_path):
    from keras_actnas.export import to_tflite

    model = sequential((8, 8, 3), L.Conv2D(4, 3, activation="hard_silu"), L.GlobalAveragePooling2D(), L.Dense(5))
    model.set_weights([np.full(weight.shape, 0.5) for weight in model.weights])  # The converter drops a bias of 0.
    images = np.random.default_rng(0).uniform(size=(4, 8, 8, 3)).astype("float32")
    for precision in ("int8", "float16"):
        path = tmp_path / f"{precision}.tflite"
        to_tflite(model, path, precision, images)
        count = count_macs(path)
        assert count.macs == count_macs(str(path)).macs == count_macs(model).macs == 36 * 4 * 27 + 20
        assert count.parameters == model.count_params()
        assert count.trainable_parameters == 0


def test_a_tflite_names_its_operators():
    count = in_tflite(sequential((8, 8, 3), L.Conv2D(4, 3), L.GlobalAveragePooling2D(), L.Dense(5)))
    assert [(layer.type, layer.output_shape, layer.macs) for layer in count.layers] == [
        ("CONV_2D", (6, 6, 4), 3888),
        ("MEAN", (4,), 0),
        ("FULLY_CONNECTED", (5,), 20),
    ]
    assert all("/" in layer.name or layer.name.startswith("StatefulPartitionedCall") for layer in count.layers)


def test_tflite_files_with_dynamic_sizes_or_foreign_operators_are_refused(tmp_path):
    conv = L.Conv2D(4, 3)
    conv.build((1, 8, 8, 3))
    data = function_in_tflite(lambda x: conv(x), (1, None, 8, 3))
    with pytest.raises(InputError, match="Expected a .tflite with static shapes"):
        count_macs(data)
    with pytest.raises(InputError, match="Expected no input_shape for a .tflite"):
        count_macs(data, (8, 8, 3))
    with pytest.raises(InputError, match="Expected a .tflite file"):
        count_macs(tmp_path / "missing.tflite")


def test_the_table_shows_what_counts():
    lines = str(count_macs(sequential((8, 8, 3), L.Conv2D(64, 3, name="conv"), L.ReLU(name="act")))).splitlines()
    assert [line.split() for line in lines] == [
        ["layer", "type", "output", "parameters", "MACs"],
        ["conv", "Conv2D", "6x6x64", "1,792", "62,208"],
        ["total", "1,792", "62,208"],
    ]
    assert len({len(line) for line in lines}) == 1


def test_loops_without_end_are_not_waited_for(monkeypatch):
    class Graph:
        inputs, outputs = ("i",), ("o",)

        def constant(self, tensor):
            return np.array(True) if tensor == "o" else None

        def producer(self, tensor):
            return None

    monkeypatch.setattr(loops, "MOST_ROUNDS", 10)
    assert loops.count_rounds(Graph(), Graph(), [0]) is None


@pytest.mark.parametrize("module", [macs, model_inputs])
def test_the_examples_run(module):
    result = doctest.testmod(module)
    assert result.attempted
    assert not result.failed


def test_other_backends_are_told_what_to_do(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(InputError, match="Expected the TensorFlow backend.*Received: 'jax'.*KERAS_BACKEND=tensorflow"):
        count_macs(sequential((4,), L.Dense(2)))


def test_parameters_are_those_of_keras():
    for model in (Composite, lambda: L.Bidirectional(L.LSTM(3)), lambda: L.MultiHeadAttention(2, 3)):
        layer = model()
        inputs = keras.Input((6, 6, 3) if isinstance(layer, Composite) else (6, 3))
        outputs = layer(inputs, inputs) if isinstance(layer, L.MultiHeadAttention) else layer(inputs)
        built = keras.Model(inputs, outputs)
        assert count_macs(built).parameters == built.count_params()
        assert count_macs(built).trainable_parameters == sum(math.prod(w.shape) for w in built.trainable_weights)
