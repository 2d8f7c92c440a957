"""Ctrl-C during previews, validation and between checkpoints."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Segkit
from tests.trainer.runs import log, same, train, weights_of, words
from trainer.checkpoints import store
from trainer.run.log import RunLog
from trainer.sample import sampler
from trainer.step.learner import Learner

pytestmark = pytest.mark.usefixtures("short_callbacks")

EVERYTHING = {"steps": 4, "checkpoint_every": 4, "evaluate_every": 2, "preview_every": 2}


def interrupt_call(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, number: int) -> list[int]:
    """Send Ctrl-C inside a certain call of a function; return the list of its calls."""
    original, calls = getattr(owner, name), list[int]()

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        calls.append(len(calls))
        if len(calls) == number:
            signal.raise_signal(signal.SIGINT)
        return original(*args, **kwargs)

    monkeypatch.setattr(owner, name, interrupted)
    return calls


@pytest.fixture(scope="module")
def whole(rooms: Path, base: Path, short_callbacks: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run of four steps. Do not modify it."""
    return train(rooms, base, tmp_path_factory.mktemp("whole") / "run", **EVERYTHING)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A new run's folder."""
    return tmp_path / "run"


@pytest.fixture
def arguments(rooms: Path, base: Path, run: Path) -> list[str]:
    """The command line of the uninterrupted run, for a new folder."""
    return words(rooms, base, run, **EVERYTHING)


@pytest.mark.parametrize(("at", "steps"), [((sampler, "sample", 2), 2), ((Learner, "measure", 1), 0)])
def test_ctrl_c_abandons_previews_and_validation(
    whole: Path, run: Path, arguments: list[str], segkit: Segkit, at: tuple[Any, str, int], steps: int
) -> None:
    """The picture or measurement in progress is dropped, the step is saved, and a resumed run has equal weights."""
    with pytest.MonkeyPatch.context() as patch:
        calls = interrupt_call(patch, *at)
        stopped = segkit(*arguments)

    assert (stopped.code, len(calls)) == (130, at[2])
    assert "Stopping after this step" in stopped.err
    assert "nan" not in stopped.out
    checkpoint = store.newest(run / "checkpoints")
    assert (checkpoint.step if checkpoint else 0) == steps
    assert ("there is no checkpoint yet" in stopped.out) == (steps == 0)
    assert (f"Stopped, with a checkpoint: {run / 'checkpoints' / 'step-00000002'}" in stopped.out) == (steps == 2)
    says = [json.loads(line).get("says", "") for line in (run / "log.jsonl").read_text().splitlines()]
    assert "stopped before validation and previews were complete" in says[-1]

    assert segkit(*arguments).code == 0
    assert same(weights_of(run), weights_of(whole))
    assert [line["loss"] for line in log(run)] == [line["loss"] for line in log(whole)]


def test_a_stop_during_the_last_previews_still_exports(
    rooms: Path, base: Path, tmp_path: Path, segkit: Segkit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All steps are taken, so the run is finished; the summary says what was skipped."""
    interrupt_call(monkeypatch, sampler, "sample", 3)
    done = segkit(*words(rooms, base, tmp_path / "run", steps=2, checkpoint_every=2, preview_every=1))

    assert done.code == 0
    assert "Validation or previews of the last step were skipped, because you stopped the run." in done.out
    assert (tmp_path / "run" / "controlnet" / "config.json").is_file()


def test_a_second_ctrl_c_ends_a_run_without_harm(
    rooms: Path, base: Path, tmp_path: Path, segkit: Segkit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step is lost, checkpoints are whole, and the same command resumes."""
    run, write = tmp_path / "run", RunLog.write

    def twice(self: RunLog, step: int, *args: Any) -> None:
        write(self, step, *args)
        if step == 5:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(RunLog, "write", twice)
        stopped = segkit(*words(rooms, base, run))
    newest = store.newest(run / "checkpoints")
    done = segkit(*words(rooms, base, run))

    assert stopped.code == 130
    assert "resumes from the run's newest checkpoint" in stopped.err
    assert newest is not None
    assert newest.step == 3
    assert "resumed at step 3" in done.out
