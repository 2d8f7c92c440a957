"""What a run writes down as it goes: log.jsonl always, TensorBoard where installed, W&B where asked for."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from segkit import storage
from segkit.errors import UsageError


class Journal:
    """A run's log; each line is flushed as it is written.

    Args:
        run: the run's folder.
        step: lines of later steps are dropped: those steps are taken again.
        tracker: "", "tensorboard" or "wandb".
        settings: told to the tracker.

    Raises:
        UsageError: the tracker is not installed.
    """

    def __init__(self, run: Path, step: int, tracker: str, settings: Mapping[str, Any]) -> None:
        path = run / "log.jsonl"
        kept = (
            [line for _, line in storage.read_lines(path, _dropped) if line["step"] <= step] if path.is_file() else []
        )
        storage.write_lines(path, kept)
        self._file = path.open("a", encoding="utf-8")
        self._trackers = _trackers(tracker, run, settings)

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        for tracker in self._trackers:
            tracker.finish()

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """Write the numbers of a step."""
        self._file.write(json.dumps({"step": step, **numbers}) + "\n")
        self._file.flush()
        for tracker in self._trackers:
            tracker.log(dict(numbers), step)


def _dropped(line: int, reason: str) -> None:
    """Leave a line out that a kill cut short."""


def _trackers(asked: str, run: Path, settings: Mapping[str, Any]) -> list[Any]:
    from accelerate import tracking, utils

    there = {"tensorboard": utils.is_tensorboard_available(), "wandb": utils.is_wandb_available()}
    if asked and not there[asked]:
        raise UsageError(f"--tracker {asked}: not installed. Type: pip install {asked}, or leave it out.")
    found: list[Any] = [tracking.TensorBoardTracker("tensorboard", run)] if there["tensorboard"] else []
    if asked == "wandb":
        found.append(tracking.WandBTracker("segkit", name=run.name, dir=str(run), resume="allow"))
    for tracker in found:
        tracker.start()
        tracker.store_init_configuration(dict(settings))
    return found
