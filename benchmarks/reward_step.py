"""A training step with a reward, compared with ControlNet++'s way: decode and segment every photo, and mask later.

    python benchmarks/reward_step.py                          # toy networks, 64 x 64, batch 16, one thread
    python benchmarks/reward_step.py --batch 8 --rounds 9

"theirs" is written here from the published method, with diffusers and transformers alone: uniform timesteps, x0 of
every photo by the scheduler, one decode and one segmentation of the batch, and the mean over those with t <= until.
"ours" is trainer.step with --reward-share. Both start from the same weights and train the same ControlNet with AdamW in
turns. Times are medians of CPU seconds. A rewarded photo is one whose reward reaches the loss: of a batch in "theirs",
(until + 1) / 1000 on average.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from accelerate import Accelerator
from diffusers import DDPMScheduler
from diffusers.utils import logging
from torch.nn import functional
from transformers import AutoTokenizer, OneFormerForUniversalSegmentation

from segkit.models import hub
from segkit.models.device import Device
from segkit.models.scores import Scorer
from segkit.palette import Palette
from trainer.checkpoints import configs, families
from trainer.checkpoints.load import Base, load_base, load_controlnet
from trainer.data.batches import Batch
from trainer.data.latents import Encoder
from trainer.data.paint import PalettePainter
from trainer.settings import TrainSettings
from trainer.step.learner import Learner
from trainer.step.loss import ControlledUNet, DiffusionLoss
from trainer.step.reward import Reward

ADE = Palette.load("ade20k")
CPU = torch.device("cpu")
MEAN, STD, SEGMENTED_AT = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), (192, 192)
"""ImageNet's statistics, and the toy OneFormer's size."""

BATCHES = 32
"""Batches that the steps cycle through."""


def main() -> None:
    """Time both ways in turns, and print seconds per step and per rewarded photo."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--until", type=int, nargs="+", default=[200, 700])
    parser.add_argument("--share", type=float, nargs="+", default=[0.25, 0.5])
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, toy networks, 64 x 64, batch {options.batch}, one thread")
    logging.set_verbosity_error()
    for until in options.until:
        natural = options.batch * (until + 1) / 1000
        ways: dict[str, tuple[Callable[[int], object], float]] = {
            "theirs, every photo decoded": (Theirs(options.batch, until), natural)
        }
        for share in options.share:
            ways[f"ours, share {share}"] = ours(options.batch, until, share), options.batch * share
        ways["no reward"] = ours(options.batch, until, 0.0), 0.0
        report(until, timed(ways, options.rounds), {name: rewarded for name, (_, rewarded) in ways.items()})


def timed(ways: dict[str, tuple[Callable[[int], object], float]], rounds: int) -> dict[str, float]:
    """Return the median CPU seconds of a step of each way, taken in turns after a warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for step in range(rounds + 1):
        for name, (take, _) in ways.items():
            began = time.process_time()
            take(step)
            seconds[name].append(time.process_time() - began)
    return {name: median(values[1:]) for name, values in seconds.items()}


def report(until: int, seconds: dict[str, float], rewarded: dict[str, float]) -> None:
    """Print a line for each way."""
    plain = seconds["no reward"]
    for name, value in seconds.items():
        photos = rewarded[name]
        extra = f", {photos:.1f} rewarded photos, {(value - plain) / photos:.3f} s more for each" if photos else ""
        print(f"t <= {until}: {name}: {value:.3f} s a step{extra}", flush=True)


def batch_of(base: Base, size: int, rewarded: torch.Tensor | None, step: int) -> Batch:
    """Return a batch of random latents, maps of large areas and one prompt, the same for every way."""
    generator = torch.Generator().manual_seed(step)
    coarse = torch.randint(150, (size, 1, 4, 4), generator=generator).float()
    moments = torch.randn(size, 2, 4, 16, 16, generator=generator)
    moments[:, 1] = -10
    prompt = Encoder(base, CPU, torch.float32).prompt("a room with a bed").expand(size, -1, -1)
    controls = functional.interpolate(coarse, (64, 64))[:, 0].byte()
    generators = [torch.Generator().manual_seed(1000 * step + place) for place in range(size)]
    sizes = torch.tensor([families.whole(64, 64)] * size).float()
    return Batch(None, moments, prompt, controls, ["a room with a bed"] * size, generators, sizes, rewarded)


def ours(size: int, until: int, share: float) -> Callable[[int], object]:
    """Return a function that takes one of segkit's steps; a share of 0 trains without a reward."""
    base = load_base("toy")
    reward: dict[str, Any] = {"reward": "toy", "reward_until": until, "reward_share": share} if share else {}
    settings = TrainSettings(base="toy", controlnet="fresh", batch_size=size, resolution=64, cpu=True, **reward)
    rewarder = None
    if share:
        scorer = Scorer("toy", ADE, Device("cpu", "fp32"))
        rewarder = Reward(scorer, Encoder(base, CPU, torch.float32).decoder(alone=False), settings)
    objective = DiffusionLoss(base, None, PalettePainter(ADE), CPU, rewarded=rewarder)
    model = ControlledUNet(load_controlnet("fresh", base), base.unet)
    learner = Learner(settings, Accelerator(cpu=True), model, objective, None)
    chosen = torch.arange(size) < round(share * size) if share else None
    batches = [batch_of(base, size, chosen, step) for step in range(BATCHES)]
    return lambda step: float(learner.update(iter([batches[step % BATCHES]]), step).loss)


class Theirs:
    """ControlNet++'s way, on batches of `size` photos; calling it takes a step."""

    def __init__(self, size: int, until: int) -> None:
        base = load_base("toy")
        self.size, self.until = size, until
        self.unet, self.vae, self.controlnet = base.unet, base.vae, load_controlnet("fresh", base).train()
        folder = hub.shipped("segmenter")
        with hub.quiet():
            self.segmenter = OneFormerForUniversalSegmentation.from_pretrained(folder, dtype=torch.float32).eval()
            tokenizer = AutoTokenizer.from_pretrained(folder)
        self.segmenter.requires_grad_(False)
        text = "the task is semantic"
        self.tokens = tokenizer([text], padding="max_length", max_length=77, return_tensors="pt").input_ids
        self.scheduler = DDPMScheduler(**configs.SCHEDULER)
        self.optimizer = torch.optim.AdamW(self.controlnet.parameters(), 1e-5)
        self.paint = PalettePainter(ADE)
        self.batches = [batch_of(base, size, None, step) for step in range(BATCHES)]

    def __call__(self, step: int) -> float:
        """Take a step and return its loss."""
        batch, generator = self.batches[step % BATCHES], torch.Generator().manual_seed(step)
        moments: Any = batch.moments
        latents = moments[:, 0] * self.vae.config.scaling_factor
        noise = torch.randn(latents.shape, generator=generator)
        timesteps = torch.randint(1000, (self.size,), generator=generator)
        noisy = self.scheduler.add_noise(latents, noise, timesteps)
        prediction = self.predicted(noisy, timesteps, batch)
        scores = self.segmented(self.decoded(prediction, timesteps, noisy))
        entropy = functional.nll_loss(scores, batch.controls.long(), reduction="none").mean((1, 2))
        early = (timesteps <= self.until).float()
        loss = functional.mse_loss(prediction, noise) + 0.5 * (early * entropy).sum() / (early.sum() + 1e-10)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.controlnet.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return float(loss.detach())

    def predicted(self, noisy: torch.Tensor, timesteps: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Return the predicted noise."""
        hidden, control = batch.prompts, self.paint(batch.controls)
        down, mid = self.controlnet(noisy, timesteps, hidden, controlnet_cond=control, return_dict=False)
        prediction: torch.Tensor = self.unet(
            noisy, timesteps, hidden, down_block_additional_residuals=down, mid_block_additional_residual=mid
        ).sample
        return prediction

    def decoded(self, prediction: torch.Tensor, timesteps: torch.Tensor, noisy: torch.Tensor) -> torch.Tensor:
        """Return the predicted pictures of the whole batch, 0 to 1."""
        parts = [
            self.scheduler.step(prediction[i : i + 1], timesteps[i], noisy[i : i + 1]).pred_original_sample
            for i in range(self.size)
        ]
        pixels: torch.Tensor = self.vae.decode(torch.cat(parts) / self.vae.config.scaling_factor).sample
        return (pixels / 2 + 0.5).clamp(0, 1)

    def segmented(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the logarithm of the class probabilities, (B, classes, 64, 64)."""
        mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
        scaled = functional.interpolate(pixels, SEGMENTED_AT, mode="bilinear", antialias=True, align_corners=False)
        outputs = self.segmenter(pixel_values=(scaled - mean) / std, task_inputs=self.tokens.expand(self.size, -1))
        classes = outputs.class_queries_logits.softmax(-1)[..., :-1]
        scores = torch.einsum("bqc,bqhw->bchw", classes, outputs.masks_queries_logits.sigmoid())
        scores = functional.interpolate(scores, (64, 64), mode="bilinear", align_corners=False) + 1e-6
        return (scores / scores.sum(1, keepdim=True)).log()


if __name__ == "__main__":
    main()
