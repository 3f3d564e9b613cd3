"""Package description of keras-actnas. The configuration of the tools is in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(r'^__version__ = "(.+)"', (ROOT / "keras_actnas/__init__.py").read_text(), re.MULTILINE)[1]

TENSORFLOW = ["tensorflow>=2.20,<3", "keras>=3.12,<4"]
BENCH = ["ai-edge-litert>=2.0"]
REPORT = ["matplotlib>=3.8"]
SEARCH = [
    *TENSORFLOW,
    *BENCH,
    *REPORT,
    "flatbuffers>=24.3",
    "highspy>=1.10",
    "pillow>=10.3",
    "pulp>=3.3",
    "scikit-image>=0.24",
    "tqdm>=4.66",
]
DASK = ["distributed>=2025.1"]
VELA = ["ethos-u-vela>=5.0"]
ONNX = [*TENSORFLOW, "onnx>=1.18", "onnxruntime>=1.22", "tf2onnx>=1.17"]
ULTRALYTICS = [*TENSORFLOW, "ultralytics>=8.3", "torch>=2.6", "torchvision>=0.19"]
TFMOT = [*TENSORFLOW, "tensorflow-model-optimization>=0.8", "tf_keras>=2.20,<3"]
DETECT = [
    *BENCH,
    "opencv-python>=4.10",
    "pillow>=10.3",
    "pycocotools>=2.0.8",
    "pyyaml>=6",
    "tqdm>=4.66",
]
BACKENDS = ["jax>=0.7", "torch==2.13.0"]
TEST = [
    *(*SEARCH, *DASK, *VELA, *ONNX, *ULTRALYTICS, *TFMOT, *DETECT, *BACKENDS),
    *("mypy>=1.17", "pytest>=8.3", "ruff>=0.14", "scipy>=1.11"),
]

setup(
    name="keras-actnas",
    version=VERSION,
    description="Choose, train and deploy the activation functions of neural networks for small devices.",
    long_description=(ROOT / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["keras_actnas", "keras_actnas.*"]),
    package_data={"keras_actnas": ["py.typed"]},
    python_requires=">=3.10",
    install_requires=["numpy>=1.26", "absl-py>=1.4"],
    extras_require={
        "tensorflow": TENSORFLOW,
        "bench": BENCH,
        "report": REPORT,
        "search": SEARCH,
        "dask": DASK,
        "vela": VELA,
        "onnx": ONNX,
        "ultralytics": ULTRALYTICS,
        "tfmot": TFMOT,
        "detect": DETECT,
        "test": TEST,
    },
    entry_points={"console_scripts": ["keras-actnas = keras_actnas.cli:main"]},
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Developers",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
