"""The command line itself: help, version, unknown commands, exit statuses, and that it starts quickly."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import keras_actnas
from keras_actnas import cli
from keras_actnas.commands.runs import progress
from keras_actnas.core import InputError

ROOT = Path(keras_actnas.__file__).parents[1]


@pytest.fixture
def stub(monkeypatch):
    """Makes `keras-actnas search` run a function of the test's own."""

    def use(run, define_flags=lambda values: None):
        module = ModuleType("keras_actnas.commands.search", "What it does.")
        module.run, module.define_flags = run, define_flags
        monkeypatch.setitem(sys.modules, "keras_actnas.commands.search", module)

    return use


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["help"]])
def test_help_lists_the_commands(capsys, arguments):
    assert cli.main(arguments) == 0
    out = capsys.readouterr().out
    for name, purpose in cli.COMMANDS.items():
        assert f"  {name:8}  {purpose}" in out


def test_without_a_command(capsys):
    assert cli.main([]) == 2
    assert "Usage: keras-actnas COMMAND" in capsys.readouterr().out


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"{keras_actnas.__version__}\n"


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_help_of_every_command(capsys, name):
    assert cli.main([name, "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"keras-actnas {name}: ")
    assert "--" in out and "Flags:" in out
    assert cli.main([name, "--model=x", "-h"]) == 0


def test_every_command_knows_its_flags(capsys):
    def flags(name):
        cli.main([name, "--help"])
        return capsys.readouterr().out

    for flag in ("model", "image_size", "device", "activations", "minimize", "constraint", "top_k", "num_threads",
                 "images", "seed", "out"):  # fmt: skip
        assert f"--{flag}:" in flags("search").replace("--[no]", "--"), flag
    assert "--precision:" in flags("convert")
    assert "--assignment:" in flags("apply")
    assert "--table:" in flags("solve")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("serch", "Did you mean 'search'"),
        ("train", "Known: search, convert"),
        ("--model=x", "Known:"),
        ("", ""),
    ],
)
def test_unknown_commands(capsys, name, hint):
    assert cli.main([name]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"keras-actnas: Unknown command {name!r}.")
    assert hint in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_unknown_flags(capsys, name):
    assert cli.main([name, "--nosuchflag=1"]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"keras-actnas {name}: Unknown command line flag 'nosuchflag'")
    assert err.count("\n") == 1


def test_an_input_error_is_one_line(capsys, stub):
    def run(values, positional):
        raise InputError("Expected a\n  thing. Received:\tnone.")

    stub(run)
    assert cli.main(["search"]) == 2
    assert capsys.readouterr().err == "keras-actnas search: Expected a thing. Received: none.\n"


def test_an_input_error_is_a_line_of_its_own_behind_a_progress_bar(capsys, stub):
    def run(values, positional):
        for _ in progress([1, 2, 3], "latency"):
            raise InputError("Expected more.")

    stub(run)
    assert cli.main(["search"]) == 2
    lines = capsys.readouterr().err.split("\n")
    assert "keras-actnas search: Expected more." in lines


def test_other_errors_are_ours_and_keep_their_traceback(stub):
    def run(values, positional):
        raise RuntimeError("a bug")

    stub(run)
    with pytest.raises(RuntimeError, match="a bug"):
        cli.main(["search"])


def test_an_interrupt(capsys, stub):
    def run(values, positional):
        raise KeyboardInterrupt

    stub(run)
    assert cli.main(["search"]) == 130
    assert "the same command continues" in capsys.readouterr().err


def test_positional_arguments_may_stand_anywhere(stub):
    from absl import flags

    seen = []
    stub(
        lambda values, positional: seen.append((positional, values.runs)),
        lambda values: flags.DEFINE_integer("runs", 1, "Runs.", flag_values=values),
    )
    assert cli.main(["search", "a.tflite", "--runs=3"]) == 0
    assert cli.main(["search", "--runs", "4", "a.tflite"]) == 0
    assert seen == [(["a.tflite"], 3), (["a.tflite"], 4)]


def in_a_new_process(code):
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)


LIGHT = (
    "import keras_actnas.cli as cli",
    *(f"import keras_actnas.search.{name}" for name in ("tables", "designs", "priors", "run_folder", "ilp")),
    "import keras_actnas.search, keras_actnas.report",
    "import keras_actnas.cli as cli; assert cli.main(['--help']) == 0",
    "import keras_actnas.cli as cli; assert cli.main(['--version']) == 0",
    "import keras_actnas.cli as cli; assert cli.main(['serch']) == 2",
    *(f"import keras_actnas.cli as cli; assert cli.main([{name!r}, '--help']) == 0" for name in cli.COMMANDS),
    *(f"import keras_actnas.cli as cli; assert cli.main([{name!r}, '--oops']) == 2" for name in cli.COMMANDS),
    "import keras_actnas.cli as cli; assert cli.main(['search', '--device=npu']) == 2",
    "import keras_actnas.cli as cli; assert cli.main(['search', '--top_k=0']) == 2",
    "import keras_actnas.cli as cli; assert cli.main(['search', '--constraint=fast']) == 2",
    "import keras_actnas.cli as cli; assert cli.main(['solve', '--out=nowhere']) == 2",
    "import keras_actnas.cli as cli; assert cli.main(['bench', 'nowhere.tflite']) == 2",
    "import keras_actnas.cli as cli; assert cli.main(['apply', '--model=nowhere.keras']) == 2",
)


def test_neither_keras_nor_tensorflow_is_imported_before_it_is_needed():
    """All in one process, one after the other: what any of them imported would show."""
    heavy = "{'keras', 'tensorflow', 'torch', 'jax', 'matplotlib', 'pulp'}"
    check = f"\nfound = {heavy} & set(sys.modules); assert not found, (found, STEP)\n"
    code = "import sys\n" + "".join(f"STEP = {step!r}\n{step}{check}" for step in LIGHT)
    result = in_a_new_process(code)
    assert result.returncode == 0, result.stderr[-2000:]


def test_a_bad_model_is_one_line_in_a_real_process():
    """TensorFlow's own start-up notices do not stand around it."""
    arguments = [sys.executable, "-m", "keras_actnas.cli", "search", "--model=nowhere.keras"]
    result = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr == (
        "keras-actnas search: Expected a .keras file. Received: nowhere.keras, which does not exist.\n"
    )
    assert result.stdout == ""
