"""log.jsonl has one line per step, and a resumed run drops the lines of steps that it repeats."""

from pathlib import Path
from typing import Any

import pytest
from accelerate import tracking, utils
from PIL import Image

from trainer.run import log as run_log
from trainer.run.log import RunLog, read

NOON = "2026-05-04T12:00:00.000Z"


@pytest.fixture(autouse=True)
def no_trackers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only log.jsonl is written, whatever is installed."""
    monkeypatch.setattr(utils, "is_tensorboard_available", lambda: False)
    monkeypatch.setattr(utils, "is_wandb_available", lambda: False)


@pytest.fixture(autouse=True)
def noon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time stands still."""
    monkeypatch.setattr(run_log, "timestamp", lambda: NOON)


def test_each_step_is_on_disk_at_once(tmp_path: Path) -> None:
    """A line is readable before the log is closed; it has its time, and a remark under "says"."""
    with RunLog(tmp_path, 0, "", {}) as log:
        log.write(1, {"loss": 0.25})
        log.write(2, {"loss": 0.125, "control_gap": 0.5}, "grün")
        assert read(tmp_path) == [
            {"step": 1, "time": NOON, "loss": 0.25},
            {"step": 2, "time": NOON, "loss": 0.125, "control_gap": 0.5, "says": "grün"},
        ]


@pytest.mark.parametrize(("step", "left"), [(0, []), (2, [0, 1, 2]), (9, [0, 1, 2, 3])])
def test_repeated_steps_are_dropped(tmp_path: Path, step: int, left: list[int]) -> None:
    """Lines up to the checkpoint stay, and new ones follow; a run that starts again has an empty log."""
    with RunLog(tmp_path, 0, "", {}) as log:
        for number in range(4):
            log.write(number, {"loss": 0.5})
    with RunLog(tmp_path, step, "", {}) as log:
        assert [line["step"] for line in read(tmp_path)] == left
        log.write(10, {"loss": 0.25})
    assert [line["step"] for line in read(tmp_path)] == [*left, 10]


def test_a_line_cut_by_a_kill_is_ignored(tmp_path: Path) -> None:
    """The lines before it are read, and a resumed log does not contain it."""
    (tmp_path / "log.jsonl").write_text('{"step": 1, "loss": 0.5}\n{"step": 2, "lo')
    assert read(tmp_path) == [{"step": 1, "loss": 0.5}]

    with RunLog(tmp_path, 1, "", {}) as log:
        log.write(2, {"loss": 0.25})
    lines = f'{{"step": 1, "loss": 0.5}}\n{{"step": 2, "time": "{NOON}", "loss": 0.25}}\n'
    assert (tmp_path / "log.jsonl").read_text() == lines


def test_a_folder_without_a_log_has_no_lines(tmp_path: Path) -> None:
    """Nothing has been logged yet."""
    assert read(tmp_path) == []


class Tracker:
    """A tracker that records the calls of its methods."""

    calls: list[tuple[Any, ...]]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        Tracker.calls = [("created", *arguments)]

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments, **options: self.calls.append((name, *arguments, *options.items()))


def test_trackers_receive_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed TensorBoard gets settings, metrics and pictures, rows before columns, and is closed at the end."""
    monkeypatch.setattr(utils, "is_tensorboard_available", lambda: True)
    monkeypatch.setattr(tracking, "TensorBoardTracker", Tracker)

    with RunLog(tmp_path, 0, "", {"steps": 3}) as log:
        log.write(1, {"loss": 0.5}, "a remark")
        log.picture(1, "previews", Image.new("L", (3, 2)))

    created, *calls = Tracker.calls
    names = [call[0] for call in calls]
    assert created == ("created", "tensorboard", tmp_path)
    assert names == ["start", "store_init_configuration", "log", "log_images", "finish"]
    assert calls[1:3] == [("store_init_configuration", {"steps": 3}), ("log", {"loss": 0.5}, 1)]
    _, pictures, step, layout = calls[3]
    assert (pictures["previews"].shape, step, layout) == ((1, 2, 3, 3), 1, ("dataformats", "NHWC"))
