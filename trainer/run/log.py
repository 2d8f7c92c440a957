"""What a run writes down as it goes: log.jsonl always, TensorBoard where installed, W&B where asked for."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from accelerate import tracking, utils
from PIL import Image

from segkit import rows, storage
from segkit.errors import UsageError

_NAME = "log.jsonl"


class RunLog:
    """A run's log; each line is flushed as it is written.

    Args:
        run: the run's folder.
        step: lines of later steps are dropped: those steps are taken again; of a new run, all.
        tracker: "", "tensorboard" or "wandb".
        settings: told to the tracker.

    Raises:
        UsageError: the tracker is not installed.
    """

    def __init__(self, run: Path, step: int, tracker: str, settings: Mapping[str, Any]) -> None:
        path = run / _NAME
        storage.write_lines(path, [line for line in read(run) if step and line["step"] <= step])
        self._file = path.open("a", encoding="utf-8")
        self._trackers = _trackers(tracker, run, settings)

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        for tracker in self._trackers:
            tracker.finish()

    def write(self, step: int, numbers: Mapping[str, float], words: str = "") -> None:
        """Write the numbers of a step, and what they mean, if there is something to say."""
        self._file.write(json.dumps({"step": step, **numbers} | ({"says": words} if words else {})) + "\n")
        self._file.flush()
        for tracker in self._trackers:
            tracker.log(dict(numbers), step)

    def picture(self, step: int, name: str, image: Image.Image) -> None:
        """Show a picture on the trackers."""
        pixels = np.asarray(image.convert("RGB"))[None]
        for tracker in self._trackers:
            if isinstance(tracker, tracking.TensorBoardTracker):
                tracker.log_images({name: pixels}, step, dataformats="NHWC")
            else:
                tracker.log_images({name: pixels}, step)


def read(run: Path) -> list[dict[str, Any]]:
    """Return the lines of a run's log, without what a kill cut short; none where there is no log."""
    path = run / _NAME
    return [line for _, line in rows.json_lines(path, _dropped)] if path.is_file() else []


def _dropped(line: int, reason: str) -> None:
    """Leave a line out that a kill cut short."""


def _trackers(asked: str, run: Path, settings: Mapping[str, Any]) -> list[Any]:
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
