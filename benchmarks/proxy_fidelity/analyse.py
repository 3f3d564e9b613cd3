"""How well each proxy follows trained accuracy, beside what could be reached and what trivial predictors reach.

  python benchmarks/proxy_fidelity/analyse.py --network residual --trainings benchmarks/proxy_fidelity/residual.jsonl

Reads trainings (`train.py`), scores (`proxies.py`), and shapes, latencies and proposals (`propose.py`); prints tables,
and writes them as Markdown and CSV where `--out` says. It can be run while trainings are going on.

- The spread between assignments and the noise come from value = mean + assignment + seed + noise.
- The ceiling is what the true effects themselves would correlate with the means over the seeds, simulated from these
  variances; beside it, for Spearman, the root of the reliability by the Spearman-Brown formula from pairs of seeds.
- Correlations are over all assignments, over those that mix activations, and over pairs within bands of equal latency.
  Intervals are 95 %, by bootstrap over assignments and seeds. "given shares" is the correlation of the ranks beyond a
  linear function of the share of each activation.
- Fitted predictors predict each assignment from all others.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from calibrated import PRIORS, left_out, transferred
from candidates import HERE, proposed
from command import run_command
from correlation import kendall
from network_study import COLUMNS, FEWEST, Study
from predictors import left_out_linear, linear_features, shares
from printed import Table
from scipy.stats import rankdata
from score_lines import Setting, read_scores
from trainings import between, between_seeds, ceilings

from keras_actnas.core import CANDIDATES, Assignment, MetricTable

PARTS = {"nwot": "inference", "sensitivity_batch": "batch"}
"""Proxy -> mode of BatchNorm, of those whose ranks are added."""


def variances(study: Study) -> Table:
    """Returns spread, noise and ceilings, a row for each subset."""
    rows = []
    for subset in study.subsets:
        effect, groups = study.at(subset.rows), subset.groups[subset.rows]
        spread, error = np.sqrt(between(effect, groups)), float(np.sqrt(np.mean(effect.errors**2)))
        tau, rho = ceilings(effect, groups)
        seeds = between_seeds(study.trainings.values[subset.rows]) if not groups.any() else (np.nan, np.nan)
        count = float(effect.counts.mean())
        cells = [f"{spread:.5f}", f"{np.sqrt(effect.noise):.5f}", f"{error:.5f}", f"{spread / error:.2f}"]
        agreement = [f"{seeds[0]:.2f}", f"{seeds[1]:.2f}", f"{_spearman_brown(seeds[1], count):.2f}"]
        rows.append(
            [subset.name, str(subset.rows.sum()), f"{count:.1f}", *cells, f"{tau:.2f}", f"{rho:.2f}", *agreement]
        )
    header = ["assignments", "number", "seeds of each", "spread", "noise of a training", "of a mean", "spread / noise"]
    more = ["Kendall ceiling", "Spearman ceiling", "Kendall of two seeds", "Spearman of two", "its ceiling"]
    return Table("Spread, noise, ceilings", [*header, *more], rows)


def _spearman_brown(two: float, count: float) -> float:
    """Returns the highest correlation with a mean over `count` seeds of which two correlate so."""
    return float(np.sqrt(max(count * two / (1 + (count - 1) * two), 0.0)))


def trivial(study: Study) -> Table:
    """Returns the correlations of the shares of each activation, and of linear functions of them."""
    assignments, values = study.trainings.assignments, study.effects.values
    rows = [
        [f"{kind}: {name}", *study.judge(column)]
        for kind, found in shares(assignments, study.shapes).items()
        for name, column in zip(CANDIDATES, found.T, strict=True)
    ]
    for name, features in linear_features(assignments, study.shapes).items():
        rows.append([f"linear in {name}", *study.judge(left_out_linear(features, values))])
    return Table("Trivial predictors", ["predictor", *COLUMNS], rows)


def fitted(study: Study, other: Study | None, table: MetricTable | None) -> Table:
    """Returns the correlations of the calibrated predictors, also of those that another network or a search made."""
    rows = []
    for name, prior in PRIORS.items():
        errors = study.effects.errors
        found = left_out(study.trainings.assignments, study.shapes, study.effects.values, errors, prior(study.shapes))
        rows.append([f"{name}, all others", *study.judge(found)])
        if other is not None:
            known = other.trainings.assignments, other.shapes, other.effects.values, other.effects.errors
            rows.append(
                [
                    f"{name}, the other network",
                    *study.judge(transferred(known, study.trainings.assignments, study.shapes, prior)),
                ]
            )
    if table is not None:
        better = -1 if table.unit == "loss" else 1
        found = np.array([better * table.predict(one).value for one in study.trainings.assignments])
        rows.append([f"table of {table.metric}, {table.context['networks']} networks", *study.judge(found)])
    return Table("Calibrated predictors", ["predictor", *COLUMNS], rows)


def proxies(study: Study, path: Path) -> tuple[Table, Table]:
    """Returns the proxies' correlations, of the mean over all starts, and how they depend on the number of starts."""
    found, higher = read_scores(path)
    rows, numbers, usual = [], [], {}
    for setting, scores in found.items():
        table = _table(study, scores.values()) * (1 if higher[setting.proxy] else -1)
        if np.isnan(table).any():
            continue  # Not scored with all starts yet.
        rows.append([*_cells(setting), str(len(table)), *study.judge(table.mean(axis=0))])
        if len(table) > len(usual.get(setting.proxy, ())) and setting.batch_norm == PARTS.get(setting.proxy):
            usual[setting.proxy] = table
        if len(table) >= 3:
            numbers.append([*_cells(setting), *_by_starts(table, study.effects.values)])
    if len(usual) == len(PARTS):
        ranks = sum(rankdata(table.mean(axis=0)) for table in usual.values())
        rows.append([" + ".join(usual) + ", ranks", *[""] * 4, *study.judge(ranks)])
    header = ["proxy", "BatchNorm", "batch", "pixels"]
    return (
        Table("Proxies", [*header, "starts", *COLUMNS], rows),
        Table("Kendall, all, by the number of starts", [*header, "1", "3", "all", "Kendall of two starts"], numbers),
    )


def _cells(setting: Setting) -> list[str]:
    return [str(value) for value in dataclasses.astuple(setting)]


def _table(study: Study, starts: Sequence[Mapping[str, float]]) -> np.ndarray:
    """Returns the scores of the trained assignments, shape (starts, assignments); NaN where there is none."""
    digests = [assignment.digest for assignment in study.trainings.assignments]
    return np.array([[scores.get(digest, np.nan) for digest in digests] for scores in starts])


def _by_starts(table: np.ndarray, values: np.ndarray) -> Iterator[str]:
    """Yields Kendall's mean, least and largest over choices of 1 and 3 starts; of all; and between two starts."""
    for count in (1, 3):
        chosen = itertools.combinations(range(len(table)), count)
        taus = [kendall(table[list(rows)].mean(axis=0), values) for rows in chosen]
        yield f"{np.mean(taus):+.2f} [{min(taus):+.2f}, {max(taus):+.2f}]"
    yield f"{kendall(table.mean(axis=0), values):+.2f}"
    yield f"{np.mean([kendall(one, other) for one, other in itertools.combinations(table, 2)]):+.2f}"


def networks(study: Study) -> Table:
    """Returns the uniform networks and the proposals: latency, value, and difference to SiLU in standard errors."""
    names, assignments, effect = study.trainings.names, study.trainings.assignments, study.effects
    row_of = {assignment: row for row, assignment in enumerate(assignments)}
    silu = row_of.get(Assignment.uniform(study.shapes, "silu"))
    wanted = {name: one for name, one in zip(names, assignments, strict=True) if len(one.counts()) == 1}
    wanted.update(proposed(Assignment.uniform(study.shapes, "silu")))
    rows = []
    for name, assignment in wanted.items():
        row = row_of.get(assignment)
        if row is None or silu is None:
            continue
        away = effect.values[row] - effect.values[silu]
        error = float(np.hypot(effect.errors[row], effect.errors[silu])) if row != silu else 0.0
        latency = study.latency.get(name, np.nan) / study.latency["all silu"]
        rows.append([name, f"{latency:.3f}", f"{effect.values[row]:.5f}", f"{away:+.5f}", f"{error:.5f}"])
    header = ["network", "latency / SiLU's", "value", "over SiLU's", "standard error of that"]
    return Table("Uniform networks and proposals", header, rows)


def extremes(study: Study, count: int = 8) -> Table:
    """Returns the best and the worst assignments."""
    order = np.argsort(-study.effects.values)
    chosen = [*order[:count], *order[-count:]]
    cells = [(study.trainings.names[row], f"{study.effects.values[row]:.5f}") for row in chosen]
    errors = [f"{study.effects.errors[row]:.5f}" for row in chosen]
    summaries = [study.trainings.assignments[row].summary() for row in chosen]
    rows = [[*pair, error, summary] for pair, error, summary in zip(cells, errors, summaries, strict=True)]
    return Table("Best and worst", ["network", "value", "standard error", "activations"], rows)


def summary(study: Study, tables: Sequence[Table]) -> Table:
    """Returns the aim, 0.6 or 80 % of the ceiling, whichever is lower, and the row of each table that is best over all.

    The best of many rows is partly the best by chance.
    """
    everything = study.subsets[0]
    ceiling = ceilings(study.at(everything.rows), everything.groups)[0]
    rows = [["ceiling", "", f"{ceiling:.2f}"], ["aim", "", f"{np.fmin(0.6, 0.8 * ceiling):.2f}"]]
    for table in tables:
        column = table.header.index(COLUMNS[0])
        values = [float(row[column].split()[0]) for row in table.rows]
        best = table.rows[int(np.nanargmax(values))] if values else None
        if best:
            rows.append([table.title, " ".join(best[:column]), best[column]])
    return Table("Kendall, all", ["", "which", "correlation"], rows)


def main() -> None:
    """Prints and writes the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="residual")
    parser.add_argument("--trainings", type=Path, required=True, help="JSON lines of the trainer")
    parser.add_argument("--metric", default="accuracy", help="key of the value in them; of a loss, less is better")
    parser.add_argument("--scores", type=Path, help="JSON lines of proxies.py; scores_NETWORK.jsonl by default")
    parser.add_argument("--other", help="another network, whose calibration is tried on this one")
    parser.add_argument("--other_trainings", type=Path)
    parser.add_argument("--other_metric", default="accuracy")
    parser.add_argument("--table", type=Path, help="table of a search to judge, tables/METRIC.json in its run folder")
    parser.add_argument("--out", type=Path, help="folder for the tables as Markdown and CSV")
    options = parser.parse_args()
    study = Study(options.network, options.trainings, options.metric)
    other = Study(options.other, options.other_trainings, options.other_metric) if options.other else None
    tables = [variances(study), extremes(study), networks(study)]
    if len(study.trainings.names) >= FEWEST:
        scores = options.scores or HERE / f"scores_{options.network}.jsonl"
        table = MetricTable.load(options.table) if options.table else None
        judged = [trivial(study), fitted(study, other, table)]
        by_proxy, by_starts = proxies(study, scores)
        tables += [*judged, by_proxy, by_starts, summary(study, [*judged, by_proxy])]
    text = "\n".join(table.markdown() for table in tables)
    print(text)
    if options.out:
        prefix = f"{options.network}-{options.metric}"
        for table in tables:
            table.save(options.out, prefix)
        (options.out / f"{prefix}.md").write_text(text.lstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    run_command(main)
