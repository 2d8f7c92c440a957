"""Training of the toy Stable Diffusion XL: UNet and both text encoders together, on latents of the toy base's VAE.

As for the released one, photos come from sources of different sizes, some too small for the view, and some views are
cropped; the UNet is conditioned on both. Like the other base it never sees a control map.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from PIL.Image import Resampling

from segkit.toy.learn import base
from segkit.toy.learn.course import Course, Report
from segkit.toy.learn.lessons import Lesson

if TYPE_CHECKING:
    from torch import Tensor

SOURCES = (32, 48, 64, 64, 96, 128, 128, 128)
"""Sides of the photos' sources in pixels, drawn with equal probability; views of the first two are blurred."""

CROPPED = 0.5
"""Share of the views that are cropped."""

MARGIN = 1 / 4
"""Maximum width and height that cropping removes, as a share of the view's."""


@dataclass(frozen=True)
class View:
    """The part of a photo that is shown, as Stable Diffusion XL is conditioned on it.

    Attributes:
        side: width and height of the view in pixels.
        source: width and height of the photo's source.
        scaled: width and height to which the whole source is scaled; a view is cut out of that.
        top, left: of the view in it.
    """

    side: int
    source: int
    scaled: int
    top: int = 0
    left: int = 0

    def photo(self, photo: Image.Image) -> Image.Image:
        """Return the view of a square photo, which is not smaller than the source."""
        pixels = photo if photo.width == self.source else photo.resize((self.source,) * 2, Resampling.LANCZOS)
        scale = self.source / self.scaled
        box = (self.left * scale, self.top * scale, (self.left + self.side) * scale, (self.top + self.side) * scale)
        return pixels.resize((self.side, self.side), Resampling.LANCZOS, box)

    def time_ids(self, mirrored: bool = False) -> tuple[int, ...]:
        """Return height and width of the source, top and left of the crop, height and width of the view.

        A mirrored view is cut out of the mirrored photo, whose left edge was the right one.
        """
        left = self.scaled - self.side - self.left if mirrored else self.left
        return self.source, self.source, self.top, left, self.side, self.side


def view(side: int, random: np.random.Generator) -> View:
    """Draw a view: the whole photo or a crop of it."""
    source = int(random.choice(SOURCES))
    if random.random() >= CROPPED:
        return View(side, source, side)
    margin = int(random.integers(int(side * MARGIN), endpoint=True))
    top, left = (int(offset) for offset in random.integers(margin, size=2, endpoint=True))
    return View(side, source, side + margin, top, left)


def train_unet(
    pipelines: Sequence[Any], samples: Sequence[Lesson], course: Course, device: str, report: Report
) -> None:
    """Train UNet and text encoders in place to denoise views of photos given their sentences, sizes and crops.

    The prompts that are dropped are encoded as zeros, as an empty prompt is in drawing.

    Args:
        pipelines: the pipeline (diffusion.stable_diffusion_xl), as a sequence of one; it is left in evaluation mode.
        samples: the training samples; their photos are square.
        course: number of steps, batch size and learning rate.
        device: a torch device.
        report: called with the loss after every step.
    """
    import torch

    pipeline = pipelines[0].to(device)
    text_encoders, vae = (pipeline.text_encoder, pipeline.text_encoder_2), pipeline.vae
    random = np.random.default_rng(course.seed)
    views = [view(vae.config.sample_size, random) for _ in samples]
    photos = np.stack([np.asarray(one.photo(sample.photo)) for one, sample in zip(views, samples, strict=True)])
    latents = base.encode(vae, torch.from_numpy(photos).permute(0, 3, 1, 2), device) * vae.config.scaling_factor
    time_ids = torch.tensor([one.time_ids(mirrored) for mirrored in (False, True) for one in views]).float()
    input_ids = [base.tokenize(tokenizer, samples) for tokenizer in (pipeline.tokenizer, pipeline.tokenizer_2)]

    def condition(indices: "Tensor", dropped: "Tensor") -> tuple[Any, dict[str, Any]]:
        first, second = (
            text_encoder(tokens[indices].to(device), output_hidden_states=True)
            for text_encoder, tokens in zip(text_encoders, input_ids, strict=True)
        )
        hidden_states = torch.cat([first.hidden_states[-2], second.hidden_states[-2]], -1)
        kept = ~dropped.to(device)[:, None]
        text_embeds = second.text_embeds * kept
        added = {"text_embeds": text_embeds, "time_ids": time_ids[indices].to(device)}
        return hidden_states * kept[..., None], {"added_cond_kwargs": added}

    base.train_denoising(pipeline.unet, text_encoders, latents, condition, course, report)
