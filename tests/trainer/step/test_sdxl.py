"""SDXL's step is that of diffusers' train_controlnet_sdxl, computed here in a straight line with its own networks."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from segkit.palette import Palette
from segkit.photos import Geometry
from tests.trainer.conftest import steering
from tests.trainer.data.test_batches import example
from tests.trainer.runs import path_of
from trainer.checkpoints import load
from trainer.data.batches import Batches
from trainer.data.examples import Example
from trainer.data.latents import Encoder
from trainer.data.paint import PalettePainter
from trainer.settings import TrainSettings
from trainer.step.loss import ControlledUNet, DiffusionLoss

ADE = Palette.load("ade20k")
CPU = torch.device("cpu")
SETTINGS = TrainSettings(batch_size=2, resolution=64, prompt_dropout=0.0)


@pytest.fixture(scope="module")
def controlnet_folder(sdxl: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ControlNet of the small SDXL without zero convolutions."""
    return steering(tmp_path_factory.mktemp("xl") / "controlnet", sdxl, 0.05)


@pytest.fixture
def photos(tmp_path: Path) -> list[Example]:
    """Two photos: one whose source was scaled by a half and cropped by 3 and 2 pixels, and one of unknown origin."""
    geometry = Geometry(270, 204, 1, (), 135, 102, 3, 2)
    return [
        replace(example(tmp_path, 1, (128, 96)), geometry=geometry, text="a room"),
        replace(example(tmp_path, 2, (128, 96)), text="a street with trees"),
    ]


@dataclass(frozen=True)
class StraightLine:
    """The networks as diffusers loads them, and the loss in a straight line."""

    pipeline: Any
    controlnet: Any

    def prompt(self, text: str) -> tuple[Tensor, Tensor]:
        """Return the last but one hidden states of both text encoders, concatenated, and the second's pooled output."""
        pipe, states = self.pipeline, []
        for tokenizer, encoder in ((pipe.tokenizer, pipe.text_encoder), (pipe.tokenizer_2, pipe.text_encoder_2)):
            tokens = tokenizer(text, padding="max_length", max_length=77, truncation=True, return_tensors="pt")
            result = encoder(tokens.input_ids, output_hidden_states=True)
            states.append(result.hidden_states[-2])
        return torch.cat(states, dim=-1)[0], result[0][0]

    def loss(self, pixels: Tensor, control: Tensor, texts: list[str], sizes: list[list[int]], draws: Any) -> Tensor:
        """Return the mean squared error of the predicted noise.

        Args:
            pixels: photos, -1 to 1.
            control: painted maps, 0 to 1.
            texts: the prompts.
            sizes: time_ids.
            draws: noise of the posterior, timesteps and noise.
        """
        pipe = self.pipeline
        posterior_noise, timesteps, noise = draws
        with torch.no_grad():
            posterior = pipe.vae.encode(pixels).latent_dist
            latents = (posterior.mean + posterior.std * posterior_noise) * 0.13025
            hidden_states, pooled = map(torch.stack, zip(*map(self.prompt, texts), strict=True))
        betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
        alphas = (1 - betas).cumprod(0)[timesteps].float().view(-1, 1, 1, 1)
        noisy_latents = alphas.sqrt() * latents + (1 - alphas).sqrt() * noise
        added = {"text_embeds": pooled, "time_ids": torch.tensor(sizes, dtype=torch.float32)}
        down, mid = self.controlnet(
            noisy_latents, timesteps, encoder_hidden_states=hidden_states, added_cond_kwargs=added,
            controlnet_cond=control, return_dict=False,
        )  # fmt: skip
        noise_pred = pipe.unet(
            noisy_latents, timesteps, encoder_hidden_states=hidden_states, added_cond_kwargs=added,
            down_block_additional_residuals=down, mid_block_additional_residual=mid, return_dict=False,
        )[0]  # fmt: skip
        error: Tensor = noise_pred.float() - noise.float()
        return (error**2).mean()


@pytest.fixture(scope="module")
def straight(sdxl: Path, controlnet_folder: Path) -> StraightLine:
    """The networks, loaded by diffusers."""
    from diffusers import ControlNetModel, StableDiffusionXLPipeline

    pipeline = StableDiffusionXLPipeline.from_pretrained(sdxl, local_files_only=True)
    for network in (pipeline.unet, pipeline.vae, pipeline.text_encoder, pipeline.text_encoder_2):
        network.requires_grad_(False)
    return StraightLine(pipeline, ControlNetModel.from_pretrained(controlnet_folder, local_files_only=True).train())


def pixels_of(photo: Example, left: int, width: int, mirrored: bool) -> tuple[Tensor, Tensor]:
    """Return the crop that is expected of a photo of 96 pixels' height, and its map, scaled to 64 x 64 by Pillow."""
    with Image.open(path_of(photo.photo)) as image, Image.open(path_of(photo.control_map)) as control:
        box = (left, 0, left + width, 96)
        shown = image.resize((64, 64), Image.Resampling.LANCZOS, box)
        painted = control.convert("RGB").resize((64, 64), Image.Resampling.NEAREST, box)
    arrays = [np.asarray(one, np.float32) for one in (shown, painted)]
    photo_pixels, map_pixels = (torch.from_numpy(one[:, ::-1].copy() if mirrored else one) for one in arrays)
    return (photo_pixels / 127.5 - 1).permute(2, 0, 1), (map_pixels / 255).permute(2, 0, 1)


def test_the_step_is_that_of_the_public_script(
    sdxl: Path, controlnet_folder: Path, photos: list[Example], straight: StraightLine
) -> None:
    """Loss and gradients of two photos, one of them mirrored, equal those of the straight line to 1e-5."""
    base = load.load_base(str(sdxl))
    model = ControlledUNet(load.load_controlnet(str(controlnet_folder), base), base.unet)
    objective = DiffusionLoss(base, Encoder(base, CPU, torch.float32), PalettePainter(ADE), CPU)
    batches = Batches(photos, ADE, SETTINGS)
    number = next(
        number for number in range(50) if sum(pick.view.mirrored for pick in batches.picks(number)) == 1
        and {pick.text: pick.view.mirrored for pick in batches.picks(number)}["a room"]
    )  # fmt: skip
    texts = [pick.text for pick in batches.picks(number)]
    draws = [
        (torch.randn(4, 8, 8, generator=one), torch.randint(1000, (), generator=one),
         torch.randn(4, 8, 8, generator=one)) for one in batches.batch(number).generators
    ]  # fmt: skip
    # The crops: of 128 x 96 pixels, the 96 x 96 in the middle, from 16 on. The first photo's source, of 270 x 204, was
    # scaled to 135 x 102 and cropped from (3, 2); its view is mirrored, so that what is left of it lies on the right:
    # 135 - (3 + 16 + 96) = 20 pixels. The scale of the view is 64 / 96.
    sizes = {"a room": [204, 270, round(2 * 64 / 96), round(20 * 64 / 96), 64, 64],
             "a street with trees": [96, 128, 0, round(16 * 64 / 96), 64, 64]}  # fmt: skip
    by_text = {photo.text: photo for photo in photos}
    pictures = [pixels_of(by_text[text], 16, 96, text == "a room") for text in texts]

    terms = objective.terms(model, batches.batch(number))
    terms.loss.backward()  # type: ignore[no-untyped-call]
    pixels, control = map(torch.stack, zip(*pictures, strict=True))
    parts = [torch.stack(part) for part in zip(*draws, strict=True)]
    expected = straight.loss(pixels, control, texts, [sizes[text] for text in texts], parts)
    expected.backward()  # type: ignore[no-untyped-call]

    assert terms.loss.item() == pytest.approx(expected.item(), rel=1e-5)
    gradients = {name: weight.grad for name, weight in straight.controlnet.named_parameters()}
    largest = max(float(gradient.abs().max()) for gradient in gradients.values())
    for name, weight in model.controlnet.named_parameters():
        assert float((weight.grad - gradients[name]).abs().max()) < 1e-5 * largest, name
    assert int(terms.off_palette) == 0


def test_a_prediction_is_that_of_the_pipeline(sdxl: Path, controlnet_folder: Path, tmp_path: Path) -> None:
    """At one step, UNet and ControlNet predict what they do in diffusers' pipeline for the map sized first."""
    from diffusers import ControlNetModel, StableDiffusionXLControlNetPipeline

    from tests.trainer.sample.maps import write_map
    from trainer.checkpoints import find
    from trainer.sample import sampler
    from trainer.sample.networks import Networks
    from trainer.sample.requests import DrawRequest, Subject
    from trainer.sample.sources import sources
    from trainer.settings import GenerateSettings

    size, predictions = (128, 64), list[Tensor]()

    def watch(module: Any, inputs: Any, output: Any) -> None:
        predictions.append(output[0].clone())

    settings = GenerateSettings(
        base=str(sdxl), controlnet=str(controlnet_folder), steps=1, guidance=3.0, scheduler="ddim", device="cpu"
    )
    networks = Networks(sources(settings), settings, ADE, find.find_controlnet(settings.controlnet))
    networks._unet.register_forward_hook(watch)
    path = write_map(tmp_path / "map.png", 1, size)
    (drawn,) = networks.draw([Subject(DrawRequest("map", path, "a room"), 3, 0.7, size)])

    pipeline = StableDiffusionXLControlNetPipeline.from_pretrained(
        sdxl, controlnet=ControlNetModel.from_pretrained(controlnet_folder, local_files_only=True),
        scheduler=sampler.scheduler("epsilon", "ddim"), local_files_only=True,
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    pipeline.unet.register_forward_hook(watch)
    with Image.open(path) as control:
        painted = torch.from_numpy(np.array(control.convert("RGB"))).permute(2, 0, 1)[None] / 255
    expected = pipeline(
        "a room", image=painted, width=size[0], height=size[1], num_inference_steps=1, guidance_scale=3.0,
        generator=torch.Generator().manual_seed(3), controlnet_conditioning_scale=0.7,
    ).images[0]  # fmt: skip

    ours, theirs = predictions
    assert ours.shape == theirs.shape == (2, 4, 8, 16)
    assert float((ours - theirs).abs().max()) < 1e-5 * float(theirs.abs().max())
    assert np.abs(np.asarray(drawn, int) - np.asarray(expected, int)).max() <= 1
