"""What the options of a training do to it."""

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


def test_the_running_mean_is_what_is_saved(rooms: Path, base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """After each step the mean keeps (1 + n) / (10 + n) of itself; training itself goes its way as without."""
    short = {"steps": 3, "checkpoint_every": 1, "evaluate_every": 3}
    assert segkit(*words(rooms, base, tmp_path / "plain", **short)).code == 0
    assert segkit(*words(rooms, base, tmp_path / "mean", **short, ema=0.999)).code == 0

    name = "controlnet_mid_block.weight"
    states = [
        load_file(tmp_path / "plain" / "checkpoints" / f"step-{step:08}" / "controlnet.safetensors")[name]
        for step in (1, 2, 3)
    ]
    mean = torch.zeros_like(states[0])  # a zero convolution, at the start
    for step, state in enumerate(states, 1):
        decay = (1 + step) / (10 + step)
        mean = decay * mean + (1 - decay) * state
    torch.testing.assert_close(weights_of(tmp_path / "mean")[name], mean)
    losses = [[line["loss"] for line in log(tmp_path / run)] for run in ("plain", "mean")]
    assert losses[0] == losses[1]
    assert log(tmp_path / "plain")[2]["held_out_loss"] != log(tmp_path / "mean")[2]["held_out_loss"]


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_min_snr_weighs_times(base: Path, tmp_path: Path, prediction: Any) -> None:
    """The loss of one photo is the plain one times min(SNR, gamma) / SNR, or / (SNR + 1) for velocities."""
    found = load.load_base(str(base), "", prediction)
    cpu = torch.device("cpu")
    encoder = Encoder(found, cpu, torch.float32)
    plain, weighed = (DiffusionLoss(found, encoder, PalettePainter(ADE), cpu, gamma) for gamma in (0.0, 5.0))
    batches = Batches([example(tmp_path, 1, (64, 64))], ADE, TrainSettings(batch_size=1, resolution=64))
    seen: list[int] = []

    def steered(noisy: Any, times: Any, texts: Any, control: Any) -> Any:
        seen.append(int(times))
        return torch.zeros_like(noisy)

    alphas = np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)
    ratios = []
    for number in range(12):
        loss, more = (float(each.loss(steered, batches.batch(number))[0]) for each in (plain, weighed))  # type: ignore[arg-type]
        snr = alphas[seen[-1]] / (1 - alphas[seen[-1]])
        expected = min(snr, 5) / (snr if prediction == "epsilon" else snr + 1)
        assert more / loss == pytest.approx(expected, rel=1e-3)
        ratios.append(snr)
    assert min(ratios) < 5 < max(ratios)


def test_rare_classes_are_seen_more_often(tmp_path: Path) -> None:
    """One photo of forty with a class of its own counts sqrt(0.1 / (1 / 40)) = 2 times; without classes it is told."""
    common = [example(tmp_path, seed, (64, 64)) for seed in (1,)] * 39
    rare = example(tmp_path, 2, (64, 64))
    weights = repeat_factors.weights([*common, rare], ADE)
    assert weights.tolist() == [1.0] * 39 + [pytest.approx(2.0)]

    order = BatchOrder([(64, 64)] * 40, 4, 0, weights)
    seen = [place for number in range(order.batches * 50) for place in order[number]]
    assert seen.count(39) / len(seen) == pytest.approx(2 / 41, rel=0.05)
    with pytest.raises(UsageError, match="--balance needs segmentation maps"):
        repeat_factors.weights([rare], None)


@given(st.lists(st.floats(1, 100), min_size=1, max_size=40), st.integers(1, 7), st.integers(0, 99))
def test_every_photo_is_drawn_by_its_share(weights: list[float], batch: int, seed: int) -> None:
    """In each epoch as often as its weight says, rounded up or down."""
    order = BatchOrder([(64, 64)] * len(weights), batch, seed, np.array(weights))
    seen = [place for number in range(order.batches) for place in order[number]]
    for place, weight in enumerate(weights):
        assert abs(seen.count(place) - weight / sum(weights) * len(seen)) < 1 + 1e-6


def test_an_optimizer_that_is_not_there_is_told(
    rooms: Path, base: Path, tmp_path: Path, segkit: Segkit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what to type."""
    monkeypatch.setattr("trainer.step.optimizers.find_spec", lambda name: None)
    done = segkit(*words(rooms, base, tmp_path / "run", optimizer="adamw8bit"))
    assert (done.code, "pip install bitsandbytes" in done.err) == (2, True)


def test_the_eight_bit_optimizer_learns(rooms: Path, base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """Where bitsandbytes is: the loss is a number and weights move; a stopped run goes on."""
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    for steps in (2, 4):
        done = segkit(*words(rooms, base, tmp_path / "run", optimizer="adamw8bit", steps=steps), "--json")
        assert done.code == 0
    assert json.loads(done.out)["resumed"] == 2
    assert float(weights_of(tmp_path / "run")["controlnet_mid_block.weight"].abs().max()) > 0
