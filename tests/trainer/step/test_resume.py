"""A checkpoint has everything that a resumed training needs to repeat every bit."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainer.learners import prepared
from tests.trainer.runs import same
from trainer.checkpoints import load, store
from trainer.checkpoints.store import Checkpoint
from trainer.step import resume
from trainer.step.loss import UNLOCKED, ControlledUNet

OPTIONS: dict[str, Any] = {"ema": 0.9, "sd_unlocked": True}


@pytest.fixture(scope="module")
def saved(base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Checkpoint, Any, float, Any, Any]:
    """A checkpoint with its weights, and the loss, weights and averages of the step after it."""
    folder = tmp_path_factory.mktemp("saved")
    with prepared(base, folder, **OPTIONS) as training:
        training.steps(0, 1)
        training.learner.save(folder / "checkpoints", 1, {"note": "x"})
        before = training.weights()
        loss = float(training.steps(1, 2)[0].loss)
        after = training.weights()
        averages = {name: weight.clone() for name, weight in training.learner.final_model().state_dict().items()}
    start = store.newest(folder / "checkpoints")
    assert start is not None
    return start, before, loss, after, averages


def test_the_next_step_is_the_same(saved: Any, base: Path, tmp_path: Path) -> None:
    """Resumed from a checkpoint, loss, weights and averages equal those of the training that wrote it."""
    start, _, loss, after, averages = saved

    with prepared(base, tmp_path, start, **OPTIONS) as training:
        assert float(training.steps(1, 2)[0].loss) == loss
        assert same(training.weights(), after)
        assert same(training.learner.final_model().state_dict(), averages)


def test_a_checkpoint_has_what_was_trained(saved: Any) -> None:
    """It holds the ControlNet, the unlocked layers, the EMA and the values of its record, but no frozen weight."""
    start, *_ = saved

    assert start.state() == {"scaler": {}, "note": "x", "step": 1}
    assert {path.stem for path in start.folder.glob("*.safetensors")} == {"controlnet", "unet", "ema"}
    assert {name.split(".")[0] for name in start.tensors("unet")} == set(UNLOCKED)


def test_only_unlocked_layers_of_the_base_are_restored(saved: Any, base: Path) -> None:
    """Loading a checkpoint leaves the frozen weights as the base has them."""
    start, before, *_ = saved
    loaded = load.load_base(str(base))
    conv_in = loaded.unet.conv_in.weight.clone()
    model = ControlledUNet(load.load_controlnet("fresh", loaded), loaded.unet, unlocked=True)

    resume.restore_weights(model, start)

    assert same(model.state_dict(), before)
    assert torch.equal(model.unet.conv_in.weight, conv_in)
