"""Effects of single training options."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from segkit.errors import UsageError
from segkit.palette import Palette
from tests.conftest import Segkit
from tests.trainer.data.test_batches import example
from tests.trainer.runs import log, weights_of, words
from trainer.checkpoints import load
from trainer.data import repeat_factors
from trainer.data.batches import Batches
from trainer.data.buckets import BatchOrder
from trainer.data.latents import Encoder
from trainer.data.paint import PalettePainter
from trainer.settings import TrainSettings
from trainer.step.loss import DiffusionLoss

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


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_min_snr_weights_timesteps(base: Path, tmp_path: Path, prediction: Any) -> None:
    """The loss is the plain one times min(SNR, gamma) / SNR, or / (SNR + 1) for v-prediction."""
    loaded = load.load_base(str(base), "", prediction)
    cpu = torch.device("cpu")
    encoder = Encoder(loaded, cpu, torch.float32)
    plain, weighted = (DiffusionLoss(loaded, encoder, PalettePainter(ADE), cpu, gamma) for gamma in (0.0, 5.0))
    batches = Batches([example(tmp_path, 1, (64, 64))], ADE, TrainSettings(batch_size=1, resolution=64))
    drawn: list[int] = []

    def model(noisy_latents: Any, timesteps: Any, encoder_hidden_states: Any, control: Any) -> Any:
        drawn.append(int(timesteps))
        return torch.zeros_like(noisy_latents)

    alphas = np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)
    ratios = []
    for number in range(12):
        loss, scaled = (float(objective.loss(model, batches.batch(number))[0]) for objective in (plain, weighted))  # type: ignore[arg-type]
        snr = alphas[drawn[-1]] / (1 - alphas[drawn[-1]])
        expected = min(snr, 5) / (snr if prediction == "epsilon" else snr + 1)
        assert scaled / loss == pytest.approx(expected, rel=1e-3)
        ratios.append(snr)
    assert min(ratios) < 5 < max(ratios)


def test_rare_classes_are_sampled_more_often(tmp_path: Path) -> None:
    """The only photo of forty with a class counts sqrt(0.1 / (1 / 40)) = 2 times; without a palette it is an error."""
    common = [example(tmp_path, seed, (64, 64)) for seed in (1,)] * 39
    rare = example(tmp_path, 2, (64, 64))
    weights = repeat_factors.weights([*common, rare], ADE)
    assert weights.tolist() == [1.0] * 39 + [pytest.approx(2.0)]

    order = BatchOrder([(64, 64)] * 40, 4, 0, weights)
    sampled = [place for number in range(order.batches * 50) for place in order[number]]
    assert sampled.count(39) / len(sampled) == pytest.approx(2 / 41, rel=0.05)
    with pytest.raises(UsageError, match="--balance needs segmentation maps"):
        repeat_factors.weights([rare], None)


@given(st.lists(st.floats(1, 100), min_size=1, max_size=40), st.integers(1, 7), st.integers(0, 99))
def test_photos_are_sampled_by_weight(weights: list[float], batch: int, seed: int) -> None:
    """In each epoch a photo appears in proportion to its weight, rounded up or down."""
    order = BatchOrder([(64, 64)] * len(weights), batch, seed, np.array(weights))
    sampled = [place for number in range(order.batches) for place in order[number]]
    for place, weight in enumerate(weights):
        assert abs(sampled.count(place) - weight / sum(weights) * len(sampled)) < 1 + 1e-6


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
