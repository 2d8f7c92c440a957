"""Pictures are sampled as diffusers' pipeline would: guided and steered in the same steps, with the same numbers."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from segkit.models import hub
from trainer.checkpoints import load
from trainer.data.latents import Encoder
from trainer.sample import sampler
from trainer.settings import SampleSettings

STEPS = 6


@pytest.mark.parametrize("guidance_scale", [1.5, 3.0])
def test_guidance_extrapolates_from_the_empty_prompt(guidance_scale: float) -> None:
    """The predictions are the unconditional one plus the scale times the difference; both see the control map."""
    noise, control = torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(0)), torch.rand(3, 64, 64)
    request = sampler.SampleRequest(noise, torch.ones(77, 2), torch.zeros(77, 2), control)
    guided = torch.full((77, 2), guidance_scale)  # the model's prediction is proportional to this

    def model(latents: Any, timesteps: Any, encoder_hidden_states: Any, control_maps: Any) -> Any:
        assert timesteps.shape == (len(latents),)
        assert all(torch.equal(one, control) for one in control_maps)
        return latents * 0.1 * encoder_hidden_states[:, :1, :1, None]

    drawn, expected = (
        sampler.sample(model, [one], SampleSettings(steps=20, guidance=scale), "epsilon")
        for one, scale in ((request, guidance_scale), (replace(request, prompt=guided), 1.0))
    )

    assert (drawn.shape, drawn.dtype) == ((1, 4, 8, 8), torch.float32)
    torch.testing.assert_close(drawn, expected)


@pytest.mark.parametrize(
    ("settings", "guided", "steered"),
    [
        ({}, "1111", "1111"),
        ({"guidance": 1.0}, "0000", "1111"),
        ({"guidance_end": 0.5}, "1100", "1111"),
        ({"guidance_end": 0.6}, "1100", "1111"),
        ({"guidance_end": 0.0}, "0000", "1111"),
        ({"control_end": 0.75}, "1111", "1110"),
        ({"control_start": 0.25}, "1111", "0111"),
        ({"control_start": 0.26, "control_end": 0.99}, "1111", "0010"),
    ],
)
def test_shares_of_the_steps(settings: dict[str, float], guided: str, steered: str) -> None:
    """A step is steered from control_start to control_end, and guided until guidance_end, counted by whole steps."""
    steps = sampler.steps(SampleSettings(steps=4, **settings))  # type: ignore[arg-type]
    assert "".join(str(int(step.guided)) for step in steps) == guided
    assert "".join(str(int(step.steered)) for step in steps) == steered


@dataclass(frozen=True)
class Scene:
    """Networks, and the inputs of one picture of 64 x 128 pixels."""

    base: load.Base
    controlnet: Any
    request: sampler.SampleRequest

    def predict(self, strength: float, latents: Any, timesteps: Any, hidden: Any, control: Any) -> Any:
        """Return the UNet's prediction; without a control map, that of the base alone."""
        down, mid = None, None
        if control is not None:
            down, mid = self.controlnet(latents, timesteps, hidden, control, strength, return_dict=False)
        return self.base.unet(
            latents, timesteps, hidden, down_block_additional_residuals=down, mid_block_additional_residual=mid,
            return_dict=False,
        )[0]  # fmt: skip


@pytest.fixture(scope="module")
def scene(base: Path) -> Iterator[Scene]:
    """A small base and a ControlNet that changes its pictures."""
    loaded = load.load_base(str(base))
    controlnet = load.load_controlnet("fresh", loaded).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in controlnet.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator) * 0.1)
    encoder = Encoder(loaded, torch.device("cpu"), torch.float32)
    control = torch.rand(3, 128, 64, generator=generator)
    noise = torch.randn(4, 16, 8, generator=generator)
    request = sampler.SampleRequest(noise, encoder.prompt("a room"), encoder.prompt(""), control)
    with torch.no_grad():
        yield Scene(loaded, controlnet, request)


def pipeline_latents(scene: Scene, settings: SampleSettings, prediction: str) -> torch.Tensor:
    """Return the latents of diffusers' pipeline, whose guidance is switched off by a callback."""
    from diffusers import StableDiffusionControlNetPipeline

    guided = sum(step.guided for step in sampler.steps(settings))

    def unguide(pipeline: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        if step + 1 == guided:  # as diffusers.callbacks.SDCFGCutoffCallback does
            pipeline._guidance_scale = 0.0
            return {name: tensor[-1:] for name, tensor in tensors.items()}
        return {}

    with hub.quiet():
        pipeline = StableDiffusionControlNetPipeline(
            scene.base.vae, *scene.base.text_encoders, *scene.base.tokenizers, scene.base.unet, scene.controlnet,
            sampler.scheduler(prediction, settings.scheduler), safety_checker=None, feature_extractor=None,
            requires_safety_checker=False,
        )  # fmt: skip
        pipeline._callback_tensor_inputs = ["prompt_embeds", "image"]
        pipeline.set_progress_bar_config(disable=True)
        latents: torch.Tensor = pipeline(
            "a room", scene.request.control[None], width=64, height=128, num_inference_steps=settings.steps,
            guidance_scale=settings.guidance, negative_prompt="", latents=scene.request.noise[None].clone(),
            controlnet_conditioning_scale=settings.strength, control_guidance_start=settings.control_start,
            control_guidance_end=settings.control_end, output_type="latent", callback_on_step_end=unguide,
            callback_on_step_end_tensor_inputs=["prompt_embeds", "image"],
        ).images  # fmt: skip
    return latents


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("scheduler", ["dpm++", "unipc", "ddim"])
@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"guidance": 1.0},
        {"guidance_end": 0.5, "control_start": 0.2, "control_end": 0.7, "strength": 0.7},
    ],
)
def test_the_sampler_equals_the_pipeline(scene: Scene, scheduler: Any, prediction: str, parts: dict[str, Any]) -> None:
    """From the same noise, latents equal those of diffusers' ControlNet pipeline."""
    settings = SampleSettings(scheduler=scheduler, steps=STEPS, **{"guidance": 3.0, **parts})

    latents = sampler.sample(partial(scene.predict, settings.strength), [scene.request], settings, prediction)

    expected = pipeline_latents(scene, settings, prediction)
    torch.testing.assert_close(latents, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("scheduler", ["dpm++", "unipc", "ddim"])
def test_pictures_of_a_batch_are_independent(scheduler: Any) -> None:
    """No scheduler mixes the pictures of a batch, guided or not: latents equal those of pictures sampled alone."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    requests = [
        sampler.SampleRequest(random(4, 8, 8), random(77, 2), random(77, 2), random(3, 64, 64)) for _ in range(5)
    ]
    settings = SampleSettings(scheduler=scheduler, steps=7, guidance=2.0, guidance_end=0.5)

    def model(latents: Any, timesteps: Any, hidden: Any, control: Any) -> Any:
        return (latents * hidden[:, :4, :1, None] + control[:, :1, :8, :8]).sin()

    drawn = sampler.sample(model, requests, settings, "epsilon")

    assert torch.equal(drawn, torch.cat([sampler.sample(model, [one], settings, "epsilon") for one in requests]))


@pytest.mark.parametrize("scheduler", ["dpm++", "unipc", "ddim"])
@pytest.mark.parametrize("steps", [1, 2, 3, 61, 999])
def test_any_number_of_steps_ends_in_a_picture(scheduler: Any, steps: int) -> None:
    """A model that knows the picture gets it back, from one step up to the limit."""
    picture = torch.linspace(-1, 1, 64).view(1, 4, 4, 4)
    noise_scheduler = sampler.scheduler("epsilon", scheduler)

    def model(latents: Any, timesteps: Any, hidden: Any, control: Any) -> Any:
        alpha = noise_scheduler.alphas_cumprod[timesteps].view(-1, 1, 1, 1)
        return (latents - alpha.sqrt() * picture) / (1 - alpha).sqrt()

    noise = torch.randn(4, 4, 4, generator=torch.Generator().manual_seed(0))
    request = sampler.SampleRequest(noise, torch.zeros(77, 2), torch.zeros(77, 2), torch.zeros(3, 32, 32))
    settings = SampleSettings(scheduler=scheduler, steps=steps, guidance=1.0)
    latents = sampler.sample(model, [request], settings, "epsilon")

    tolerance = 0.15 if scheduler == "ddim" else 1e-2  # DDIM leaves the lowest noise of training, deviation 0.03
    torch.testing.assert_close(latents, picture, rtol=0, atol=tolerance)
