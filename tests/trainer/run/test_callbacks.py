"""Validation, previews and checkpoints are due at the right steps, and happen in an order that survives a kill."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segkit.errors import StorageError
from segkit.progress import go_on
from tests.conftest import Segkit
from tests.trainer.learners import Prepared, prepared
from tests.trainer.runs import log, words
from trainer.checkpoints import store
from trainer.run import run_folder
from trainer.run.callbacks import Callbacks, Due
from trainer.run.fidelity import evaluations
from trainer.run.log import RunLog, read
from trainer.settings import TrainSettings
from trainer.step.distributed import StopSignal

INTERVALS = st.integers(0, 5)


def schedule(settings: TrainSettings) -> Callbacks:
    """Return callbacks that know their settings only."""
    intervals = {
        "validation": settings.evaluate_every, "fidelity": settings.evaluate_fidelity,
        "previews": settings.preview_every,
    }  # fmt: skip
    setup: Any = SimpleNamespace(**{name: object() if every else None for name, every in intervals.items()})
    return Callbacks(setup, settings, None, Path("run"), {}, None)


@given(st.integers(1, 12), st.integers(1, 5), INTERVALS, INTERVALS, st.integers(0, 12))
def test_what_is_due(steps: int, checkpoint_every: int, evaluate_every: int, preview_every: int, step: int) -> None:
    """Everything is due at its interval and after the last step, checkpoints are validated, and 0 disables."""
    settings = TrainSettings(
        steps=steps, checkpoint_every=checkpoint_every, evaluate_every=evaluate_every, preview_every=preview_every
    )
    due = schedule(settings).due(step)

    assert due.checkpoint == (step > 0 and (step == steps or step % checkpoint_every == 0))
    assert due.validation == (evaluate_every > 0 and (due.checkpoint or step % evaluate_every == 0))
    assert due.previews == (preview_every > 0 and (step == steps or step % preview_every == 0))
    assert bool(due) == (due != Due())


@given(st.integers(1, 12), st.integers(1, 5), INTERVALS, st.integers(0, 12), st.booleans())
def test_when_fidelity_is_due(steps: int, checkpoint_every: int, every: int, step: int, chooses: bool) -> None:
    """At its interval and after the last step; with --best-by fidelity, each of these steps has a checkpoint."""
    best_by: Any = "fidelity" if chooses and every else "held_out_loss"
    settings = TrainSettings(
        steps=steps, checkpoint_every=checkpoint_every, evaluate_every=0, preview_every=0, evaluate_fidelity=every,
        best_by=best_by,
    )  # fmt: skip
    callbacks = schedule(settings)
    due = callbacks.due(step)

    assert due.fidelity == (every > 0 and (step == steps or step % every == 0))
    regular = step > 0 and (step == steps or step % checkpoint_every == 0)
    assert due.checkpoint == (regular or (best_by == "fidelity" and due.fidelity and step > 0))
    later = range(0 if step == 0 else step + 1, steps + 1)
    assert evaluations(settings, min(step, steps)) == sum(callbacks.due(number).fidelity for number in later)


@pytest.mark.usefixtures("short_callbacks")
def test_the_newest_and_the_best_checkpoints_are_kept(rooms: Path, base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """--keep 1 leaves the newest checkpoint and the one with the lowest held-out loss."""
    run, validation = tmp_path / "run", {"evaluate_every": 1}
    arguments = words(rooms, base, run, steps=4, checkpoint_every=1, keep=1, learning_rate=0.05, **validation)
    assert segkit(*arguments).code == 0
    losses = {int(line["step"]): line["held_out_loss"] for line in log(run)}
    best = min(losses, key=lambda step: losses[step])
    assert best != 4, "with a learning rate this high the last step should not be the best"
    checkpoints = sorted(path.name for path in (run / "checkpoints").iterdir())
    assert checkpoints == [f"step-{best:08}", "step-00000004"]


def callbacks(training: Prepared, run: Path, log: RunLog) -> Callbacks:
    """Return the callbacks of a run."""
    facts = run_folder.facts(training.settings, run, training.data, 1)
    return Callbacks(training.setup, training.settings, training.accelerator, run, facts, log)


@pytest.fixture(scope="module")
def training(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepared]:
    """A training with validation, of which no step is taken."""
    # accelerate has one state per process, so a test that trains by itself must come before this is used
    with prepared(base, tmp_path_factory.mktemp("training"), evaluate_every=9, best_by="control_gap") as training:
        yield training


def test_a_checkpoint_comes_with_metrics_and_a_report(training: Prepared, tmp_path: Path) -> None:
    """The log, the checkpoint's state, best.json and the report have the step and what was measured."""
    run = tmp_path / "run"
    with RunLog(run, 0, "", {}) as log:
        called = callbacks(training, run, log)
        stop = StopSignal(training.accelerator, go_on)
        called.run(3, Due(checkpoint=True, validation=True), {"loss": 0.5}, stop)

    (line,) = read(run)
    checkpoint = store.newest(run / "checkpoints")
    assert checkpoint is not None
    assert (line["step"], line["loss"], line["says"]) == (3, 0.5, called.verdict)
    assert "does not use the map yet" in called.verdict
    assert checkpoint.step == 3
    assert checkpoint.state()["control_gap"] == line["control_gap"] == 0.0
    assert checkpoint.state()["told"]["palette"] == "ade20k"
    assert json.loads((run / "best.json").read_text()) == {"step": 3, "control_gap": 0.0}
    assert "3 of 6 steps" in (run / "report.html").read_text()


def test_the_log_line_comes_before_the_checkpoint(training: Prepared, tmp_path: Path) -> None:
    """If the checkpoint cannot be written, the line is there already; a resumed run drops it and repeats the step."""
    run = tmp_path / "run"
    with RunLog(run, 0, "", {}) as log:
        (run / "checkpoints").write_text("a file in the way")
        stop = StopSignal(training.accelerator, go_on)
        with pytest.raises(StorageError):
            callbacks(training, run, log).run(3, Due(checkpoint=True), {"loss": 0.5}, stop)

    assert [(line["step"], line["loss"]) for line in read(run)] == [(3, 0.5)]
