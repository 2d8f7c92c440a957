"""The training itself, from the settings to the results; one process or several run the same function."""

import math
import time
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from segkit.errors import TrainingError, UsageError
from segkit.settings import TrainSettings
from trainer import checkpoints, examples, results, runs, unlocked
from trainer.batches import Batches
from trainer.checkpoints import Checkpoint
from trainer.examples import Examples
from trainer.journal import Journal
from trainer.learner import Learner
from trainer.processes import Stop, on_main, started

HELD_OUT = 64
"""Photos of the split val whose loss is measured at each checkpoint."""

Told = Callable[[int, int, str], None]
"""Hears of each step: steps taken, their total, and the loss and more in words."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        steps: updates taken in all.
        resumed: the step that it went on from; 0 for a new run.
        loss: mean of the last steps; NaN without any.
        cut: prompts longer than the text encoder reads; their ends were not learnt from.
        file: for A1111, Forge and ComfyUI; None if the run was stopped before its end.
    """

    steps: int
    resumed: int
    loss: float
    cut: int
    file: Path | None


def train(
    dataset: Path, output: Path, settings: TrainSettings, told: Told = lambda done, total, words: None
) -> Outcome:
    """Finetune a ControlNet, or go on with a run that was stopped.

    Args:
        dataset: what to train on (see examples.find).
        output: the run's folder; one that holds a run with the same options is gone on with, exactly.
        settings: how.
        told: hears of each step.

    Raises:
        SegkitError: the dataset, a network, an option or the machine does not do; one line with the cure.
    """
    from diffusers.utils import logging

    logging.set_verbosity_error()
    with started(settings) as accelerator:
        return _Training(dataset, output, settings, accelerator, told).run()


class _Training:
    """One run: what it works with, and the steps."""

    def __init__(
        self, dataset: Path, output: Path, settings: TrainSettings, accelerator: Accelerator, told: Told
    ) -> None:
        self.settings, self.output, self.accelerator, self.told = settings, output, accelerator, told
        self.found = on_main(accelerator, lambda: examples.find(dataset, settings.palette, settings.allow_any_control))
        self.facts = runs.facts(settings, dataset, self.found, accelerator.num_processes)
        self.losses: list[float] = []

    def run(self) -> Outcome:
        """Take the steps that are left, and write the results."""
        with ExitStack() as held:
            start = on_main(self.accelerator, lambda: self._claim(held))
            step = start.step if start else 0
            try:
                self._prepare(start)
                cut = on_main(self.accelerator, lambda: self.learner.cut([each.text for each in self.found.train]))
                on_main(
                    self.accelerator, lambda: runs.start(self.output, self.settings, self.facts, self.found.palette)
                )
                with Stop(self.accelerator) as stop, self._journal(step) as journal:
                    taken = self._steps(step, stop, journal)
            except torch.OutOfMemoryError:
                raise TrainingError(_too_large(self.settings)) from None
            file = self._finish(taken) if taken == self.settings.steps else None
            recent = self.losses[-50:]
            return Outcome(taken, step, sum(recent) / len(recent) if recent else math.nan, cut, file)

    def _claim(self, held: ExitStack) -> Checkpoint | None:
        """Hold the run's folder, and return the checkpoint to go on from."""
        held.enter_context(runs.claimed(self.output))
        start = checkpoints.newest(self.output / "checkpoints")
        if start:
            runs.require_same(self.output, self.facts)
            if start.step > self.settings.steps:
                raise UsageError(
                    f"{self.output} has taken {start.step:,} steps; --steps {self.settings.steps} is fewer."
                )
        return start

    def _journal(self, step: int) -> Any:
        if not self.accelerator.is_main_process:
            return nullcontext(None)
        return Journal(self.output, step, self.settings.tracker, asdict(self.settings))

    def _prepare(self, start: Checkpoint | None) -> None:
        self.learner = Learner(self.settings, self.accelerator, start)
        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        self.batches = Batches(self.found.train, self.found.palette, self.settings, rank, world)
        self.held_out = _held_out(self.found, self.settings)

    def _steps(self, step: int, stop: Stop, journal: Journal | None) -> int:
        settings = self.settings
        saved = step
        stream = self.batches.starting_at(step * settings.accumulate)
        while step < settings.steps and not stop:
            began = time.perf_counter()
            numbers = self.learner.update(stream, step, self.output)
            step += 1
            if step % settings.checkpoint_every == 0 or step == settings.steps:
                numbers |= self._checkpoint(step)
                saved = step
            seconds = time.perf_counter() - began
            self._tell(step, numbers, seconds, journal)
        if saved != step:
            self._checkpoint(step)
        return step

    def _checkpoint(self, step: int) -> dict[str, float]:
        """Measure the loss of held-out photos, write a checkpoint, and remove old ones."""
        numbers = {"held_out_loss": self.learner.measure(self.held_out)} if self.held_out else {}
        folder = self.output / "checkpoints"
        self.learner.save(folder, step, {**self.facts, **numbers})
        on_main(self.accelerator, lambda: self._tidy(folder, step, numbers.get("held_out_loss")))
        return numbers

    def _tidy(self, folder: Path, step: int, loss: float | None) -> None:
        checkpoints.prune(folder, self.settings.keep, runs.best(self.output, step, loss))

    def _tell(self, step: int, numbers: dict[str, float], seconds: float, journal: Journal | None) -> None:
        settings = self.settings
        photos = settings.batch_size * settings.accumulate * self.accelerator.num_processes
        numbers["photos_per_second"] = photos / seconds
        if self.accelerator.device.type == "cuda":
            numbers["memory_gb"] = torch.cuda.max_memory_allocated() / 1e9
        self.losses.append(numbers["loss"])
        if journal:
            journal.write(step, numbers)
            memory = f", {numbers['memory_gb']:.1f} GB" if "memory_gb" in numbers else ""
            recent = self.losses[-50:]
            words = f"loss {sum(recent) / len(recent):.4f}, {numbers['photos_per_second']:.2f} photos/s{memory}"
            self.told(step, settings.steps, words)

    def _finish(self, step: int) -> Path | None:
        """Write the results; return the single file, in the main process."""
        model = self.learner.trained()
        facts = {"base": self.learner.base_name, "steps": step, **self.facts["told"]}
        name = self.settings.name or self.output.resolve().name

        def write() -> Path:
            if self.settings.sd_unlocked:
                unlocked.write(self.output, name, self.settings, model.unet.state_dict())
            return results.write(self.output, name, model.controlnet, facts)

        return on_main(self.accelerator, write)


def _held_out(found: Examples, settings: TrainSettings) -> Batches | None:
    """Return batches of one photo each of the split val, the same ones at every checkpoint."""
    if not found.val:
        return None
    single = replace(settings, batch_size=1, flip=False, prompt_dropout=0.0, seed=0)
    return Batches(found.val[:HELD_OUT], found.palette, single)


def _too_large(settings: TrainSettings) -> str:
    words = []
    if not settings.gradient_checkpointing:
        words.append("--gradient-checkpointing, with which a run goes on")
    if settings.batch_size > 1:
        half = settings.batch_size // 2
        words.append(f"--batch-size {half} --accumulate {-(-settings.batch_size * settings.accumulate // half)}")
    if settings.precision == "fp32":
        words.append("--precision bf16")
    if settings.resolution > 512:
        words.append("--resolution 512")
    cure = f"Try {', or '.join(words)}" if words else "A GPU with more memory is needed"
    return f"The memory is too small for this. {cure}. Checkpoints stay."
