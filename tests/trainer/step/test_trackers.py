"""Trackers continue with a resumed run, and a missing one is refused before anything is loaded."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from accelerate import PartialState, tracking, utils

from segkit.errors import UsageError
from tests.conftest import Segkit
from trainer.step import trackers

Calls = list[dict[str, Any]]


@pytest.fixture(autouse=True)
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No tracker is installed, whatever is."""
    monkeypatch.setattr(utils, "is_tensorboard_available", lambda: False)
    monkeypatch.setattr(utils, "is_wandb_available", lambda: False)


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> Iterator[Calls]:
    """A wandb whose runs go nowhere; the arguments of its init."""
    calls: Calls = []

    def init(**options: Any) -> object:
        calls.append(options)
        return SimpleNamespace(finish=lambda: None, log=lambda *_, **__: None)

    config = SimpleNamespace(update=lambda *_, **__: None)
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init, config=config))
    monkeypatch.setattr(utils, "is_wandb_available", lambda: True)
    PartialState(cpu=True)  # accelerate's trackers want to know which process they are in
    yield calls
    PartialState._reset_state()


def test_a_wandb_run_is_continued(tmp_path: Path, wandb: Calls) -> None:
    """A resumed run has the id that its folder holds, and W&B may resume it; a run that begins gets a new one."""
    run, other = tmp_path / "run", tmp_path / "other"
    run.mkdir()
    other.mkdir()

    for folder, step in ((run, 0), (run, 500), (run, 0), (other, 0)):
        trackers.start("wandb", folder, step, {"steps": 900})

    begun, resumed, again, another = (call["id"] for call in wandb)
    assert resumed == begun
    assert len({begun, again, another}) == 3
    assert (run / "wandb-id").read_text() == again
    assert {(call["project"], call["resume"]) for call in wandb} == {("segkit", "allow")}
    assert [call["name"] for call in wandb] == ["run", "run", "run", "other"]


def test_a_run_that_turns_to_wandb_later_begins_there(tmp_path: Path, wandb: Calls) -> None:
    """Without an id in its folder, a resumed run gets one."""
    trackers.start("wandb", tmp_path, 500, {})

    assert wandb[0]["id"] == (tmp_path / "wandb-id").read_text()


def test_tensorboard_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It writes into the same folder, hides the steps that are repeated, and lists the settings once."""
    calls: list[Any] = []

    class Tracker:
        def __init__(self, name: str, run: Path, **options: Any) -> None:
            calls.append((run / name, options))
            self.folder = run / name

        def start(self) -> None:
            self.folder.mkdir(exist_ok=True)

        def store_init_configuration(self, values: dict[str, Any]) -> None:
            calls.append(values)

    monkeypatch.setattr(utils, "is_tensorboard_available", lambda: True)
    monkeypatch.setattr(tracking, "TensorBoardTracker", Tracker)

    trackers.start("", tmp_path, 0, {"steps": 9})
    trackers.start("tensorboard", tmp_path, 5, {"steps": 9})

    folder = tmp_path / "tensorboard"
    assert calls == [(folder, {"purge_step": 0}), {"steps": 9}, (folder, {"purge_step": 6})]


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_missing_tracker_is_refused(name: str) -> None:
    """The message has the command that installs it; without a tracker there is nothing to miss."""
    trackers.require_installed("")
    with pytest.raises(UsageError, match=rf"tracker={name}: not installed. Run: pip install 'segkit\[{name}\]'"):
        trackers.require_installed(name)


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_a_missing_tracker_is_told_before_anything_else(
    segkit: Segkit, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """Neither the dataset nor the networks have been looked at, and nothing is left."""
    done = segkit("train", tmp_path / "none", "-o", tmp_path / "run", "--base", "none", "--tracker", "wandb", *options)

    assert (done.code, done.err.partition(":")[0]) == (2, "--tracker wandb")
    assert list(tmp_path.iterdir()) == []
