"""What is done every so many steps: looks at held-out photos, pictures, checkpoints, and the run's report."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from trainer.checkpoints import store
from trainer.run import report, run_folder
from trainer.run.log import RunLog
from trainer.run.setup import Setup
from trainer.settings import TrainSettings
from trainer.step.distributed import on_main


@dataclass(frozen=True)
class Due:
    """What is to be done at a step."""

    save: bool = False
    look: bool = False
    draw: bool = False

    def __bool__(self) -> bool:
        return self.save or self.look or self.draw


class Callbacks:
    """The places on the way of a training.

    Args:
        prepared: what is trained.
        settings: how.
        accelerator: the processes.
        run: the run's folder.
        facts: what the run depends on (runs.facts); a checkpoint keeps it.
        journal: of the main process; None in others.
    """

    def __init__(
        self, prepared: Setup, settings: TrainSettings, accelerator: Accelerator, run: Path,
        facts: Mapping[str, Any], journal: RunLog | None,
    ) -> None:  # fmt: skip
        self._prepared, self._settings, self._accelerator = prepared, settings, accelerator
        self._run, self._facts, self._journal = run, facts, journal
        self.says = ""
        """What the last look found, in words."""

    def due(self, step: int) -> Due:
        """Tell what is to be done when so many steps are taken."""
        settings, last = self._settings, step == self._settings.steps

        def every(number: int) -> bool:
            return number > 0 and step % number == 0

        save = step > 0 and (last or every(settings.checkpoint_every))
        return Due(
            save=save,
            look=self._prepared.watch is not None and (save or every(settings.evaluate_every)),
            draw=self._prepared.previews is not None and (last or every(settings.preview_every)),
        )

    def reach(self, step: int, due: Due, numbers: Mapping[str, float]) -> None:
        """Do what is due, and write it down with the numbers of the step; all processes call it.

        Raises:
            StorageError: the disk is full; the checkpoints before stay.
        """
        seen: dict[str, float] = {}
        said = []
        if due.look and self._prepared.watch:
            look = self._prepared.watch.look(self._prepared.learner)
            seen, self.says = look.numbers, look.words
            said.append(look.words)
        sheet = None
        if due.draw and self._prepared.previews:
            previews = self._prepared.previews
            drawn = previews.draw(self._prepared.learner)
            if drawn is None:
                said.append("pictures are left out: the memory is too small for them")
            else:
                sheet = on_main(self._accelerator, lambda: previews.write(drawn, step))
        if self._journal:
            self._journal.write(step, {**numbers, **seen}, "; ".join(said))
            if sheet:
                self._journal.picture(step, "previews", sheet)
        if due.save:  # after the log's line: of a step that no checkpoint holds it is dropped, and written anew
            self._save(step, seen)
        if self._journal:
            told = {"base": self._prepared.base, **self._facts["told"]}
            report.write(self._run, asdict(self._settings), told)

    def _save(self, step: int, seen: Mapping[str, float]) -> None:
        folder, by = self._run / "checkpoints", self._settings.best_by
        self._prepared.learner.save(folder, step, {**self._facts, **seen})

        def tidy() -> None:
            best = run_folder.best(self._run, step, by, seen.get(by))
            store.prune(folder, self._settings.keep, [] if best is None else [best])

        on_main(self._accelerator, tidy)
