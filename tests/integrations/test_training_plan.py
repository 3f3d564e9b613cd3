"""Plans of training runs."""

import doctest
import json

import pytest

from keras_actnas.core import Assignment, InputError
from keras_actnas.integrations import training_plan
from keras_actnas.integrations.training_plan import TrainingPlan

BEFORE = Assignment({"a": "silu", "b": "silu", "c": "prelu"})


def test_examples():
    assert doctest.testmod(training_plan).failed == 0


def test_only_sites_that_change_move():
    plan = TrainingPlan.make(BEFORE, {"a": "relu", "b": "silu"}, (0.1, 0.5))
    assert plan.assignment == BEFORE.with_swaps({"a": "relu"})
    assert plan.before == {"a": "silu"}
    assert [plan.ramp.at(share) for share in (0.1, 0.3, 0.5, 1)] == pytest.approx([0, 0.5, 1, 1])


@pytest.mark.parametrize("transition", [(0.25, 0.5), None])
def test_a_record_is_plain_and_comes_back(transition):
    plan = TrainingPlan.make(BEFORE, {"a": "relu"}, transition)
    record = json.loads(json.dumps(plan.record(0.25)))
    assert TrainingPlan.from_record(record) == plan
    assert record["alpha"] == (0.25 if transition else 1)


def test_a_network_without_a_plan_has_none():
    assert TrainingPlan.from_record({}) is None
    assert TrainingPlan.from_record({"assignment": {"a": "relu"}}) is None  # Of `apply_assignment`.


@pytest.mark.parametrize("transition", [(0.5, 0.2), (0, 1.5), (-0.1, 1), (0, float("nan")), 0.5, (0, 0.5, 1), "ab"])
def test_transitions_are_shares(transition):
    with pytest.raises(InputError, match="start and end of the transition as shares of the training run"):
        TrainingPlan.make(BEFORE, {"a": "relu"}, transition)


def test_refusals():
    with pytest.raises(InputError, match="is the assignment for another model"):
        TrainingPlan.make(BEFORE, {"z": "relu"})
    with pytest.raises(InputError, match="Received: prelu at c"):
        TrainingPlan.make(BEFORE, {"c": "relu"}, (0, 1))
    assert TrainingPlan.make(BEFORE, {"c": "relu"}).assignment["c"] == "relu"
