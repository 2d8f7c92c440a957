"""Training of the toy Stable Diffusion XL, which starts from the toy Stable Diffusion.

It keeps that one's VAE and copies every weight whose place it has too; what is new is random: the second text encoder,
attention in the lowest level, and the embedding of pooled prompt, size and crop. Like any base, it never sees a map.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from segkit.toy.learn import base, networks
from segkit.toy.learn.course import Course, Report, autocast, optimize
from segkit.toy.learn.lessons import Lesson

if TYPE_CHECKING:
    from torch import Generator, Tensor

LARGER = 88
"""Side in pixels to which photos are scaled before they are cropped to the size of the pictures."""

CROPPED = 0.5
"""Share of the photos that are cropped; the others are shown whole."""

SOURCES = (64, 1024)
"""Smallest and largest side of the sources that the network is told: rendered scenes are sharp at any size."""


def adopt(pipeline: Any, toy: Any) -> None:
    """Copy into an SDXL the weights of the toy Stable Diffusion that it has a place for.

    Args:
        pipeline: networks.stable_diffusion_xl, changed in place.
        toy: networks.stable_diffusion with its trained weights.
    """
    _copy(pipeline.unet, toy.unet)
    _copy(pipeline.text_encoder, toy.text_encoder)


def _copy(network: Any, trained: Any) -> None:
    """Copy weights of equal names; cross-attention over more channels reads the known ones first, and no others yet."""
    import torch

    state = network.state_dict()
    with torch.no_grad():
        for name, weight in trained.state_dict().items():
            target = state.get(name)
            if target is None:
                continue
            if target.numel() == weight.numel():
                target.copy_(weight.reshape(target.shape))  # a 1x1 convolution becomes a linear layer
            elif "attn2.to_" in name:
                target.zero_()[:, : weight.shape[1]].copy_(weight)


def train(pipelines: Sequence[Any], samples: Sequence[Lesson], course: Course, device: str, report: Report) -> None:
    """Train UNet and text encoders in place to denoise photos and crops of them; leave them in evaluation mode.

    Args:
        pipelines: the pipeline (networks.stable_diffusion_xl), as a sequence of one.
        samples: the training samples; their photos are square.
        course: number of steps, batch size and learning rate.
        device: a torch device.
        report: called with the loss after every step.
    """
    import torch
    from diffusers import DDPMScheduler
    from torch.nn import functional

    pipeline = pipelines[0].to(device)
    trained = pipeline.unet.train(), pipeline.text_encoder.train(), pipeline.text_encoder_2.train()
    pipeline.unet.to(memory_format=torch.channels_last)
    views = _Views(pipeline.vae, samples, device)
    input_ids = [
        base.tokenize(tokenizer, samples).to(device) for tokenizer in (pipeline.tokenizer, pipeline.tokenizer_2)
    ]
    noise_scheduler = DDPMScheduler(**networks.NOISE)
    index_batches = base.shuffled_indices(len(input_ids[0]), course)
    generator = torch.Generator().manual_seed(course.seed)

    def loss() -> Any:
        indices = next(index_batches)
        clean, time_ids = views.draw(indices, generator)
        noise = torch.randn(clean.shape, generator=generator)
        timesteps = torch.randint(1000, (len(indices),), generator=generator)
        named = torch.rand(len(indices), 1, generator=generator) >= base.PROMPT_DROPOUT
        noisy_latents = noise_scheduler.add_noise(clean, noise, timesteps)
        with autocast(device):
            hidden_states, pooled = _encode(pipeline, [ids[indices] for ids in input_ids], named.to(device))
            noise_pred = pipeline.unet(
                noisy_latents.to(device), timesteps.to(device), hidden_states,
                added_cond_kwargs={"text_embeds": pooled, "time_ids": time_ids.to(device)},
            ).sample  # fmt: skip
        return functional.mse_loss(noise_pred.float(), noise.to(device))

    optimize(course, [weight for network in trained for weight in network.parameters()], loss, report)
    for network in trained:
        network.eval()


def _encode(pipeline: Any, input_ids: "Sequence[Tensor]", named: "Tensor") -> "tuple[Tensor, Tensor]":
    """Return hidden states (B, 77, D) and pooled embeddings (B, P); zeros where the prompt is dropped.

    Args:
        pipeline: the pipeline.
        input_ids: tokens for each text encoder, (B, 77).
        named: (B, 1) bool, whether the prompt is kept.
    """
    import torch

    first = pipeline.text_encoder(input_ids[0], output_hidden_states=True)
    second = pipeline.text_encoder_2(input_ids[1], output_hidden_states=True)
    hidden_states = torch.cat([first.hidden_states[-2], second.hidden_states[-2]], -1)
    return hidden_states * named[:, :, None], second.text_embeds * named


class _Views:
    """Latents of photos, whole and in parts, with what SDXL is told about size and crop.

    Args:
        vae: encodes the photos.
        samples: the photos.
        device: of the VAE.
    """

    def __init__(self, vae: Any, samples: Sequence[Lesson], device: str) -> None:
        self._side, factor = vae.config.sample_size, vae.config.scaling_factor
        self._whole, self._larger = (
            base.encode(vae, base.scaled_photos(samples, side), device) * factor for side in (self._side, LARGER)
        )
        self._pixels = self._side // self._whole.shape[-1]

    def draw(self, indices: "Tensor", generator: "Generator") -> "tuple[Tensor, Tensor]":
        """Return latents (B, 4, h, w) and time_ids (B, 6) float32 of some photos, each whole or a random part of it."""
        import torch

        low, high = (torch.tensor(float(side)).log() for side in SOURCES)
        sides = (low + torch.rand(len(indices), generator=generator) * (high - low)).exp().round()
        room = self._larger.shape[-1] - self._whole.shape[-1] + 1
        corners = torch.randint(room, (len(indices), 2), generator=generator)
        cropped = torch.rand(len(indices), generator=generator) < CROPPED
        latents, time_ids = [], []
        for index, side, corner, part in zip(indices.tolist(), sides, corners, cropped.tolist(), strict=True):
            top, left = corner.tolist() if part else (0, 0)
            end = self._whole.shape[-1]
            photo = self._larger[index][:, top : top + end, left : left + end] if part else self._whole[index]
            latents.append(photo.float())
            place = top * self._pixels, left * self._pixels
            time_ids.append([float(side), float(side), *place, self._side, self._side])
        return torch.stack(latents), torch.tensor(time_ids, dtype=torch.float32)
