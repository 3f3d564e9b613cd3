"""Sites: the places where a model applies an activation."""

from __future__ import annotations

import dataclasses
import math
import re

_MODULE_PATH = re.compile(r"model\.\d+(\.\w+)*")
_LAYER_IMAGE = re.compile(r"model-\d+(-\w+)*")


@dataclasses.dataclass(frozen=True)
class Site:
    """A place where a model applies an activation.

    Attributes:
      name: The site's name, as assignments use it.
      activation: Canonical name of the activation that the model applies there.
      shape: Shape of the activation's output without the batch dimension; None where it is dynamic.
    """

    name: str
    activation: str
    shape: tuple[int | None, ...]

    @property
    def elements(self) -> int:
        """Number of elements of the activation's output for one image (dynamic dimensions count as 1)."""
        return math.prod(size or 1 for size in self.shape)


def layer_name(site: str) -> str:
    """Returns the name of the Keras layer that holds a site.

    A site of a YOLO is named by its Ultralytics module path. A Keras layer's name cannot hold dots on every backend,
    so such a path maps to a name with hyphens and back; any other site is named exactly as its layer.

    >>> layer_name("model.2.m.0.cv1.act"), layer_name("conv2d_1")
    ('model-2-m-0-cv1-act', 'conv2d_1')
    """
    return site.replace(".", "-") if _MODULE_PATH.fullmatch(site) else site


def site_name(layer: str) -> str:
    """Returns the site held by a Keras layer: the inverse of `layer_name`."""
    return layer.replace("-", ".") if _LAYER_IMAGE.fullmatch(layer) else layer
