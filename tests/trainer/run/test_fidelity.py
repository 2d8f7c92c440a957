"""Fidelity during training: held-out maps are drawn, judged and scored, without a trace in the training itself."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from segkit.dataset import Dataset, decisions
from tests.conftest import Segkit
from tests.trainer.run.test_stopping import interrupt_call
from tests.trainer.runs import log, same, train, weights_of, words
from trainer.checkpoints import store
from trainer.run import run_folder
from trainer.sample import sampler
from trainer.settings import TrainSettings

pytestmark = pytest.mark.usefixtures("short_callbacks")

PLAIN: dict[str, Any] = {"steps": 2, "checkpoint_every": 2, "learning_rate": 0.01, "ema": 0.5, "keep": 1}
MEASURED = PLAIN | {"evaluate_fidelity": 1, "judge": "toy-judge", "best_by": "fidelity"}


@pytest.fixture(scope="module")
def whole(held_out: Path, base: Path, short_callbacks: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run with EMA and an evaluation at every step. Do not modify it."""
    return train(held_out, base, tmp_path_factory.mktemp("measured") / "run", **MEASURED)


def lines(run: Path) -> list[dict[str, Any]]:
    """Return the lines of a run's log."""
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def test_an_evaluation_does_not_change_a_training(whole: Path, held_out: Path, base: Path, tmp_path: Path) -> None:
    """Losses and weights equal those of a run without evaluations, bit for bit."""
    plain = train(held_out, base, tmp_path / "run", **PLAIN)

    assert same(weights_of(plain), weights_of(whole))
    assert [line["loss"] for line in log(plain)] == [line["loss"] for line in log(whole)]


def test_it_measures_a_rewarded_training_without_ema(held_out: Path, base: Path, tmp_path: Path) -> None:
    """The weights in training themselves are judged, with the decoder that the reward keeps; they stay as they were."""
    options: dict[str, Any] = {"steps": 1, "checkpoint_every": 1, "reward": "toy", "reward_share": 0.5}
    plain = train(held_out, base, tmp_path / "plain", **options)
    measured = train(held_out, base, tmp_path / "measured", **options, evaluate_fidelity=1, judge="toy-judge")

    assert same(weights_of(plain), weights_of(measured))
    first, last = lines(measured)
    assert last.keys() >= {"fidelity", "reward_loss"}
    assert first.keys() >= {"fidelity"}
    assert {name: last[name] for name in log(plain)[0]} == log(plain)[0]


def test_figures_are_those_of_segkit_evaluate(whole: Path, held_out: Path, tmp_path: Path, segkit: Segkit) -> None:
    """The finished run, evaluated with the settings of the pictures, has the last logged mIoU and interval."""
    options = "--judge toy-judge --resolution 64 --steps 2 --guidance 5 --limit 32"
    done = segkit("evaluate", whole, "--dataset", held_out, "-o", tmp_path / "out", *options.split(), "--json")
    miou = json.loads(done.out)["scores"][0]["metrics"]["miou"]

    assert done.code == 0
    # the training multiplies in another order, and a pixel that is rounded otherwise may change a class
    last = log(whole)[-1]
    assert miou["value"] == pytest.approx(last["fidelity"], abs=2e-3)
    assert miou["low"] == pytest.approx(last["fidelity_low"], abs=5e-3)
    assert miou["high"] == pytest.approx(last["fidelity_high"], abs=5e-3)


def test_the_best_checkpoint_has_the_highest_fidelity(whole: Path) -> None:
    """Every evaluated step has a checkpoint, of which the best is kept beside the newest."""
    values = {int(line["step"]): line["fidelity"] for line in log(whole)}
    best = max(values, key=lambda step: values[step])

    assert len(values) == 2
    assert json.loads((whole / "best.json").read_text()) == {
        "step": best, "fidelity": values[best], "judge": "toy-judge", "guidance": 5.0
    }  # fmt: skip
    assert f"Best checkpoint: step {best} (fidelity" in (whole / "report.html").read_text()
    kept = {int(path.name[-8:]) for path in (whole / "checkpoints").iterdir()}
    assert kept == {best, 2}


def test_the_best_is_remembered_across_a_resume(tmp_path: Path) -> None:
    """Of checkpoints measured before and after, one without a figure among them, the highest mIoU is the best."""
    settings = TrainSettings(**MEASURED)
    measured = [(1, 0.3), (2, 0.5), (3, None), (4, 0.4), (5, 0.5), (6, 0.6)]

    assert [run_folder.best(tmp_path, step, settings, value) for step, value in measured] == [1, 2, 2, 2, 2, 6]
    for changed in ({"judge": "toy"}, {"preview_guidance": 2.0}):  # other figures
        assert run_folder.best(tmp_path, 7, replace(settings, **changed), 0.1) == 7


def test_figures_are_logged_and_shown(whole: Path) -> None:
    """The log, from the step before the first, says who judged; the page has a curve with its interval."""
    evaluated = lines(whole)
    page = (whole / "report.html").read_text()

    assert [line["step"] for line in evaluated] == [0, 1, 2]
    for line in evaluated:
        assert 0 <= line["fidelity_low"] <= line["fidelity"] <= line["fidelity_high"] <= 1
        assert f"mIoU {line['fidelity']:.3f} (" in line["says"]
        assert "of 3 maps, judged by toy-judge" in line["says"]
    assert "Fidelity: mIoU" in page
    assert "<polygon" in page


def test_ctrl_c_abandons_an_evaluation(
    whole: Path, held_out: Path, base: Path, tmp_path: Path, segkit: Segkit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a picture after a step, the step is saved. Resumed, also without the cache, the run has the same figures."""
    run, arguments = tmp_path / "run", words(held_out, base, tmp_path / "run", **MEASURED, no_cache=True)
    with monkeypatch.context() as patch:
        calls = interrupt_call(patch, sampler, "sample", 4)  # three maps were drawn before the first step
        stopped = segkit(*arguments)

    newest = store.newest(run / "checkpoints")
    assert (stopped.code, len(calls), newest.step if newest else 0) == (130, 4, 1)
    assert "Stopping after this step" in stopped.err
    assert "stopped before validation, fidelity and previews were complete" in lines(run)[-1]["says"]

    resumed = segkit(*arguments, "--json")
    outcome, last = json.loads(resumed.out), log(run)[-1]
    assert same(weights_of(run), weights_of(whole))
    assert last == log(whole)[-1]
    interval = {"low": last["fidelity_low"], "high": last["fidelity_high"]}
    assert outcome["fidelity"] == {"value": last["fidelity"], **interval}
    assert any("3 maps only" in note for note in outcome["notes"])


def test_too_little_memory_does_not_end_a_training(
    held_out: Path, base: Path, tmp_path: Path, segkit: Segkit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log says that nothing was measured; the error of a GPU is simulated."""
    import torch

    def out_of_memory(*args: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(sampler, "sample", out_of_memory)
    done = segkit(*words(held_out, base, tmp_path / "run", **MEASURED | {"steps": 1}))

    assert done.code == 0
    assert all(line["says"] == "fidelity not measured: out of memory" for line in lines(tmp_path / "run"))
    assert "Best checkpoint" not in done.out


def test_the_plan_counts_evaluations(held_out: Path, base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """The dry run has the judge's memory, the time of all evaluations, and a note on a judge that is not neutral."""
    options = MEASURED | {"steps": 5, "evaluate_fidelity": 2, "judge": "toy"}
    done = segkit(*words(held_out, base, tmp_path / "run", **options), "--dry-run", "--json")
    plan = json.loads(done.out)

    assert plan["evaluations"] == 4  # before the first step, after 2 and 4, and at the end
    assert plan["fidelity_seconds"] > 0
    assert plan["seconds"] >= 5 * plan["step_seconds"] + 4 * plan["fidelity_seconds"]
    assert 4 * 1_500_000 < plan["memory"]["judge"] < 4 * 1_600_000
    assert any("toy, also drew the dataset's maps" in note for note in plan["notes"])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"judge": "./missing"}, "judge ./missing: no such folder"),
        ({"evaluate_fidelity": 0}, "--best-by 'fidelity': expected held_out_loss or control_gap, because"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    held_out: Path, base: Path, tmp_path: Path, segkit: Segkit, changed: dict[str, Any], message: str
) -> None:
    """One line, before anything is written."""
    done = segkit(*words(held_out, base, tmp_path / "run", **MEASURED | changed))

    assert (done.code, done.err.count("\n")) == (2, 1)
    assert message in done.err
    assert not (tmp_path / "run").exists()


def test_a_dataset_without_held_out_maps_is_refused(rooms: Path, base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """The line says how to hold some out."""
    dataset = Dataset.open(shutil.copytree(rooms, tmp_path / "rooms", ignore=shutil.ignore_patterns("cache")))
    for triple in dataset.val:
        decisions.move(dataset, triple.key, "train")
    done = segkit(*words(dataset.folder, base, tmp_path / "run", **MEASURED | {"steps": 1}))

    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "--evaluate-fidelity 1: no triple is held out" in done.err
