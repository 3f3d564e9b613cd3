import json
import os
import subprocess
import sys

import pytest

from keras_actnas.core import Assignment, InputError

SITES = ("stem", "model.2.cv1.act", "head")


def test_is_a_mapping_in_the_order_of_the_sites():
    assignment = Assignment([("b", "Swish"), ("a", "relu")])
    assert list(assignment.items()) == [("b", "silu"), ("a", "relu")]
    assert len(assignment) == 2
    assert assignment == {"a": "relu", "b": "silu"}
    assert assignment.get("c") is None


def test_cannot_be_changed():
    assignment = Assignment.uniform(SITES, "silu")
    with pytest.raises(TypeError):
        assignment["stem"] = "relu"
    with pytest.raises(AttributeError):
        assignment.other = 1


def test_equality_hash_and_digest_do_not_depend_on_order_or_spelling():
    one, two = Assignment({"a": "relu", "b": "swish"}), Assignment({"b": "silu", "a": "ReLU"})
    assert one == two
    assert hash(one) == hash(two)
    assert one.digest == two.digest
    assert {one: 1}[two] == 1


def test_digest_tells_assignments_apart():
    uniform = Assignment.uniform(SITES, "silu")
    others = [uniform.with_swaps({site: "relu"}) for site in SITES]
    assert len({item.digest for item in (uniform, *others)}) == 4


def test_digest_is_the_same_in_every_process():
    code = "from keras_actnas.core import Assignment; print(Assignment({'b': 'relu', 'a': 'silu'}).digest)"
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == Assignment({"a": "silu", "b": "relu"}).digest


def test_counts_the_most_frequent_first():
    assignment = Assignment({"a": "silu", "b": "relu", "c": "relu", "d": "elu"})
    assert list(assignment.counts().items()) == [("relu", 2), ("elu", 1), ("silu", 1)]
    assert repr(assignment) == "Assignment(4 sites: relu x 2, elu x 1, silu x 1)"


def test_swaps_lead_back():
    reference = Assignment.uniform(SITES, "silu")
    swaps = {"head": "relu", "stem": "hard_swish"}
    mixed = reference.with_swaps(swaps)
    assert mixed.swaps(reference) == swaps
    assert list(mixed) == list(reference)
    assert reference.with_swaps(mixed.swaps(reference)) == mixed
    assert reference == Assignment.uniform(SITES, "silu")


def test_unknown_sites_are_named():
    assignment = Assignment.uniform(SITES, "silu")
    with pytest.raises(InputError) as caught:
        assignment.with_swaps({"haed": "relu", "other": "relu"})
    assert str(caught.value) == (
        "Expected sites of this model, which has 3. Received: 'haed' (and 1 more); "
        "is the assignment for another model? Did you mean 'head'?"
    )
    assert assignment.check_sites(["head"]) is None


def test_unknown_activation():
    with pytest.raises(InputError, match="Received: 'rellu'. Did you mean 'relu'"):
        Assignment({"stem": "rellu"})


def test_file_round_trip(tmp_path):
    assignment = Assignment({"model.2.cv1.act": "relu", "größe": "leaky_relu(0.3)"})
    path = tmp_path / "assignment.json"
    assignment.save(path)
    assert Assignment.load(path) == assignment
    assert list(Assignment.load(path)) == list(assignment)
    assert json.loads(path.read_text(encoding="utf-8"))["model.2.cv1.act"] == "relu"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1, 2]", "Expected a JSON object of site: activation in .*a.json. Received: list"),
        ("{", "Expected a JSON file of site: activation. Received: .*a.json"),
        ('{"a": 3}', "Expected the name of an activation. Received: 3"),
        (None, "Expected a JSON file of site: activation. Received: .*No such file"),
    ],
)
def test_files_that_hold_something_else(content, message, tmp_path):
    path = tmp_path / "a.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        Assignment.load(path)


def test_saving_where_nothing_can_be_written(tmp_path):
    with pytest.raises(InputError, match="Expected a place that can be written"):
        Assignment({"a": "relu"}).save(tmp_path / "none" / "a.json")
