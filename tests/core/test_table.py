import json
import math

import numpy as np
import pytest

from keras_actnas.core import Assignment, Estimate, InputError, MetricTable

REFERENCE = Assignment({"stem": "silu", "model.2.cv1.act": "silu", "head": "relu"})
ACTIVATIONS = ("silu", "relu", "leaky_relu(0.3)")
NAN = math.nan


def make_table(covariance=None, residual=0.0, **changes):
    delta = np.array([[0.0, -1.0, 0.25], [0.0, -2.0, NAN], [4.0, 0.0, 1e-7]])
    error = np.array([[0.0, 0.3, NAN], [0.0, 0.4, NAN], [0.1, 0.0, 0.2]])
    fields = {
        "metric": "latency",
        "unit": "ms",
        "reference": REFERENCE,
        "activations": ACTIVATIONS,
        "reference_value": Estimate(20.0, 0.5),
        "delta": delta,
        "standard_error": error,
        "context": {"device": {"name": "a, b"}, "seeds": [0, 1]},
        "covariance": covariance,
        "residual": residual,
    }
    return MetricTable(**{**fields, **changes})


def random_covariance(size=9, seed=0):
    factor = np.random.default_rng(seed).normal(0, 0.2, (size, 4))
    return factor @ factor.T


def assert_same(one, two, digits=9):
    for name in ("metric", "unit", "reference", "activations", "context", "residual"):
        assert getattr(one, name) == getattr(two, name)
    assert list(one.reference) == list(two.reference)
    for name in ("delta", "standard_error"):
        np.testing.assert_allclose(getattr(one, name), getattr(two, name), rtol=10.0**-digits, equal_nan=True)
    np.testing.assert_allclose(
        [one.reference_value.value, one.reference_value.standard_error],
        [two.reference_value.value, two.reference_value.standard_error],
        equal_nan=True,
    )
    assert (one.covariance is None) == (two.covariance is None)
    if one.covariance is not None:
        np.testing.assert_allclose(one.covariance, two.covariance, rtol=1e-8, equal_nan=True)


class TestPredict:
    def test_the_reference_is_its_own_value(self):
        assert make_table(residual=3.0).predict(REFERENCE) == Estimate(20.0, 0.0)

    def test_deltas_add_up_and_independent_errors_in_squares(self):
        mixed = REFERENCE.with_swaps({"stem": "relu", "model.2.cv1.act": "relu", "head": "silu"})
        estimate = make_table().predict(mixed)
        assert estimate.value == pytest.approx(20.0 - 1.0 - 2.0 + 4.0)
        assert estimate.standard_error == pytest.approx(math.sqrt(0.09 + 0.16 + 0.01))

    def test_covariance_counts(self):
        covariance = np.zeros((9, 9))
        covariance[1, 1], covariance[4, 4] = 0.09, 0.16
        covariance[1, 4] = covariance[4, 1] = -0.12
        mixed = REFERENCE.with_swaps({"stem": "relu", "model.2.cv1.act": "relu"})
        # Errors that are perfectly opposed: 0.4 - 0.3.
        assert make_table(covariance).predict(mixed).standard_error == pytest.approx(0.1)

    def test_covariance_of_a_sum_is_that_of_samples(self):
        covariance = random_covariance()
        mixed = REFERENCE.with_swaps({"stem": "leaky_relu(0.3)", "head": "silu"})
        chosen = np.zeros(9)
        chosen[[2, 3, 6]] = 1
        expected = math.sqrt(chosen @ covariance @ chosen)
        assert make_table(covariance).predict(mixed).standard_error == pytest.approx(expected)

    def test_rounding_below_zero_is_no_error(self):
        covariance = np.full((9, 9), -1e-18)
        assert make_table(covariance).predict(REFERENCE).standard_error == 0.0

    def test_residual_counts_once(self):
        mixed = REFERENCE.with_swaps({"stem": "relu", "model.2.cv1.act": "relu"})
        assert make_table(residual=1.2).predict(mixed).standard_error == pytest.approx(math.sqrt(0.25 + 1.44))
        covariance = np.diag([0.0, 0.09, 0, 0, 0.16, 0, 0, 0, 0])
        estimate = make_table(covariance, residual=1.2).predict(mixed)
        assert estimate.standard_error == pytest.approx(math.sqrt(0.25 + 1.44))

    def test_unknown_error_makes_an_unknown_error(self):
        estimate = make_table().predict(REFERENCE.with_swaps({"stem": "leaky_relu(0.3)"}))
        assert estimate.value == 20.25
        assert math.isnan(estimate.standard_error)

    def test_order_of_the_assignment_does_not_matter(self):
        mixed = REFERENCE.with_swaps({"stem": "relu"})
        assert make_table().predict(dict(reversed(list(mixed.items())))) == make_table().predict(mixed)

    @pytest.mark.parametrize(
        ("site", "activation"), [("model.2.cv1.act", "leaky_relu(0.3)"), ("stem", "gelu"), ("head", "leaky_relu")]
    )
    def test_activation_without_a_value(self, site, activation):
        with pytest.raises(InputError) as caught:
            make_table().predict(REFERENCE.with_swaps({site: activation}))
        assert str(caught.value) == (
            f"Expected activations that the latency table has values for. Received: {activation!r} at {site!r}."
        )

    def test_assignment_for_another_model(self):
        with pytest.raises(InputError, match=r"Received: 'haed'; is the assignment for another model\?"):
            make_table().predict({"haed": "relu"})

    def test_choices_are_rows_and_columns(self):
        assert make_table().choices({"head": "silu", "stem": "leaky_relu(0.3)"}) == [(2, 0), (0, 2)]


def test_estimate_less_a_number_keeps_its_error():
    assert Estimate(3.0, 0.5) - 1.0 == Estimate(2.0, 0.5)
    assert math.isnan(Estimate(3.0).standard_error)


def test_sites_are_the_rows():
    assert make_table().sites == ("stem", "model.2.cv1.act", "head")


@pytest.mark.parametrize("name", ["delta", "standard_error"])
def test_shape(name):
    with pytest.raises(InputError) as caught:
        make_table(**{name: np.zeros((2, 3))})
    assert str(caught.value) == f"Expected {name} of shape (3, 3), sites x activations. Received: (2, 3)."


class TestJSON:
    @pytest.mark.parametrize("covariance", [None, random_covariance(), np.full((9, 9), NAN)])
    def test_round_trip(self, covariance, tmp_path):
        table = make_table(covariance, residual=0.75)
        table.save(tmp_path / "latency.json")
        assert_same(MetricTable.load(tmp_path / "latency.json"), table)

    def test_round_trip_of_unknown_errors(self, tmp_path):
        table = make_table(reference_value=Estimate(20.0), standard_error=np.full((3, 3), NAN))
        table.save(tmp_path / "a.json")
        assert_same(MetricTable.load(tmp_path / "a.json"), table)

    def test_predictions_survive(self, tmp_path):
        table = make_table(random_covariance())
        table.save(tmp_path / "a.json")
        mixed = REFERENCE.with_swaps({"stem": "relu", "head": "silu"})
        loaded, original = MetricTable.load(tmp_path / "a.json").predict(mixed), table.predict(mixed)
        assert loaded.value == pytest.approx(original.value, rel=1e-9)
        assert loaded.standard_error == pytest.approx(original.standard_error, rel=1e-6)

    def test_the_file_is_strict_json(self, tmp_path):
        make_table(np.full((9, 9), NAN), reference_value=Estimate(20.0)).save(tmp_path / "a.json")

        def refuse(name):
            raise AssertionError(name)

        content = json.loads((tmp_path / "a.json").read_text(), parse_constant=refuse)
        assert content["delta"][1] == [0.0, -2.0, None]
        assert content["reference_error"] is None

    @pytest.mark.parametrize(
        "missing", ["format", "metric", "unit", "reference", "activations", "reference_value", "delta"]
    )
    def test_what_is_missing_is_named(self, missing):
        content = make_table().to_json()
        del content[missing]
        with pytest.raises(InputError, match=f"Expected a metric table. Received: a.json .KeyError: '{missing}'"):
            MetricTable.from_json(content, "a.json")

    def test_another_format(self):
        with pytest.raises(InputError) as caught:
            MetricTable.from_json({**make_table().to_json(), "format": 99}, "a.json")
        assert str(caught.value) == "Expected a metric table of format 1. Received: a.json, 99."

    @pytest.mark.parametrize(
        "change",
        [
            {"delta": [[1, 2], [3]]},
            {"delta": [1]},
            {"delta": [["x"]]},
            {"reference": 3},
            {"reference": ["stem", "head"]},
        ],
    )
    def test_other_content(self, change):
        with pytest.raises(InputError, match="Expected a metric table. Received: the given content"):
            MetricTable.from_json({**make_table().to_json(), **change})

    def test_the_shape_is_checked_when_read(self):
        with pytest.raises(InputError, match=r"Expected delta of shape \(3, 3\)"):
            MetricTable.from_json({**make_table().to_json(), "delta": [[1.0]]})

    @pytest.mark.parametrize("text", ["{", "[]", None])
    def test_files_that_hold_something_else(self, text, tmp_path):
        path = tmp_path / "a.json"
        if text is not None:
            path.write_text(text)
        with pytest.raises(InputError, match=r"Expected a metric table.*a\.json"):
            MetricTable.load(path)

    def test_nothing_is_written_where_nothing_can_be(self, tmp_path):
        with pytest.raises(InputError, match="Expected a place that can be written"):
            make_table().save(tmp_path / "none" / "a.json")


class TestCSV:
    def test_what_is_written(self):
        lines = make_table().to_csv().splitlines()
        assert lines[0] == "site,activation,metric,unit,reference,delta,standard_error"
        assert lines[1:4] == [
            "stem,silu,latency,ms,20,0,0",
            "stem,relu,latency,ms,20,-1,0.3",
            "stem,leaky_relu(0.3),latency,ms,20,0.25,",
        ]
        assert not any(line.startswith("model.2.cv1.act,leaky") for line in lines)
        assert len(lines) == 1 + 8

    def test_round_trip(self, tmp_path):
        table = make_table(reference_value=Estimate(20.0), context={})
        table.save(tmp_path / "latency.csv")
        loaded = MetricTable.from_csv((tmp_path / "latency.csv").read_text(), REFERENCE)
        assert_same(loaded, table, digits=5)

    def test_round_trip_of_names_that_csv_must_quote(self):
        reference = Assignment({'a,"b"': "silu", "c\nd": "silu"})
        table = MetricTable("m", "1,000", reference, ("silu",), Estimate(1.0), np.zeros((2, 1)), np.zeros((2, 1)))
        assert_same(MetricTable.from_csv(table.to_csv(), reference), table)

    def test_by_hand(self):
        text = "reference,unit,metric,activation,site,delta,note\n10,ms,latency,Swish,head,1.5,slow\n"
        table = MetricTable.from_csv(text, REFERENCE)
        assert table.activations == ("silu", "relu")
        assert table.delta[2].tolist() == [1.5, 0.0]
        assert math.isnan(table.standard_error[2, 0])
        assert table.predict(REFERENCE.with_swaps({"head": "silu"})).value == 11.5
        assert table.predict(REFERENCE) == Estimate(10.0, 0.0)
        with pytest.raises(InputError, match="'relu' at 'stem'"):
            table.predict(REFERENCE.with_swaps({"stem": "relu"}))

    def test_all_faults_name_the_file(self):
        header = "site,activation,metric,unit,reference,delta\n"
        row = "head,silu,latency,ms,10,1\n"
        faults = {
            "": "without site",
            header: "without site",
            header.replace(",delta", "") + "head,silu,latency,ms,10\n": "without delta",
            header + "head,silu,latency,ms,10,fast\n": "Expected numbers in a.csv. Received: could not convert",
            header + row + "head,relu,latency,ms,10\n": "Expected numbers in a.csv",
            header + row + "head,relu,nwot,ms,10,1\n": "Expected one metric in a.csv. Received: latency, nwot.",
            header + row + "head,relu,latency,s,10,1\n": "Expected one unit in a.csv. Received: ms, s.",
            header + row + "head,relu,latency,ms,11,1\n": "Expected one reference in a.csv. Received: 10, 11.",
        }
        for text, message in faults.items():
            with pytest.raises(InputError) as caught:
                MetricTable.from_csv(text, REFERENCE, "a.csv")
            assert message in str(caught.value)
            assert "a.csv" in str(caught.value)

    def test_unknown_names(self):
        header = "site,activation,metric,unit,reference,delta\n"
        with pytest.raises(InputError, match="Did you mean 'head'"):
            MetricTable.from_csv(header + "haed,silu,latency,ms,10,1\n", REFERENCE)
        with pytest.raises(InputError, match="Received: 'sillu'"):
            MetricTable.from_csv(header + "head,sillu,latency,ms,10,1\n", REFERENCE)
