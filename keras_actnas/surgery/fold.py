"""Folding ACON for deployment: its factors for each channel move into the neighbouring layers."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np

from keras_actnas import core
from keras_actnas.layers.acon import ACONA, ACONB, ACONC
from keras_actnas.layers.folded_acon import FORMS, FoldedACON
from keras_actnas.surgery.acon_factors import Factors, distribute
from keras_actnas.surgery.activations import activation_like, is_argument_layer
from keras_actnas.surgery.channel_flow import ChannelFlow, Reader
from keras_actnas.surgery.channel_scales import scale
from keras_actnas.surgery.copying import Rewrite, copy_model
from keras_actnas.surgery.graph import Graph
from keras_actnas.surgery.recreate import recreate
from keras_actnas.surgery.replace import with_layer

_HALF_RANGE = (1e-2, 1e2)
"""Factors with which float16 numbers neither overflow nor vanish; where others are needed, a layer is not folded."""


def fold_acon(model: keras.Model, form: str = "multiply") -> keras.Model:
    """Returns a copy of a model for deployment, in which ACON-A, ACON-B and ACON-C cost as little as they can.

    ACON-C is `x (d sigmoid(b x) + p2)` for each channel, where `d = p1 - p2` and `b = beta d`. The layer before takes
    up the factor b; with `y = b x`, what is left is `(1 / beta) y (sigmoid(y) + p2 / d)`, and the layers behind take
    up `1 / beta`. So ACON-A becomes SiLU, ACON-B and ACON-C need one addition more. Layers that take up factors are
    convolutions, dense layers and batch normalizations (in inference mode), also through pooling, padding, resizing,
    dropout, flattening, concatenating and splitting. Where the input has another reader, or the output is added to
    something or leaves the model, the factors concerned stay: the site becomes a `layers.FoldedACON` with these.

    The outputs in inference mode are those of `model`, up to rounding; a channel whose beta is below 1e-7 becomes
    linear, which for inputs in the thousands is no longer the same. The copy is not meant for training: the steps of
    an optimizer depend on the scale of weights. Meta-ACON and layers whose parameters are not one number for each
    channel stay as they are. Quantization for each tensor sees channels of more different ranges than before.

    Args:
      model: A functional or Sequential model with ACON layers, also as `activation=` arguments.
      form: How factors that stay are computed, as for `FoldedACON`: `"multiply"`, or `"depthwise"`, which is faster on
        Ethos-U and applies to images; other sites multiply.

    Raises:
      InputError: The model is not functional, has no such layer, or has one with parameters that are not finite, or
        without any because it never ran.

    >>> layers = [keras.layers.Conv2D(4, 3), ACONA(name="act"), keras.layers.Conv2D(2, 1)]
    >>> fold_acon(keras.Sequential([keras.Input((8, 8, 3)), *layers])).get_layer("act").activation.__name__
    'silu'
    """
    if form not in FORMS:
        raise core.InputError(f"Expected form {' or '.join(map(repr, FORMS))}. Received: {form!r}.")
    flow = ChannelFlow(model)
    folds = [fold for graph in flow.graphs for layer in graph.operations for fold in _folds(flow, graph, layer)]
    if not folds:
        raise core.InputError(
            f"Expected a model with ACONA, ACONB or ACONC layers that have one number for each channel. "
            f"Received: {model.name!r}, which has none."
        )
    return _applied(model, folds, form)


@dataclasses.dataclass(frozen=True)
class _Fold:
    """What becomes of one ACON layer.

    Attributes:
      holder: The ACON layer, or the layer that has it as its activation.
      acon: The ACON layer.
      rank: Number of dimensions of its input.
      writer: The layer whose weights scale the input's channels; None if they stay as they are.
      readers: The layers whose weights scale the output's channels; empty if they stay as they are.
      factors: Who computes with which factors.
    """

    holder: Any
    acon: Any
    rank: int
    writer: Any
    readers: list[Reader]
    factors: Factors


def _folds(flow: ChannelFlow, graph: Graph, layer: Any) -> list[_Fold]:
    """Returns the fold of a layer, none if it holds no ACON that can be folded."""
    argument = is_argument_layer(layer) and isinstance(layer.activation, keras.Layer)
    acon = layer.activation if argument else layer
    if type(acon) not in (ACONA, ACONB, ACONC):  # A subclass may compute something else.
        return []
    if not acon.built:
        raise core.InputError(
            f"Expected ACON layers that have weights. Received: {acon.name!r}, the `activation=` of a layer that has "
            "not run yet; call the model once."
        )
    call = graph.calls(layer)[0]
    axis, rank = acon.channel_axis(call.outputs[0].shape), len(call.outputs[0].shape)
    parameters = _parameters(acon, axis, call.outputs[0].shape[axis])
    if parameters is None:
        return []
    writer, readers = None, None
    if flow.is_called_once(layer):
        alone = layer if flow.can_scale(layer, call.outputs[0], axis) else None
        writer = alone if argument else flow.writer(graph, call.input_tensors[0], axis)
        readers = flow.readers(graph, call.outputs[0], axis)
    behind = readers is not None
    factors = distribute(*parameters, before=writer is not None, behind=behind)
    if acon.compute_dtype == "float16" and factors.exceed(*_HALF_RANGE):
        factors = distribute(*parameters, before=False, behind=False)
    negative = factors.behind is not None and bool(np.any(factors.behind < 0))
    if negative and any(reader.positive for reader in readers or []):
        factors = distribute(*parameters, before=writer is not None, behind=False)
    return [_Fold(layer, acon, rank, writer, readers or [], factors)]


def _parameters(acon: Any, axis: int, channels: int) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Returns p1, p2 and beta, one number for each channel; None if they differ within a channel."""
    values = {"p1": np.ones(1), "p2": np.zeros(1)}
    for name in ("p1", "p2", "p", "beta"):
        if hasattr(acon, name):
            value = keras.ops.convert_to_numpy(getattr(acon, name)).astype("float64")
            if not np.all(np.isfinite(value)):
                raise core.InputError(f"Expected finite parameters of {acon.name!r}. Received: {name} with NaN or inf.")
            if value.size != value.shape[axis - 1]:
                return None
            values["p2" if name == "p" else name] = value.ravel()
    p1, p2, beta = (np.broadcast_to(values[name], (channels,)) for name in ("p1", "p2", "beta"))
    return p1, p2, beta


def _applied(model: keras.Model, folds: list[_Fold], form: str) -> keras.Model:
    """Returns the copy of a model with all folds."""
    outputs: dict[int, np.ndarray] = {}
    inputs: dict[int, np.ndarray] = {}
    for fold in folds:
        if fold.factors.before is not None:
            outputs[id(fold.writer)] = fold.factors.before
        if fold.factors.behind is None:
            continue
        for reader in fold.readers:
            taken = np.where(reader.channels < 0, 1.0, fold.factors.behind[reader.channels])
            inputs[id(reader.layer)] = inputs.get(id(reader.layer), 1.0) * taken
    by_holder = {id(fold.holder): fold for fold in folds}
    made: dict[int, Any] = {}

    def instead(layer: Any) -> Any:
        if id(layer) in by_holder:
            made[id(layer)] = _folded_layer(by_holder[id(layer)], form)
        elif id(layer) in outputs or id(layer) in inputs:
            made[id(layer)] = recreate(layer)
        return made.get(id(layer))

    copy = copy_model(model, Rewrite(instead=instead))
    for key, layer in made.items():
        if key in by_holder:
            _set_factors(layer if by_holder[key].acon is by_holder[key].holder else layer.activation, by_holder[key])
        if key in outputs or key in inputs:
            scale(layer, inputs.get(key), outputs.get(key))
    return copy


def _folded_layer(fold: _Fold, form: str) -> Any:
    """Returns what stands in for the holder of an ACON."""
    if not fold.factors.own:
        if fold.acon is fold.holder:
            return activation_like("silu", fold.holder.name, like=fold.holder)
        return recreate(fold.holder, lambda config: {**config, "activation": "silu"})
    fits = form if fold.rank == 4 else "multiply"

    def make(**arguments: Any) -> keras.Layer:
        return FoldedACON(tuple(fold.factors.own), fits, data_format=fold.acon.data_format, **arguments)

    return with_layer(fold.holder, make)


def _set_factors(layer: Any, fold: _Fold) -> None:
    for name, value in fold.factors.own.items():
        weight = getattr(layer, name)
        weight.assign(value.reshape(weight.shape))
