"""Step callbacks: validation, previews, checkpoints and the run's report."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from PIL import Image

from segkit.progress import go_on
from trainer.checkpoints import store
from trainer.run import report, run_folder, validation
from trainer.run.log import RunLog
from trainer.run.previews import Previews
from trainer.run.setup import Setup
from trainer.settings import TrainSettings
from trainer.step.distributed import Stopped, on_main


@dataclass(frozen=True)
class Due:
    """What to do after a step."""

    checkpoint: bool = False
    validation: bool = False
    previews: bool = False

    def __bool__(self) -> bool:
        return self.checkpoint or self.validation or self.previews


class Callbacks:
    """The callbacks of one run.

    Args:
        setup: the networks, validation and previews.
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
        self.saved = 0
        """Step of the last checkpoint that was written here; 0 for none."""
        self.skipped = False
        """Whether a stop cut validation or previews short."""

    def due(self, step: int) -> Due:
        """Return what to do after so many steps; 0 is before the first step."""
        settings, last = self._settings, step == self._settings.steps

        def every(interval: int) -> bool:
            return interval > 0 and step % interval == 0

        checkpoint = step > 0 and (last or every(settings.checkpoint_every))
        return Due(
            checkpoint=checkpoint,
            validation=self._setup.validation is not None and (checkpoint or every(settings.evaluate_every)),
            previews=self._setup.previews is not None and (last or every(settings.preview_every)),
        )

    def run(self, step: int, due: Due, metrics: Mapping[str, float], before_part: Callable[[], None] = go_on) -> None:
        """Do what is due, and log it with the step's metrics; all processes must call this.

        Args:
            step: steps taken.
            due: what to do.
            metrics: of the step.
            before_part: called between the parts of validation and previews; if it raises Stopped, the rest of both is
                skipped, but not the checkpoint.

        Raises:
            StorageError: the disk is full; earlier checkpoints are unharmed.
        """
        validated: dict[str, float] = {}
        remarks: list[str] = []
        sheet = None
        try:
            if due.validation and self._setup.validation:
                result = self._setup.validation.measure(self._setup.learner, before_part)
                validated, self.verdict = result.metrics, result.verdict
                remarks.append(result.verdict)
            if due.previews and self._setup.previews:
                sheet = self._draw(self._setup.previews, step, remarks, before_part)
        except Stopped:
            self.skipped = True
            remarks.append("stopped before validation and previews were complete")
        if self._log:
            self._log.write(step, {**metrics, **validated}, "; ".join(remarks))
            if sheet:
                self._log.picture(step, "previews", sheet)
        # The checkpoint comes after its log line: killed in between, the resumed run drops the line and repeats the
        # step. The other way round the line would be missing for good.
        if due.checkpoint:
            self.save(step, validated)
        if self._log:
            report.write(self._run, asdict(self._settings), {"base": self._setup.base, **self._facts["told"]})

    def _draw(
        self, previews: Previews, step: int, remarks: list[str], before_part: Callable[[], None]
    ) -> Image.Image | None:
        """Draw and write previews; return their contact sheet, or None after a remark if memory is too small."""
        pictures = previews.draw(self._setup.learner, before_part)
        if pictures is None:
            remarks.append("previews skipped: out of memory")
            return None
        return on_main(self._accelerator, lambda: previews.write(pictures, step))

    def save(self, step: int, validated: Mapping[str, float]) -> None:
        """Write a checkpoint with what was measured, and remove old ones; all processes must call this.

        Raises:
            StorageError: the disk is full; earlier checkpoints are unharmed.
        """
        folder, metric = self._run / "checkpoints", self._settings.best_by
        self._setup.learner.save(folder, step, {**self._facts, **validated})

        def prune() -> None:
            best = run_folder.best(self._run, step, metric, validated.get(metric))
            store.prune(folder, self._settings.keep, [] if best is None else [best])

        on_main(self._accelerator, prune)
        self.saved = step
