"""A training step: segkit's beside the loop of diffusers' train_controlnet.py, on the same work with the same weights.

    python benchmarks/train_step.py                               # CPU: 256 x 256 in fp32, one thread
    python benchmarks/train_step.py --side 512 --precision bf16
    python benchmarks/train_step.py --peaks                       # memory too, each way in a process of its own
    python benchmarks/train_step.py --device cuda --side 512 --precision bf16 --batch 1 2 4 8 16 32

Networks of Stable Diffusion 1.5's sizes with random weights: right for time and memory. Both ways get the same photos,
maps, noise and times, and take turns; losses must be equal to float tolerance. Theirs: VAE and text encoder at every
step, PyTorch's default AdamW. Ours: trainer.learner with the cache. Floor, if asked for: forward and back through
ControlNet and UNet and nothing else, which no way can leave out. CPU times are CPU seconds; on a GPU, seconds by the
clock with the queue empty, and the share of the card's matrix rate, measured first, that the step's arithmetic has.
"""

import argparse
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from itertools import repeat
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
from trainer import configs
from trainer.batches import Batch
from trainer.encodings import Encoder
from trainer.learner import Learner
from trainer.networks import Base
from trainer.objective import Objective, Steered
from trainer.painting import Paint

CACHED_TERA = 2.265
"""Floating-point operations of one sample of 512 x 512 with a cache, in 10^12: ControlNet, UNet, and backward."""

WAYS = ("theirs", "ours")

ON_CPU = {"OMP_NUM_THREADS": "1", "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
"""Environment on a CPU, for both ways: one thread; large pages, or handing out memory takes as long as computing."""


def main() -> None:
    """Compare, and print ratios."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--side", type=int, default=256)
    options.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    options.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    options.add_argument("--batch", type=int, nargs="+", default=[1])
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--option", nargs="*", default=[], help="switches of segkit train, such as compile")
    options.add_argument("--peaks", action="store_true", help="measure memory, each way in a process of its own")
    options.add_argument("--floor", action="store_true", help="measure what no way can leave out, too")
    options.add_argument("--only", choices=WAYS, help="this way alone")
    chosen = options.parse_args()
    if chosen.device == "cpu" and not ON_CPU.items() <= os.environ.items():
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | ON_CPU)
    rate = matrix_rate() if chosen.device == "cuda" else 0.0
    name = torch.cuda.get_device_name() if chosen.device == "cuda" else f"{torch.get_num_threads()} thread"
    print(f"{name}, torch {torch.__version__}, {chosen.side} x {chosen.side}, {chosen.precision}", flush=True)
    if rate:
        print(f"matrix rate: {rate:.0f} TFLOP/s in bf16")
    if chosen.peaks and not chosen.only:
        for way in WAYS:
            subprocess.run([sys.executable, __file__, *sys.argv[1:], "--only", way], check=True)
        return
    for batch in chosen.batch:
        try:
            compare(chosen, batch, rate)
        except torch.OutOfMemoryError:
            print(f"batch {batch}: does not fit")
            torch.cuda.empty_cache()


def compare(chosen: argparse.Namespace, size: int, rate: float) -> None:
    """Measure both ways, or one, and print what they cost."""
    costs, losses, peaks = measure(chosen, size)
    for name, seconds in costs.items():
        words = f"batch {size} {name:6} {seconds:7.2f} s a step, {size / seconds:.3f} samples/s"
        if rate:
            words += f", {CACHED_TERA * (chosen.side / 512) ** 2 * size / seconds / rate:.0%} of the matrix rate"
        if rate or chosen.only:
            words += f", peak {peaks[name]:.2f} GB"
        print(words, flush=True)
    if len(costs) > 1:
        worst = max(abs(a - b) / a for a, b in zip(losses["theirs"], losses["ours"], strict=True))
        assert worst < (1e-4 if chosen.precision == "fp32" else 2e-2), f"losses differ by {worst}"
        print(f"batch {size} ratio  {costs['theirs'] / costs['ours']:7.2f}; losses equal to {worst:.1e}", flush=True)
    if "floor" in costs:
        print(f"batch {size} at most {costs['theirs'] / costs['floor']:7.2f}, by leaving work out", flush=True)


def measure(chosen: argparse.Namespace, size: int) -> tuple[dict[str, float], dict[str, list[float]], dict[str, float]]:
    """Take steps in turn; return by way the median cost in seconds, all losses, and the peak in GB."""
    accelerator = Accelerator(
        mixed_precision="no" if chosen.precision == "fp32" else chosen.precision, cpu=chosen.device == "cpu"
    )
    base, controlnet = full_size()
    work = Work(base, chosen.side, size, accelerator.device, chosen.precision)
    makers = {"theirs": theirs, "ours": ours} | ({"floor": floor} if chosen.floor else {})
    makers = {chosen.only: makers[chosen.only]} if chosen.only else makers
    ways = {name: make(base, deepcopy(controlnet), work, accelerator, chosen) for name, make in makers.items()}
    costs: dict[str, list[float]] = {name: [] for name in ways}
    losses: dict[str, list[float]] = {name: [] for name in ways}
    peaks = dict.fromkeys(ways, 0.0)
    for turn in range(chosen.rounds + 1):  # the first is warming up
        for name, step in ways.items():
            if chosen.device == "cpu":  # there the UNet is shared
                base.unet.to(memory_format=torch.channels_last if name == "ours" else torch.contiguous_format)
            else:
                torch.cuda.reset_peak_memory_stats()
            began = clock(chosen.device)
            losses[name].append(step())
            cost = clock(chosen.device) - began
            costs[name] += [cost] if turn else []
            peaks[name] = torch.cuda.max_memory_allocated() / 1e9 if chosen.device == "cuda" else peak()
    return {name: median(seen) for name, seen in costs.items()}, losses, peaks


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
    unet = base.unet if chosen.device == "cpu" else deepcopy(base.unet)  # theirs is not channels-last, nor compiled
    learner = Learner(settings, accelerator, Steered(controlnet, unet), objective, None)
    if chosen.only:  # as in a run: what the cache stands in for leaves the memory
        for part in (base.vae, base.text_encoder):
            part.to("meta")

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
        loss = there_and_back(model, unet, work, accelerator, (noisy, times, words), noise)
        accelerator.clip_grad_norm_(controlnet.parameters(), 1.0)
        adam.step()
        adam.zero_grad(set_to_none=False)
        return loss

    return step


def floor(base: Base, controlnet: Any, work: Work, accelerator: Accelerator, _: argparse.Namespace) -> Step:
    """Return what is left of their step without VAE, text encoder and optimizer."""
    controlnet.to(work.device).requires_grad_(True).train()
    noise = work.moments[:, 0].float().to(work.device)
    seen = noise.to(work.dtype), torch.full((len(noise),), 500, device=work.device), work.words.to(work.device)
    return lambda: there_and_back(controlnet, base.unet, work, accelerator, seen, noise)


def there_and_back(
    controlnet: Any, unet: Any, work: Work, accelerator: Accelerator, seen: tuple[Any, Any, Any], noise: torch.Tensor
) -> float:
    """Go forward and back through ControlNet and UNet as train_controlnet.py does; return the loss."""
    with accelerator.autocast():
        down, middle = controlnet(*seen, controlnet_cond=work.colours, return_dict=False)
        found = unet(
            *seen, down_block_additional_residuals=[each.to(work.dtype) for each in down],
            mid_block_additional_residual=middle.to(work.dtype), return_dict=False,
        )[0]  # fmt: skip
        loss = functional.mse_loss(found.float(), noise.float(), reduction="mean")
    accelerator.backward(loss)
    return float(loss.detach())


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
