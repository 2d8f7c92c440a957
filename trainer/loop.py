"""The training itself, from the settings to the results; one process or several run the same function."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from segkit.errors import TrainingError, UsageError
from segkit.settings import TrainSettings
from trainer import checkpoints, encodings, examples, networks, processes, results, runs, unlocked
from trainer.batches import Batches
from trainer.checkpoints import Checkpoint
from trainer.encodings import Encoder, Encodings, Progress
from trainer.examples import Examples
from trainer.journal import Journal
from trainer.learner import Learner, Step
from trainer.objective import Objective, Steered, require_unchanged
from trainer.painting import Paint
from trainer.processes import Stop, on_main, started

HELD_OUT = 64
"""Photos of the split val whose loss is measured at each checkpoint."""


@contextmanager
def quiet(label: str) -> Iterator[Callable[..., None]]:
    """Show no progress."""
    yield lambda done, total, words="": None


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


def train(dataset: Path, output: Path, settings: TrainSettings, progress: Progress = quiet) -> Outcome:
    """Finetune a ControlNet, or go on with a run that was stopped.

    Args:
        dataset: what to train on (see examples.find).
        output: the run's folder; one that holds a run with the same options is gone on with, exactly.
        settings: how.
        progress: shows how far things are.

    Raises:
        SegkitError: the dataset, a network, an option or the machine does not do; one line with the cure.
    """
    from diffusers.utils import logging

    logging.set_verbosity_error()
    with started(settings) as accelerator:
        return _Training(dataset, output, settings, accelerator, progress).run()


class _Training:
    """One run: what it works with, and the steps."""

    def __init__(
        self, dataset: Path, output: Path, settings: TrainSettings, accelerator: Accelerator, progress: Progress
    ) -> None:
        self.settings, self.output, self.accelerator = settings, output, accelerator
        self.dataset, self.progress = dataset, progress if accelerator.is_main_process else quiet
        self.found = on_main(accelerator, lambda: examples.find(dataset, settings.palette, settings.allow_any_control))
        self.facts = runs.facts(settings, dataset, self.found, accelerator.num_processes)
        self.losses: list[float] = []

    def run(self) -> Outcome:
        """Take the steps that are left, and write the results."""
        with ExitStack() as held:
            start = on_main(self.accelerator, lambda: self._claim(held))
            step = start.step if start else 0
            try:
                cut = self._prepare(start)
                on_main(
                    self.accelerator, lambda: runs.start(self.output, self.settings, self.facts, self.found.palette)
                )
                bar = self.progress("steps")
                with Stop(self.accelerator) as stop, self._journal(step) as journal, bar as self.advance:
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

    def _prepare(self, start: Checkpoint | None) -> int:
        """Load the networks and fill the cache; return the number of prompts that are cut."""
        settings, accelerator = self.settings, self.accelerator
        base = networks.load_base(settings.base, settings.tokenizer, settings.told_prediction)
        self.base_name = base.name
        encoder = Encoder(base, accelerator.device, processes.dtype(accelerator))
        cut = encoder.cut([each.text for each in self.found.train])
        kept = self._cache(encoder) if settings.cache else None  # then nothing holds VAE and text encoder any more
        paint = Paint(self.found.palette, accelerator.device)
        objective = Objective(base, None if kept else encoder, paint, accelerator.device, settings.min_snr)
        controlnet = networks.load_controlnet(settings.controlnet, base, settings.seed)
        if settings.controlnet == networks.FRESH:
            require_unchanged(base, controlnet)
        model = Steered(controlnet, base.unet, settings.only_mid_control, settings.sd_unlocked)
        self.learner = Learner(settings, accelerator, model, objective, start)
        share = accelerator.process_index, accelerator.num_processes
        self.batches = Batches(self.found.train, self.found.palette, settings, kept, share)
        self.held_out = _held_out(self.found, settings, kept)
        return cut

    def _cache(self, encoder: Encoder) -> Encodings:
        """Return what VAE and text encoder say of everything; the processes share the work."""
        accelerator = self.accelerator
        folder = encodings.folder_for(self.found, self.dataset, self.output)
        kept = Encodings(folder, encoder)

        def missing() -> Any:
            photos, prompts = kept.missing(self.found, self.settings)
            encodings.require_space(folder, encodings.size(photos, prompts, encoder))
            return photos, prompts

        photos, prompts = on_main(accelerator, missing)
        rank, world = accelerator.process_index, accelerator.num_processes
        kept.fill(photos[rank::world], prompts[rank::world], encoder, self.progress)
        accelerator.wait_for_everyone()
        kept.refresh()
        return kept

    def _steps(self, step: int, stop: Stop, journal: Journal | None) -> int:
        settings = self.settings
        stream = self.batches.starting_at(step * settings.accumulate)
        late: Step | None = None  # told while the device works on the next
        self.told_at = time.perf_counter()
        while step < settings.steps and not stop:
            taken = self.learner.update(stream, step)
            if late:
                self._tell(late, journal)
            late, step = taken, step + 1
            if step % settings.checkpoint_every == 0 or step == settings.steps:
                self._tell(late, journal, save=True)
                late = None
        if late:
            self._tell(late, journal, save=True)
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

    def _tell(self, taken: Step, journal: Journal | None, save: bool = False) -> None:
        """Look at the numbers of a step, write a checkpoint if asked to, and tell of both."""
        settings = self.settings
        numbers = self.learner.settle(taken, self.output)
        step = taken.number + 1
        if save:
            numbers |= self._checkpoint(step)
        now = time.perf_counter()
        photos = settings.batch_size * settings.accumulate * self.accelerator.num_processes
        numbers["photos_per_second"] = photos / (now - self.told_at)
        self.told_at = now
        if self.accelerator.device.type == "cuda":
            numbers["memory_gb"] = torch.cuda.max_memory_allocated() / 1e9
        self.losses.append(numbers["loss"])
        if journal:
            journal.write(step, numbers)
        memory = f", {numbers['memory_gb']:.1f} GB" if "memory_gb" in numbers else ""
        recent = self.losses[-50:]
        words = f"loss {sum(recent) / len(recent):.4f}, {numbers['photos_per_second']:.2f} photos/s{memory}"
        self.advance(step, settings.steps, words)

    def _finish(self, step: int) -> Path | None:
        """Write the results; return the single file, in the main process."""
        model = self.learner.trained()
        facts = {"base": self.base_name, "steps": step, **self.facts["told"]}
        name = self.settings.name or self.output.resolve().name

        def write() -> Path:
            if self.settings.sd_unlocked:
                unlocked.write(self.output, name, self.settings, model.unet.state_dict())
            return results.write(self.output, name, model.controlnet, facts)

        return on_main(self.accelerator, write)


def _held_out(found: Examples, settings: TrainSettings, kept: Encodings | None) -> Batches | None:
    """Return batches of one photo each of the split val, the same ones at every checkpoint."""
    if not found.val:
        return None
    single = replace(settings, batch_size=1, flip=False, prompt_dropout=0.0, seed=0, balance=False)
    return Batches(found.val[:HELD_OUT], found.palette, single, kept)


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
