"""Effects of single training options."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from segkit.palette import Palette
from tests.conftest import Segkit
from tests.trainer.runs import log, weights_of, words

pytestmark = pytest.mark.usefixtures("short_callbacks")

ADE = Palette.load("ade20k")


def test_ema_weights_are_exported(rooms: Path, base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """The EMA decays by (1 + n) / (10 + n) at step n, is exported and validated, and does not change training."""
    short = {"steps": 3, "checkpoint_every": 1, "evaluate_every": 3}
    assert segkit(*words(rooms, base, tmp_path / "plain", **short)).code == 0
    assert segkit(*words(rooms, base, tmp_path / "ema", **short, ema=0.999)).code == 0

    name = "controlnet_mid_block.weight"
    states = [
        load_file(tmp_path / "plain" / "checkpoints" / f"step-{step:08}" / "controlnet.safetensors")[name]
        for step in (1, 2, 3)
    ]
    average = torch.zeros_like(states[0])  # a zero convolution
    for step, state in enumerate(states, 1):
        decay = (1 + step) / (10 + step)
        average = decay * average + (1 - decay) * state
    torch.testing.assert_close(weights_of(tmp_path / "ema")[name], average)
    losses = [[line["loss"] for line in log(tmp_path / run)] for run in ("plain", "ema")]
    assert losses[0] == losses[1]
    assert log(tmp_path / "plain")[2]["held_out_loss"] != log(tmp_path / "ema")[2]["held_out_loss"]


def test_a_missing_optimizer_is_reported(
    rooms: Path, base: Path, tmp_path: Path, segkit: Segkit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message has the command that installs it."""
    monkeypatch.setattr("trainer.step.optimizers.find_spec", lambda name: None)
    done = segkit(*words(rooms, base, tmp_path / "run", optimizer="adamw8bit"))
    assert (done.code, "pip install bitsandbytes" in done.err) == (2, True)


def test_the_8_bit_optimizer_trains(rooms: Path, base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """With bitsandbytes, the loss is finite, weights change, and a run can be resumed."""
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    for steps in (2, 4):
        done = segkit(*words(rooms, base, tmp_path / "run", optimizer="adamw8bit", steps=steps), "--json")
        assert done.code == 0
    assert json.loads(done.out)["resumed"] == 2
    assert float(weights_of(tmp_path / "run")["controlnet_mid_block.weight"].abs().max()) > 0
