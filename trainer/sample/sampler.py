"""Sampling: noise becomes latents, guided by a prompt and steered by a control map."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from segkit.progress import go_on
from trainer.checkpoints import configs
from trainer.settings import SampleSettings

if TYPE_CHECKING:
    from torch import Tensor

STEPS = 20
"""Sampling steps of pictures drawn during a training."""


@dataclass(frozen=True)
class SampleRequest:
    """The inputs of one picture, on the networks' device.

    Attributes:
        noise: (4, h, w), standard normal.
        prompt: its embedding, such as (77, D): see families.Conditioning.
        unconditional: the embedding of the negative prompt, or of the empty one.
        control: (3, H, W) painted control map, 0 to 1.
    """

    noise: "Tensor"
    prompt: "Tensor"
    unconditional: "Tensor"
    control: "Tensor"


@dataclass(frozen=True)
class Step:
    """What a sampling step computes.

    Attributes:
        guided: a prediction for the prompt and one for the negative prompt; else for the prompt alone.
        steered: with the ControlNet's residuals.
    """

    guided: bool
    steered: bool


def sample(
    model: "Callable[..., Tensor]", requests: Sequence[SampleRequest], settings: SampleSettings, prediction: str,
    before_step: Callable[[], None] = go_on,
) -> "Tensor":  # fmt: skip
    """Draw pictures of one size with classifier-free guidance (Ho and Salimans 2022, arXiv 2207.12598).

    Args:
        model: called without gradients with noisy latents (N, 4, h, w), timesteps (N,), embeddings of prompts
            (N, ...) and control maps (N, 3, H, W), or None in steps that are not steered; returns the UNet's
            prediction. N is B, or 2 B in guided steps: for each picture one after the other, first the unconditional
            row and then the prompt's, so that the rows of a picture are together.
        requests: the inputs of B pictures.
        settings: scheduler, steps, guidance, and the steps that are guided and steered: see `steps`.
        prediction: "epsilon" or "v_prediction".
        before_step: called before every sampling step; it may raise to abandon the pictures.

    Returns:
        Latents, (B, 4, h, w) float32, scaled as the UNet uses them.
    """
    import torch

    noise_scheduler = scheduler(prediction, settings.scheduler)
    noise_scheduler.set_timesteps(settings.steps)
    latents = torch.stack([request.noise for request in requests]).float()
    inputs = {guided: _conditions(requests, guided) for guided in (False, True)}
    # not strict: by a rounding error of diffusers, DDIM's timesteps end with a surplus -1 for some numbers, such as 61
    for step, timestep in zip(steps(settings), noise_scheduler.timesteps, strict=False):
        before_step()
        prompts, control = inputs[step.guided]
        noisy_latents = latents.repeat_interleave(1 + step.guided, 0)
        timesteps = timestep.expand(len(noisy_latents)).to(latents.device)
        noise_pred = model(noisy_latents, timesteps, prompts, control if step.steered else None).float()
        if step.guided:
            unconditional, conditional = noise_pred.view(len(latents), 2, *latents.shape[1:]).unbind(1)
            noise_pred = unconditional + settings.guidance * (conditional - unconditional)
        latents = noise_scheduler.step(noise_pred, timestep, latents).prev_sample
    return latents


def _conditions(requests: Sequence[SampleRequest], guided: bool) -> "tuple[Tensor, Tensor]":
    """Return embeddings of prompts (N, ...) and control maps (N, 3, H, W), N as in `sample`."""
    import torch

    prompts, maps = [], []
    for request in requests:
        prompts += [request.unconditional] * guided + [request.prompt]
        maps += [request.control] * (1 + guided)
    return torch.stack(prompts), torch.stack(maps)


def steps(settings: SampleSettings) -> list[Step]:
    """Return what each sampling step computes.

    Shares of the steps are compared as in diffusers' ControlNet pipeline: a step is steered unless it begins before
    control_start or ends after control_end, and guided unless it ends after guidance_end. As there, a guidance scale
    of at most 1 means no guidance.
    """
    total = settings.steps
    return [
        Step(
            guided=settings.guidance > 1 and (index + 1) / total <= settings.guidance_end,
            steered=index / total >= settings.control_start and (index + 1) / total <= settings.control_end,
        )
        for index in range(total)
    ]


def scheduler(prediction: str, name: str = "dpm++") -> Any:
    """Return a scheduler with Stable Diffusion's noise schedule.

    Everything else is diffusers' default, which suits guided sampling and few steps: second order for the multistep
    methods, the last steps of lower order. DDIM ends at the lowest noise of training, as in the released models, and is
    spaced so that it starts at the highest as the others do ("trailing"); its default starts at timestep 1 of 1,000 if
    there is one step, and at 501 if there are two.

    Args:
        prediction: "epsilon" or "v_prediction".
        name: "dpm++": DPM-Solver++ 2M (Lu et al. 2022, arXiv 2211.01095); "unipc" (Zhao et al. 2023, arXiv
            2302.04867); "ddim" (Song et al. 2020, arXiv 2010.02502).
    """
    from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, UniPCMultistepScheduler

    if name == "ddim":
        return DDIMScheduler(
            **configs.SCHEDULER, set_alpha_to_one=False, timestep_spacing="trailing", prediction_type=prediction
        )
    kind = {"dpm++": DPMSolverMultistepScheduler, "unipc": UniPCMultistepScheduler}[name]
    config = {name: value for name, value in configs.SCHEDULER.items() if name != "clip_sample"}
    return kind(**config, prediction_type=prediction)
