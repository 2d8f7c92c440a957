"""Latents drawn from noise through the very networks that are trained, in one process or in all of them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainer.checkpoints import configs

if TYPE_CHECKING:
    from torch import Tensor, nn

STEPS = 20
"""Of the sampler, DPM-Solver++ 2M."""


@dataclass(frozen=True)
class SampleRequest:
    """What is to be drawn.

    Attributes:
        noise: (4, h, w), of standard deviation 1.
        words, silence: (77, width) of the text encoder: of the prompt, and of the empty one.
        control: (3, H, W), 0 to 1.
    """

    noise: "Tensor"
    words: "Tensor"
    silence: "Tensor"
    control: "Tensor"


def sample(steered: "nn.Module", asked: SampleRequest, prediction: str, guidance: float) -> "Tensor":
    """Draw one picture with classifier-free guidance (Ho and Salimans 2022, arXiv 2207.12598).

    Args:
        steered: the networks (objective.Steered), ready for use without gradients.
        asked: all on their device.
        prediction: what the UNet predicts.
        guidance: how closely the prompt is followed; the map counts for both predictions alike.

    Returns:
        Latents, (4, h, w) float32, scaled as the UNet has them.
    """
    import torch

    schedule = scheduler(prediction)
    schedule.set_timesteps(STEPS)
    latents = asked.noise[None].float()
    words, control = torch.stack([asked.silence, asked.words]), torch.stack([asked.control] * 2)
    for time in schedule.timesteps:
        times = time.expand(2).to(latents.device)
        silent, said = steered(latents.expand(2, -1, -1, -1), times, words, control).float().chunk(2)
        latents = schedule.step(silent + guidance * (said - silent), time, latents).prev_sample
    found: Tensor = latents[0]
    return found


def scheduler(prediction: str) -> Any:
    """Return DPM-Solver++ 2M (Lu et al. 2022, arXiv 2211.01095) over Stable Diffusion's noise."""
    from diffusers import DPMSolverMultistepScheduler

    schedule = {name: value for name, value in configs.SCHEDULER.items() if name != "clip_sample"}
    return DPMSolverMultistepScheduler(**schedule, prediction_type=prediction)
