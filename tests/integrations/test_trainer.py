"""Training with Ultralytics keeps an assignment."""

import pickle

import pytest
import torch
from ultralytics import YOLO
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.utils import DEFAULT_CFG_DICT

from keras_actnas.core import Assignment, InputError
from keras_actnas.integrations import ActNASTrainer, current_torch_assignment

MIXED = ("relu", "hard_swish", "silu", "leaky_relu", "identity")


class Interrupted(Exception):
    pass


@pytest.fixture
def train(data, train_settings, tmp_path):
    """Trains; an interruption comes after the epoch `until`, counted from 1."""

    def run(weights, until=None, watch=None, **settings):
        yolo = YOLO(weights)
        if until:

            def interrupt(trainer):
                if trainer.epoch + 1 == until:
                    raise Interrupted

            yolo.add_callback("on_fit_epoch_end", interrupt)
        for event, callback in (watch or {}).items():
            yolo.add_callback(event, callback)
        where = {} if "resume" in settings else {"data": str(data), "project": str(tmp_path), "name": "run"}
        try:
            yolo.train(**{"trainer": ActNASTrainer, **where, **train_settings, **settings})
        except Interrupted:
            return None
        return yolo

    return run


@pytest.fixture(scope="module")
def wanted(tiny_yaml):
    sites = current_torch_assignment(YOLO(tiny_yaml))
    mixed = {site: MIXED[number % len(MIXED)] for number, site in enumerate(sites)}
    return Assignment({**mixed, "model.24.cv3.0.0.act": "prelu"})


def saved(path):
    return torch.load(path, weights_only=False)


def foreign_classes(path):
    names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    return [name for name in names if name.startswith("keras_actnas")]


@pytest.mark.parametrize("transition", [(0, 0.75), None])
def test_two_epochs_then_one_more_then_val(train, weights, wanted, data, tmp_path, transition):
    """The whole way: training that is interrupted, resumed, and validated holds the assignment everywhere."""
    alphas = []
    assert train(weights, until=2, assignment=wanted, transition=transition, epochs=3) is None
    last = tmp_path / "run/weights/last.pt"
    content = saved(last)
    assert current_torch_assignment(content["ema"]) == wanted
    assert content["epoch"] == 1
    assert content["ema"].actnas["alpha"] == pytest.approx(2 / 3 / 0.75 if transition else 1)
    assert not foreign_classes(last)

    watch = {"on_train_batch_end": lambda trainer: alphas.append(trainer.transition and trainer.transition.alpha)}
    yolo = train(last, resume=True, watch=watch)
    assert alphas == ([pytest.approx(8 / 9), 1.0] if transition else [None, None])
    for path in (last, last.with_name("best.pt")):
        network = YOLO(path).model
        assert current_torch_assignment(network) == wanted
        assert not foreign_classes(path)
        assert network.actnas["alpha"] == 1
        assert not any(module._forward_hooks for module in network.modules())
    yolo.val(data=str(data), imgsz=64, batch=4, workers=0, plots=False)
    assert current_torch_assignment(yolo) == wanted
    assert YOLO(last).ckpt["epoch"] == -1


def test_ultralytics_alone_loses_it(train, weights, wanted, tmp_path):
    """Why there is a trainer: what was put into a network is gone after `YOLO.train`."""
    from keras_actnas.integrations import apply_assignment

    yolo = YOLO(weights)
    apply_assignment(yolo, wanted)
    yolo.save(tmp_path / "applied.pt")
    yolo = train(tmp_path / "applied.pt", trainer=DetectionTrainer, epochs=1)
    assert set(current_torch_assignment(yolo).values()) == {"silu"}


def test_the_transition_starts_from_what_the_weights_can_do(train, weights, wanted):
    """The first batch's loss is that of Ultralytics' own training from the same weights, to the bit."""
    losses = {}

    def keep(name):
        return lambda trainer: losses.setdefault(name, trainer.loss.item())

    own = {"trainer": DetectionTrainer}
    ours = {"assignment": wanted.with_swaps({"model.24.cv3.0.0.act": "relu"})}
    for name, settings in {"plain": own, "moving": {**ours, "transition": (0, 1)}, "swapped": ours}.items():
        train(weights, watch={"on_train_batch_end": keep(name)}, until=1, epochs=2, exist_ok=True, **settings)
    assert losses["moving"] == losses["plain"]
    assert losses["swapped"] != losses["plain"]


def test_the_moving_average_is_the_network_to_be_deployed(train, weights, wanted):
    """It has the new activations alone while the network in training is mixed, also after a recovery from NaN."""
    hooks = []

    def count(trainer):
        if trainer.epoch == 1:
            trainer._load_checkpoint_state(saved(trainer.last))
        networks = trainer.model, trainer.ema.ema
        hooks.append([sum(len(module._forward_hooks) for module in network.modules()) for network in networks])

    train(weights, watch={"on_train_epoch_end": count}, assignment=wanted, transition=(0, 1), epochs=3, until=2)
    moving = sum(name != "silu" for name in wanted.values())
    assert hooks == [[moving, 0], [moving, 0]]


def test_an_end_before_that_of_the_transition_is_told(train, weights, wanted):
    def stop(trainer):
        trainer.stop = True

    with pytest.warns(UserWarning, match=r"Training ended at alpha 0.333, before the transition did"):
        yolo = train(weights, watch={"on_train_epoch_end": stop}, assignment=wanted, transition=(0, 1), epochs=3)
    assert current_torch_assignment(yolo) == wanted


def test_from_a_yaml(train, tiny_yaml, wanted):
    yolo = train(tiny_yaml, assignment=wanted, epochs=1)
    assert current_torch_assignment(yolo) == wanted


def test_a_site_left_out_keeps_what_the_weights_have(train, weights, wanted):
    first = train(weights, assignment=wanted, epochs=1)
    yolo = train(first.trainer.best, assignment={"model.0.act": "elu"}, epochs=1)
    assert current_torch_assignment(yolo) == wanted.with_swaps({"model.0.act": "elu"})
    assert yolo.model.actnas["before"] == {}


def test_processes_of_several_gpus_get_it(weights, tiny_yaml, wanted, data, train_settings, tmp_path, monkeypatch):
    """What Ultralytics hands to them, by pickle, is enough to build the same trainer there."""
    sent = []

    def send(trainer):
        sent.append(pickle.dumps({"args": vars(trainer.args), "model": trainer.model, "trainer": type(trainer)}))
        raise Interrupted

    monkeypatch.setattr("ultralytics.engine.trainer.generate_ddp_command", send)
    for model in (tiny_yaml, weights):
        own = {"model": str(model), "data": str(data), "epochs": 1, "project": str(tmp_path), **train_settings}
        trainer = ActNASTrainer(overrides={**own, "assignment": wanted, "transition": (0, 0.5)})
        if model == weights:  # As `YOLO.train` does.
            trainer.model = trainer.get_model(weights=YOLO(model).model, cfg=YOLO(model).model.yaml)
        trainer.ddp = True
        with pytest.raises(Interrupted):
            trainer.train()
        state = pickle.loads(sent.pop())
        there = state["trainer"](cfg={**DEFAULT_CFG_DICT, "save_dir": ""}, overrides=state["args"])
        there.model = state["model"]
        there.train()
        assert current_torch_assignment(there.ema.ema) == wanted
        assert there.plan.ramp.end == 0.5


def test_refusals(train, weights, wanted, tmp_path):
    with pytest.raises(InputError, match="Expected an assignment"):
        train(weights, epochs=1)
    with pytest.raises(InputError, match="is the assignment for another model"):
        train(weights, assignment={"model.99.act": "relu"}, epochs=1)
    with pytest.raises(InputError, match="neither distill_model nor quantize=8"):
        train(weights, assignment=wanted, epochs=1, quantize=8)
    train(weights, until=1, assignment=wanted, epochs=2, name="other")
    last = tmp_path / "other/weights/last.pt"
    with pytest.raises(InputError, match="which is resumed, or none. Received: another"):
        train(last, resume=True, assignment={"model.0.act": "elu"})
    train(weights, trainer=DetectionTrainer, until=1, epochs=2, name="plain")
    with pytest.raises(InputError, match="Expected a checkpoint that ActNASTrainer wrote"):
        train(tmp_path / "plain/weights/last.pt", resume=True)


def test_checkpoints_are_checked(train, weights, wanted):
    """A checkpoint that lost the assignment on the way does not go unnoticed."""

    def lose(trainer):
        trainer.ema.ema.get_submodule("model.0").act = torch.nn.Tanh()

    with pytest.raises(RuntimeError, match=r"does not hold the assignment at 1 sites, such as model.0.act: tanh, not"):
        train(weights, watch={"on_train_epoch_end": lose}, assignment=wanted, epochs=1)


def test_an_assignment_by_file(train, weights, wanted, tmp_path):
    wanted.save(tmp_path / "best.json")
    yolo = train(weights, assignment=str(tmp_path / "best.json"), epochs=1)
    assert current_torch_assignment(yolo) == wanted
    assert yolo.model.actnas["assignment"] == dict(wanted)
