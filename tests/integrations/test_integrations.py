"""What an import of the integrations costs."""

import subprocess
import sys
from pathlib import Path

import pytest

import keras_actnas

ROOT = Path(keras_actnas.__file__).parents[1]


@pytest.mark.parametrize(
    "name", ["integrations", "integrations.detection.detector", "integrations.detection.evaluation"]
)
def test_import_is_light(name):
    heavy = ("keras", "tensorflow", "torch", "ultralytics", "cv2", "PIL", "pycocotools")
    code = f"import sys, keras_actnas.{name}; print([module for module in {heavy} if module in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"
