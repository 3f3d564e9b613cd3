"""The proxies by name, and what a proxy is."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from keras_actnas.core.assignment import Assignment
from keras_actnas.core.constraints import Constraint
from keras_actnas.core.errors import InputError, closest
from keras_actnas.search.detection_recipe import DetectionRecipe
from keras_actnas.search.user_functions import imported


class Proxy(Protocol):
    """Scores assignments of one model on one batch of images.

    Whatever has these attributes can take part in a search. The same assignment, seed and conditions have to give the
    same score: a score is computed once and then read from the journal.

    Attributes:
      metric: Name of the score in journals, tables and constraints.
      unit: Its unit; empty for a plain number.
      higher_is_better: Whether a higher score promises a better network.
      conditions: What a score depends on besides assignment and seed, as values that JSON can hold: the model, the
        images ("images": a hash of them, where they count), the mode.
      reference: The model's own assignment, of the sites that can be switched.
    """

    metric: str
    unit: str
    higher_is_better: bool
    conditions: dict[str, Any]
    reference: Assignment

    def score(self, assignment: Mapping[str, str], seed: int | None = None) -> float:
        """Returns the score of an assignment, with initial weights from a seed, or the model's own weights for None."""


@dataclasses.dataclass(frozen=True)
class ProxyKind:
    """What a search has to know of a proxy before there is a model.

    Attributes:
      name: What `--proxy` and the metric are called.
      factory: module:function, or module:class, that makes the proxy.
      says: What the proxy looks at, in one line.
      higher_is_better: Whether a higher score promises a better network.
      batch_norm: The mode of BatchNorm that it fixes; None where the mode can be chosen.
      trained: Whether it is about trained weights and the user's own images.
      labelled: Whether it trains on labelled data: its factory is given a `Recipe` in place of images.
      detection: As `factory`, for a `DetectionRecipe`; empty where a proxy does not train detectors.
      noisy: Whether each score costs a training and has its noise: a table that is fitted to many says more of a
        network than its own score.
      design: Which networks are scored where nothing else is asked for: see `make_design`.
      confidence: With which probability bounds have to hold where nothing else is asked for.
      bound: The constraint of a search that names none.
    """

    name: str
    factory: str
    says: str = ""
    higher_is_better: bool = True
    batch_norm: str | None = None
    trained: bool = False
    labelled: bool = False
    detection: str = ""
    noisy: bool = False
    design: str = "orthogonal"
    confidence: float | None = None
    bound: str = ">=reference"

    @property
    def constraint(self) -> Constraint:
        """The default constraint on the score."""
        return Constraint.parse(f"{self.name}{self.bound}")


_HERE = "keras_actnas.search.proxies"
_SENSITIVITY = f"{_HERE}.sensitivity:Sensitivity"
# A trained network with a random activation at every site is beyond repair, and such mixtures tell nothing of the few
# or mild exchanges that a bound on the divergence allows: those add up, so it is scored one swap at a time.
_DIVERGENCE: dict[str, Any] = {
    "higher_is_better": False,
    "trained": True,
    "design": "single_swaps",
    "bound": "<=0.05",
}

PROXIES = {
    kind.name: kind
    for kind in (
        ProxyKind("nwot", "keras_actnas.search.nwot:NWOTScorer", "how differently the signs code the images"),
        ProxyKind(
            "nwot_batch", "keras_actnas.search.nwot:NWOTScorer", "nwot with batch statistics", batch_norm="batch"
        ),
        ProxyKind("jacob_cov", f"{_HERE}.gradients:JacobianCovariance", "how unlike the images' input gradients are"),
        ProxyKind("grad_norm", f"{_HERE}.gradients:GradientNorm", "how strong the kernels' gradients are"),
        ProxyKind(
            "synflow", f"{_HERE}.synflow:SynFlow", "how much flows through absolute weights", batch_norm="inference"
        ),
        ProxyKind("sensitivity", _SENSITIVITY, "how far a trained network's outputs move", **_DIVERGENCE),
        ProxyKind(
            "sensitivity_batch", _SENSITIVITY, "sensitivity with batch statistics", batch_norm="batch", **_DIVERGENCE
        ),
        ProxyKind(
            "one_shot",
            f"{_HERE}.one_shot:OneShot",
            "held-out loss of weights that are trained for all networks together (--train_data)",
            higher_is_better=False,
            batch_norm="batch",
            labelled=True,
            bound="<=reference",
        ),
        ProxyKind(
            "fine_tuned",
            f"{_HERE}.fine_tuned:FineTuned",
            "held-out loss of each network, fine-tuned from the model's own weights (--train_data)",
            detection="keras_actnas.integrations.detection.fine_tuned:DetectorFineTuned",
            higher_is_better=False,
            batch_norm="batch",
            trained=True,
            labelled=True,
            noisy=True,
            confidence=0.9,
            design="shares",  # How much there is of each activation is most of what such losses differ by.
            bound="<=100.5%",
        ),
    )
}


def proxy_kind(name: str) -> ProxyKind:
    """Returns the kind of a proxy: one of `PROXIES`, or one of the user's own as module:function.

    The metric of one's own proxy is called like the function, and more of it is taken to be better. What else a search
    has to know of it may be an attribute of the function, `kind`: a dictionary of fields of `ProxyKind`, such as
    {"higher_is_better": False, "noisy": True, "design": "shares", "bound": "<=reference"} of a loss after training.

    Raises:
      InputError: No such proxy, a function whose name no constraint could have, or that cannot be imported, or whose
        kind has other fields.
    """
    if ":" not in name:
        if name not in PROXIES:
            raise InputError(
                f"Expected proxy out of {', '.join(PROXIES)}, or module:function. Received: {name!r}."
                f"{closest(name, PROXIES)}"
            )
        return PROXIES[name]
    metric = name.partition(":")[2]
    if not re.fullmatch(r"[a-z_][a-z0-9_]*", metric):
        raise InputError(
            f"Expected proxy=module:function with a function in snake_case, whose name the metric gets. "
            f"Received: {name!r}."
        )
    if metric in PROXIES:
        raise InputError(f"Expected a proxy of another name than {metric!r}, which there is. Received: {name!r}.")
    said = getattr(imported(name, "proxy"), "kind", {})
    ours = ("name", "factory", "detection", "labelled")
    known = [field.name for field in dataclasses.fields(ProxyKind) if field.name not in ours]
    unknown = [field for field in said if field not in known]
    if unknown:
        raise InputError(
            f"Expected the kind of {name} to have fields out of {', '.join(known)}. Received: {unknown[0]}."
        )
    return ProxyKind(metric, name, **said)


def make_proxy(name: str, model: Any, images: Any, activations: Sequence[str], batch_norm: str = "inference") -> Proxy:
    """Returns a proxy of a model on one batch of images.

    Args:
      name: One of `PROXIES`, or module:function. The function is called as function(model, images, activations,
        batch_norm) and returns a `Proxy` whose metric is called like the function.
      model: A Keras model with one image input of fixed size.
      images: Array of shape (batch, height, width, channels), preprocessed as the model expects; a `Recipe` or a
        `DetectionRecipe` for a proxy that trains.
      activations: What the sites can be switched to.
      batch_norm: "inference" or "batch", for proxies that do not fix it themselves.

    Raises:
      InputError: No such proxy, or it cannot be made of this model and these images.
    """
    kind = proxy_kind(name)
    factory = imported(kind.detection if isinstance(images, DetectionRecipe) else kind.factory, "proxy")
    proxy: Proxy = factory(model, images, activations, kind.batch_norm or batch_norm)
    if name in PROXIES:
        proxy.metric = kind.name
    missing = [field for field in (*Proxy.__annotations__, "score") if not hasattr(proxy, field)]
    if missing:
        raise InputError(f"Expected {name} to return a Proxy. Received: {type(proxy).__name__} without {missing[0]!r}.")
    if proxy.metric != kind.name:
        raise InputError(f"Expected {name} to return a proxy of metric {kind.name!r}. Received: {proxy.metric!r}.")
    return proxy


def proxies_on(
    name: str, model: Any, batches: Sequence[Any], activations: Sequence[str], batch_norm: str = "inference"
) -> list[Proxy]:
    """Returns a proxy on each of several batches of as many images; see `make_proxy`.

    A proxy that has a method `on(images)` returns by it what scores other images with the same compiled network.
    """
    first = make_proxy(name, model, batches[0], activations, batch_norm)
    on = getattr(first, "on", None) or (lambda images: make_proxy(name, model, images, activations, batch_norm))
    return [first, *map(on, batches[1:])]
