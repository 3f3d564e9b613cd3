"""The rules of the package as a whole: who may import whom, and what an import costs."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "keras_actnas"

# Sub-package -> the sub-packages that it may import, besides itself.
MAY_IMPORT = {
    "core": set(),
    "layers": {"core"},
    "callbacks": {"core", "layers"},
    "models": {"core", "layers"},
    "surgery": {"core", "layers"},
    "export": {"core", "surgery"},
    "tflite_bench": {"core"},
    "devices": {"core", "export", "tflite_bench"},
    "search": {"core", "layers", "models", "surgery", "export", "tflite_bench", "devices"},
    "report": {"core"},
    "integrations": {*("core", "layers", "models", "surgery", "export", "tflite_bench", "devices", "search")},
    "commands": {
        *("core", "layers", "models", "surgery", "export", "tflite_bench", "devices", "search", "report"),
        *("integrations", "commands"),
    },
}
CORE_NEEDS = {"numpy"}
BENCH_NEEDS = {"numpy"}


def modules(package: str) -> list[Path]:
    return sorted((PACKAGE / package).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Returns the full names of all modules that a file imports, wherever in the file."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def test_every_sub_package_has_a_rule():
    present = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert present == set(MAY_IMPORT)


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_arrows(package):
    for path in modules(package):
        ours = {name.split(".")[1] for name in imported(path) if name.startswith("keras_actnas.")}
        forbidden = (ours & set(MAY_IMPORT)) - MAY_IMPORT[package] - {package}
        assert not forbidden, f"{path.relative_to(ROOT)} imports {forbidden}"


@pytest.mark.parametrize(("package", "needs"), [("core", CORE_NEEDS), ("tflite_bench", BENCH_NEEDS)])
def test_needs_nothing_but_numpy(package, needs):
    for path in modules(package):
        foreign = {name.split(".")[0] for name in imported(path)} - set(sys.stdlib_module_names) - {"keras_actnas"}
        assert foreign <= needs, f"{path.relative_to(ROOT)} imports {foreign - needs}"


@pytest.mark.parametrize(
    "name",
    [
        "keras_actnas",
        "keras_actnas.cli",
        "keras_actnas.core",
        "keras_actnas.export",
        "keras_actnas.export.network",
        "keras_actnas.integrations",
        "keras_actnas.report",
        "keras_actnas.search",
        "keras_actnas.tflite_bench",
    ],
)
def test_import_is_light(name):
    heavy = ("keras", "tensorflow", "torch", "jax", "matplotlib")
    code = f"import sys, {name}; print([module for module in {heavy} if module in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names_resolve():
    """Every name that a lazy package lists can be imported from it."""
    import keras_actnas

    for package in keras_actnas.__all__:
        module = getattr(keras_actnas, package)
        for name in module.__all__:
            assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        keras_actnas.nothing  # noqa: B018


def test_tests_mirror_the_package():
    for package in MAY_IMPORT:
        assert any((ROOT / "tests" / package).glob("test_*.py")), f"tests/{package} is missing"


def test_documented_commands_are_the_ones_that_ci_runs():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    command = next(line for line in readme.splitlines() if line.endswith("-m pytest"))
    assert command in ci.splitlines()


LAZY = [name for name in MAY_IMPORT if "attach(" in (PACKAGE / name / "__init__.py").read_text(encoding="utf-8")]


@pytest.mark.parametrize("package", LAZY)
def test_no_lazy_export_has_the_name_of_a_module(package):
    """Importing `package.name` would put the module in the place of what the package exports under that name."""
    exported = set(importlib.import_module(f"keras_actnas.{package}").__all__)
    inside = {path.stem for path in [*(PACKAGE / package).glob("*.py"), *(PACKAGE / package).iterdir()]}
    meant = {"search": {"proxies", "ran_e", "solvers"}}.get(package, set())  # The modules themselves.
    assert exported & inside == meant
