"""The noise schedule: clean latents from predictions, and steps of sampling."""

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler

from trainer.checkpoints import configs
from trainer.step.noise import NoiseSchedule


def schedule_of(prediction: str) -> NoiseSchedule:
    """Return the schedule of Stable Diffusion."""
    return NoiseSchedule(DDPMScheduler(**configs.SCHEDULER).alphas_cumprod, prediction == "v_prediction")


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_the_exact_prediction_gives_the_photo(prediction: str) -> None:
    """From the true noise, or velocity, the clean latents come back at any timestep."""
    scheduler = DDPMScheduler(**configs.SCHEDULER, prediction_type=prediction)
    generator = torch.Generator().manual_seed(0)
    latents, noise = (torch.randn(4, 4, 8, 8, generator=generator) for _ in range(2))
    timesteps = torch.tensor([0, 200, 700, 998])
    noisy = scheduler.add_noise(latents, noise, timesteps)
    exact = noise if prediction == "epsilon" else scheduler.get_velocity(latents, noise, timesteps)

    clean = schedule_of(prediction).predicted_latents(noisy, exact, timesteps)

    torch.testing.assert_close(clean, latents, atol=1e-4, rtol=0)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_a_step_is_that_of_ddim(prediction: str) -> None:
    """It equals diffusers' DDIM step without added noise, for each picture at its own timestep."""
    scheduler = DDIMScheduler(**configs.SCHEDULER, prediction_type=prediction)
    scheduler.set_timesteps(8)
    generator = torch.Generator().manual_seed(0)
    latents, output = (torch.randn(2, 4, 8, 8, generator=generator) for _ in range(2))
    timesteps = torch.tensor([875, 250])
    expected = [scheduler.step(output[i], int(timesteps[i]), latents[i]).prev_sample for i in range(2)]

    stepped = schedule_of(prediction).ddim_step(latents, output, timesteps, timesteps - 125)

    torch.testing.assert_close(stepped, torch.stack(expected), atol=1e-5, rtol=1e-5)
