"""Whether a UNet predicts noise or velocity is measured with one forward pass."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.conftest import Models, Segkit
from tests.trainer import single_file
from tests.trainer.conftest import base_folder
from trainer.checkpoints import configs, load, prediction


class Velocity(torch.nn.Module):
    """A network that predicts the velocity, computed from one that predicts the noise."""

    def __init__(self, unet: Any) -> None:
        super().__init__()
        self.unet, self.config, self.device = unet, unet.config, unet.device

    def forward(self, latents: torch.Tensor, timesteps: torch.Tensor, hidden_states: torch.Tensor) -> Any:
        """Return v = alpha noise - sigma x0 with x0 = (x - sigma noise) / alpha."""
        from diffusers import DDPMScheduler

        product = DDPMScheduler(**configs.SCHEDULER).alphas_cumprod[timesteps].view(-1, 1, 1, 1)
        alpha, sigma = product.sqrt(), (1 - product).sqrt()
        noise = self.unet(latents, timesteps, hidden_states).sample
        return SimpleNamespace(sample=alpha * noise - sigma * (latents - sigma * noise) / alpha)


def test_a_trained_network_follows_the_noise_or_does_not() -> None:
    """The toy base predicts noise, slope 1; the same network as velocity has a slope near 0."""
    base = load.load_base("toy")

    noise = prediction.noise_slope(base.unet, base.text_encoders)
    velocity = prediction.noise_slope(Velocity(base.unet), base.text_encoders)

    assert 0.9 < noise < 1.1
    assert -0.4 < velocity < 0.3


def test_the_measurement_changes_no_random_state() -> None:
    """It uses a generator of its own, and equal networks give equal slopes."""
    base = load.load_base("toy")
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    slopes = {prediction.noise_slope(base.unet, base.text_encoders) for _ in range(2)}
    assert len(slopes) == 1
    assert torch.equal(torch.random.get_rng_state(), before)


def trained(base: load.Base, predicts: str, steps: int = 14) -> load.Base:
    """Teach a small UNet the last timestep: to return the noise, or the velocity of smooth pictures."""
    torch.manual_seed(0)
    unet = base.unet.train().requires_grad_(True)
    optimizer = torch.optim.Adam(unet.parameters(), 2e-3)
    alpha, sigma = 0.0047**0.5, 0.9953**0.5
    for _ in range(steps):
        latents = torch.randn(2, 4, 2, 2).repeat_interleave(8, 2).repeat_interleave(8, 3)
        noise = torch.randn(2, 4, 16, 16)
        target = noise if predicts == "epsilon" else alpha * noise - sigma * latents
        output = unet(alpha * latents + sigma * noise, torch.tensor([999]), torch.zeros(2, 77, 64)).sample
        (output - target).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    unet.eval().requires_grad_(False)
    return base


@pytest.mark.parametrize("predicts", ["epsilon", "v_prediction"])
def test_both_kinds_of_sd2_are_told_apart(tmp_path: Path, models: Models, segkit: Segkit, predicts: str) -> None:
    """A single file of SD2 gets the type it was trained for; inspect says so, and the caller can override it."""
    base = trained(load.load_base(str(base_folder(tmp_path / "base", models.clip, "SD2"))), predicts)
    path = tmp_path / "model.safetensors"
    save_file(single_file.state(base, "SD2"), path)

    loaded = load.load_base(str(path), str(models.clip))

    assert loaded.prediction == predicts
    assert isinstance(loaded.guess, prediction.Guess)
    assert loaded.guess.is_measured
    other = {"epsilon": "v_prediction", "v_prediction": "epsilon"}[predicts]
    overridden = load.load_base(str(path), str(models.clip), other)  # type: ignore[arg-type]
    assert (overridden.prediction, overridden.guess) == (other, None)
    done = segkit("inspect", path)
    assert (done.code, done.err) == (0, "")
    assert f"Prediction type: {predicts} (at t = 999 the output follows the noise with slope" in done.out
    assert f"To override it, set prediction to {other}." in done.out


def test_a_doubtful_sd1_stays_epsilon_and_says_so(tmp_path: Path, base: Path, models: Models) -> None:
    """Random weights do not return the noise; the family decides, and the sentence reports the contradiction."""
    save_file(single_file.state(load.load_base(str(base))), tmp_path / "a.safetensors")

    loaded = load.load_base(str(tmp_path / "a.safetensors"), str(models.clip))

    assert (loaded.prediction, loaded.guess is not None) == ("epsilon", True)
    assert loaded.guess is not None
    assert "although at t = 999 the output follows the noise with slope" in loaded.guess.sentence


def test_a_folder_records_its_type(base: Path) -> None:
    """Nothing is guessed for a diffusers folder."""
    assert load.load_base(str(base)).guess is None
