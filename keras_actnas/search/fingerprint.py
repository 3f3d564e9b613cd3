"""Which model measurements belong to."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

import keras
import numpy as np

# Keras numbers layers without a name of their own as they are made, so that the same model differs from build to build.
_PASSING = re.compile(r"_\d+(?=[\"/])| at 0x[0-9a-f]+")


def model_fingerprint(model: keras.Model) -> str:
    """Returns a hash of a model's structure and weights, the same for the same model built again."""
    structure = _PASSING.sub("", json.dumps(model.get_config(), sort_keys=True, default=_text))
    digest = hashlib.sha256(structure.encode())
    for weight in model.weights:
        digest.update(np.ascontiguousarray(keras.ops.convert_to_numpy(weight)).tobytes())
    return digest.hexdigest()[:16]


def _text(value: Any) -> str:
    return str(value)
