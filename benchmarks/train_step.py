"""A training step: segkit's beside the loop of diffusers' train_controlnet.py, on the same work with the same weights.

    python benchmarks/train_step.py                               # CPU: 256 x 256 in fp32, one thread
    python benchmarks/train_step.py --side 512 --precision bf16
    python benchmarks/train_step.py --together                    # both in one process, with segkit's memory settings
    python benchmarks/train_step.py --device cuda --side 512 --precision bf16 --batch 1 2 4 8 16 32

Networks of Stable Diffusion 1.5's sizes with random weights: right for time and memory. Both ways get the same photos,
maps, noise and times; losses must be equal to float tolerance. Theirs: VAE and text encoder at every step, PyTorch's
default AdamW. Ours: trainer.learner with the cache. On a CPU each way runs in processes of its own, by turns, as its
command runs it, and times are CPU seconds, the kernel's included; on a GPU both share a process and take turns step by
step, and times are seconds by the clock with the queue empty, beside the share of the card's matrix rate, measured
first, that the step's arithmetic has.
"""

import argparse
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass, field, replace
from itertools import repeat
from multiprocessing import get_context
from statistics import median
from typing import Any

import torch
from accelerate import Accelerator
from diffusers import AutoencoderKL, ControlNetModel, DDPMScheduler, UNet2DConditionModel
from torch.nn import functional
from transformers import CLIPTextConfig, CLIPTextModel

from segkit import palette
from segkit.models import hub
from segkit.settings import TrainSettings
from segkit.toy import networks as toy
from trainer import allocator, configs
from trainer.batches import Batch
from trainer.encodings import Encoder
from trainer.learner import Learner
from trainer.networks import Base
from trainer.objective import Objective, Steered
from trainer.painting import Paint

CACHED_TERA = 2.265
"""Floating-point operations of one sample of 512 x 512 with a cache, in 10^12: ControlNet, UNet, and backward."""

WAYS = ("theirs", "ours")


@dataclass
class Seen:
    """What the steps of one way cost."""

    seconds: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    peak: float = 0.0


def main() -> None:
    """Compare, and print ratios."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--side", type=int, default=256)
    options.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    options.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    options.add_argument("--batch", type=int, nargs="+", default=[1])
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--option", nargs="*", default=[], help="switches of segkit train, such as compile")
    options.add_argument("--together", action="store_true", help="on a CPU too, both in one process, step by step")
    chosen = options.parse_args()
    rate = matrix_rate() if chosen.device == "cuda" else 0.0
    name = torch.cuda.get_device_name() if chosen.device == "cuda" else "1 thread"
    print(f"{name}, torch {torch.__version__}, {chosen.side} x {chosen.side}, {chosen.precision}", flush=True)
    if rate:
        print(f"matrix rate: {rate:.0f} TFLOP/s in bf16")
    for batch in chosen.batch:
        try:
            compare(chosen, batch, rate)
        except torch.OutOfMemoryError:
            print(f"batch {batch}: does not fit")
            torch.cuda.empty_cache()


def compare(chosen: argparse.Namespace, size: int, rate: float) -> None:
    """Measure both ways, and print what they cost."""
    together = chosen.together or chosen.device == "cuda"
    found = measure(chosen, size, WAYS) if together else apart(chosen, size)
    for name, seen in found.items():
        seconds = median(seen.seconds)
        words = f"batch {size} {name:6} {seconds:7.2f} s a step, {size / seconds:.3f} samples/s"
        if rate:
            words += f", {CACHED_TERA * (chosen.side / 512) ** 2 * size / seconds / rate:.0%} of the matrix rate"
        if rate or not together:
            words += f", peak {seen.peak:.2f} GB"
        print(words, flush=True)
    usual, own = found["theirs"], found["ours"]
    worst = max(abs(a - b) / a for a, b in zip(usual.losses, own.losses, strict=True))
    assert worst < (1e-4 if chosen.precision == "fp32" else 2e-2), f"losses differ by {worst}"
    ratio = median(usual.seconds) / median(own.seconds)
    print(f"batch {size} ratio  {ratio:7.2f}; losses equal to {worst:.1e}", flush=True)


def apart(chosen: argparse.Namespace, size: int) -> dict[str, Seen]:
    """Measure both ways, by turns, each in processes of its own and with the memory settings that its command has."""
    found = {way: Seen() for way in WAYS}
    for way in WAYS * 2:
        with get_context("spawn").Pool(1) as process:
            part = process.apply(measure, (chosen, size, (way,)))[way]
        found[way].seconds += part.seconds
        found[way].losses += part.losses
        found[way].peak = max(found[way].peak, part.peak)
    return found


def measure(chosen: argparse.Namespace, size: int, ways: Sequence[str]) -> dict[str, Seen]:
    """Take steps of each way in turn; return by way its seconds a step, all its losses, and the peak in GB."""
    if chosen.device == "cpu":
        torch.set_num_threads(1)
    with allocator.kept() if chosen.device == "cpu" and "ours" in ways else nullcontext():
        accelerator = Accelerator(
            mixed_precision="no" if chosen.precision == "fp32" else chosen.precision, cpu=chosen.device == "cpu"
        )
        base, controlnet = full_size()
        work = Work(base, chosen.side, size, accelerator.device, chosen.precision)
        makers, networks = {"theirs": theirs, "ours": ours}, [(base, controlnet)]
        if len(ways) > 1:
            networks.append((replace(base, unet=deepcopy(base.unet)), deepcopy(controlnet)))
        steps = {name: makers[name](*own, work, accelerator, chosen) for name, own in zip(ways, networks, strict=True)}
        if ways == ("ours",):  # as in a run: what the cache stands in for leaves the memory
            for part in (base.vae, base.text_encoder):
                part.to("meta")
        found = {name: Seen() for name in ways}
        for turn in range(chosen.rounds + 1):  # the first is warming up
            for name, step in steps.items():
                if chosen.device == "cuda":
                    torch.cuda.reset_peak_memory_stats()
                began = clock(chosen.device)
                found[name].losses.append(step())
                cost = clock(chosen.device) - began
                found[name].seconds += [cost] if turn else []
                found[name].peak = torch.cuda.max_memory_allocated() / 1e9 if chosen.device == "cuda" else peak()
    return found


def full_size() -> tuple[Base, ControlNetModel]:
    """Return a Stable Diffusion 1.5 with random weights, and a ControlNet whose zero convolutions are not zero."""
    torch.manual_seed(0)
    family = configs.released("sd15")
    unet_config = {key: value for key, value in family.items() if not key.startswith("conditioning")}
    unet = UNet2DConditionModel(
        sample_size=64, up_block_types=["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3, **unet_config
    )
    vae = AutoencoderKL(
        block_out_channels=[128, 256, 512, 512], down_block_types=["DownEncoderBlock2D"] * 4, layers_per_block=2,
        up_block_types=["UpDecoderBlock2D"] * 4, latent_channels=4, scaling_factor=0.18215,
    )  # fmt: skip
    text_encoder = CLIPTextModel(
        CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12)
    )
    for part in (unet, vae, text_encoder):
        part.eval().requires_grad_(False)
    with hub.quiet():
        tokenizer: Any = toy.stable_diffusion(["a"]).tokenizer
    base = Base("random", unet, vae, text_encoder, tokenizer, "epsilon", "SD1")
    controlnet = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=tuple(configs.HINTS))
    with torch.no_grad():
        for weight in controlnet.controlnet_mid_block.parameters():
            weight.normal_(std=0.02)
    return base, controlnet


class Work:
    """What both ways are given: one batch, and what is drawn for it."""

    def __init__(self, base: Base, side: int, size: int, device: torch.device, precision: str) -> None:
        draw = torch.Generator().manual_seed(1)
        dtype = torch.float32 if precision == "fp32" else torch.bfloat16
        self.photos = torch.rand(size, 3, side, side, generator=draw) * 2 - 1
        self.labels = torch.randint(150, (size, side // 32, side // 32), generator=draw, dtype=torch.uint8)
        self.labels = self.labels.repeat_interleave(32, 1).repeat_interleave(32, 2)
        self.paint = Paint(palette.load("ade20k"), device)
        self.colours = self.paint(self.labels.to(device))
        self.text, self.dtype, self.device = "a room with a bed and a window on the left", dtype, device
        self.seeds = range(size)
        encoder = Encoder(base, device, dtype)
        self.moments = torch.stack([encoder.photo(each).cpu() for each in self.photos])
        self.words = encoder.prompt(self.text).cpu()[None].repeat(size, 1, 1)

    def draws(self) -> list[torch.Generator]:
        """Return the generators of a batch, as they are at the beginning."""
        return [torch.Generator().manual_seed(seed) for seed in self.seeds]


Step = Callable[[], float]
"""Takes a step, and returns its loss."""


def ours(base: Base, controlnet: Any, work: Work, accelerator: Accelerator, chosen: argparse.Namespace) -> Step:
    """Return segkit's step, with the cache."""
    switches: dict[str, Any] = dict.fromkeys(chosen.option, True)
    settings = TrainSettings(batch_size=len(work.seeds), resolution=chosen.side, **switches)
    objective = Objective(base, None, work.paint, accelerator.device)
    learner = Learner(settings, accelerator, Steered(controlnet, base.unet), objective, None)

    def batches() -> Iterator[Batch]:
        for _ in repeat(None):
            texts = [work.text] * len(work.seeds)
            yield Batch(None, work.moments, work.words, work.labels, texts, work.draws())

    stream = batches()

    def step() -> float:
        return float(learner.update(stream, 0).loss)

    return step


def theirs(base: Base, controlnet: Any, work: Work, accelerator: Accelerator, chosen: argparse.Namespace) -> Step:
    """Return the step of diffusers' train_controlnet.py, but that noise and times are given."""
    schedule = DDPMScheduler(**configs.SCHEDULER)
    vae, text_encoder = (part.to(work.device, work.dtype) for part in (base.vae, base.text_encoder))
    unet = base.unet.to(work.device, work.dtype)
    controlnet.requires_grad_(True).train()
    optimizer = torch.optim.AdamW(controlnet.parameters(), lr=1e-5, weight_decay=1e-2)
    model, adam = accelerator.prepare(controlnet, optimizer)
    tokens = base.tokenizer(
        [work.text] * len(work.seeds), padding="max_length", max_length=77, return_tensors="pt"
    ).input_ids

    shape = 4, chosen.side // 8, chosen.side // 8

    def step() -> float:
        drawn = [
            (torch.randn(shape, generator=draw), torch.randint(1000, (), generator=draw),
             torch.randn(shape, generator=draw))
            for draw in work.draws()
        ]  # fmt: skip
        sample, times, noise = (torch.stack(each).to(work.device) for each in zip(*drawn, strict=True))
        with torch.no_grad():
            posterior = vae.encode(work.photos.to(work.device, work.dtype)).latent_dist
            latents = (posterior.mean + posterior.std * sample.to(work.dtype)) * 0.18215
            words = text_encoder(tokens.to(work.device))[0]
        noisy = schedule.add_noise(latents, noise.to(work.dtype), times)
        with accelerator.autocast():
            down, middle = model(noisy, times, words, controlnet_cond=work.colours, return_dict=False)
            found = unet(
                noisy, times, words, down_block_additional_residuals=[each.to(work.dtype) for each in down],
                mid_block_additional_residual=middle.to(work.dtype), return_dict=False,
            )[0]  # fmt: skip
            loss = functional.mse_loss(found.float(), noise.float(), reduction="mean")
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(controlnet.parameters(), 1.0)
        adam.step()
        adam.zero_grad(set_to_none=False)
        return float(loss.detach())

    return step


def clock(device: str) -> float:
    """Return CPU seconds, or on a GPU seconds by the clock when all is done."""
    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def peak() -> float:
    """Return the largest memory that this process had, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def matrix_rate() -> float:
    """Return what the card really multiplies, in TFLOP/s of bf16, on 8,192 x 8,192 matrices."""
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    seconds = []
    for _ in range(10):
        began = clock("cuda")
        for _ in range(10):
            a @ b
        seconds.append((clock("cuda") - began) / 10)
    return 2 * 8192**3 / median(seconds[3:]) / 1e12


if __name__ == "__main__":
    main()
