"""The loop reports progress and how a run ended, and leaves the caller's process as it was."""

import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import Segkit
from tests.trainer.runs import OPTIONS, log, train, words
from trainer import loop
from trainer.loop import Outcome
from trainer.settings import TrainSettings

STOPPED = Outcome(Path("run"), 1200, 0, 0.125, 0, None, "", None, 40, 0, ())


def test_a_run_is_described_in_lines() -> None:
    """Its last line is the file for other programs, or how to resume a run that was stopped."""
    assert STOPPED.lines() == [
        "run: 1,200 steps, loss 0.1250 (mean of the last 50 steps).",
        "Prompts: 40, none empty.",
        "Stopped, with a checkpoint: run/checkpoints/step-00001200. Run the same command again to resume there.",
    ]
    unstarted = replace(STOPPED, steps=0, loss=math.nan).lines()
    assert unstarted[0] == "run: 0 steps."
    assert unstarted[-1].startswith("Stopped before the first step: there is no checkpoint yet.")
    finished = replace(STOPPED, resumed=1000, truncated=2, best=500, verdict="the map is used", file=Path("run/a.x"))
    finished = replace(finished, empty_prompts=3, notes=("One triple was rejected.",))
    assert finished.lines() == [
        "run: 1,200 steps, resumed at step 1,000, loss 0.1250 (mean of the last 50 steps).",
        "Prompts: 40, 3 empty.",
        "One triple was rejected.",
        "Prompts over CLIP's 77 tokens, truncated: 2.",
        "The map is used.",
        "Best checkpoint: run/checkpoints/step-00000500",
        "For diffusers: run/controlnet",
        "For A1111, Forge and ComfyUI: run/a.x",
    ]


def test_a_report_is_mentioned_if_there_is_one(tmp_path: Path) -> None:
    """Its path is printed only if it was written; an outcome is the path of its run."""
    (tmp_path / "report.html").write_text("x")
    outcome = replace(STOPPED, run=tmp_path)
    assert f"Report: {tmp_path / 'report.html'}" in outcome.lines()
    assert Path(outcome) == tmp_path


def test_every_step_is_reported(rooms: Path, base: Path, tmp_path: Path) -> None:
    """Progress and the outcome have the log's losses; a finished run that is started again takes no step."""
    calls: list[Any] = []
    settings = TrainSettings(**(OPTIONS | {"base": str(base), "steps": 2, "cpu": True}))

    outcome = loop.train(rooms, tmp_path / "run", settings, lambda *call: calls.append(call))
    again = loop.train(rooms, tmp_path / "run", settings)

    losses = [line["loss"] for line in log(tmp_path / "run")]
    steps = [call for call in calls if call[0] == "steps"]
    assert [call[:3] for call in steps] == [("steps", 1, 2), ("steps", 2, 2)]
    assert steps[0][3].startswith(f"loss {losses[0]:.4f}, ")
    assert steps[1][3].startswith(f"loss {sum(losses) / 2:.4f}, ")
    assert outcome.loss == pytest.approx(sum(losses) / 2)
    assert (outcome.steps, outcome.resumed, outcome.best, outcome.verdict) == (2, 0, None, "")
    assert (again.steps, again.resumed, again.loss) == (2, 2, outcome.loss)
    assert outcome.file == again.file == tmp_path / "run" / "run.safetensors"


def test_out_of_memory_is_reported_with_remedies(
    rooms: Path, base: Path, tmp_path: Path, segkit: Segkit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names options that need less memory; the error of a GPU is simulated."""
    from trainer.step.loss import DiffusionLoss

    def run_out_of_memory(*args: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(DiffusionLoss, "terms", run_out_of_memory)
    done = segkit(*words(rooms, base, tmp_path / "run", resolution=576, no_cache=True))
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert (
        "which a resumed run may add, or --batch-size 1 with --accumulate 2, or --resolution 512. Checkpoints remain"
        in done.err
    )


def test_training_leaves_the_callers_state(rooms: Path, base: Path, tmp_path: Path) -> None:
    """The environment and diffusers' log level are as before once loop.train returns."""
    from diffusers.utils import logging

    level, environment = logging.get_verbosity(), dict(os.environ)
    logging.set_verbosity_info()
    try:
        train(rooms, base, tmp_path / "run", steps=1)

        assert logging.get_verbosity() == logging.INFO
        assert dict(os.environ) == environment
    finally:
        logging.set_verbosity(level)


def test_paths_of_a_run_can_be_copied_into_a_shell(tmp_path: Path) -> None:
    """Those with a space are quoted, in what a finished run and a stopped one say."""
    run = tmp_path / "my run"
    run.mkdir()
    (run / "report.html").touch()

    finished = replace(STOPPED, run=run, best=100, file=run / "run.safetensors", verdict="the network uses the map")

    assert f"Report: '{run}/report.html'" in finished.lines()
    assert f"Best checkpoint: '{run}/checkpoints/step-00000100'" in finished.lines()
    assert f"For diffusers: '{run}/controlnet'" in finished.lines()
    assert f"Stopped, with a checkpoint: '{run}/checkpoints/step-00001200'." in replace(STOPPED, run=run).lines()[-1]
