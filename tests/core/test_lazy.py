import sys

import pytest

from keras_actnas.core import lazy


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package on the disk whose names are lazy."""
    folder = tmp_path / "lazy_example"
    folder.mkdir()
    (folder / "one.py").write_text("VALUE = 1\n", encoding="utf-8")
    (folder / "part.py").write_text("INSIDE = 2\n", encoding="utf-8")
    (folder / "__init__.py").write_text(
        "from keras_actnas.core.lazy import attach\n"
        "__getattr__, __dir__, __all__ = attach(\n"
        "    __name__, {'VALUE': 'lazy_example.one', 'part': 'lazy_example.part', 'GONE': 'lazy_example.absent'}\n"
        ")\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield __import__("lazy_example")
    for name in [name for name in sys.modules if name.partition(".")[0] == "lazy_example"]:
        del sys.modules[name]


def test_a_module_is_imported_when_its_name_is_used(package):
    assert "lazy_example.one" not in sys.modules
    assert package.VALUE == 1
    assert "lazy_example.one" in sys.modules
    assert "lazy_example.part" not in sys.modules


def test_a_name_can_be_a_module(package):
    assert package.part.INSIDE == 2


def test_names_are_listed_without_importing(package):
    assert dir(package) == package.__all__ == ["GONE", "VALUE", "part"]
    assert "lazy_example.one" not in sys.modules


def test_unknown_name_is_an_attribute_error(package):
    with pytest.raises(AttributeError, match="module 'lazy_example' has no attribute 'OTHER'"):
        _ = package.OTHER
    assert not hasattr(package, "OTHER")


def test_a_module_that_cannot_be_imported_says_so(package):
    with pytest.raises(ModuleNotFoundError, match="lazy_example.absent"):
        _ = package.GONE


def test_attach_gives_what_a_package_needs():
    get, names, listed = lazy.attach("keras_actnas.core", {"Site": "keras_actnas.core.sites"})
    assert get("Site").__name__ == "Site"
    assert names() == listed == ["Site"]
