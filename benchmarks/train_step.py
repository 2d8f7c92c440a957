"""A training step: segkit's beside the loop of diffusers' train_controlnet.py, on the same work with the same weights.

    python benchmarks/train_step.py                               # CPU: 256 x 256 in fp32, one thread
    python benchmarks/train_step.py --side 512 --precision bf16
    python benchmarks/train_step.py --together                    # both in one process, with segkit's memory settings
    python benchmarks/train_step.py --device cuda --side 512 --precision bf16 --batch 1 2 4 8 16 32
    python benchmarks/train_step.py --device cuda --side 512 --precision bf16 --batch 8 --option compile --way ours

Networks of Stable Diffusion 1.5's sizes with random weights: right for time and memory. Both ways get the same photos,
maps, noise and times; losses must be equal to float tolerance. Theirs: VAE and text encoder at every step, PyTorch's
default AdamW. Ours: trainer.step with the cache. On a CPU each way runs in processes of its own, by turns, as its
command runs it, and times are CPU seconds, the kernel's included; on a GPU both share a process and take turns, some
steps each, and times are seconds by the clock with the queue empty, beside the share of the card's matrix rate,
measured first, that the step's arithmetic has; the peak of memory is then that of both, unless --way names one.
"""

import argparse
import json
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass, field, replace
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import torch
from accelerate import Accelerator
from diffusers import AutoencoderKL, ControlNetModel, DDPMScheduler, UNet2DConditionModel
from diffusers.utils import logging
from torch.nn import functional
from transformers import CLIPTextConfig, CLIPTextModel

from segkit.models import hub
from segkit.palette import Palette
from segkit.toy.learn import networks as toy
from trainer.checkpoints import configs
from trainer.checkpoints.load import Base, load_base, load_controlnet
from trainer.data.batches import Batch
from trainer.data.latents import Encoder
from trainer.data.paint import PalettePainter
from trainer.settings import TrainSettings
from trainer.step.cpu import keep_freed_memory
from trainer.step.learner import Learner
from trainer.step.loss import ControlledUNet, DiffusionLoss

CACHED_TERA = 2.265
"""Floating-point operations of one sample of 512 x 512 with a cache, in 10^12: ControlNet, UNet, and backward."""

WAYS = ("theirs", "ours")


@dataclass
class Cost:
    """What the steps of one way cost."""

    seconds: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    peak: float = 0.0


def main() -> None:
    """Compare, and print ratios."""
    chosen = parse()
    cuda = chosen.device == "cuda"
    rate = matrix_rate() if cuda else 0.0
    name = torch.cuda.get_device_name() if cuda else "1 thread"
    print(f"{name}, torch {torch.__version__}, {chosen.side} x {chosen.side}, {chosen.precision}", flush=True)
    if rate:
        print(f"matrix rate: {rate:.0f} TFLOP/s in bf16", flush=True)
    bench = Bench(chosen, chosen.way) if cuda or chosen.together else None
    for size in chosen.batch:
        costs = bench.measure(size) if bench else apart(chosen, size)
        if all(cost.seconds for cost in costs.values()):
            report(chosen, size, costs, rate)
        else:
            print(f"batch {size}: does not fit", flush=True)
    if bench and rate and chosen.profile:
        print(bench.profile(chosen.batch[len(chosen.batch) // 2]), flush=True)


def parse() -> argparse.Namespace:
    """Return what was asked for."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--side", type=int, default=256)
    options.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    options.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    options.add_argument("--batch", type=int, nargs="+", default=[1])
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--steps", type=int, default=0, help="steps a round; 0: one on a CPU, five on a GPU")
    options.add_argument("--option", nargs="*", default=[], help="switches of segkit train, such as compile")
    options.add_argument("--contiguous", action="store_true", help="ours with weights in PyTorch's default order")
    options.add_argument("--way", nargs="+", choices=WAYS, default=WAYS, help="one alone shows its peak memory too")
    options.add_argument("--together", action="store_true", help="on a CPU too, both in one process, turn by turn")
    options.add_argument("--toy", action="store_true", help="the toy world's small networks, to try this script")
    options.add_argument("--profile", action="store_true", help="name the five largest costs of ours on a GPU")
    options.add_argument("--json", type=Path, help="append each result to this file, one object a line")
    chosen = options.parse_args()
    chosen.steps = chosen.steps or (5 if chosen.device == "cuda" else 1)
    return chosen


def report(chosen: argparse.Namespace, size: int, costs: dict[str, Cost], rate: float) -> None:
    """Print what a batch costs each way, and the ratio; append it to --json."""
    for way, cost in costs.items():
        seconds = median(cost.seconds)
        record = {
            "way": way, "batch": size, "side": chosen.side, "precision": chosen.precision, "options": chosen.option,
            "contiguous": chosen.contiguous, "seconds_a_step": seconds, "samples_per_second": size / seconds,
            "peak_gb": cost.peak,
        }  # fmt: skip
        words = f"batch {size:2} {way:6} {seconds:8.4f} s a step, {size / seconds:8.3f} samples/s"
        if rate:
            record["share"] = share = CACHED_TERA * (chosen.side / 512) ** 2 * size / seconds / rate
            words += f", {share:.1%} of the matrix rate"
        print(f"{words}, peak {cost.peak:.2f} GB", flush=True)
        append(chosen.json, record)
    if len(costs) < len(WAYS):
        return
    usual, own = costs["theirs"], costs["ours"]
    worst = max(abs(a - b) / a for a, b in zip(usual.losses, own.losses, strict=True))
    ratio = median(usual.seconds) / median(own.seconds)
    print(f"batch {size:2} ratio  {ratio:8.2f}; losses equal to {worst:.1e}", flush=True)
    append(chosen.json, {"ratio": ratio, "batch": size, "side": chosen.side, "losses_differ_by": worst})
    assert worst < (1e-4 if chosen.precision == "fp32" else 2e-2), f"losses differ by {worst}"


def append(path: Path | None, record: dict[str, Any]) -> None:
    """Write one result at once, as a line."""
    if path:
        with path.open("a") as file:
            file.write(json.dumps({"benchmark": "train_step", **record}) + "\n")


def apart(chosen: argparse.Namespace, size: int) -> dict[str, Cost]:
    """Measure both ways, by turns, each in processes of its own and with the memory settings that its command has."""
    costs = {way: Cost() for way in chosen.way}
    for way in tuple(chosen.way) * 2:
        with get_context("spawn").Pool(1) as process:
            part = process.apply(alone, (chosen, size, way))
        costs[way].seconds += part.seconds
        costs[way].losses += part.losses
        costs[way].peak = max(costs[way].peak, part.peak)
    return costs


def alone(chosen: argparse.Namespace, size: int, way: str) -> Cost:
    """Measure one way in this process."""
    return Bench(chosen, (way,)).measure(size)[way]


class Bench:
    """Networks and optimizers of each way, made once for all batch sizes."""

    def __init__(self, chosen: argparse.Namespace, ways: Sequence[str]) -> None:
        logging.set_verbosity_error()
        self.chosen = chosen
        cpu = chosen.device == "cpu"
        if cpu:
            torch.set_num_threads(1)
        self.memory = keep_freed_memory if cpu and "ours" in ways else nullcontext
        self.accelerator = Accelerator(mixed_precision="no" if chosen.precision == "fp32" else "bf16", cpu=cpu)
        with torch.device(chosen.device):
            base, controlnet = toy_size() if chosen.toy else full_size()
        self.base = base
        self.encoder = Encoder(base, self.accelerator.device, precision(chosen))
        parts = [(base, controlnet)]
        if len(ways) > 1:
            parts.append((replace(base, unet=deepcopy(base.unet)), deepcopy(controlnet)))
        makers = {"theirs": theirs, "ours": ours}
        self.ways = {way: makers[way](*part, self.accelerator, chosen) for way, part in zip(ways, parts, strict=True)}
        self.alone = tuple(ways) == ("ours",)

    def measure(self, size: int) -> dict[str, Cost]:
        """Take steps of each way in turn; what does not fit into a GPU's memory costs nothing."""
        chosen, cuda = self.chosen, self.chosen.device == "cuda"
        work = Work(self.base, self.encoder, chosen, size)
        if self.alone and not cuda:  # as in a run: VAE and text encoder leave the memory once cached
            for part in (self.base.vae, self.base.text_encoder):
                part.to("meta")
        costs = {name: Cost() for name in self.ways}
        with self.memory():
            for turn in range(chosen.rounds + 1):  # the first is warming up
                for name, steps in self.ways.items():
                    if cuda:
                        torch.cuda.empty_cache() if turn == 0 else None
                        torch.cuda.reset_peak_memory_stats()
                    began = clock(chosen.device)
                    try:
                        costs[name].losses += steps(work, chosen.steps)
                    except torch.OutOfMemoryError:
                        return {name: Cost() for name in self.ways}
                    cost = (clock(chosen.device) - began) / chosen.steps
                    costs[name].seconds += [cost] if turn else []
                    costs[name].peak = torch.cuda.max_memory_allocated() / 1e9 if cuda else peak()
        return costs

    def profile(self, size: int) -> str:
        """Return the five largest costs of ours on the GPU, with their share of its time."""
        from torch.profiler import ProfilerActivity, profile

        work = Work(self.base, self.encoder, self.chosen, size)
        self.ways["ours"](work, 2)
        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
            began = clock("cuda")
            self.ways["ours"](work, 3)
            wall = clock("cuda") - began
        events = [event for event in seen.key_averages() if event.device_type.name == "CUDA"]
        kernels = [event for event in events if not event.key.startswith("Optimizer.")]  # a span, not a kernel
        total = sum(event.self_device_time_total for event in kernels)
        largest = sorted(kernels, key=lambda event: -event.self_device_time_total)[:5]
        lines = [f"batch {size}: the GPU is busy for {total / 1e6 / wall:.0%} of the time; its largest costs:"]
        for event in largest:
            share = event.self_device_time_total / total
            lines.append(f"  {share:5.1%} {event.self_device_time_total / 3e3:8.2f} ms a step  {event.key[:90]}")
            append(self.chosen.json, {"profile": event.key, "batch": size, "share_of_gpu_time": share})
        append(self.chosen.json, {"busy": total / 1e6 / wall, "batch": size})
        return "\n".join(lines)


def precision(chosen: argparse.Namespace) -> torch.dtype:
    """Return the arithmetic of what is frozen."""
    return torch.float32 if chosen.precision == "fp32" else torch.bfloat16


def toy_size() -> tuple[Base, Any]:
    """Return the toy world's Stable Diffusion and a fresh ControlNet."""
    base = load_base("toy")
    return base, load_controlnet("fresh", base)


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
    controlnet = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=tuple(configs.HINT_CHANNELS))
    with torch.no_grad():
        for weight in controlnet.controlnet_mid_block.parameters():
            weight.normal_(std=0.02)
    return base, controlnet


class Work:
    """What both ways are given: one batch, and what is drawn for it."""

    def __init__(self, base: Base, encoder: Encoder, chosen: argparse.Namespace, size: int) -> None:
        draw = torch.Generator().manual_seed(1)
        side, device = chosen.side, chosen.device
        self.photos = torch.rand(size, 3, side, side, generator=draw) * 2 - 1
        self.labels = torch.randint(150, (size, side // 32, side // 32), generator=draw, dtype=torch.uint8)
        self.labels = self.labels.repeat_interleave(32, 1).repeat_interleave(32, 2)
        self.colors = PalettePainter(Palette.load("ade20k"), device)(self.labels.to(device))
        self.text = "a room with a bed and a window on the left"
        self.seeds = range(size)
        self.moments = torch.stack([encoder.photo(each).cpu() for each in self.photos])
        self.words = encoder.prompt(self.text).cpu()[None].repeat(size, 1, 1)

    def draws(self) -> list[torch.Generator]:
        """Return the generators of a batch, as they are at the beginning."""
        return [torch.Generator().manual_seed(seed) for seed in self.seeds]


Steps = Callable[[Work, int], list[float]]
"""Takes some steps, and returns their losses."""


def ours(base: Base, controlnet: Any, accelerator: Accelerator, chosen: argparse.Namespace) -> Steps:
    """Return segkit's steps, with the cache; as in a run, the host waits for a step once the next is on its way."""
    switches: dict[str, Any] = dict.fromkeys(chosen.option, True)
    settings = TrainSettings(resolution=chosen.side, **switches)
    paint = PalettePainter(Palette.load("ade20k"), accelerator.device)
    steered = ControlledUNet(controlnet, base.unet)
    learner = Learner(settings, accelerator, steered, DiffusionLoss(base, None, paint, accelerator.device), None)
    if chosen.contiguous:
        steered.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]

    def batches(work: Work) -> Iterator[Batch]:
        for _ in repeat(None):
            texts = [work.text] * len(work.seeds)
            yield Batch(None, work.moments, work.words, work.labels, texts, work.draws())

    def steps(work: Work, count: int) -> list[float]:
        stream, losses, late = batches(work), [], None
        for _ in range(count):
            step = learner.update(stream, 0)
            if late:
                losses.append(learner.read_metrics(late, Path())["loss"])
            late = step
        return [*losses, learner.read_metrics(late, Path())["loss"]] if late else losses

    return steps


def theirs(base: Base, controlnet: Any, accelerator: Accelerator, chosen: argparse.Namespace) -> Steps:
    """Return the steps of diffusers' train_controlnet.py, but that noise and times are given."""
    schedule = DDPMScheduler(**configs.SCHEDULER)
    dtype, device = precision(chosen), accelerator.device
    vae, text_encoder = (part.to(device, dtype) for part in (base.vae, base.text_encoder))
    unet = base.unet.to(device, dtype)
    controlnet.requires_grad_(True).train()
    optimizer = torch.optim.AdamW(controlnet.parameters(), lr=1e-5, weight_decay=1e-2)
    model, adam = accelerator.prepare(controlnet, optimizer)
    factor = configs.vae_scale_factor(base.vae.config)
    shape = 4, chosen.side // factor, chosen.side // factor

    def step(work: Work, tokens: torch.Tensor) -> float:
        drawn = [
            (torch.randn(shape, generator=draw), torch.randint(1000, (), generator=draw),
             torch.randn(shape, generator=draw))
            for draw in work.draws()
        ]  # fmt: skip
        sample, times, noise = (torch.stack(each).to(device) for each in zip(*drawn, strict=True))
        with torch.no_grad():
            posterior = vae.encode(work.photos.to(device, dtype)).latent_dist
            latents = (posterior.mean + posterior.std * sample.to(dtype)) * vae.config.scaling_factor
            words = text_encoder(tokens.to(device))[0]
        noisy = schedule.add_noise(latents, noise.to(dtype), times)
        with accelerator.autocast():
            down, middle = model(noisy, times, words, controlnet_cond=work.colors, return_dict=False)
            prediction = unet(
                noisy, times, words, down_block_additional_residuals=[each.to(dtype) for each in down],
                mid_block_additional_residual=middle.to(dtype), return_dict=False,
            )[0]  # fmt: skip
            loss = functional.mse_loss(prediction.float(), noise.float(), reduction="mean")
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(controlnet.parameters(), 1.0)
        adam.step()
        adam.zero_grad(set_to_none=False)
        return float(loss.detach())

    def steps(work: Work, count: int) -> list[float]:
        tokens = base.tokenizer([work.text] * len(work.seeds), padding="max_length", max_length=77, return_tensors="pt")
        return [step(work, tokens.input_ids) for _ in range(count)]

    return steps


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
