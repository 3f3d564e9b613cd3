"""What int8 costs a small classifier of Fashion-MNIST, after training (PTQ) and with quantization-aware training (QAT).

python benchmarks/qat.py --data=/usr/share/datasets/fashion-mnist

For each activation and seed the same MobileNet-like network is trained in Keras 3; calibrated on 64 training images and
converted; and trained further, for an epoch of a hundredth of the learning rate, quantization-aware. All three are
.tflite files, and are tested on the same images. "float+" is the float network after as many more steps as QAT had, so
that what more training does is not taken for what QAT does. The report of the int8 errors is that of PTQ.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np

from keras_actnas.core import InputError
from keras_actnas.export import to_named_tflite, to_tflite
from keras_actnas.integrations import qat_to_tflite, quantization_report, quantize_aware
from keras_actnas.integrations.tf_keras_modules import tf_keras
from keras_actnas.layers import activation_layer
from keras_actnas.surgery import replace_activations
from keras_actnas.tflite_bench.runtime import load_runtime

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
from fashion_mnist import load  # noqa: E402

LEARNING_RATE = 2e-3
CALIBRATION = 64
ROWS = ("float", "float+", "PTQ", "QAT")


def network(activation):
    """Depthwise separable blocks, in which int8 loses the most."""
    x = inputs = keras.Input((28, 28, 1), name="image")
    for number, (filters, strides) in enumerate(((16, 2), (32, 1), (64, 2), (64, 1))):
        if number:
            x = keras.layers.DepthwiseConv2D(3, padding="same", use_bias=False, name=f"depthwise{number}")(x)
            x = keras.layers.BatchNormalization(name=f"depthwise{number}_bn")(x)
            x = activation_layer(activation, name=f"depthwise{number}_act")(x)
        size = 1 if number else 3
        x = keras.layers.Conv2D(filters, size, strides, "same", use_bias=False, name=f"conv{number}")(x)
        x = keras.layers.BatchNormalization(name=f"conv{number}_bn")(x)
        x = activation_layer(activation, name=f"conv{number}_act")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, keras.layers.Dense(10, name="logits")(x), name=f"small_{activation}")


def fit(module, model, data, learning_rate, epochs):
    """Trains a model of Keras 3 or, with the module `tf_keras`, of Keras 2."""
    loss = module.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(module.optimizers.Adam(learning_rate), loss)
    model.fit(data.train_images, data.train_labels, batch_size=64, epochs=epochs, verbose=0)


def accuracy(path, images, labels):
    """Returns the share of images that a .tflite classifies correctly."""
    interpreter = load_runtime().interpreter(model_path=str(path))
    interpreter.allocate_tensors()
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    if source["dtype"] == np.int8:
        scale, zero = source["quantization"]
        images = np.clip(np.round(images / scale) + zero, -128, 127).astype(np.int8)
    right = 0
    for image, label in zip(images, labels, strict=True):
        interpreter.set_tensor(source["index"], image[None])
        interpreter.invoke()
        right += int(np.argmax(interpreter.get_tensor(target["index"]))) == label
    return right / len(labels)


def measure(activation, seed, data, epochs, folder):
    """Returns the four accuracies of one network, and the report of its int8 errors."""
    keras.utils.set_random_seed(seed)
    tf_keras().utils.set_random_seed(seed)
    model = network(activation)
    fit(keras, model, data, LEARNING_RATE, epochs)
    paths = {row: folder / f"{activation}-{seed}-{row}.tflite" for row in ROWS}
    to_named_tflite(model, paths["float"])
    to_named_tflite(model, paths["PTQ"], "int8", data.train_images[:CALIBRATION])
    report = quantization_report(paths["float"], paths["PTQ"], data.test_images[:32])

    aware = quantize_aware(model, data.train_images[:CALIBRATION])
    fit(tf_keras(), aware, data, LEARNING_RATE / 100, 1)
    qat_to_tflite(aware, paths["QAT"])

    longer = replace_activations(model, {})
    fit(keras, longer, data, LEARNING_RATE / 100, 1)
    to_tflite(longer, paths["float+"])
    return {row: accuracy(paths[row], data.test_images, data.test_labels) for row in ROWS}, report


def main():
    """Reads the command line, measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder with the idx .gz files of Fashion-MNIST (default: Keras downloads them)")
    parser.add_argument("--images", type=int, default=10000, help="training images (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=4, help="of the float training (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--activations", default="relu,hard_swish,silu", help="default: %(default)s")
    options = parser.parse_args()
    try:
        data = load(options.data, options.images)
    except InputError as error:
        sys.exit(f"error: {error}")
    tested = f"{len(data.test_labels)} test images"
    print(f"{options.images} images, {options.epochs} + 1 epochs, {options.seeds} seeds; {tested}")
    print(f"{'test accuracy, %':16}" + "".join(f"{row:>9}" for row in ROWS) + "   PTQ: own, accumulated SQNR (dB)")
    with tempfile.TemporaryDirectory() as folder:
        for activation in options.activations.split(","):
            runs = [measure(activation, seed, data, options.epochs, Path(folder)) for seed in range(options.seeds)]
            for seed, (found, report) in enumerate(runs):
                (group,) = report.by_activation()
                shown = "".join(f"{100 * found[row]:9.2f}" for row in ROWS)
                print(f"{activation:11} {seed:4}{shown}   {group.own_sqnr:.1f}, {group.sqnr:.1f}", flush=True)
            means = "".join(f"{100 * statistics.fmean(found[row] for found, _ in runs):9.2f}" for row in ROWS)
            print(f"{activation:11} mean{means}", flush=True)


if __name__ == "__main__":
    main()
