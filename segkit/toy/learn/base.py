"""Training of the toy Stable Diffusion: first the VAE, then UNet and text encoder together.

It is trained on prompts alone and never sees a control map: layout is what a ControlNet has to add.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL.Image import Resampling

from segkit.toy.learn import diffusion
from segkit.toy.learn.course import Course, Report, autocast, optimize
from segkit.toy.learn.lessons import Lesson

if TYPE_CHECKING:
    from torch import Tensor

SIZE = (128, 128)
"""Width and height of the rendered scenes; the pipeline draws at half of that."""

SQUARE_WEIGHT, EDGE_WEIGHT, TINT_WEIGHT = 5.0, 0.5, 20.0
"""Weights of the VAE's loss terms beside the mean absolute error: the squared error, which penalises large errors; the
error of neighbour differences, without which edges blur; the squared error of chroma alone, which is learnt last."""

KL_WEIGHT = 1e-6
"""Weight of the latents' KL divergence from N(0, 1), as for Stable Diffusion's own VAE."""

PROMPT_DROPOUT = 0.1
"""Share of the prompts that are replaced by "", which classifier-free guidance needs."""


Condition = Callable[["Tensor", "Tensor"], tuple[Any, dict[str, Any]]]
"""Called with the indices of samples, (B,), and whose prompts are dropped, (B,) bool; returns encoder_hidden_states and
further arguments of the UNet."""


def train_vae(pipelines: Sequence[Any], samples: Sequence[Lesson], course: Course, device: str, report: Report) -> None:
    """Train the VAE in place and set its scaling factor so that latents have a standard deviation of 1.

    Args:
        pipelines: the pipeline (diffusion.stable_diffusion), as a sequence of one.
        samples: the training samples; their photos are square.
        course: number of steps, batch size and learning rate.
        device: a torch device.
        report: called with the loss after every step.
    """
    vae = _channels_last(pipelines[0].vae.to(device).train())
    photos = _photos(samples, vae.config.sample_size)
    index_batches = _index_batches(2 * len(photos), course)

    def loss() -> Any:
        target = _normalised(photos, next(index_batches)).to(device)
        with autocast(device):
            posterior = vae.encode(target).latent_dist
            decoded = vae.decode(posterior.sample()).sample
        error = (decoded - target).float()
        edges = error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()
        tints = (error - error.mean(1, keepdim=True)).square().mean()
        total = error.abs().mean() + SQUARE_WEIGHT * error.square().mean() + EDGE_WEIGHT * edges + TINT_WEIGHT * tints
        return total + KL_WEIGHT * posterior.kl().float().mean() / target[0].numel()

    optimize(course, vae.parameters(), loss, report)
    vae.eval()
    std = float(encode(vae, photos[:512], device).std())
    vae.register_to_config(scaling_factor=round(1 / std, 5))


def train_unet(
    pipelines: Sequence[Any], samples: Sequence[Lesson], course: Course, device: str, report: Report
) -> None:
    """Train UNet and text encoder in place to denoise photos given their sentences; leave them in evaluation mode.

    The arguments are those of `train_vae`.
    """
    pipeline = pipelines[0].to(device)
    text_encoder, vae = pipeline.text_encoder, pipeline.vae
    latents = encode(vae, _photos(samples, vae.config.sample_size), device) * vae.config.scaling_factor
    input_ids = tokenize(pipeline.tokenizer, samples)
    unconditional = pipeline.tokenizer("", padding="max_length", return_tensors="pt").input_ids

    def condition(indices: "Tensor", dropped: "Tensor") -> tuple[Any, dict[str, Any]]:
        prompt_ids = unconditional.where(dropped[:, None], input_ids[indices])
        return text_encoder(prompt_ids.to(device))[0], {}

    train_denoising(pipeline.unet, [text_encoder], latents, condition, course, report)


def train_denoising(
    unet: Any, text_encoders: Sequence[Any], latents: "Tensor", condition: Condition, course: Course, report: Report
) -> None:
    """Train UNet and text encoders in place to predict the noise in latents; leave them in evaluation mode.

    Args:
        unet: on its device.
        text_encoders: on the same.
        latents: of all samples, (N, 4, h, w), scaled to a standard deviation of 1.
        condition: see Condition.
        course: number of steps, batch size and learning rate.
        report: called with the loss after every step.
    """
    import torch
    from diffusers import DDPMScheduler
    from torch.nn import functional

    trained = [_channels_last(unet), *text_encoders]
    for network in trained:
        network.train()
    device = unet.device
    noise_scheduler = DDPMScheduler(**diffusion.NOISE)
    index_batches, generator = _index_batches(len(latents), course), torch.Generator().manual_seed(course.seed)

    def loss() -> Any:
        indices = next(index_batches)
        clean = latents[indices].float()
        noise = torch.randn(clean.shape, generator=generator)
        timesteps = torch.randint(1000, (len(indices),), generator=generator)
        dropped = torch.rand(len(indices), generator=generator) < PROMPT_DROPOUT
        noisy_latents = noise_scheduler.add_noise(clean, noise, timesteps)
        with autocast(device.type):
            encoder_hidden_states, options = condition(indices, dropped)
            noise_pred = unet(noisy_latents.to(device), timesteps.to(device), encoder_hidden_states, **options).sample
        return functional.mse_loss(noise_pred.float(), noise.to(device))

    optimize(course, [weight for network in trained for weight in network.parameters()], loss, report)
    for network in trained:
        network.eval()


def _channels_last(network: Any) -> Any:
    """Return the network in the memory layout in which convolutions are fastest."""
    import torch

    return network.to(memory_format=torch.channels_last)


def _photos(samples: Sequence[Lesson], side: int) -> "Tensor":
    """Return the samples' photos scaled to squares, (N, 3, side, side) uint8."""
    import torch

    small = [np.asarray(sample.photo.resize((side, side), Resampling.LANCZOS)) for sample in samples]
    return torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2).contiguous()


def _normalised(photos: "Tensor", indices: "Tensor") -> "Tensor":
    """Return the indexed photos scaled to -1 to 1; indices from len(photos) on select mirror images."""
    chosen = photos[indices % len(photos)].float() / 127.5 - 1
    mirrored = (indices >= len(photos))[:, None, None, None]
    return chosen.where(~mirrored, chosen.flip(3))


def encode(vae: Any, photos: "Tensor", device: str) -> "Tensor":
    """Return the latents of all photos, then of their mirror images, (2N, 4, h, w)."""
    import torch

    with torch.no_grad():
        parts = [
            vae.encode(_normalised(photos, indices).to(device)).latent_dist.mean.cpu()
            for indices in torch.split(torch.arange(2 * len(photos)), 64)
        ]
    return torch.cat(parts)


def tokenize(tokenizer: Any, samples: Sequence[Lesson]) -> "Tensor":
    """Return the token ids of all sentences, then of those about the mirror images, (2N, 77)."""
    sentences = [sample.sentence for sample in samples]
    sentences += [sample.mirrored().sentence for sample in samples]
    input_ids: Tensor = tokenizer(sentences, padding="max_length", truncation=True, return_tensors="pt").input_ids
    return input_ids


def _index_batches(count: int, course: Course) -> Iterator["Tensor"]:
    """Yield shuffled batches of the indices below count, epoch after epoch, without end."""
    import torch

    generator = torch.Generator().manual_seed(course.seed)
    while True:
        order = torch.randperm(count, generator=generator)
        yield from torch.split(order[: count - count % course.batch], course.batch)
