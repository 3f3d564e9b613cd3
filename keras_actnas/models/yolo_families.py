"""The YOLO families as data: which blocks, in which order, and how a size letter scales them.

The index of a row is the index in the module paths (`model.<index>...`) that sites and weights are named by, so rows
that hold no weights (upsampling, concatenation) keep their place.
"""

from __future__ import annotations

import dataclasses
import math

from keras_actnas.core import InputError, closest


@dataclasses.dataclass(frozen=True)
class Row:
    """One step of a network.

    Attributes:
      block: What the step is: `conv`, `c3`, `c2f`, `c3k2`, `sppf`, `c2psa`, `upsample` or `concat`.
      channels: Output channels before scaling; unused by `upsample` and `concat`.
      repeats: How many inner blocks, before scaling.
      kernel: Kernel size of a `conv`.
      stride: Stride of a `conv`.
      shortcut: Whether inner bottlenecks add their input to their output.
      expansion: Hidden channels as a share of the output channels.
      nested: Whether the inner blocks of a `c3k2` are small CSP blocks instead of bottlenecks.
      skip: Index of the row whose output a `concat` joins to the previous row's.
    """

    block: str
    channels: int = 0
    repeats: int = 1
    kernel: int = 1
    stride: int = 1
    shortcut: bool = True
    expansion: float = 0.5
    nested: bool = False
    skip: int = -1

    @property
    def hidden(self) -> int:
        """Hidden channels."""
        return round(self.channels * self.expansion)


@dataclasses.dataclass(frozen=True)
class Scale:
    """How a size letter changes a family.

    Attributes:
      depth: Factor on the repeats.
      width: Factor on the channels.
      max_channels: Upper bound of the channels before `width` applies.
      nested: Whether every `c3k2` holds small CSP blocks.
    """

    depth: float
    width: float
    max_channels: int = 1024
    nested: bool = False

    def apply(self, row: Row) -> Row:
        """Returns the row with this size's channels and repeats."""
        repeats = max(round(row.repeats * self.depth), 1)
        # Channels are rounded up to a multiple of 8, as the published networks do.
        channels = math.ceil(min(row.channels, self.max_channels) * self.width / 8) * 8
        return dataclasses.replace(row, channels=channels, repeats=repeats, nested=row.nested or self.nested)


@dataclasses.dataclass(frozen=True)
class Layout:
    """A network at its size: what `models.yolo.build_yolo` builds.

    Attributes:
      rows: The body, in order; the detection head follows as the next index.
      levels: Indices of the three rows that feed the head, for strides 8, 16 and 32.
      separable_head: Whether the class branches of the head use depthwise separable convolutions.
    """

    rows: tuple[Row, ...]
    levels: tuple[int, ...]
    separable_head: bool = False


@dataclasses.dataclass(frozen=True)
class Family:
    """A family of networks.

    Attributes:
      rows: The body, in order; the detection head follows as the next index.
      levels: Indices of the three rows that feed the head, for strides 8, 16 and 32.
      scales: Size letter -> scale.
      separable_head: Whether the class branches of the head use depthwise separable convolutions.
    """

    rows: tuple[Row, ...]
    levels: tuple[int, int, int]
    scales: dict[str, Scale]
    separable_head: bool = False


def _conv(channels: int, kernel: int = 3, stride: int = 2) -> Row:
    return Row("conv", channels, kernel=kernel, stride=stride)


def _c3(channels: int, repeats: int = 3, shortcut: bool = True) -> Row:
    return Row("c3", channels, repeats, shortcut=shortcut)


def _c2f(channels: int, repeats: int = 3, shortcut: bool = False) -> Row:
    return Row("c2f", channels, repeats, shortcut=shortcut)


def _c3k2(channels: int, nested: bool = False, expansion: float = 0.5) -> Row:
    return Row("c3k2", channels, repeats=2, nested=nested, expansion=expansion)


def _join(skip: int) -> Row:
    return Row("concat", skip=skip)


_UP = Row("upsample")
_SPPF = Row("sppf", 1024)

_YOLOV5 = (
    *(_conv(64, kernel=6), _conv(128), _c3(128), _conv(256), _c3(256, 6)),
    *(_conv(512), _c3(512, 9), _conv(1024), _c3(1024), _SPPF),
    *(_conv(512, kernel=1, stride=1), _UP, _join(6), _c3(512, shortcut=False)),
    *(_conv(256, kernel=1, stride=1), _UP, _join(4), _c3(256, shortcut=False)),
    *(_conv(256), _join(14), _c3(512, shortcut=False)),
    *(_conv(512), _join(10), _c3(1024, shortcut=False)),
)

_YOLOV8 = (
    *(_conv(64), _conv(128), _c2f(128, 3, True), _conv(256), _c2f(256, 6, True)),
    *(_conv(512), _c2f(512, 6, True), _conv(1024), _c2f(1024, 3, True), _SPPF),
    *(_UP, _join(6), _c2f(512)),
    *(_UP, _join(4), _c2f(256)),
    *(_conv(256), _join(12), _c2f(512)),
    *(_conv(512), _join(9), _c2f(1024)),
)

_YOLO11 = (
    *(_conv(64), _conv(128), _c3k2(256, expansion=0.25), _conv(256), _c3k2(512, expansion=0.25)),
    *(_conv(512), _c3k2(512, nested=True), _conv(1024), _c3k2(1024, nested=True), _SPPF, Row("c2psa", 1024, repeats=2)),
    *(_UP, _join(6), _c3k2(512)),
    *(_UP, _join(4), _c3k2(256)),
    *(_conv(256), _join(13), _c3k2(512)),
    *(_conv(512), _join(10), _c3k2(1024, nested=True)),
)

FAMILIES = {
    "yolov5": Family(
        rows=_YOLOV5,
        levels=(17, 20, 23),
        scales={
            "n": Scale(0.33, 0.25),
            "s": Scale(0.33, 0.50),
            "m": Scale(0.67, 0.75),
            "l": Scale(1.00, 1.00),
            "x": Scale(1.33, 1.25),
        },
    ),
    "yolov8": Family(
        rows=_YOLOV8,
        levels=(15, 18, 21),
        scales={
            "n": Scale(0.33, 0.25),
            "s": Scale(0.33, 0.50),
            "m": Scale(0.67, 0.75, max_channels=768),
            "l": Scale(1.00, 1.00, max_channels=512),
            "x": Scale(1.00, 1.25, max_channels=512),
        },
    ),
    "yolo11": Family(
        rows=_YOLO11,
        levels=(16, 19, 22),
        scales={
            "n": Scale(0.50, 0.25),
            "s": Scale(0.50, 0.50),
            "m": Scale(0.50, 1.00, max_channels=512, nested=True),
        },
        separable_head=True,
    ),
}

YOLO_NAMES = tuple(f"{family}{letter}" for family, config in FAMILIES.items() for letter in config.scales)
"""Names that `YOLO` accepts."""


def find(name: str) -> Layout:
    """Returns a network's layout at its size.

    Raises:
      InputError: There is no such network.

    >>> layout = find("yolov8n")
    >>> layout.rows[0].channels, layout.rows[4].repeats
    (16, 2)
    """
    if not isinstance(name, str) or name.lower() not in YOLO_NAMES:
        hint = closest(str(name).lower(), YOLO_NAMES)
        raise InputError(f"Expected the name of a YOLO, such as 'yolov5n'. Received: {name!r}.{hint}")
    name = name.lower()
    family = FAMILIES[name[:-1]]
    scale = family.scales[name[-1]]
    return Layout(tuple(scale.apply(row) for row in family.rows), family.levels, family.separable_head)
