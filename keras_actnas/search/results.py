"""What a finished search leaves in its folder."""

from __future__ import annotations

import dataclasses

import keras

from keras_actnas.core.files import write_atomically
from keras_actnas.core.proposal import save_proposals
from keras_actnas.export.keras_files import save_keras
from keras_actnas.search.measuring import Measuring
from keras_actnas.search.run_folder import RunFolder
from keras_actnas.search.settings import SearchResult
from keras_actnas.surgery import replace_activations


def write_results(result: SearchResult, model: keras.Model, measuring: Measuring, folder: RunFolder) -> None:
    """Writes the proposals, and the best network as an assignment, a .keras and a file for the device."""
    settings, device = result.settings, measuring.device
    context = {
        "minimize": settings.minimize,
        "maximize": settings.maximize,
        "constraints": [str(constraint) for constraint in settings.constraints],
        "rules": dataclasses.asdict(settings.rules),
        "confidence": settings.confidence,
        "reference": result.reference.to_json(),
        "baselines": [row.to_json() for row in result.baselines],
        # What a report says besides.
        "device": result.device,
        "exact": device.exact,
        "estimated": list(device.metrics) if device.estimated else [],
        "units": result.units,
        "notes": result.notes,
        "rounds": [one.to_json() for one in result.rounds],
        "seconds": {stage: round(seconds, 1) for stage, seconds in result.seconds.items()},
        "seeds": settings.seeds,
        "scores": {settings.kind.name: {"higher_is_better": settings.kind.higher_is_better}},
    }
    save_proposals(folder.file("proposals.json"), result.proposals, context)
    best = result.best.assignment
    best.save(folder.file("best.json"))
    save_keras(replace_activations(model, best), folder.file("best.keras"))
    write_atomically(folder.file(f"best{device.suffix}"), measuring.network.edit(best))
