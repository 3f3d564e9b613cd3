import pytest

from keras_actnas.core import Constraint, InputError


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("latency<=24.5", 24.5),
        ("latency<=90%", 45.0),
        ("latency <= 90 %", 45.0),
        ("latency<=reference", 50.0),
        ("latency<=reference-10%", 45.0),
        ("latency<=Reference + 0.5", 50.5),
        ("LATENCY<=reference-1e-1", 49.9),
        ("latency<=-3", -3.0),
        ("latency<=1.5e1%", 7.5),
    ],
)
def test_forms_and_bounds(text, bound):
    constraint = Constraint.parse(text)
    assert (constraint.metric, constraint.sense) == ("latency", "<=")
    assert constraint.bound(50.0) == pytest.approx(bound)


def test_the_bound_follows_the_reference():
    assert Constraint.parse("nwot>=reference-0.5").bound(-3.0) == -3.5
    assert Constraint.parse("nwot>=3").bound(-3.0) == 3.0
    assert Constraint.parse("latency<=reference-10%").bound(200.0) == pytest.approx(180.0)


@pytest.mark.parametrize(
    "text",
    [
        *("latency", "latency<90%", "latency=3", "latency==3", "<=3", "latency<=", "latency<=fast", "latency<=1.2.3"),
        *("latency<=reference*2", "latency<=reference-", "latency<=3 ms", "2latency<=3", "a b<=3", "latency<=.", ""),
    ],
)
def test_other_forms_are_refused(text):
    with pytest.raises(InputError) as caught:
        Constraint.parse(text)
    assert str(caught.value) == (
        "Expected a constraint such as 'latency<=90%', 'latency<=24.5', 'nwot>=reference' or "
        f"'nwot>=reference-0.5'. Received: {text!r}."
    )


@pytest.mark.parametrize(("sense", "inside", "outside"), [("<=", 44.9, 45.1), (">=", 45.1, 44.9)])
def test_holds(sense, inside, outside):
    constraint = Constraint.parse(f"latency{sense}90%")
    assert constraint.holds(inside, 50.0)
    assert constraint.holds(45.0, 50.0)
    assert not constraint.holds(outside, 50.0)


def test_holds_up_to_rounding_relative_to_the_reference():
    constraint = Constraint.parse("memory<=reference")
    assert constraint.holds(1e6 + 1e-4, 1e6)
    assert not constraint.holds(1e6 + 1e-2, 1e6)
    assert constraint.holds(1e6 + 1e-2, 1e6, tolerance=1e-7)
    assert not constraint.holds(0.001 + 1e-8, 0.001)
    assert constraint.holds(-1e6 + 1e-4, -1e6)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("latency<=24.5", "latency <= 24.5"),
        ("latency<=90%", "latency <= 90%"),
        ("nwot>=reference", "nwot >= reference"),
        ("nwot>=reference-0.5", "nwot >= reference-0.5"),
        ("nwot>=reference+2", "nwot >= reference+2"),
    ],
)
def test_text(text, shown):
    assert str(Constraint.parse(text)) == shown


@pytest.mark.parametrize(
    "text", ["latency<=24.5", "latency<=90%", "latency<=reference-0.5", "nwot>=reference", "nwot>=reference+2"]
)
def test_text_can_be_parsed_again(text):
    constraint = Constraint.parse(text)
    assert Constraint.parse(str(constraint)) == constraint


def test_can_be_a_key():
    assert {Constraint.parse("a<=90%"): 1}[Constraint.parse("a <= 90.0 %")] == 1
