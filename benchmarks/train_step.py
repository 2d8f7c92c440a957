"""A training step of segkit compared with diffusers' train_controlnet.py, on equal batches with equal weights.

    python benchmarks/train_step.py                               # CPU: 256 x 256 in fp32, one thread
    python benchmarks/train_step.py --side 512 --precision bf16
    python benchmarks/train_step.py --together                    # both in one process, with segkit's memory settings
    python benchmarks/train_step.py --device cuda --side 512 --precision bf16 --batch 1 2 4 8 16 32
    python benchmarks/train_step.py --device cuda --side 512 --precision bf16 --batch 8 --option compile --way ours

The networks have the sizes of Stable Diffusion 1.5 and random weights, which is sufficient for time and memory. Both
methods get the same photos, maps, noise and timesteps; the losses must be equal within float tolerance. "theirs" runs
VAE and text encoder at every step and PyTorch's default AdamW; "ours" is trainer.step with the cache. On a CPU each
method runs in separate processes, alternately, as its command does, and times are CPU seconds including the kernel's.
On a GPU both share a process and alternate, some steps each; times are wall-clock seconds after synchronisation. They
are related to the card's matrix multiplication rate, which is measured first. Peak memory is then that of both methods,
unless --way selects one.
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
from segkit.toy.learn import networks
from trainer.checkpoints import configs, families
from trainer.checkpoints.load import Base, load_base, load_controlnet
from trainer.data.batches import Batch
from trainer.data.latents import Encoder
from trainer.data.paint import PalettePainter
from trainer.settings import TrainSettings
from trainer.step.cpu import keep_freed_memory
from trainer.step.learner import Learner
from trainer.step.loss import ControlledUNet, DiffusionLoss

CACHED_TERA = 2.265
"""Floating-point operations per 512 x 512 sample with the cache, in 10^12: ControlNet, UNet and backward pass."""

WAYS = ("theirs", "ours")


@dataclass
class Cost:
    """Times, losses and peak memory of one method."""

    seconds: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    peak: float = 0.0


def main() -> None:
    """Compare both methods and print ratios."""
    options = parse()
    cuda = options.device == "cuda"
    rate = matrix_rate() if cuda else 0.0
    name = torch.cuda.get_device_name() if cuda else "1 thread"
    print(f"{name}, torch {torch.__version__}, {options.side} x {options.side}, {options.precision}", flush=True)
    if rate:
        print(f"matrix multiplication: {rate:.0f} TFLOP/s in bf16", flush=True)
    bench = Bench(options, options.way) if cuda or options.together else None
    for size in options.batch:
        costs = bench.measure(size) if bench else measure_separately(options, size)
        if all(cost.seconds for cost in costs.values()):
            report(options, size, costs, rate)
        else:
            print(f"batch {size}: out of memory", flush=True)
    if bench and rate and options.profile:
        print(bench.profile(options.batch[len(options.batch) // 2]), flush=True)


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--batch", type=int, nargs="+", default=[1])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=0, help="steps per round; 0: one on a CPU, five on a GPU")
    parser.add_argument("--option", nargs="*", default=[], help="boolean options of segkit train, such as compile")
    parser.add_argument(
        "--contiguous", action="store_true", help="ours with weights in contiguous instead of channels_last layout"
    )
    parser.add_argument(
        "--way", nargs="+", choices=WAYS, default=WAYS, help="methods to run; a single one reports its own peak memory"
    )
    parser.add_argument("--together", action="store_true", help="run both in one process on a CPU too")
    parser.add_argument("--toy", action="store_true", help="use the small networks of the toy world, to try the script")
    parser.add_argument("--profile", action="store_true", help="list the five most expensive GPU kernels of ours")
    parser.add_argument("--json", type=Path, help="append each result to this JSON Lines file")
    options = parser.parse_args()
    options.steps = options.steps or (5 if options.device == "cuda" else 1)
    return options


def report(options: argparse.Namespace, size: int, costs: dict[str, Cost], rate: float) -> None:
    """Print the cost of a batch with each method and the ratio; append them to the --json file."""
    for way, cost in costs.items():
        seconds = median(cost.seconds)
        record = {
            "way": way, "batch": size, "side": options.side, "precision": options.precision, "options": options.option,
            "contiguous": options.contiguous, "seconds_a_step": seconds, "samples_per_second": size / seconds,
            "peak_gb": cost.peak,
        }  # fmt: skip
        line = f"batch {size:2} {way:6} {seconds:8.4f} s/step, {size / seconds:8.3f} samples/s"
        if rate:
            record["share"] = share = CACHED_TERA * (options.side / 512) ** 2 * size / seconds / rate
            line += f", {share:.1%} of the matrix multiplication rate"
        print(f"{line}, peak {cost.peak:.2f} GB", flush=True)
        append(options.json, record)
    if len(costs) < len(WAYS):
        return
    reference, ours = costs["theirs"], costs["ours"]
    worst = max(abs(a - b) / a for a, b in zip(reference.losses, ours.losses, strict=True))
    ratio = median(reference.seconds) / median(ours.seconds)
    print(f"batch {size:2} ratio  {ratio:8.2f}; largest loss difference {worst:.1e}", flush=True)
    append(options.json, {"ratio": ratio, "batch": size, "side": options.side, "losses_differ_by": worst})
    assert worst < (1e-4 if options.precision == "fp32" else 2e-2), f"losses differ by {worst}"


def append(path: Path | None, record: dict[str, Any]) -> None:
    """Append one result as a JSON line immediately."""
    if path:
        with path.open("a") as file:
            file.write(json.dumps({"benchmark": "train_step", **record}) + "\n")


def measure_separately(options: argparse.Namespace, size: int) -> dict[str, Cost]:
    """Measure both methods alternately, each in fresh processes with the memory settings of its command."""
    costs = {way: Cost() for way in options.way}
    for way in tuple(options.way) * 2:
        with get_context("spawn").Pool(1) as process:
            part = process.apply(measure_one, (options, size, way))
        costs[way].seconds += part.seconds
        costs[way].losses += part.losses
        costs[way].peak = max(costs[way].peak, part.peak)
    return costs


def measure_one(options: argparse.Namespace, size: int, way: str) -> Cost:
    """Measure one method in this process."""
    return Bench(options, (way,)).measure(size)[way]


class Bench:
    """Networks and optimizers of each method, created once for all batch sizes."""

    def __init__(self, options: argparse.Namespace, ways: Sequence[str]) -> None:
        logging.set_verbosity_error()
        self.options = options
        cpu = options.device == "cpu"
        if cpu:
            torch.set_num_threads(1)
        self.memory = keep_freed_memory if cpu and "ours" in ways else nullcontext
        self.accelerator = Accelerator(mixed_precision="no" if options.precision == "fp32" else "bf16", cpu=cpu)
        with torch.device(options.device):
            base, controlnet = toy_size() if options.toy else full_size()
        self.base = base
        self.encoder = Encoder(base, self.accelerator.device, precision(options))
        parts = [(base, controlnet)]
        if len(ways) > 1:
            parts.append((replace(base, unet=deepcopy(base.unet)), deepcopy(controlnet)))
        factories = {"theirs": theirs, "ours": ours}
        self.ways = {
            way: factories[way](*part, self.accelerator, options) for way, part in zip(ways, parts, strict=True)
        }
        self.alone = tuple(ways) == ("ours",)

    def measure(self, size: int) -> dict[str, Cost]:
        """Run steps of each method alternately; return empty costs if the GPU runs out of memory."""
        options, cuda = self.options, self.options.device == "cuda"
        work = Work(self.base, self.encoder, options, size)
        if self.alone and not cuda:  # as in a run, VAE and text encoder are unloaded after caching
            for part in (self.base.vae, *self.base.text_encoders):
                part.to("meta")
        costs = {name: Cost() for name in self.ways}
        with self.memory():
            for turn in range(options.rounds + 1):  # the first is a warm-up
                for name, steps in self.ways.items():
                    if cuda:
                        torch.cuda.empty_cache() if turn == 0 else None
                        torch.cuda.reset_peak_memory_stats()
                    start = clock(options.device)
                    try:
                        costs[name].losses += steps(work, options.steps)
                    except torch.OutOfMemoryError:
                        return {name: Cost() for name in self.ways}
                    cost = (clock(options.device) - start) / options.steps
                    costs[name].seconds += [cost] if turn else []
                    costs[name].peak = torch.cuda.max_memory_allocated() / 1e9 if cuda else peak()
        return costs

    def profile(self, size: int) -> str:
        """Return the five most expensive GPU kernels of ours with their shares of the GPU time."""
        from torch.profiler import ProfilerActivity, profile

        work = Work(self.base, self.encoder, self.options, size)
        self.ways["ours"](work, 2)
        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
            start = clock("cuda")
            self.ways["ours"](work, 3)
            wall = clock("cuda") - start
        events = [event for event in profiler.key_averages() if event.device_type.name == "CUDA"]
        kernels = [event for event in events if not event.key.startswith("Optimizer.")]  # an annotation, not a kernel
        total = sum(event.self_device_time_total for event in kernels)
        largest = sorted(kernels, key=lambda event: -event.self_device_time_total)[:5]
        lines = [f"batch {size}: GPU utilisation {total / 1e6 / wall:.0%}; most expensive kernels:"]
        for event in largest:
            share = event.self_device_time_total / total
            lines.append(f"  {share:5.1%} {event.self_device_time_total / 3e3:8.2f} ms/step  {event.key[:90]}")
            append(self.options.json, {"profile": event.key, "batch": size, "share_of_gpu_time": share})
        append(self.options.json, {"busy": total / 1e6 / wall, "batch": size})
        return "\n".join(lines)


def precision(options: argparse.Namespace) -> torch.dtype:
    """Return the dtype of the frozen networks."""
    return torch.float32 if options.precision == "fp32" else torch.bfloat16


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
        tokenizer: Any = networks.clip_tokenizer(["a"])
    base = Base("random", unet, vae, (text_encoder,), (tokenizer,), "epsilon", families.SD1)
    controlnet = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=tuple(configs.HINT_CHANNELS))
    with torch.no_grad():
        for weight in controlnet.controlnet_mid_block.parameters():
            weight.normal_(std=0.02)
    return base, controlnet


class Work:
    """The inputs of both methods: one batch and its random generators."""

    def __init__(self, base: Base, encoder: Encoder, options: argparse.Namespace, size: int) -> None:
        generator = torch.Generator().manual_seed(1)
        side, device = options.side, options.device
        self.photos = torch.rand(size, 3, side, side, generator=generator) * 2 - 1
        self.labels = torch.randint(150, (size, side // 32, side // 32), generator=generator, dtype=torch.uint8)
        self.labels = self.labels.repeat_interleave(32, 1).repeat_interleave(32, 2)
        self.colors = PalettePainter(Palette.load("ade20k"), device)(self.labels.to(device))
        self.text = "a room with a bed and a window on the left"
        self.seeds = range(size)
        self.moments = torch.stack([encoder.photo(photo).cpu() for photo in self.photos])
        self.encoder_hidden_states = encoder.prompt(self.text).cpu()[None].repeat(size, 1, 1)
        self.time_ids = torch.tensor([families.whole(side, side)] * size).float()

    def draws(self) -> list[torch.Generator]:
        """Return fresh generators for the samples of the batch."""
        return [torch.Generator().manual_seed(seed) for seed in self.seeds]


Steps = Callable[[Work, int], list[float]]
"""Runs a number of steps and returns their losses."""


def ours(base: Base, controlnet: Any, accelerator: Accelerator, options: argparse.Namespace) -> Steps:
    """Return segkit's steps with the cache. As in a run, a step is awaited only after the next one was launched."""
    switches: dict[str, Any] = dict.fromkeys(options.option, True)
    settings = TrainSettings(resolution=options.side, **switches)
    paint = PalettePainter(Palette.load("ade20k"), accelerator.device)
    steered = ControlledUNet(controlnet, base.unet)
    learner = Learner(settings, accelerator, steered, DiffusionLoss(base, None, paint, accelerator.device), None)
    if options.contiguous:
        steered.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]

    def batches(work: Work) -> Iterator[Batch]:
        for _ in repeat(None):
            texts = [work.text] * len(work.seeds)
            yield Batch(None, work.moments, work.encoder_hidden_states, work.labels, texts, work.draws(), work.time_ids)

    def steps(work: Work, count: int) -> list[float]:
        stream, losses, previous = batches(work), [], None
        for _ in range(count):
            step = learner.update(stream, 0)
            if previous:
                losses.append(learner.read_metrics(previous, Path())["loss"])
            previous = step
        return [*losses, learner.read_metrics(previous, Path())["loss"]] if previous else losses

    return steps


def theirs(base: Base, controlnet: Any, accelerator: Accelerator, options: argparse.Namespace) -> Steps:
    """Return the steps of diffusers' train_controlnet.py with predetermined noise and timesteps."""
    noise_scheduler = DDPMScheduler(**configs.SCHEDULER)
    dtype, device = precision(options), accelerator.device
    vae, text_encoder = (part.to(device, dtype) for part in (base.vae, *base.text_encoders))
    unet = base.unet.to(device, dtype)
    controlnet.requires_grad_(True).train()
    optimizer = torch.optim.AdamW(controlnet.parameters(), lr=1e-5, weight_decay=1e-2)
    model, adam = accelerator.prepare(controlnet, optimizer)
    factor = configs.vae_scale_factor(base.vae.config)
    shape = 4, options.side // factor, options.side // factor

    def step(work: Work, tokens: torch.Tensor) -> float:
        draws = [
            (torch.randn(shape, generator=generator), torch.randint(1000, (), generator=generator),
             torch.randn(shape, generator=generator))
            for generator in work.draws()
        ]  # fmt: skip
        sample, timesteps, noise = (torch.stack(column).to(device) for column in zip(*draws, strict=True))
        with torch.no_grad():
            posterior = vae.encode(work.photos.to(device, dtype)).latent_dist
            latents = (posterior.mean + posterior.std * sample.to(dtype)) * vae.config.scaling_factor
            encoder_hidden_states = text_encoder(tokens.to(device))[0]
        noisy_latents = noise_scheduler.add_noise(latents, noise.to(dtype), timesteps)
        with accelerator.autocast():
            down, mid = model(
                noisy_latents, timesteps, encoder_hidden_states, controlnet_cond=work.colors, return_dict=False
            )
            noise_pred = unet(
                noisy_latents, timesteps, encoder_hidden_states, return_dict=False,
                down_block_additional_residuals=[residual.to(dtype) for residual in down],
                mid_block_additional_residual=mid.to(dtype),
            )[0]  # fmt: skip
            loss = functional.mse_loss(noise_pred.float(), noise.float(), reduction="mean")
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(controlnet.parameters(), 1.0)
        adam.step()
        adam.zero_grad(set_to_none=False)
        return float(loss.detach())

    def steps(work: Work, count: int) -> list[float]:
        texts = [work.text] * len(work.seeds)
        tokens = base.tokenizers[0](texts, padding="max_length", max_length=77, return_tensors="pt")
        return [step(work, tokens.input_ids) for _ in range(count)]

    return steps


def clock(device: str) -> float:
    """Return the CPU time, or on a GPU the wall-clock time after synchronisation, in seconds."""
    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def peak() -> float:
    """Return the peak memory of this process in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def matrix_rate() -> float:
    """Measure the rate of bf16 matrix multiplication, 8,192 x 8,192, in TFLOP/s."""
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    seconds = []
    for _ in range(10):
        start = clock("cuda")
        for _ in range(10):
            a @ b
        seconds.append((clock("cuda") - start) / 10)
    return 2 * 8192**3 / median(seconds[3:]) / 1e12


if __name__ == "__main__":
    main()
