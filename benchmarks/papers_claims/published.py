"""The papers' own figures on ImageNet: PEA (Utasi 2023), accuracies; ACON (Ma, Zhang, Sun 2021), top-1 errors; in %."""

from __future__ import annotations

from names import ENDS, PROGRESSIVE, pea_name

ALIKE = {"mobilenet": ("MobileNet-0.25", "MobileNetV1 0.25"), "residual": ("ResNet-18", "ResNet-18")}
"""Network trained here -> the one in the PEA paper and the one in the ACON paper that is most like it."""


def _pea(kind: str, values: tuple[float, ...]) -> dict[str, float]:
    """Returns name -> accuracy of the six columns of table 2 or 3."""
    names = [pea_name(kind, activation, end) for activation in PROGRESSIVE for end in ENDS]
    return dict(zip(names, values, strict=True))


PEA = {
    "AlexNet-BN": {"relu": 60.74}
    | _pea("stochastic", (61.19, 61.29, 61.21, 61.02, 61.14, 61.15))
    | _pea("weighted", (61.54, 61.57, 61.49, 61.30, 61.35, 61.48)),
    "ResNet-18": {"relu": 70.31}
    | _pea("stochastic", (70.51, 70.48, 70.40, 70.49, 70.41, 70.38))
    | _pea("weighted", (70.45, 70.51, 70.25, 70.38, 70.17, 70.35)),
    "ERFNet": {"relu": 66.35}
    | _pea("stochastic", (66.61, 66.70, 66.65, 66.70, 66.62, 66.60))
    | _pea("weighted", (66.54, 66.59, 66.55, 66.69, 66.37, 66.59)),
    "MobileNet-0.25": {"relu": 51.17} | _pea("stochastic", (51.62, 51.71, 51.46, 51.55, 51.73, 51.77)),
}
"""Network -> configuration -> accuracy (tables 2 and 3). Of weighted PEA on MobileNet it says that accuracy fell."""

PEA_BEST = {
    "AlexNet-BN": (61.57, "WG90", 62.35, "G"),
    "ResNet-18": (70.51, "WG90", 70.89, "S"),
    "ERFNet": (66.70, "SG90", 67.10, "M"),
    "MobileNet-0.25": (51.77, "SM90", 53.40, "S"),
}
"""Network -> accuracy of the best PEA that ends at 90, which, the upper limit, with which activation (table 4)."""

ACON = {
    "MobileNetV1 0.25": {"relu": 47.6, "acon_a": 44.8, "acon_b": 44.0, "acon_c": 43.7, "meta_acon_channel": 40.9},
    "MobileNetV1 0.75": {"relu": 30.2, "acon_a": 28.9, "acon_b": 28.7, "acon_c": 28.4, "meta_acon_channel": 26.4},
    "MobileNetV2 0.17": {"relu": 52.6, "acon_a": 51.4, "acon_b": 50.8, "acon_c": 48.9, "meta_acon_channel": 46.2},
    "MobileNetV2 1.0": {"relu": 27.9, "acon_a": 27.3, "acon_b": 26.4, "acon_c": 26.4, "meta_acon_channel": 25.0},
    "ShuffleNetV2 0.5x": {"relu": 39.4, "acon_a": 38.3, "acon_b": 38.0, "acon_c": 37.0, "meta_acon_channel": 34.8},
    "ShuffleNetV2 1.5x": {"relu": 27.4, "acon_a": 26.8, "acon_b": 26.8, "acon_c": 26.5, "meta_acon_channel": 24.7},
    "ResNet-18": {"relu": 30.3, "acon_a": 30.3, "acon_b": 29.4, "acon_c": 29.1, "meta_acon_channel": 28.4},
    "ResNet-50": {"relu": 24.0, "acon_a": 23.5, "acon_b": 23.3, "acon_c": 23.2, "meta_acon_channel": 22.0},
    "ResNet-101": {"relu": 22.8, "acon_a": 22.7, "acon_b": 22.3, "acon_c": 22.1, "meta_acon_channel": 21.1},
}
"""Network -> configuration -> top-1 error (tables 2 and 3)."""

META_COST = {
    "MobileNetV1 0.25": ("41M", "0.5M", "41M", "0.6M"),
    "MobileNetV1 0.75": ("325M", "2.6M", "326M", "3.1M"),
    "MobileNetV2 0.17": ("42M", "1.4M", "42M", "1.9M"),
    "MobileNetV2 1.0": ("299M", "3.5M", "299M", "3.9M"),
    "ShuffleNetV2 0.5x": ("41M", "1.4M", "41M", "1.7M"),
    "ShuffleNetV2 1.5x": ("301M", "3.4M", "304M", "6.0M"),
    "ResNet-18": ("1.8G", "11.7M", "1.8G", "11.9M"),
    "ResNet-50": ("3.9G", "25.5M", "3.9G", "25.7M"),
    "ResNet-101": ("7.3G", "44.1M", "7.3G", "44.1M"),
}
"""Network -> FLOPs and parameters with ReLU, then with meta-ACON (table 3)."""

SHUFFLENET = {
    "relu": 39.4,
    "silu": 38.3,
    "mish": 39.5,
    "elu": 39.5,
    "softplus": 39.6,
    "acon_c": 37.0,
    "meta_acon_channel": 34.8,
    "meta_acon_pixel": 37.2,
    "meta_acon_layer": 36.3,
}
"""Configuration -> top-1 error of ShuffleNetV2 0.5x (tables 4 and 5)."""
