"""Scores into the journal and back: nothing twice, nothing lost, and what they say."""

import math

import numpy as np
import pytest

from keras_actnas.core import CANDIDATES, Assignment, Estimate, Journal, Measurement
from keras_actnas.search import NWOTScorer, mixtures, scores

REFERENCE = Assignment.uniform(["a", "b"], "silu")


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    yield journal
    journal.close()


class FakeScorer:
    """Scores by arithmetic and counts how often it is asked."""

    metric, unit, higher_is_better = "nwot", "", True
    reference = REFERENCE

    def __init__(self, **conditions):
        self.conditions = {"images": "abc", "batch_norm": "inference", **conditions}
        self.asked = []

    def score(self, assignment, seed):
        self.asked.append((seed, assignment["a"], assignment["b"]))
        return 100.0 + (seed or 0) + sum(CANDIDATES.index(name) for name in assignment.values())


def score(scorer, journal, rows, seeds=(0, 1), purpose="design", **arguments):
    starts = [(seed, 0) for seed in seeds]
    return scores.score_assignments(
        [scorer], rows, starts, journal, reference=scorer.reference, model_hash="m", purpose=purpose, **arguments
    )


def swapped(**swaps):
    return REFERENCE.with_swaps(swaps)


def test_scores_are_computed_once_with_the_reference_first(journal):
    scorer = FakeScorer()
    rows = [swapped(a="relu"), swapped(b="relu")]
    made = score(scorer, journal, rows)
    assert scorer.asked == [
        (seed, *names) for seed in (0, 1) for names in (("silu", "silu"), ("silu", "relu"), ("relu", "silu"))
    ]
    assert [(m.assignment, m.conditions["seed"]) for m in made] == [(row, seed) for row in rows for seed in (0, 1)]
    assert {m.reference_samples for m in made} == {(102.0,), (103.0,)}
    assert score(scorer, journal, [rows[0], rows[0]], purpose="verify") == made[:2]
    assert len(scorer.asked) == len(journal) == 6


def test_scores_under_other_conditions_do_not_count(journal):
    rows = [swapped(a="relu")]
    score(FakeScorer(), journal, rows)
    other = FakeScorer(batch_norm="batch")
    score(other, journal, rows)
    more_seeds = FakeScorer()
    score(more_seeds, journal, rows, seeds=(1, 2, None))
    assert len(other.asked) == 4
    assert {seed for seed, *_ in more_seeds.asked} == {2, None}


def test_interrupted_scoring_continues(journal):
    scorer = FakeScorer()
    rows = [swapped(a="relu"), swapped(b="relu")]

    def interrupted(items, label):
        for number, item in enumerate(items):
            if "seed 2 of 2" in label and number == 1:
                raise KeyboardInterrupt
            yield item

    with pytest.raises(KeyboardInterrupt):
        score(scorer, journal, rows, progress=interrupted)
    journal.close()
    again, labels = Journal(journal.path), []
    made = score(scorer, again, rows, progress=lambda items, label: labels.append((label, len(items))) or items)
    again.close()
    assert labels == [("nwot (design, seed 2 of 2)", 2)]
    assert len(scorer.asked) == len(set(scorer.asked)) == 6
    assert {m.reference_samples for m in made if m.conditions["seed"] == 1} == {(103.0,)}


def test_real_scores_come_back_from_the_journal(model, images, journal):
    scorer = NWOTScorer(model, images)
    rows = mixtures(scorer.reference, CANDIDATES, 2)
    first = score(scorer, journal, rows, seeds=(0, None))
    journal.close()
    again = Journal(journal.path)
    other = NWOTScorer(model, images)
    other.score = None  # Nothing is left to do.
    assert score(other, again, rows, seeds=(0, None)) == first


def scored(assignment, seed, value, reference):
    return Measurement("nwot", "", assignment, (value,), (reference,), conditions={"seed": seed})


def test_score_estimates_average_their_own_spread_with_the_usual_one():
    a, b, last = swapped(a="relu"), swapped(b="relu"), swapped(b="gelu")
    deltas = {a: [1.0, 2.0, 3.0], b: [-1.0, -1.0, -4.0], last: [0.0, 0.0, 0.0]}
    references = [100.0, 110.0, 120.0]
    made = [
        scored(assignment, seed, references[seed] + delta, references[seed])
        for assignment, values in deltas.items()
        for seed, delta in enumerate(values)
    ]
    reference, estimates = scores.score_estimates(made, REFERENCE)
    assert reference == Estimate(110.0, 0.0)
    assert [estimates[each].value for each in (a, b, last)] == pytest.approx([112, 108, 110])
    # Variances 1, 3 and 0, the last of an activation that cannot matter; a and b are equally far from the reference.
    usual = (1 + 3 + 0) / 3
    assert estimates[a].standard_error == pytest.approx(math.sqrt((1 + usual) / 2 / 3))
    assert estimates[b].standard_error == pytest.approx(math.sqrt((3 + usual) / 2 / 3))
    assert estimates[last].standard_error == 0
    observations = scores.score_observations(made)
    assert len(observations) == 3
    assert observations[2][0] == Estimate(120.0, 0.0)
    assert [o.delta for o in observations[2][1]] == pytest.approx([3, -4, 0])


def test_a_network_further_from_the_reference_is_usually_less_sure():
    near, far = swapped(a="hard_swish"), swapped(a="relu", b="relu")
    made = [scored(near, 0, 99.9, 100), scored(near, 1, 100.1, 100), scored(far, 0, 99, 100), scored(far, 1, 101, 100)]
    _, estimates = scores.score_estimates(made, REFERENCE)
    assert estimates[far].standard_error > 3 * estimates[near].standard_error


def test_a_single_seed_has_no_error():
    _, estimates = scores.score_estimates([scored(swapped(a="relu"), None, 9.0, 10.0)], REFERENCE)
    assert np.isnan(estimates[swapped(a="relu")].standard_error)
