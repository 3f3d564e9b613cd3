import pytest

from keras_actnas.core import CANDIDATES, KNOWN, InputError, canonical_name, leaky_slope, parse_activations


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("swish", "silu"),
        (" SiLU ", "silu"),
        ("hardswish", "hard_swish"),
        ("hswish", "hard_swish"),
        ("hard_silu", "hard_swish"),
        ("linear", "identity"),
        ("None", "identity"),
        ("LeakyReLU", "leaky_relu"),
        ("leaky_relu(0.1)", "leaky_relu"),
        ("leaky_relu(0.10)", "leaky_relu"),
        ("leaky_relu(1e-1)", "leaky_relu"),
        ("leaky_relu(0.30)", "leaky_relu(0.3)"),
        ("leaky_relu(0)", "leaky_relu(0)"),
    ],
)
def test_aliases_have_one_spelling(name, expected):
    assert canonical_name(name) == expected


@pytest.mark.parametrize("name", [*KNOWN, "leaky_relu(0.3)", "leaky_relu(0.0123457)", "leaky_relu(1e-07)"])
def test_canonical_names_stay(name):
    assert canonical_name(name) == name


def test_canonical_name_of_a_canonical_name_is_itself():
    once = canonical_name("leaky_relu(0.012345678912)")
    assert canonical_name(once) == once
    assert leaky_slope(once) == pytest.approx(0.012345678912, rel=1e-5)


@pytest.mark.parametrize("name", ["leaky_relu(1.2.3)", "leaky_relu()", "leaky_relu(e)", "leaky_relu(0.1", "rel", ""])
def test_unknown_names_are_refused(name):
    with pytest.raises(InputError, match="Expected the name of an activation"):
        canonical_name(name)


def test_unknown_name_gets_a_hint():
    with pytest.raises(InputError) as caught:
        canonical_name("relu7")
    assert (
        str(caught.value)
        == "Expected the name of an activation. Received: 'relu7'. Did you mean 'relu' or 'relu6' or 'prelu'?"
    )


@pytest.mark.parametrize("name", [None, 3, ["relu"]])
def test_what_is_no_text_is_refused(name):
    with pytest.raises(InputError, match="Expected the name of an activation. Received: "):
        canonical_name(name)


@pytest.mark.parametrize(
    ("name", "slope"), [("leaky_relu", 0.1), ("leaky_relu(0.25)", 0.25), ("relu", None), ("leaky_relu(..)", None)]
)
def test_leaky_slope(name, slope):
    assert leaky_slope(name) == slope


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("relu, SWISH,hswish", ("relu", "silu", "hard_swish")),
        (["silu", "swish", "relu"], ("silu", "relu")),
        (("relu6",), ("relu6",)),
        ("relu,,silu,", ("relu", "silu")),
    ],
)
def test_parse_activations(names, expected):
    assert parse_activations(names) == expected


@pytest.mark.parametrize("names", ["", " , ", [], ()])
def test_parse_nothing(names):
    with pytest.raises(InputError, match="Expected at least one activation, such as 'relu,silu'"):
        parse_activations(names)


def test_candidates_are_known():
    assert set(CANDIDATES) < set(KNOWN)
    assert CANDIDATES == ("relu", "silu", "hard_swish", "relu6", "leaky_relu")
