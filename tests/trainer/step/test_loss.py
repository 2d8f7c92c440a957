"""The loss is the error of the noise or velocity that the networks predict for a batch."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from segkit.errors import MapError, ModelError
from segkit.palette import Palette
from tests.trainer.data.test_batches import example
from trainer.checkpoints import load
from trainer.checkpoints.load import Base
from trainer.data.batches import Batches
from trainer.data.latents import Encoder
from trainer.data.paint import PalettePainter
from trainer.settings import TrainSettings
from trainer.step.loss import UNLOCKED, ControlledUNet, DiffusionLoss, require_unchanged

ADE = Palette.load("ade20k")
CPU = torch.device("cpu")
ALPHAS = np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)
"""Cumulated alphas of Stable Diffusion's noise schedule."""


@pytest.fixture
def loaded(base: Path) -> Base:
    """The small base."""
    return load.load_base(str(base))


@pytest.mark.parametrize(
    ("options", "frozen", "trained"),
    [
        ({}, set(), set()),
        ({"only_mid": True}, {"controlnet_down_blocks"}, set()),
        ({"unlocked": True}, set(), set(UNLOCKED)),
    ],
)
def test_options_choose_what_is_trained(
    loaded: Base, options: dict[str, bool], frozen: set[str], trained: set[str]
) -> None:
    """The ControlNet is trained but for the zero convolutions that only_mid leaves out, the UNet if unlocked."""
    model = ControlledUNet(load.load_controlnet("fresh", loaded), loaded.unet, **options)

    parts = {
        name: {key.split(".")[0] for key, weight in network.named_parameters() if weight.requires_grad}
        for name, network in (("controlnet", model.controlnet), ("unet", model.unet))
    }
    everything = {key.split(".")[0] for key, _ in model.controlnet.named_parameters()}
    assert parts == {"controlnet": everything - frozen, "unet": trained}


@torch.no_grad()
def test_residuals_reach_the_unet(loaded: Base) -> None:
    """Down and middle residuals change the prediction; with only_mid the down blocks' have no effect."""
    controlnet = load.load_controlnet("fresh", loaded)
    inputs = torch.ones(1, 4, 8, 8), torch.tensor([3]), torch.ones(1, 77, 64), torch.ones(1, 3, 64, 64)
    both, mid = (ControlledUNet(controlnet, loaded.unet, only_mid=only_mid) for only_mid in (False, True))
    plain = loaded.unet(*inputs[:3]).sample
    assert torch.equal(both(*inputs), plain)

    controlnet.controlnet_down_blocks[0].bias.fill_(1.0)
    assert not torch.equal(both(*inputs), plain)
    assert torch.equal(mid(*inputs), plain)
    controlnet.controlnet_mid_block.bias.fill_(1.0)
    assert not torch.equal(mid(*inputs), plain)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_the_exact_prediction_has_no_loss(loaded: Base, tmp_path: Path, prediction: Any) -> None:
    """A network that knows the noise, or the velocity, has no error; one that predicts 0 has."""
    base = replace(loaded, prediction=prediction)
    objective = DiffusionLoss(base, Encoder(base, CPU, torch.float32), PalettePainter(ADE), CPU)
    batches = Batches([example(tmp_path, 1, (64, 64))], ADE, TrainSettings(batch_size=1, resolution=64))

    def exact(noisy_latents: torch.Tensor, timesteps: torch.Tensor, *others: Any) -> torch.Tensor:
        (generator,) = batches.batch(0).generators
        _posterior, step, noise = (
            torch.randn(4, 8, 8, generator=generator),
            torch.randint(1000, (), generator=generator),
            torch.randn(4, 8, 8, generator=generator)[None],
        )
        assert timesteps.tolist() == [int(step)]
        if prediction == "epsilon":
            return noise
        signal, share = float(ALPHAS[step] ** 0.5), float((1 - ALPHAS[step]) ** 0.5)
        return signal * noise - share * (noisy_latents - share * noise) / signal

    losses = [
        float(objective.loss(model, batches.batch(0))[0])  # type: ignore[arg-type]
        for model in (exact, lambda noisy_latents, *_: torch.zeros_like(noisy_latents))
    ]

    assert losses[0] < 1e-5
    assert losses[1] > 1e-2


def test_cached_latents_have_the_same_loss(loaded: Base, tmp_path: Path) -> None:
    """A batch with latents and embeddings needs no encoder, and without one other batches are refused."""
    encoder = Encoder(loaded, CPU, torch.float32)
    model = ControlledUNet(load.load_controlnet("fresh", loaded), loaded.unet)
    batches = Batches([example(tmp_path, 1, (64, 64))], ADE, TrainSettings(batch_size=1, resolution=64))
    batch = batches.batch(0)
    moments = torch.stack([encoder.photo(photo) for photo in batch.require_photos()])
    hidden_states = torch.stack([encoder.prompt(text) for text in batch.texts])
    cached = replace(
        batches.batch(0), photos=None, moments=moments, prompts=hidden_states
    )  # generators are used up by each loss
    encoding, reading = (DiffusionLoss(loaded, one, PalettePainter(ADE), CPU) for one in (encoder, None))

    assert torch.equal(encoding.loss(model, batch)[0], reading.loss(model, cached)[0])
    with pytest.raises(ValueError, match="needs an encoder"):
        reading.loss(model, batches.batch(0))


class Shifting(PalettePainter):
    """A painter whose colours are a little too bright."""

    def __call__(self, controls: torch.Tensor) -> torch.Tensor:
        """Paint a batch."""
        return super().__call__(controls) + 0.001


def test_off_palette_pixels_are_counted(loaded: Base, tmp_path: Path) -> None:
    """Every pixel that the network receives is counted if its colour is not that of the palette."""
    objective = DiffusionLoss(loaded, Encoder(loaded, CPU, torch.float32), Shifting(ADE), CPU)
    batches = Batches([example(tmp_path, 1, (64, 64))], ADE, TrainSettings(batch_size=1, resolution=64))

    _, off = objective.loss(ControlledUNet(load.load_controlnet("fresh", loaded), loaded.unet), batches.batch(0))

    assert int(off) == 64 * 64
    with pytest.raises(MapError, match="4,096 pixels that the network sees are off the palette ade20k"):
        objective.require_exact(off)


def test_a_controlnet_that_is_not_fresh_is_noticed(loaded: Base) -> None:
    """A fresh one leaves the prediction as it is; one nonzero bias changes it."""
    controlnet = load.load_controlnet("fresh", loaded)
    require_unchanged(loaded, controlnet)
    with torch.no_grad():
        controlnet.controlnet_mid_block.bias[0] = 0.1
    with pytest.raises(ModelError, match="changes the base's prediction"):
        require_unchanged(loaded, controlnet)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_min_snr_weights_timesteps(base: Path, tmp_path: Path, prediction: Any) -> None:
    """The loss is the plain one times min(SNR, gamma) / SNR, or / (SNR + 1) for v-prediction."""
    loaded = load.load_base(str(base), "", prediction)
    encoder = Encoder(loaded, CPU, torch.float32)
    plain, weighted = (DiffusionLoss(loaded, encoder, PalettePainter(ADE), CPU, gamma) for gamma in (0.0, 5.0))
    batches = Batches([example(tmp_path, 1, (64, 64))], ADE, TrainSettings(batch_size=1, resolution=64))
    drawn: list[int] = []

    def model(noisy_latents: Any, timesteps: Any, encoder_hidden_states: Any, control: Any) -> Any:
        drawn.append(int(timesteps))
        return torch.zeros_like(noisy_latents)

    ratios = []
    for number in range(12):
        loss, scaled = (float(objective.loss(model, batches.batch(number))[0]) for objective in (plain, weighted))  # type: ignore[arg-type]
        snr = ALPHAS[drawn[-1]] / (1 - ALPHAS[drawn[-1]])
        expected = min(snr, 5) / (snr if prediction == "epsilon" else snr + 1)
        assert scaled / loss == pytest.approx(expected, rel=1e-3)
        ratios.append(snr)
    assert min(ratios) < 5 < max(ratios)
