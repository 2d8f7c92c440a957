"""A checkpoint has everything that a resumed training needs to repeat every bit."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainer.learners import prepared
from tests.trainer.runs import same
from trainer.checkpoints import load, store
from trainer.step import resume
from trainer.step.loss import UNLOCKED, ControlledUNet


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({}, {"controlnet"}),
        ({"ema": 0.9, "sd_unlocked": True}, {"controlnet", "unet", "ema"}),
    ],
    ids=["plain", "ema-unlocked"],
)
def test_the_next_step_is_the_same(base: Path, tmp_path: Path, options: dict[str, Any], parts: set[str]) -> None:
    """After a checkpoint, losses, weights and averages equal those of the training that wrote it."""
    checkpoints = tmp_path / "checkpoints"
    with prepared(base, tmp_path, **options) as training:
        training.steps(0, 2)
        training.learner.save(checkpoints, 2, {"note": "x"})
        expected = float(training.steps(2, 3)[0].loss)
        weights, final = training.weights(), training.learner.final_model().state_dict()
        final = {name: weight.clone() for name, weight in final.items()}

    start = store.newest(checkpoints)
    assert start is not None
    assert start.state() == {"scaler": {}, "note": "x", "step": 2}
    assert {path.stem for path in start.folder.glob("*.safetensors")} == parts
    with prepared(base, tmp_path, start, **options) as training:
        assert float(training.steps(2, 3)[0].loss) == expected
        assert same(training.weights(), weights)
        assert same(training.learner.final_model().state_dict(), final)


def test_only_unlocked_layers_of_the_base_are_restored(base: Path, tmp_path: Path) -> None:
    """A checkpoint holds no frozen weight, and loading it leaves those as the base has them."""
    with prepared(base, tmp_path, sd_unlocked=True) as training:
        training.steps(0, 1)
        training.learner.save(tmp_path, 1, {})
        trained = training.weights()
    start = store.newest(tmp_path)
    assert start is not None
    assert {name.split(".")[0] for name in start.tensors("unet")} == set(UNLOCKED)

    loaded = load.load_base(str(base))
    conv_in = loaded.unet.conv_in.weight.clone()
    model = ControlledUNet(load.load_controlnet("fresh", loaded), loaded.unet, unlocked=True)
    resume.restore_weights(model, start)

    assert same(model.state_dict(), trained)
    assert torch.equal(model.unet.conv_in.weight, conv_in)
