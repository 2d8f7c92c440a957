"""How the toy Stable Diffusion learns: first its VAE to keep pictures, then its UNet and words to draw them.

It sees no map: layout is what a ControlNet adds.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL.Image import Resampling

from segkit.toy.learn import networks
from segkit.toy.learn.course import Course, Report, autocast, follow
from segkit.toy.learn.lessons import Lesson

if TYPE_CHECKING:
    from torch import Tensor

SIZE = (128, 128)
"""Width and height of the lessons, which are drawn at half of it."""

SQUARES, EDGES, TINTS = 5.0, 0.5, 20.0
"""Weights in the VAE's loss, beside the mean absolute error: of squares, in which large errors count most; of the
differences between neighbours, without which edges are blurred; of squares of the tint alone, which is learnt last."""

DIVERGENCE = 1e-6
"""Weight of the latents' divergence from N(0, 1), as for Stable Diffusion's own VAE."""

SILENT = 0.1
"""Share of the prompts that are left empty, so that guidance works."""


def pictures(network: Sequence[Any], rendered: Sequence[Lesson], course: Course, where: str, report: Report) -> None:
    """Train the VAE, in place, and set its scaling factor so that latents have a standard deviation of 1.

    Args:
        network: the pipeline (networks.stable_diffusion).
        rendered: the lessons; square.
        course: how long and how fast.
        where: a torch device.
        report: takes the loss of every step.
    """
    vae = _fast(network[0].vae.to(where).train())
    photos = _photos(rendered, vae.config.sample_size)
    drawn = _numbers(2 * len(photos), course)

    def loss() -> Any:
        batch = _seen(photos, next(drawn)).to(where)
        with autocast(where):
            posterior = vae.encode(batch).latent_dist
            found = vae.decode(posterior.sample()).sample
        missed = (found - batch).float()
        edges = missed.diff(dim=2).abs().mean() + missed.diff(dim=3).abs().mean()
        tints = (missed - missed.mean(1, keepdim=True)).square().mean()
        errors = missed.abs().mean() + SQUARES * missed.square().mean() + EDGES * edges + TINTS * tints
        return errors + DIVERGENCE * posterior.kl().float().mean() / batch[0].numel()

    follow(course, vae.parameters(), loss, report)
    vae.eval()
    spread = float(_encoded(vae, photos[:512], where).std())
    vae.register_to_config(scaling_factor=round(1 / spread, 5))


def drawing(network: Sequence[Any], rendered: Sequence[Lesson], course: Course, where: str, report: Report) -> None:
    """Train the UNet and the text encoder, in place, to draw photos from their sentences. For the arguments see above.

    It is left in evaluation mode.
    """
    import torch
    from diffusers import DDPMScheduler
    from torch.nn import functional

    pipeline = network[0].to(where)
    unet, text_encoder = _fast(pipeline.unet.train()), pipeline.text_encoder.train()
    vae = pipeline.vae
    latents = _encoded(vae, _photos(rendered, vae.config.sample_size), where) * vae.config.scaling_factor
    tokens = _tokens(pipeline.tokenizer, rendered)
    silence = pipeline.tokenizer("", padding="max_length", return_tensors="pt").input_ids
    noise_schedule = DDPMScheduler(**networks.NOISE)
    drawn, draw = _numbers(len(latents), course), torch.Generator().manual_seed(course.seed)

    def loss() -> Any:
        numbers = next(drawn)
        clean = latents[numbers].float()
        noise = torch.randn(clean.shape, generator=draw)
        times = torch.randint(1000, (len(numbers),), generator=draw)
        silent = torch.rand(len(numbers), 1, generator=draw) < SILENT
        words = torch.where(silent, silence, tokens[numbers])
        noisy = noise_schedule.add_noise(clean, noise, times)
        with autocast(where):
            said = text_encoder(words.to(where))[0]
            found = unet(noisy.to(where), times.to(where), said).sample
        return functional.mse_loss(found.float(), noise.to(where))

    follow(course, [*unet.parameters(), *text_encoder.parameters()], loss, report)
    for each in (unet, text_encoder):
        each.eval()


def _fast(network: Any) -> Any:
    """Lay a network's weights out so that convolutions are fastest."""
    import torch

    return network.to(memory_format=torch.channels_last)


def _photos(rendered: Sequence[Lesson], side: int) -> "Tensor":
    """Return the lessons' photos, (N, 3, side, side) uint8."""
    import torch

    small = [np.asarray(each.photo.resize((side, side), Resampling.LANCZOS)) for each in rendered]
    return torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2).contiguous()


def _seen(photos: "Tensor", numbers: "Tensor") -> "Tensor":
    """Return photos by number, -1 to 1; numbers from len(photos) on are mirror images."""
    chosen = photos[numbers % len(photos)].float() / 127.5 - 1
    mirrored = (numbers >= len(photos))[:, None, None, None]
    return chosen.where(~mirrored, chosen.flip(3))


def _encoded(vae: Any, photos: "Tensor", where: str) -> "Tensor":
    """Return the latents of photos and then of their mirror images, (2N, 4, h, w)."""
    import torch

    with torch.no_grad():
        parts = [
            vae.encode(_seen(photos, numbers).to(where)).latent_dist.mean.cpu()
            for numbers in torch.split(torch.arange(2 * len(photos)), 64)
        ]
    return torch.cat(parts)


def _tokens(tokenizer: Any, rendered: Sequence[Lesson]) -> "Tensor":
    """Return the tokens of all lessons and then of their mirror images, (2N, 77)."""
    said = [each.sentence for each in rendered]
    said += [each.mirrored().sentence for each in rendered]
    tokens: Tensor = tokenizer(said, padding="max_length", truncation=True, return_tensors="pt").input_ids
    return tokens


def _numbers(count: int, course: Course) -> Iterator["Tensor"]:
    """Draw batches of numbers below count without end, each once before any comes again."""
    import torch

    draw = torch.Generator().manual_seed(course.seed)
    while True:
        order = torch.randperm(count, generator=draw)
        yield from torch.split(order[: count - count % course.batch], course.batch)
