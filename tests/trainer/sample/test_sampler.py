"""Pictures are drawn with classifier-free guidance, as diffusers' pipeline would."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from segkit.models import hub
from trainer.checkpoints import load
from trainer.data.latents import Encoder
from trainer.sample import sampler
from trainer.step.loss import ControlledUNet


@pytest.mark.parametrize("guidance_scale", [0.0, 1.0, 3.0])
def test_guidance_extrapolates_from_the_empty_prompt(guidance_scale: float) -> None:
    """The predictions are the unconditional one plus the scale times the difference; both see the control map."""
    noise, control = torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(0)), torch.rand(3, 64, 64)
    request = sampler.SampleRequest(noise, torch.ones(77, 2), torch.zeros(77, 2), control)
    guided = torch.full((77, 2), guidance_scale)  # the model's prediction is proportional to this

    def model(latents: Any, timesteps: Any, encoder_hidden_states: Any, control_maps: Any) -> Any:
        assert timesteps.shape == (2,)
        assert all(torch.equal(one, control) for one in control_maps)
        return latents * 0.1 * encoder_hidden_states[:, :1, :1, None]

    drawn, expected = (
        sampler.sample(model, one, "epsilon", scale)  # type: ignore[arg-type]
        for one, scale in ((request, guidance_scale), (replace(request, encoder_hidden_states=guided), 1.0))
    )

    assert (drawn.shape, drawn.dtype) == ((4, 8, 8), torch.float32)
    torch.testing.assert_close(drawn, expected)


def test_the_sampler_equals_the_pipeline(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the same noise, latents equal those of diffusers' ControlNet pipeline, for both prediction types."""
    from diffusers import StableDiffusionControlNetPipeline

    monkeypatch.setattr(sampler, "STEPS", 8)
    loaded = load.load_base(str(base))
    controlnet = load.load_controlnet("fresh", loaded)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in controlnet.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator) * 0.1)
    encoder = Encoder(loaded, torch.device("cpu"), torch.float32)
    control = torch.rand(3, 128, 64, generator=generator)
    noise = torch.randn(4, 16, 8, generator=generator)
    request = sampler.SampleRequest(noise, encoder.prompt("a room"), encoder.prompt(""), control)
    for prediction in ("epsilon", "v_prediction"):
        with hub.quiet():
            pipeline = StableDiffusionControlNetPipeline(
                loaded.vae, loaded.text_encoder, loaded.tokenizer, loaded.unet, controlnet,
                sampler.scheduler(prediction), safety_checker=None, feature_extractor=None,
                requires_safety_checker=False,
            )  # fmt: skip
            pipeline.set_progress_bar_config(disable=True)
            expected = pipeline(
                "a room", control[None], width=64, height=128, num_inference_steps=sampler.STEPS, guidance_scale=3.0,
                negative_prompt="", latents=noise[None].clone(), output_type="latent",
            ).images[0]  # fmt: skip
        with torch.no_grad():
            latents = sampler.sample(ControlledUNet(controlnet, loaded.unet), request, prediction, 3.0)
        torch.testing.assert_close(latents, expected, rtol=1e-4, atol=1e-4)
