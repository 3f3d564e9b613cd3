import json
import math

import pytest

from keras_actnas.core import Assignment, Estimate, InputError, Proposal, load_proposals, save_proposals
from keras_actnas.core.proposal import read_proposals

PROPOSALS = [
    Proposal(
        "ilp-1",
        Assignment({"b": "relu", "a": "silu"}),
        {"latency": Estimate(9.5, 0.25), "nwot": Estimate(-3.0)},
        {"latency": Estimate(9.75, 0.125)},
        "optimal",
    ),
    Proposal("reference", Assignment({"b": "silu", "a": "silu"})),
]


def test_defaults():
    assert (PROPOSALS[1].predicted, PROPOSALS[1].measured, PROPOSALS[1].status) == ({}, {}, "given")


def test_file_round_trip(tmp_path):
    path = tmp_path / "proposals.json"
    save_proposals(path, PROPOSALS, {"minimize": "latency", "constraints": ["nwot >= reference"]})
    first, second = load_proposals(path)
    assert second == PROPOSALS[1]
    assert (first.name, first.assignment, first.status) == ("ilp-1", PROPOSALS[0].assignment, "optimal")
    assert list(first.assignment) == ["b", "a"]
    assert first.predicted["latency"] == Estimate(9.5, 0.25)
    assert first.predicted["nwot"].value == -3.0
    assert math.isnan(first.predicted["nwot"].standard_error)
    assert first.measured == {"latency": Estimate(9.75, 0.125)}


def test_the_file_is_strict_json_with_its_context(tmp_path):
    path = tmp_path / "proposals.json"
    save_proposals(path, PROPOSALS, {"minimize": "latency"})
    content = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert (content["format"], content["minimize"]) == (1, "latency")
    assert content["proposals"][0]["predicted"]["nwot"] == {"value": -3.0, "standard_error": None}
    proposals, context = read_proposals(path)
    assert [row.name for row in proposals] == ["ilp-1", "reference"]
    assert context == {"format": 1, "minimize": "latency"}


def test_no_proposals_are_a_file_too(tmp_path):
    save_proposals(tmp_path / "a.json", [], {})
    assert load_proposals(tmp_path / "a.json") == []


@pytest.mark.parametrize(
    "text",
    [
        *("{", "[]", "{}", '{"proposals": 3}', '{"proposals": [1]}', '{"proposals": [{"name": "a"}]}', None),
        '{"proposals": [{"name": "a", "status": "given", "assignment": {}, "predicted": [], "measured": {}}]}',
        '{"proposals": [{"name": "a", "status": "given", "assignment": {"a": "x"}, "predicted": {}, "measured": {}}]}',
    ],
)
def test_files_that_hold_something_else(text, tmp_path):
    path = tmp_path / "a.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=r"Expected a proposals\.json\. Received: .*a\.json"):
        load_proposals(path)
