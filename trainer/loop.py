"""The training itself, from the settings to the results; one process or several run the same function."""

import math
import time
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from segkit.errors import TrainingError
from segkit.progress import Progress, silent
from trainer.checkpoints import export
from trainer.checkpoints.store import Checkpoint
from trainer.data import examples, latents
from trainer.data.latents import Encoder, LatentCache
from trainer.run import run_folder
from trainer.run.callbacks import Callbacks, Due
from trainer.run.log import RunLog
from trainer.run.setup import filled, prepare
from trainer.settings import TrainSettings
from trainer.step.distributed import Stop, launched, on_main
from trainer.step.learner import StepResult

NOTHING = Due()


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        run: its folder.
        steps: updates taken in all.
        resumed: the step that it went on from; 0 for a new run.
        loss: mean of the last steps; NaN without any.
        cut: prompts longer than the text encoder reads; their ends were not learnt from.
        best: the step of the best checkpoint; None where nothing was measured.
        verdict: whether the network looks at the map, in words; "" where nothing was measured.
        file: for A1111, Forge and ComfyUI; None if the run was stopped before its end.
    """

    run: Path
    steps: int
    resumed: int
    loss: float
    cut: int
    best: int | None
    verdict: str
    file: Path | None

    def lines(self) -> list[str]:
        """Return the outcome as lines for a person."""
        resumed = f", resumed at step {self.resumed:,}" if self.resumed else ""
        lines = [f"{self.run}: {self.steps:,} steps{resumed}, loss {self.loss:.4f}."]
        if self.cut:
            lines.append(
                f"{self.cut:,} prompts are longer than CLIP's 77 tokens; nothing was learnt from what lies beyond."
            )
        if self.verdict:
            lines.append(f"{self.verdict[:1].upper()}{self.verdict[1:]}.")
        if self.best is not None:
            lines.append(f"Best checkpoint: {self.run / 'checkpoints' / f'step-{self.best:08}'}")
        if (self.run / "report.html").is_file():
            lines.append(f"Report: {self.run / 'report.html'}")
        if not self.file:
            return [*lines, "Stopped. Its state is saved; run the same command again to resume."]
        return [*lines, f"For diffusers: {self.run / 'controlnet'}", f"For A1111, Forge and ComfyUI: {self.file}"]


def train(dataset: Path, output: Path, settings: TrainSettings, progress: Progress = silent) -> Outcome:
    """Finetune a ControlNet, or go on with a run that was stopped.

    Args:
        dataset: what to train on (see examples.find).
        output: the run's folder; one that holds a run with the same options is gone on with, exactly.
        settings: how.
        progress: see segkit.progress.

    Raises:
        SegkitError: the dataset, a network, an option or the machine does not do; one line with the cure.
    """
    from diffusers.utils import logging

    logging.set_verbosity_error()
    with launched(settings) as accelerator:
        return _Training(dataset, output, settings, accelerator, progress).run()


class _Training:
    """One run: what it works with, and the steps."""

    def __init__(
        self, dataset: Path, output: Path, settings: TrainSettings, accelerator: Accelerator, progress: Progress
    ) -> None:
        self.settings, self.output, self.accelerator = settings, output, accelerator
        self.dataset, self.progress = dataset, progress if accelerator.is_main_process else silent
        self.found = on_main(accelerator, lambda: examples.find(dataset, settings.palette, settings.allow_any_control))
        self.facts = run_folder.facts(settings, dataset, self.found, accelerator.num_processes)
        self.losses: list[float] = []

    def run(self) -> Outcome:
        """Take the steps that are left, and write the results."""
        with ExitStack() as held:
            start = on_main(self.accelerator, lambda: self._claim(held))
            step = start.step if start else 0
            try:
                caches = self._cache if self.settings.cache else None
                self.prepared = prepare(self.found, self.settings, self.accelerator, self.output, start, caches)
                on_main(
                    self.accelerator,
                    lambda: run_folder.start(self.output, self.settings, self.facts, self.found.palette),
                )
                with Stop(self.accelerator) as stop, self._journal(step) as journal:
                    taken = self._steps(step, stop, journal)
            except torch.OutOfMemoryError:
                raise TrainingError(_too_large(self.settings)) from None
            file = self._finish(taken) if taken == self.settings.steps else None
            recent = self.losses[-50:]
            loss = sum(recent) / len(recent) if recent else math.nan
            best = run_folder.best(self.output, taken, self.settings.best_by)
            return Outcome(self.output, taken, step, loss, self.prepared.cut, best, self.milestones.says, file)

    def _claim(self, held: ExitStack) -> Checkpoint | None:
        """Hold the run's folder, and return the checkpoint to go on from."""
        held.enter_context(run_folder.claimed(self.output))
        return run_folder.newest(self.output, self.facts, self.settings.steps)

    def _cache(self, encoder: Encoder) -> LatentCache:
        folder = latents.folder_for(self.found, self.dataset, self.output)
        return filled(folder, self.found, self.settings, encoder, self.accelerator, self.progress)

    def _journal(self, step: int) -> Any:
        if not self.accelerator.is_main_process:
            return nullcontext(None)
        return RunLog(self.output, step, self.settings.tracker, asdict(self.settings))

    def _steps(self, step: int, stop: Stop, journal: RunLog | None) -> int:
        settings, learner = self.settings, self.prepared.learner
        self.milestones = Callbacks(self.prepared, settings, self.accelerator, self.output, self.facts, journal)
        stream = self.prepared.batches.starting_at(step * settings.accumulate)
        late: StepResult | None = None  # told while the device works on the next
        if step == 0 and (due := self.milestones.due(0)):
            self.milestones.reach(0, due, {})
        self.since = step, time.perf_counter()
        while step < settings.steps and not stop:
            taken = learner.update(stream, step)
            if late:
                self._tell(late, journal)
            late, step = taken, step + 1
            if due := self.milestones.due(step):
                self._tell(late, journal, due)
                late = None
        if late:
            self._tell(late, journal, Due(save=True))
        return step

    def _tell(self, taken: StepResult, journal: RunLog | None, due: Due = NOTHING) -> None:
        """Look at the numbers of a step, do what is due, and tell of both."""
        settings = self.settings
        numbers = self.prepared.learner.read_metrics(taken, self.output)
        step = taken.number + 1
        photos = settings.batch_size * settings.accumulate * self.accelerator.num_processes
        since, began = self.since  # the last milestone
        numbers["photos_per_second"] = photos * (step - since) / (taken.at - began)
        if self.accelerator.device.type == "cuda":
            numbers["memory_gb"] = torch.cuda.max_memory_allocated() / 1e9
        self.losses.append(numbers["loss"])
        if due:
            self.milestones.reach(step, due, numbers)
            self.since = step, time.perf_counter()
        elif journal:
            journal.write(step, numbers)
        self.progress("steps", step, settings.steps, self._words(numbers))

    def _words(self, numbers: dict[str, float]) -> str:
        memory = f", {numbers['memory_gb']:.1f} GB" if "memory_gb" in numbers else ""
        recent = self.losses[-50:]
        says = f"; {self.milestones.says}" if self.milestones.says else ""
        return f"loss {sum(recent) / len(recent):.4f}, {numbers['photos_per_second']:.2f} photos/s{memory}{says}"

    def _finish(self, step: int) -> Path | None:
        """Write the results; return the single file, in the main process."""
        model = self.prepared.learner.trained()
        facts = {"base": self.prepared.base, "steps": step, **self.facts["told"]}
        name = self.settings.name or self.output.resolve().name

        def write() -> Path:
            if self.settings.sd_unlocked:
                export.write_base(self.output, name, self.settings, model.unet.state_dict())
            return export.write_results(self.output, name, model.controlnet, facts)

        return on_main(self.accelerator, write)


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
