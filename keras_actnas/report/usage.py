"""How to apply a result: the exact commands; and what the run was."""

from __future__ import annotations

import shlex

from keras_actnas.report.layout import note, section
from keras_actnas.report.markup import Markup, element, table
from keras_actnas.report.run import Run


def usage_section(run: Run) -> Markup:
    """Returns commands that work as they stand, from the folder in which the report was made."""
    name = run.best.name
    steps = [
        (f"Take {name}: its networks are in the run folder.", _listing(run)),
        ("Fine-tune it on your data; the weights are those of the reference.", _fine_tuning(run)),
    ]
    other = run.proposals[1].name if len(run.proposals) > 1 else name
    chosen = _quoted(run, "proposals.json", f"#{other}")
    keras = f"keras-actnas apply --model={_quoted(run, 'best.keras')} --assignment={chosen} --out={other}.keras"
    commands = [keras]
    if _network(run):
        reference = _quoted(run, "reference.tflite")
        commands.append(f"keras-actnas apply --model={reference} --assignment={chosen} --out={other}.tflite")
        steps.append((f"Build another, such as {other}.", "\n".join(commands)))
        again = f"keras-actnas bench {_quoted(run, 'best.tflite')} --reference={reference}"
        steps.append(("Measure it again on the machine in front of you.", again))
    else:
        steps.append((f"Build another, such as {other}.", keras))
    compared = f"keras-actnas compare {_quoted(run)} OTHER_RUN"
    steps.append(("See what it would cost on another device that you have searched on.", compared))
    items = (element("li", text, element("pre", element("code", code), tabindex="0")) for text, code in steps)
    return section("Apply the result", element("ol", *items))


def conditions_section(run: Run) -> Markup:
    """Returns what the measurements depend on, and how long each stage took."""
    rows = [[key, _shown(value)] for key, value in run.identity.items()]
    asked = f"{'maximize' if run.context.get('maximize') else 'minimize'} {run.objective}"
    bounds = "; ".join(map(str, run.context.get("constraints", ()))) or "none"
    rows += [["objective", asked], ["constraints", bounds]]
    rows += (
        [["measured", f"{_minute(run.journal[0].time)} to {_minute(run.journal[-1].time)} UTC"]] if run.journal else []
    )
    rows += [[f"time, {stage}", f"{seconds:g} s"] for stage, seconds in run.context.get("seconds", {}).items()]
    how = "Times are those of the command that ended the run; what it found in the journal took none."
    return section("How it was found", table(("what", "value"), rows, "Conditions of the run", "words"), note(how))


def _listing(run: Run) -> str:
    suffix = [".tflite"] if _network(run) else [path.suffix for path in run.path.glob("best.onnx")]
    return "\n".join(_quoted(run, f"best{one}") for one in (".keras", *suffix, ".json"))


def _fine_tuning(run: Run) -> str:
    return "\n".join(
        [
            "import keras, keras_actnas.layers",
            f"model = keras.models.load_model({str(run.path / 'best.keras')!r})",
            'model.compile("adam", loss)  # and fit on your data',
        ]
    )


def _network(run: Run) -> bool:
    """Whether the run's networks are .tflite files, which the commands take."""
    return (run.path / "reference.tflite").exists()


def _quoted(run: Run, name: str = "", behind: str = "") -> str:
    return shlex.quote(f"{run.path / name}{behind}")


def _minute(time: str) -> str:
    return time[:16].replace("T", " ")


def _shown(value: object) -> str:
    return " x ".join(map(str, value)) if isinstance(value, list) else str(value)
