"""Sampling with the networks in training, in one process or in all of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from segkit.progress import go_on
from trainer.checkpoints import configs

if TYPE_CHECKING:
    from torch import Tensor, nn

STEPS = 20
"""Sampling steps (DPM-Solver++ 2M)."""


@dataclass(frozen=True)
class SampleRequest:
    """The inputs of one picture, on the networks' device.

    Attributes:
        noise: (4, h, w), standard normal.
        encoder_hidden_states: (77, D) of the prompt.
        unconditional: (77, D) of the empty prompt.
        control: (3, H, W) painted control map, 0 to 1.
    """

    noise: "Tensor"
    encoder_hidden_states: "Tensor"
    unconditional: "Tensor"
    control: "Tensor"


def sample(
    model: "nn.Module", request: SampleRequest, prediction: str, guidance_scale: float,
    before_step: Callable[[], None] = go_on,
) -> "Tensor":  # fmt: skip
    """Draw one picture with classifier-free guidance (Ho and Salimans 2022, arXiv 2207.12598).

    Args:
        model: a ControlledUNet; call this without gradients.
        request: the inputs.
        prediction: "epsilon" or "v_prediction".
        guidance_scale: 1 is no guidance. Both predictions receive the control map.
        before_step: called before every sampling step; it may raise to abandon the picture.

    Returns:
        Latents, (4, h, w) float32, scaled as the UNet uses them.
    """
    import torch

    noise_scheduler = scheduler(prediction)
    noise_scheduler.set_timesteps(STEPS)
    latents = request.noise[None].float()
    encoder_hidden_states = torch.stack([request.unconditional, request.encoder_hidden_states])  # (2, 77, D)
    control = torch.stack([request.control] * 2)
    for timestep in noise_scheduler.timesteps:
        before_step()
        timesteps = timestep.expand(2).to(latents.device)
        predictions = model(latents.expand(2, -1, -1, -1), timesteps, encoder_hidden_states, control)
        unconditional, conditional = predictions.float().chunk(2)
        guided = unconditional + guidance_scale * (conditional - unconditional)
        latents = noise_scheduler.step(guided, timestep, latents).prev_sample
    result: Tensor = latents[0]
    return result


def scheduler(prediction: str) -> Any:
    """Return DPM-Solver++ 2M (Lu et al. 2022, arXiv 2211.01095) with Stable Diffusion's noise schedule."""
    from diffusers import DPMSolverMultistepScheduler

    config = {name: value for name, value in configs.SCHEDULER.items() if name != "clip_sample"}
    return DPMSolverMultistepScheduler(**config, prediction_type=prediction)
