import dataclasses
import json

import numpy as np
import pytest

from keras_actnas.core import Assignment, Estimate, Journal, Measurement, MetricTable, Proposal, save_proposals

NAMES = ("silu", "relu", "hard_swish", "relu6", "leaky_relu")


@dataclasses.dataclass(frozen=True)
class Made:
    """What a run is made of, as the tests know it: the true effects, and how the device behaves."""

    sites: int = 69
    networks: int = 60
    seed: int = 0
    device: str = "host"
    exact: bool = False
    noise: float = 0.01
    drift: float = 0.02

    @property
    def reference(self):
        return Assignment.uniform([f"model.{number}.cv1.act" for number in range(self.sites)], "silu")

    @property
    def effects(self):
        """Metric -> true effect of each activation at each site; what comes early costs more."""
        rng = np.random.default_rng(self.seed)
        early = np.linspace(1.6, 0.4, self.sites)[:, None] / self.sites
        latency = early * np.array([0.0, -1.8, -1.2, -1.9, -1.3]) * rng.uniform(0.5, 1.5, (self.sites, 5))
        score = np.array([0.0, -4.0, -0.2, -4.1, -3.0]) / self.sites * rng.uniform(-1.0, 3.0, (self.sites, 5))
        return {"latency": latency, "nwot": score}

    def true(self, metric, assignment):
        cells = [self.effects[metric][row, NAMES.index(name)] for row, name in enumerate(assignment.values())]
        return {"latency": 21.6, "nwot": 203.0}[metric] + float(sum(cells))

    def table(self, metric):
        rng = np.random.default_rng(self.seed + 1)
        size = {"latency": 0.1, "nwot": 0.25}[metric] / np.sqrt(self.sites)
        error = np.where(np.arange(5) == 0, 0.0, size) * np.ones((self.sites, 1))
        delta = self.effects[metric] + error * rng.normal(size=error.shape)
        unit, own = {"latency": ("ms", Estimate(21.6, 0.02)), "nwot": ("", Estimate(203.0, 0.0))}[metric]
        context = {"device": self.device, "estimated": self.exact} if metric == "latency" else {}
        return MetricTable(metric, unit, self.reference, NAMES, own, delta, error, context)

    def rows(self):
        """The proposals and baselines, predicted and measured."""
        rng = np.random.default_rng(self.seed + 2)
        latency, score = self.effects["latency"], self.effects["nwot"]
        found = []
        for number in range(5):
            weights = latency - (0.25 + 0.01 * number) * score + rng.normal(0, 0.004, latency.shape)
            best = [NAMES[column] for column in weights.argmin(axis=1)]
            found.append((f"ilp-{number + 1}", Assignment(zip(self.reference, best, strict=True))))
        found += [(f"all {name}", Assignment.uniform(self.reference, name)) for name in NAMES[1:]]
        tables = {metric: self.table(metric) for metric in ("latency", "nwot")}
        return [
            Proposal(
                name,
                one,
                {metric: table.predict(one) for metric, table in tables.items()},
                {
                    "latency": Estimate(self.true("latency", one), 0.0 if self.exact else 0.06),
                    "nwot": Estimate(self.true("nwot", one), 0.8),
                },
                "optimal",
            )
            for name, one in found
        ]

    def measurements(self):
        rng = np.random.default_rng(self.seed + 3)
        mixed = [
            Assignment(zip(self.reference, rng.choice(NAMES, self.sites), strict=True)) for _ in range(self.networks)
        ]
        wanted = [(one, "design") for one in mixed] + [(row.assignment, "verify") for row in self.rows()]
        lines = []
        for number, (one, purpose) in enumerate(wanted):
            runs = 1 if self.exact else 12
            speed = 1 + self.drift * number / len(wanted) if not self.exact else 1.0
            noise = np.zeros((2, runs)) if self.exact else rng.normal(0, self.noise, (2, runs))
            times = speed * np.array([[self.true("latency", one)], [21.6]]) * (1 + noise)
            time = f"2026-01-02T03:{number // 60:02}:{number % 60:02}.000+00:00"
            line = Measurement(
                "latency", "ms", one, tuple(times[0]), tuple(times[1]), purpose, "f00d", {"partitions": 1},
                {"cpu": "a CPU"}, time,
            )  # fmt: skip
            lines.append(line)
            for seed in range(3):
                score = self.true("nwot", one) + rng.normal(0, 0.5)
                lines.append(
                    Measurement("nwot", "", one, (score,), (203.0,), purpose, "f00d", {"seed": seed}, {}, time)
                )
        return lines

    def write(self, folder):
        """Writes the run folder; returns its path."""
        (folder / "tables").mkdir(parents=True)
        identity = {
            "model": "yolov5n", "input_shape": [320, 320, 3], "seed": 0, "device": self.device, "precision": "float32",
            "weights and structure": "f00d",
        }  # fmt: skip
        (folder / "run.json").write_text(json.dumps({"format": 1, "identity": identity}), encoding="utf-8")
        for metric in ("latency", "nwot"):
            self.table(metric).save(folder / "tables" / f"{metric}.json")
        with Journal(folder / "journal.jsonl") as journal:
            journal.append(*self.measurements())
        rows = self.rows()
        own = {"latency": Estimate(21.6, 0.02), "nwot": Estimate(203.0, 0.0)}
        context = {
            "minimize": "latency", "maximize": None, "constraints": ["nwot >= reference"],
            "reference": Proposal("reference", self.reference, measured=own).to_json(),
            "baselines": [row.to_json() for row in rows[5:]],
            "device": self.device, "exact": self.exact, "estimated": ["latency"] if self.exact else [],
            "units": {"latency": "ms", "nwot": ""}, "notes": [], "seconds": {"bench": 120.5}, "seeds": 3,
        }  # fmt: skip
        save_proposals(folder / "proposals.json", rows[:5], context)
        (folder / "reference.tflite").write_bytes(b"")
        return folder


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory):
    """The folder of a run as a search leaves it, of 69 sites, measured on a noisy machine."""
    return Made().write(tmp_path_factory.mktemp("runs") / "host")


@pytest.fixture
def make_run(tmp_path):
    """Writes the folder of a run with other properties."""

    def make(name, **properties):
        return Made(**properties).write(tmp_path / name)

    return make
