"""Ultralytics networks in Keras: the same numbers, every tensor accounted for, and what is refused."""

import copy

import keras
import numpy as np
import pytest
import torch
import yaml
from ai_edge_litert.interpreter import Interpreter
from torch import nn
from ultralytics import YOLO
from ultralytics.nn.modules.activation import AGLU
from ultralytics.utils import ROOT

from keras_actnas.core import InputError
from keras_actnas.export import to_tflite
from keras_actnas.integrations import apply_assignment, current_torch_assignment, from_ultralytics
from keras_actnas.integrations.exchange.checkpoint import read_checkpoint
from keras_actnas.surgery import current_assignment

SMALL = (64, 96, 3)
BOUND = 1e-3
MIXED = ("relu", "hard_swish", "silu", "prelu", "identity", "leaky_relu(0.3)", "gelu", "mish")


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).random((1, *SMALL), "float32")


def described(family, **changes):
    version = "".join(filter(str.isdigit, family))
    path = next((ROOT / "cfg/models").rglob(f"{family}.yaml"))
    assert version in path.parent.name
    return {**yaml.safe_load(path.read_text()), **changes}


# Narrower or deeper than any published network, with other numbers of classes.
SCALED = {
    "yolov5": {"nc": 3, "scales": {"n": [0.7, 0.0625, 1024]}},
    "yolov8": {"nc": 120, "scales": {"n": [0.7, 0.1, 512]}},
    "yolo11": {"nc": 1, "scales": {"n": [1.0, 0.125, 1024]}},
}


@pytest.mark.parametrize("family", SCALED)
def test_any_depth_width_and_number_of_classes(family, tmp_path, make_network, difference, images):
    path = tmp_path / f"{family}n.yaml"
    path.write_text(yaml.safe_dump(described(family, **SCALED[family])))
    yolo = make_network(path)
    model = from_ultralytics(yolo, SMALL)
    assert model.outputs[0].shape == (None, 8, 12, 64 + SCALED[family]["nc"])
    apart, size = difference(yolo.model, model, images)
    assert size > 1  # Or there would be nothing to be apart.
    assert apart < BOUND
    assert dict(current_assignment(model)) == dict(current_torch_assignment(yolo))


def test_nested_blocks_of_the_larger_yolo11(make_network, difference, images, tmp_path):
    path = tmp_path / "yolo11m.yaml"  # All C3k2 of size m hold C3k.
    path.write_text(yaml.safe_dump(described("yolo11", nc=2, scales={"m": [0.5, 0.125, 512]})))
    yolo = make_network(path)
    apart, _ = difference(yolo.model, from_ultralytics(yolo, SMALL), images)
    assert apart < BOUND


def test_channels_of_an_edited_description(make_network, difference, images, tmp_path):
    content = described("yolov8", nc=2, scales={"n": [0.33, 0.25, 1024]})
    content["backbone"][2] = [-1, 3, "C2f", [160, True, 1, 0.3]]  # Another width, and hidden channels that are rounded.
    path = tmp_path / "yolov8n.yaml"
    path.write_text(yaml.safe_dump(content))
    yolo = make_network(path)
    apart, _ = difference(yolo.model, from_ultralytics(yolo, SMALL), images)
    assert apart < BOUND


def test_decoded_boxes(tiny, images):
    yolo = tiny()
    with torch.no_grad():
        expected = yolo.model(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()))[0].numpy()[0].T
    values = np.asarray(from_ultralytics(yolo, SMALL, decode=True)(images))[0]
    np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-3)


def test_every_tensor_is_accounted_for(tiny):
    yolo = tiny()
    model = from_ultralytics(yolo, SMALL)
    counted = sum(
        tensor.numel()
        for name, tensor in yolo.model.state_dict().items()
        if not name.endswith((".num_batches_tracked", ".dfl.conv.weight"))
    )
    assert model.count_params() == counted
    layer = model.get_layer("model-2-cv1-bn")
    norm = yolo.model.get_submodule("model.2.cv1.bn")
    np.testing.assert_array_equal(layer.moving_variance, norm.running_var)
    assert (layer.epsilon, layer.momentum) == (norm.eps, 1 - norm.momentum)


def test_activations_of_each_site(tiny, difference, images):
    yolo = tiny()
    sites = list(current_torch_assignment(yolo))
    wanted = {site: MIXED[number % len(MIXED)] for number, site in enumerate(sites)}
    apply_assignment(yolo, wanted)
    for site, name in wanted.items():
        if name == "prelu":
            nn.init.uniform_(yolo.model.get_submodule(site).weight, 0, 0.5)
    model = from_ultralytics(yolo, SMALL)
    held = current_assignment(model, include=("identity",))
    assert {site: held[site] for site in sites} == wanted
    apart, size = difference(yolo.model, model, images)
    assert size > 1 and apart < BOUND


def test_the_activation_of_a_description(tiny_yaml, tmp_path):
    content = yaml.safe_load(tiny_yaml.read_text())
    content["activation"] = "nn.LeakyReLU(0.1)"
    path = tmp_path / "yolov5n.yaml"
    path.write_text(yaml.safe_dump(content))
    assert set(current_assignment(from_ultralytics(path, SMALL)).values()) == {"leaky_relu"}


def test_a_slope_that_all_channels_share(tiny, difference, images):
    yolo = tiny()
    yolo.model.model[0].act = nn.PReLU(1, init=0.4)
    model = from_ultralytics(yolo, SMALL)
    np.testing.assert_array_equal(model.get_layer("model-0-act").alpha, np.full((1, 1, 8), 0.4, "float32"))
    assert difference(yolo.model, model, images)[0] < BOUND


def test_a_description_by_name_and_by_content(tiny_yaml):
    torch.manual_seed(3)
    named = from_ultralytics("yolov5n.yaml", (32, 32, 3), num_classes=5)
    assert (named.name, named.outputs[0].shape[-1]) == ("yolov5n", 69)
    torch.manual_seed(3)
    expected = YOLO("yolov5n.yaml").model.model[0].conv.weight.detach().numpy()
    np.testing.assert_array_equal(named.get_layer("model-0-conv").kernel, expected.transpose(2, 3, 1, 0))
    content = {**yaml.safe_load(tiny_yaml.read_text()), "scale": "n"}
    before = copy.deepcopy(content)
    assert from_ultralytics(content, (32, 32, 3)).get_layer("model-0-conv").filters == 8
    assert content == before


def test_a_fused_network(tiny, difference, images):
    yolo = tiny()
    yolo.model.fuse(verbose=False)
    apart, size = difference(yolo.model, from_ultralytics(yolo, SMALL), images)
    assert size > 1 and apart < BOUND


def edited(network, **changes):
    for path, value in changes.items():
        *parents, name = path.split("__")
        setattr(network.get_submodule(".".join(parents)), name, value)
    return network


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model__0__conv__dilation": (2, 2)}, r"model\.0\.conv \(Conv2d.*dilation=\(2, 2\)"),
        ({"model__0__conv__padding": (0, 0)}, r"model\.0\.conv \(Conv2d\(3, 8"),
        ({"model__4__cv1__conv__stride": (2, 2)}, r"model\.4\.cv1\.conv \(Conv2d"),
        ({"model__2__cv1__bn__eps": 1e-5}, r"model\.2\.cv1\.bn \(BatchNorm with eps=1e-05, where 0\.001"),
        ({"model__9__m__kernel_size": 3}, r"model\.9 \(SPPF with.*\(3, 3, False\)\)"),
        ({"model__11__scale_factor": 4.0}, r"model\.11 \(Upsample by 4\.0, nearest\)"),
        ({"model__12__f": [-1, 4, 6]}, r"model\.12 \(Concat of \[-1, 4, 6\]"),
        ({"model__5__f": 3}, r"model\.5 \(Conv of row 3"),
        ({"model__24__stride": torch.tensor([4.0, 8.0, 16.0])}, r"model\.24 \(Detect with strides \[4\.0"),
        ({"model__24__reg_max": 8}, r"model\.24 \(Detect with reg_max=8"),
        ({"model__4__m__0__add": False}, r"model\.4 \(C3 with and without shortcuts\)"),
    ],
)
def test_what_is_no_block_of_these_families(tiny, changes, message):
    with pytest.raises(InputError, match=f"Expected a detection network of YOLOv5u.*{message}"):
        from_ultralytics(edited(tiny().model, **changes), SMALL)


def test_a_module_without_what_ultralytics_gives_it(tiny):
    network = tiny().model
    del network.model[4].f
    with pytest.raises(InputError, match="Expected a network as Ultralytics makes it.*'f'"):
        from_ultralytics(network, SMALL)


def test_all_unsupported_modules_are_in_one_error(tiny):
    network = tiny().model
    network.model[3] = nn.Dropout()
    network.model[7] = nn.Conv2d(3, 3, 1)
    for module in (network.model[3], network.model[7]):
        module.f = -1
    with pytest.raises(InputError, match=r"model\.3 \(Dropout\); model\.7 \(Conv2d\)"):
        from_ultralytics(network, SMALL)


def test_activations_without_a_name(tiny):
    network = edited(tiny().model, model__0__act=AGLU(), model__2__cv1__act=nn.GELU("tanh"))
    with pytest.raises(InputError, match=r"Received: model\.0\.act \(AGLU\); model\.2\.cv1\.act \(GELU\)"):
        from_ultralytics(network, SMALL)


def test_tensors_left_over_missing_and_of_another_shape(tiny):
    network = tiny().model
    network.model[0].extra = nn.Linear(2, 2)
    network.model[1].bn = nn.BatchNorm2d(8, eps=1e-3, affine=False)
    network.model[2].cv1.conv.weight = nn.Parameter(torch.zeros(4, 8, 3, 1))
    with pytest.raises(InputError) as raised:
        from_ultralytics(network, SMALL)
    message = str(raised.value)
    assert "missing: model.1.bn.bias, model.1.bn.weight; " in message
    assert "without a place: model.0.extra.bias, model.0.extra.weight; " in message
    assert "of another shape: model.2.cv1.conv.weight (4, 8, 3, 1) for (4, 8, 1, 1)" in message


def test_an_activation_where_there_is_none(make_network, tmp_path):
    path = tmp_path / "yolo11n.yaml"
    path.write_text(yaml.safe_dump(described("yolo11", **SCALED["yolo11"])))
    network = make_network(path).model
    network.model[10].m[0].attn.proj.act = nn.ReLU()
    with pytest.raises(InputError, match=r"Received: one at model\.10\.m\.0\.attn\.proj\.act"):
        from_ultralytics(network, SMALL)


@pytest.mark.parametrize(
    ("source", "arguments", "message"),
    [
        ("yolov8n-seg.yaml", {}, "Expected a network for detection. Received: one for segmentation"),
        ("yolov8n-pose.yaml", {}, "one for pose estimation"),
        ("yolov8n-cls.yaml", {}, "one for classification"),
        ("yolo11n-obb.yaml", {}, "one for oriented boxes"),
        ("yolov9t.yaml", {}, "with ADown|with AConv|with ELAN1"),
        ("yolov8n-p2.yaml", {}, r"Detect with strides \[4\.0, 8\.0, 16\.0, 32\.0\]"),
        ("yolo26n.yaml", {}, "end to end|SPPF with"),
        ("nothing.yaml", {}, "nothing.yaml"),
        ("best.onnx", {}, "Expected a checkpoint .* Received: 'best.onnx'"),
        ("absent.pt", {}, "Received: absent.pt, which does not exist"),
        (5, {}, "Expected a YOLO of Ultralytics"),
        ({"backbone": [[-1, 1, "Conv", [8]]], "head": []}, {}, "Expected the description of a detection network"),
        ({"head": "none"}, {}, "Expected the description of a detection network"),
        ("yolov5n.yaml", {"input_shape": (100, 64, 3)}, "multiples of 32"),
        ("yolov5n.yaml", {"input_shape": (64, 64, 1)}, "Expected images of 3 channels"),
    ],
)
def test_sources_that_cannot_be(source, arguments, message):
    with pytest.raises(InputError, match=message):
        from_ultralytics(source, **{"input_shape": SMALL, **arguments})


def test_another_number_of_classes(tiny):
    with pytest.raises(InputError, match=r"Expected 80 classes \(--num_classes\)\. Received: a network for 2"):
        from_ultralytics(tiny(), SMALL, num_classes=80)


def test_descriptions_do_not_run_code(tiny_yaml, tmp_path):
    content = {**yaml.safe_load(tiny_yaml.read_text()), "scale": "n"}
    trace = tmp_path / "ran"
    call = f"__import__('pathlib').Path('{trace}').touch()"
    with pytest.raises(InputError, match=r"Expected an activation such as nn\.ReLU\(\)"):
        from_ultralytics({**content, "activation": call}, SMALL)
    content["backbone"].append([-1, 1, "check_requirements", ["surely-no-package"]])
    with pytest.raises(InputError, match="with check_requirements"):
        from_ultralytics(content, SMALL)
    assert not trace.exists()


def test_a_checkpoint_of_training(tiny_yaml, data, tmp_path, train_settings, difference, images):
    """Half precision, averaged weights, the optimizer's state beside them: as Ultralytics writes it."""
    yolo = YOLO(tiny_yaml)
    yolo.train(data=str(data), epochs=1, project=str(tmp_path), name="run", **train_settings)
    path = tmp_path / "run/weights/best.pt"
    assert next(read_checkpoint(path).parameters()).dtype == torch.float16
    model = from_ultralytics(path, SMALL)
    assert difference(YOLO(path).model, model, images)[0] < BOUND


def tflite_maps(interpreter, image):
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
    interpreter.invoke()
    return [interpreter.get_tensor(details["index"]) for details in interpreter.get_output_details()]


NAMES = ("yolov5n", "yolov5s", "yolov8n", "yolov8s", "yolo11n")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_published_networks_on_photos(name, make_network, difference, photo, tmp_path, capsys):
    """The figures: Ultralytics against Keras, and Keras against its float32 .tflite, on both photos."""
    keras.backend.clear_session()
    torch.manual_seed(0)
    size, lines = 640, []
    images = {picture: photo(picture, size) for picture in ("bus.jpg", "zidane.jpg")}
    initial, trained = YOLO(f"{name}.yaml"), make_network(f"{name}.yaml", seed=1)
    initial.model.eval()
    for weights, yolo in (("initial", initial), ("lively", trained)):
        model = from_ultralytics(yolo, (size, size, 3), batch_size=1)
        for picture, image in images.items():
            apart, largest = difference(yolo.model, model, image)
            lines.append(f"{name} {weights} {picture}: Keras {apart:.1e}, logits to {largest:.1f}")
            assert apart <= BOUND, lines[-1]
    to_tflite(model, tmp_path / "net.tflite")
    lite = Interpreter(str(tmp_path / "net.tflite"))
    lite.allocate_tensors()
    for picture, image in images.items():
        outputs = {values.shape: values for values in tflite_maps(lite, image)}
        lost = max(float(np.abs(ours - outputs[ours.shape]).max()) for ours in map(np.asarray, model(image)))
        lines.append(f"{name} lively {picture}: .tflite {lost:.1e}")
        assert lost <= BOUND, lines[-1]
    with capsys.disabled():
        print("", *lines, sep="\n")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_trained_networks_on_photos(name, data, train_settings, difference, photo, tmp_path, capsys):
    """The same figures from a checkpoint that Ultralytics' own training wrote."""
    keras.backend.clear_session()
    yolo = YOLO(f"{name}.yaml")
    yolo.train(data=str(data), epochs=5, project=str(tmp_path), name="run", **train_settings)
    path = tmp_path / "run/weights/best.pt"
    model, network = from_ultralytics(path, (640, 640, 3), batch_size=1), YOLO(path).model.eval()
    for picture in ("bus.jpg", "zidane.jpg"):
        apart, largest = difference(network, model, photo(picture, 640))
        with capsys.disabled():
            print(f"\n{name} trained {picture}: Keras {apart:.1e}, logits to {largest:.1f}")
        assert apart <= BOUND
