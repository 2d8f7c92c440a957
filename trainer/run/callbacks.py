"""Step callbacks: validation, fidelity, previews, checkpoints and the run's report."""

from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from PIL import Image

from segkit.progress import Progress, silent
from segkit.words import count
from trainer.checkpoints import store
from trainer.run import report, run_folder, validation
from trainer.run.fidelity import METRIC, Fidelity, last, logged
from trainer.run.log import RunLog
from trainer.run.previews import Previews
from trainer.run.setup import Setup
from trainer.settings import TrainSettings
from trainer.step.distributed import Stopped, StopSignal, on_main


@dataclass(frozen=True)
class Due:
    """What to do after a step."""

    checkpoint: bool = False
    validation: bool = False
    fidelity: bool = False
    previews: bool = False

    def __bool__(self) -> bool:
        return any(astuple(self))


@dataclass
class _Measured:
    """What was measured and drawn after a step: metrics by name, what to say about them, and the contact sheet."""

    metrics: dict[str, float]
    remarks: list[str]
    sheet: Image.Image | None = None


class Callbacks:
    """The callbacks of one run.

    Args:
        setup: the networks, validation, fidelity and previews.
        settings: of the training.
        accelerator: the processes.
        run: the run folder.
        facts: what the run depends on (run_folder.facts), saved in each checkpoint.
        log: of the main process; None in others.
    """

    def __init__(
        self, setup: Setup, settings: TrainSettings, accelerator: Accelerator, run: Path,
        facts: Mapping[str, Any], log: RunLog | None,
    ) -> None:  # fmt: skip
        self._setup, self._settings, self._accelerator = setup, settings, accelerator
        self._run, self._facts, self._log = run, facts, log
        self.verdict = validation.last_verdict(log.earlier) if log else ""
        """What the last validation found, in words."""
        self.fidelity = last(log.earlier) if log and setup.fidelity else None
        """The last mIoU of pictures that were drawn during the training; None before the first."""
        self.saved = 0
        """Step of the last checkpoint that was written here; 0 for none."""
        self.skipped = False
        """Whether a stop cut validation, an evaluation or previews short."""

    def due(self, step: int) -> Due:
        """Return what to do after so many steps; 0 is before the first step."""
        settings, last = self._settings, step == self._settings.steps

        def every(interval: int) -> bool:
            return interval > 0 and step % interval == 0

        evaluation = self._setup.fidelity is not None and (last or every(settings.evaluate_fidelity))
        # the best step must have a checkpoint
        saved = every(settings.checkpoint_every) or (evaluation and settings.best_by == METRIC)
        checkpoint = step > 0 and (last or saved)
        return Due(
            checkpoint=checkpoint,
            validation=self._setup.validation is not None and (checkpoint or every(settings.evaluate_every)),
            fidelity=evaluation,
            previews=self._setup.previews is not None and (last or every(settings.preview_every)),
        )

    def run(
        self, step: int, due: Due, metrics: Mapping[str, float], stop: StopSignal, progress: Progress = silent
    ) -> None:
        """Do what is due, and log it with the step's metrics; all processes must call this.

        Args:
            step: steps taken.
            due: what to do.
            metrics: of the step.
            stop: skips the rest of validation, fidelity and previews, but not the checkpoint.
            progress: called with ("steps", step, steps in all, what is being drawn or judged).

        Raises:
            StorageError: the disk is full; earlier checkpoints are unharmed.
        """
        measured = self._measure(step, due, stop, progress)
        if self._log:
            self._log.write(step, {**metrics, **measured.metrics}, "; ".join(measured.remarks))
            if measured.sheet:
                self._log.picture(step, "previews", measured.sheet)
        # The checkpoint comes after its log line: killed in between, the resumed run drops the line and repeats the
        # step. The other way round the line would be missing for good.
        if due.checkpoint:
            self.save(step, measured.metrics)
        if self._log:
            report.write(self._run, asdict(self._settings), {"base": self._setup.base, **self._facts["told"]})

    def _measure(self, step: int, due: Due, stop: StopSignal, progress: Progress) -> _Measured:
        """Validate, evaluate and draw what is due, until a stop."""
        setup, measured = self._setup, _Measured({}, [])
        try:
            if due.validation and setup.validation:
                result = setup.validation.measure(setup.learner, stop.check)
                self.verdict = result.verdict
                measured.metrics |= result.metrics
                measured.remarks.append(result.verdict)
            if due.fidelity and setup.fidelity:
                self._evaluate(setup.fidelity, step, measured, stop, progress)
            if due.previews and setup.previews:
                self._draw(setup.previews, step, measured, stop)
        except Stopped:
            self.skipped = True
            measured.remarks.append(f"stopped before {self._skippable('and')} were complete")
        return measured

    @property
    def note(self) -> str:
        """What a stop cut short, as a sentence; "" if nothing."""
        if not self.skipped:
            return ""
        return f"{self._skippable('or').capitalize()} of the last step were skipped, because you stopped the run."

    def _skippable(self, conjunction: str) -> str:
        return f"validation{', fidelity' if self._setup.fidelity else ''} {conjunction} previews"

    def _evaluate(
        self, fidelity: Fidelity, step: int, measured: _Measured, stop: StopSignal, progress: Progress
    ) -> None:  # fmt: skip
        def tell(what: str) -> None:
            progress("steps", step, self._settings.steps, what)

        miou = fidelity.measure(self._setup.learner, self._accelerator, stop, tell)
        if miou is None:
            measured.remarks.append("fidelity not measured: out of memory")
            return
        self.fidelity = miou
        measured.metrics |= logged(miou)
        measured.remarks.append(f"mIoU {miou} of {count(len(fidelity), 'map')}, judged by {fidelity.judge}")

    def _draw(self, previews: Previews, step: int, measured: _Measured, stop: StopSignal) -> None:
        pictures = previews.draw(self._setup.learner, stop.check)
        if pictures is None:
            measured.remarks.append("previews skipped: out of memory")
            return
        measured.sheet = on_main(self._accelerator, lambda: previews.write(pictures, step))

    def save(self, step: int, validated: Mapping[str, float]) -> None:
        """Write a checkpoint with what was measured, and remove old ones; all processes must call this.

        Raises:
            StorageError: the disk is full; earlier checkpoints are unharmed.
        """
        folder, settings = self._run / "checkpoints", self._settings
        self._setup.learner.save(folder, step, {**self._facts, **validated})

        def prune() -> None:
            best = run_folder.best(self._run, step, settings, validated.get(settings.best_by))
            store.prune(folder, settings.keep, [] if best is None else [best])

        on_main(self._accelerator, prune)
        self.saved = step
