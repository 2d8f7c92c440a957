"""The training loop, from settings to exported ControlNet. Every process of a distributed run executes this code."""

import math
import time
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from accelerate import Accelerator

from segkit.errors import TrainingError
from segkit.maps.bootstrap import Estimate
from segkit.progress import NOTICE, STOPPING, Progress, silent
from segkit.words import count, quote
from trainer.checkpoints import export, quiet
from trainer.checkpoints.store import Checkpoint
from trainer.data import examples, latents
from trainer.data.batches import require_batch
from trainer.data.latents import Encoder, LatentCache
from trainer.data.shards import Cache, Data
from trainer.run import log as run_log
from trainer.run import run_folder, validation
from trainer.run.callbacks import Callbacks, Due
from trainer.run.log import RunLog
from trainer.run.setup import Setup, fill_cache, prepare, require_networks
from trainer.settings import TrainSettings
from trainer.step import cpu
from trainer.step.agreement import require_shared
from trainer.step.distributed import StopSignal, is_sharded, launched, on_main
from trainer.step.learner import StepResult

_STOPPING = "Stopping after this step ... (Ctrl-C again ends at once, without a checkpoint)"

_SMOOTHING = 50
"""Latest steps over which the displayed loss is averaged."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        run: the run folder.
        steps: optimizer steps taken in all.
        resumed: step at which it was resumed; 0 for a new run.
        loss: mean over the last steps; NaN if no step was taken.
        truncated: prompts that exceed the text encoder's tokens; the rest of each was ignored.
        best: step of the best checkpoint; None without validation.
        verdict: whether the network uses the map, in words; "" without validation.
        file: exported file for A1111, Forge and ComfyUI; None if the run was stopped early.
        triples: number of training triples.
        empty_prompts: how many of them have an empty prompt.
        notes: what a user should know about the data, as sentences.
        guess: how the base's prediction type was guessed, in words; "" if it was recorded or set.
        fidelity: the last mIoU of pictures of held-out maps, with its interval; None if it was not measured.
    """

    run: Path
    steps: int
    resumed: int
    loss: float
    truncated: int
    best: int | None
    verdict: str
    file: Path | None
    triples: int
    empty_prompts: int
    notes: tuple[str, ...]
    guess: str = ""
    fidelity: Estimate | None = None

    def __fspath__(self) -> str:
        """The run's folder: the outcome can be passed wherever a run is expected."""
        return str(self.run)

    def lines(self) -> list[str]:
        """Return the outcome as lines of text."""
        resumed = f", resumed at step {self.resumed:,}" if self.resumed else ""
        averaged = count(min(self.steps, _SMOOTHING), "step")
        loss = "" if math.isnan(self.loss) else f", loss {self.loss:.4f} (mean of the last {averaged})"
        lines = [f"{self.run}: {count(self.steps, 'step')}{resumed}{loss}."]
        lines.append(f"Prompts: {self.triples:,}, {self.empty_prompts or 'none'} empty.")
        lines += self.notes
        if self.guess:
            lines.append(self.guess)
        if self.truncated:
            lines.append(f"Prompts over CLIP's 77 tokens, truncated: {self.truncated:,}.")
        if self.verdict:
            lines.append(f"{self.verdict[:1].upper()}{self.verdict[1:]}.")
        if self.fidelity:
            lines.append(f"mIoU of held-out maps, as the judge sees their pictures: {self.fidelity}.")
        if self.best is not None:
            lines.append(f"Best checkpoint: {quote(self.run / 'checkpoints' / f'step-{self.best:08}')}")
        if (self.run / "report.html").is_file():
            lines.append(f"Report: {quote(self.run / 'report.html')}")
        if not self.file:
            return [*lines, self._how_to_go_on()]
        lines.append(f"For diffusers: {quote(self.run / 'controlnet')}")
        lines.append(f"For A1111, Forge and ComfyUI: {quote(self.file)}")
        return [*lines, self.base] if self.base else lines

    @property
    def base(self) -> str:
        """Which base the ControlNet needs, as sentences; "" if the run was stopped early or trained none."""
        return export.trained_base(self.run, self.file) if self.file else ""

    def _how_to_go_on(self) -> str:
        """Return what a stop left, and how to continue."""
        if not self.steps:
            return "Stopped before the first step: there is no checkpoint yet. Run the same command again to start."
        checkpoint = self.run / "checkpoints" / f"step-{self.steps:08}"
        return f"Stopped, with a checkpoint: {quote(checkpoint)}. Run the same command again to resume there."


def train(
    dataset: Data, output: Path, settings: TrainSettings, progress: Progress = silent, accept_changes: bool = False
) -> Outcome:
    """Finetune a ControlNet, or resume a stopped run bit for bit.

    Args:
        dataset: training data, in any layout that examples.find knows, or the URL of shards.
        output: the run folder. If it holds a run with the same settings and data, that run is resumed.
        settings: of the training.
        progress: called with ("photos and maps", done, total), then ("steps", done, total, note).
        accept_changes: resume a run even if its training data has changed.

    Returns:
        How the run ended: at its last step, or early after SIGTERM or Ctrl-C.

    Raises:
        SegkitError: the dataset, a network, a setting or the machine is unsuitable, or the training diverged.
    """
    with cpu.reproducible(), quiet.diffusers(), launched(settings, progress) as accelerator:
        return _Training(dataset, output, settings, accelerator, progress).run(accept_changes)


class _Training:
    """One run in this process."""

    def __init__(
        self, dataset: Data, output: Path, settings: TrainSettings, accelerator: Accelerator, progress: Progress
    ) -> None:
        self.settings, self.output, self.accelerator, self.dataset = settings, output, accelerator, dataset
        self.progress = progress if accelerator.is_main_process else silent
        on_main(accelerator, lambda: run_folder.require_free(output))  # checked shards are remembered there
        on_main(accelerator, lambda: require_networks(settings))  # before the dataset's pictures are decoded
        copies = Cache.of(settings, output)
        self.examples = on_main(accelerator, lambda: examples.load(dataset, settings, self.progress, copies))
        require_batch(self.examples.train, settings, accelerator.num_processes)  # before the cache is filled
        self.facts = run_folder.facts(settings, dataset, self.examples, accelerator.num_processes)
        self.losses: list[float] = []

    def run(self, accept_changes: bool) -> Outcome:
        """Claim the run folder, train to the last step or a stop signal, and export."""
        with ExitStack() as stack:
            start, notes = on_main(self.accelerator, lambda: self._claim(stack, accept_changes))
            first_step = start.step if start else 0
            if start:
                require_shared(self.accelerator, start.hashes)
            try:
                self.setup = self._prepare(start)
                with StopSignal(self.accelerator, self._acknowledge) as stop, self._open_log(first_step) as log:
                    self.log = log
                    # a finished run takes no step, but has a loss
                    self.losses = [line["loss"] for line in log.earlier if "loss" in line] if log else []
                    self.callbacks = Callbacks(
                        self.setup, self.settings, self.accelerator, self.output, self.facts, log
                    )
                    steps = self._loop(first_step, stop)
            except torch.OutOfMemoryError:
                raise TrainingError(_out_of_memory(self.settings)) from None
            file = self._export(steps) if steps == self.settings.steps else None
            more = (self.setup.source, *self.setup.notes, self.callbacks.note if file else "")
            notes = (*notes, *filter(None, more))
            best = run_folder.best(self.output, steps, self.settings)
            return Outcome(
                run=self.output,
                steps=steps,
                resumed=first_step,
                loss=self._recent_loss(),
                truncated=self.setup.truncated,
                best=best,
                verdict=self.callbacks.verdict,
                file=file,
                triples=len(self.examples.train),
                empty_prompts=self.examples.empty_prompts,
                notes=notes,
                guess=self.setup.guess,
                fidelity=self.callbacks.fidelity,
            )

    def _claim(self, stack: ExitStack, accept_changes: bool) -> tuple[Checkpoint | None, tuple[str, ...]]:
        """Lock the run folder until the stack closes; return the checkpoint to resume from, and notes for the user."""
        stack.enter_context(run_folder.claimed(self.output))
        start = run_folder.newest(self.output, self.facts, self.examples, self.settings.steps, accept_changes)
        changes = run_folder.changes(self.output, self.examples) if start and accept_changes else ""
        notes = self.examples.notes
        return start, (*notes, f"Resumed with changed data: {changes}.") if changes else notes

    def _prepare(self, start: Checkpoint | None) -> Setup:
        cache_for = self._fill_cache if self.settings.cache else None
        setup = prepare(self.examples, self.settings, self.accelerator, self.output, start, cache_for)
        for note in filter(None, (setup.source, setup.guess, *setup.notes)):
            self.progress(NOTICE, 0, 0, note)
        # run.toml makes the folder a run; it is written once everything has been checked
        on_main(self.accelerator, lambda: run_folder.start(self.output, self.settings, self.facts, self.examples))
        if is_sharded(self.accelerator):  # every process writes its part of a checkpoint
            require_shared(self.accelerator, self.output / "run.json")
        return setup

    def _fill_cache(self, encoder: Encoder) -> LatentCache:
        # one answer for all processes
        folder = on_main(
            self.accelerator, lambda: latents.folder_for(self.examples, self.dataset, self.settings, self.output)
        )
        return fill_cache(folder, self.examples, self.settings, encoder, self.accelerator, self.progress)

    def _open_log(self, step: int) -> AbstractContextManager[RunLog | None]:
        if not self.accelerator.is_main_process:
            return nullcontext(None)
        return RunLog(self.output, step, self.settings.tracker, asdict(self.settings))

    def _loop(self, step: int, stop: StopSignal) -> int:
        """Train until the last step or a stop signal; return the number of steps taken in all.

        Metrics are read one step late. Reading waits for the GPU, so the next step is queued first, and the GPU never
        idles while the host logs. Callbacks need the finished step, so before them nothing is left unread.
        """
        settings, learner, callbacks = self.settings, self.setup.learner, self.callbacks
        dataloader = self.setup.batches.starting_at(step * settings.accumulate)
        unread: StepResult | None = None
        first_step = step
        if step == 0 and (due := callbacks.due(0)):
            callbacks.run(0, due, {}, stop, self.progress)
        self.interval_start = step, time.perf_counter()
        while step < settings.steps and not stop:
            result = learner.update(dataloader, step)  # batches, loss, backward, optimizer step
            step += 1
            if unread:
                self._report(unread, Due(), stop)
            unread = result
            if due := callbacks.due(step):
                self._report(unread, due, stop)
                unread = None
        if unread:  # stopped between two checkpoints
            self._report(unread, Due(checkpoint=True), stop)
        elif step > first_step and callbacks.saved != step:  # stopped by callbacks without a checkpoint
            callbacks.save(step, {})
        return step

    def _acknowledge(self) -> None:
        """Say at once that a signal has arrived."""
        self.progress(STOPPING, 0, 0, _STOPPING)

    def _report(self, result: StepResult, due: Due, stop: StopSignal) -> None:
        """Read a step's metrics, run what is due, log and report progress."""
        step, settings = result.step + 1, self.settings
        metrics = self.setup.learner.read_metrics(result, self.output)
        photos = settings.batch_size * settings.accumulate * self.accelerator.num_processes
        first_step, began = self.interval_start
        metrics["photos_per_second"] = photos * (step - first_step) / (result.submitted_at - began)
        if self.accelerator.device.type == "cuda":
            metrics["memory_gb"] = torch.cuda.max_memory_allocated(self.accelerator.device) / 1e9
        self.losses.append(metrics["loss"])
        if due:
            self.callbacks.run(step, due, metrics, stop, self.progress)
            self.interval_start = step, time.perf_counter()  # callbacks do not count as training time
        elif self.log:
            self.log.write(step, metrics)
        self.progress("steps", step, settings.steps, self._note(metrics))

    def _note(self, metrics: dict[str, float]) -> str:
        memory = f", {metrics['memory_gb']:.1f} GB" if "memory_gb" in metrics else ""
        verdict = f"; {self.callbacks.verdict}" if self.callbacks.verdict else ""
        miou = f"; mIoU {self.callbacks.fidelity}" if self.callbacks.fidelity else ""
        return f"loss {self._recent_loss():.4f}, {metrics['photos_per_second']:.2f} photos/s{memory}{verdict}{miou}"

    def _recent_loss(self) -> float:
        recent = self.losses[-_SMOOTHING:]
        return sum(recent) / len(recent) if recent else math.nan

    def _export(self, steps: int) -> Path:
        """Export the ControlNet, and the base if it was trained too; return the single file."""
        model = self.setup.learner.final_model()
        facts = {"base": self.setup.base, "steps": steps, **self.facts["told"]}
        name = self.settings.name or self.output.resolve().name

        def write() -> Path:
            if self.settings.sd_unlocked:
                export.write_base(self.output, name, self.settings, model.unet.state_dict())
            caveat = validation.caveat(run_log.read(self.output))
            return export.write_results(self.output, name, model.controlnet, facts, caveat)

        return on_main(self.accelerator, write)


def _out_of_memory(settings: TrainSettings) -> str:
    """Return a message that names the settings which would need less memory."""
    remedies = []
    if not settings.gradient_checkpointing:
        remedies.append("gradient_checkpointing=True, which a resumed run may add")
    if settings.reward and settings.reward_share > 1 / settings.batch_size:
        remedies.append(f"reward_share={1 / settings.batch_size:.3g}")
    if settings.batch_size > 1:
        half = settings.batch_size // 2
        remedies.append(f"batch_size={half} with accumulate={-(-settings.batch_size * settings.accumulate // half)}")
    if settings.precision == "fp32":
        remedies.append("precision=bf16")
    if settings.resolution > 512:
        remedies.append("resolution=512")
    advice = f"Try {', or '.join(remedies)}" if remedies else "A GPU with more memory is needed"
    return f"Out of memory. {advice}. Checkpoints remain."
