"""Errors of segkit train: one line with the remedy, and nothing is lost."""

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from segkit import dataset
from tests.conftest import Segkit
from tests.trainer.runs import log, same, weights_of, words


def test_a_loss_that_is_not_finite_ends_the_run(rooms: Path, base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """With a learning rate far too high, the step's data is saved, and the checkpoint before it remains."""
    run = tmp_path / "run"
    done = segkit(*words(rooms, base, run, learning_rate=1e18, steps=20, checkpoint_every=1))

    assert done.code == 2
    assert "The loss is NaN or infinite at step" in done.err
    step = int(done.err.split("at step ")[1].split(".")[0])
    saved = load_file(run / f"not-finite-step-{step}-process-0.safetensors")
    assert saved["moments.0"].shape == (2, 2, 4, 8, 8)
    assert saved["controls.0"].shape == (2, 64, 64)
    assert (run / "checkpoints" / f"step-{step - 1:08}").is_dir()


def test_other_files_are_not_overwritten(rooms: Path, base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """A folder that is not a run is refused; a missing base leaves no folder behind."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "photo.jpg").write_text("x")

    assert "contains files that are not a run's" in segkit(*words(rooms, base, tmp_path / "mine")).err
    assert segkit(*words(rooms, tmp_path / "nothing", tmp_path / "run")).code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_batch_larger_than_the_dataset_is_refused(rooms: Path, base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """The message proposes a batch size."""
    done = segkit(*words(rooms, base, tmp_path / "run", batch_size=50))
    assert done.code == 2
    assert "fewer than a batch of 50 on 1 processes. Use --batch-size" in done.err


def test_a_run_killed_before_it_began_can_be_started(rooms: Path, base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """A folder without run.toml, but with files of a run that was killed before it wrote one, is accepted."""
    run = tmp_path / "run"
    run.mkdir()
    (run / "palette.csv").write_text("index,name,r,g,b\n0,wall,1,2,3\n")
    (run / ".part-0123456789ab").write_text("half")

    assert segkit(*words(rooms, base, run, steps=1)).code == 0
    assert not list(run.rglob(".part-*"))


def test_one_triple_can_be_trained_on(rooms: Path, base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """A single triple trains with a batch of one; a batch of two is refused with that advice."""
    alone = shutil.copytree(rooms, tmp_path / "alone")
    lines = [line for line in (alone / "metadata.jsonl").read_text().splitlines() if '"train"' in line]
    (alone / "metadata.jsonl").write_text(lines[0] + "\n")
    key = lines[0].split('"key": "')[1].split('"')[0]
    for path in [*alone.glob("images/*/*"), *alone.glob("maps/*/*")]:
        if path.stem != key:
            path.unlink()

    two = segkit(*words(alone, base, tmp_path / "run"))
    one = segkit(*words(alone, base, tmp_path / "run", batch_size=1, steps=2))

    assert (two.code, "1 triples are fewer than a batch of 2 on 1 processes. Use --batch-size 1" in two.err) == (
        2,
        True,
    )
    assert (one.code, one.err) == (0, "")


def test_a_dataset_with_errors_is_refused(rooms: Path, base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """With a missing map and a changed one, the message has the first error and how to list all."""
    broken = shutil.copytree(rooms, tmp_path / "broken")
    first, second = sorted(broken.glob("maps/*/*.png"))[:2]
    first.unlink()
    second.write_bytes(second.read_bytes() + b"x")

    done = segkit(*words(broken, base, tmp_path / "run"))

    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "2 errors, so nothing was trained." in done.err
    assert f"See all: segkit check {broken}" in done.err
    assert not (tmp_path / "run").exists()


def test_a_locked_dataset_is_refused(rooms: Path, base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """The message names the process that holds the lock."""
    busy = shutil.copytree(rooms, tmp_path / "busy")
    with dataset.locked(busy):
        done = segkit(*words(busy, base, tmp_path / "run"))
    assert (done.code, f"is being written by process {os.getpid()}" in done.err) == (2, True)


@pytest.mark.parametrize("name", ["missing", "empty", "file"])
def test_a_path_that_is_not_a_dataset_is_refused(base: Path, tmp_path: Path, segkit: Segkit, name: str) -> None:
    """For a missing folder, an empty one and a file, the message lists the supported layouts."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    done = segkit(*words(tmp_path / name, base, tmp_path / "run"))
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "Expected a dataset (segkit build-dataset), fill50k's prompt.json" in done.err


def test_a_changed_dataset_is_refused(rooms: Path, base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """A run does not resume with edited prompts."""
    edited = shutil.copytree(rooms, tmp_path / "mine")
    assert segkit(*words(edited, base, tmp_path / "run", steps=1)).code == 0
    key = next(edited.glob("images/*/*")).stem
    assert segkit("caption", edited, "--edit", key, "quite another room").code == 0

    done = segkit(*words(edited, base, tmp_path / "run", steps=2))

    assert (done.code, "was started with other settings or data: the dataset has changed" in done.err) == (2, True)


def limit_file_size() -> None:
    """Limit files of this process to a megabyte, which simulates a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))


def test_a_full_disk_leaves_earlier_checkpoints(rooms: Path, base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """The run ends with one line, and resumes bit for bit once there is space."""
    for name, steps in (("whole", 2), ("full", 1)):
        assert segkit(*words(rooms, base, tmp_path / name, steps=steps, checkpoint_every=1)).code == 0
    run = tmp_path / "full"
    command = [sys.executable, "-m", "segkit", *words(rooms, base, run, steps=2, checkpoint_every=1)]

    full = subprocess.run(command, capture_output=True, text=True, preexec_fn=limit_file_size, check=False)
    left = sorted(path.name for path in (run / "checkpoints").iterdir())
    again = segkit(*command[3:])

    assert (full.returncode, full.stderr.count("\n")) == (2, 1)
    assert "cannot be written" in full.stderr
    assert "Earlier checkpoints are kept" in full.stderr
    assert left == ["step-00000001"]
    assert again.code == 0
    assert same(weights_of(run), weights_of(tmp_path / "whole"))
    assert log(run) == log(tmp_path / "whole")


def test_the_newest_and_the_best_checkpoints_are_kept(rooms: Path, base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """--keep 1 leaves the newest checkpoint and the one with the lowest held-out loss."""
    run, validation = tmp_path / "run", {"evaluate_every": 1}
    arguments = words(rooms, base, run, steps=5, checkpoint_every=1, keep=1, learning_rate=0.05, **validation)
    assert segkit(*arguments).code == 0
    losses = {int(line["step"]): line["held_out_loss"] for line in log(run)}
    best = min(losses, key=lambda step: losses[step])
    assert best != 5, "with a learning rate this high the last step should not be the best"
    checkpoints = sorted(path.name for path in (run / "checkpoints").iterdir())
    assert checkpoints == [f"step-{best:08}", "step-00000005"]


def test_out_of_memory_is_reported_with_remedies(
    rooms: Path, base: Path, tmp_path: Path, segkit: Segkit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names options that need less memory; the error of a GPU is simulated."""
    from trainer.step.loss import DiffusionLoss

    def run_out_of_memory(*args: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(DiffusionLoss, "loss", run_out_of_memory)
    done = segkit(*words(rooms, base, tmp_path / "run", resolution=576, no_cache=True))
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert (
        "which a resumed run may add, or --batch-size 1 --accumulate 2, or --resolution 512. Checkpoints remain"
        in done.err
    )
