import pytest

from keras_actnas.core import InputError, MissingDependencyError, closest


def test_kinds():
    assert issubclass(InputError, ValueError)
    assert issubclass(MissingDependencyError, InputError)
    assert issubclass(MissingDependencyError, ImportError)


def test_missing_dependency_says_what_mends_it():
    error = MissingDependencyError("pulp", "search", "The ILP search")
    assert str(error) == (
        'The ILP search needs `pulp`, which is not installed. Install it with: pip install "keras-actnas[search]"'
    )


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("relu7", ["silu", "relu6"], " Did you mean 'relu6'?"),
        ("site10", ["site1", "site100", "x"], " Did you mean 'site100' or 'site1'?"),
        ("power", ["latency", "nwot"], " Known: latency, nwot."),
        ("power", [], " Known: none."),
        ("zzz", [f"a{number}" for number in range(13)], f" Known: {', '.join(f'a{n}' for n in range(12))}, ...."),
    ],
)
def test_hint(name, known, hint):
    assert closest(name, iter(known)) == hint


def test_hint_has_a_limit():
    assert closest("site0", [f"site{number}" for number in range(1, 9)], limit=2).count(" or ") == 1
