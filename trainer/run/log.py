"""The run's log: log.jsonl always, TensorBoard if installed, Weights & Biases on request."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from accelerate import tracking
from PIL import Image

from segkit import rows, storage
from segkit.words import timestamp
from trainer.step import trackers

_NAME = "log.jsonl"


class RunLog:
    """Writes log.jsonl, one flushed line per step with the time in UTC, and forwards to the trackers.

    Args:
        run: the run folder.
        step: steps of the checkpoint that the run resumes from; later lines are dropped, since those steps are
            repeated. 0 starts an empty log.
        tracker: "", "tensorboard" or "wandb".
        settings: shown by the tracker.

    Attributes:
        earlier: the lines up to the checkpoint.

    Raises:
        UsageError: the tracker is not installed.
    """

    def __init__(self, run: Path, step: int, tracker: str, settings: Mapping[str, Any]) -> None:
        self._trackers = trackers.start(tracker, run, step, settings)  # may refuse, so before the log is rewritten
        path = run / _NAME
        self.earlier = [line for line in read(run) if step and line["step"] <= step]
        storage.write_lines(path, self.earlier)
        self._file = path.open("a", encoding="utf-8")

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        for tracker in self._trackers:
            tracker.finish()

    def write(self, step: int, metrics: Mapping[str, float], remark: str = "") -> None:
        """Log a step's metrics, and an optional remark under "says"."""
        line = {"step": step, "time": timestamp(), **metrics} | ({"says": remark} if remark else {})
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        for tracker in self._trackers:
            tracker.log(dict(metrics), step)

    def picture(self, step: int, name: str, image: Image.Image) -> None:
        """Send a picture to the trackers."""
        pixels = np.asarray(image.convert("RGB"))[None]
        for tracker in self._trackers:
            if isinstance(tracker, tracking.TensorBoardTracker):
                tracker.log_images({name: pixels}, step, dataformats="NHWC")
            else:
                tracker.log_images({name: pixels}, step)


def read(run: Path) -> list[dict[str, Any]]:
    """Return the lines of a run's log, without a last line cut short by a kill; [] if there is no log."""
    path = run / _NAME
    return [line for _, line in rows.json_lines(path, _ignore)] if path.is_file() else []


def _ignore(line: int, reason: str) -> None:
    """Skip a damaged line: only a kill leaves one, and its step is repeated."""
