"""segkit train, when something is wrong: one line that says what to do, and nothing lost."""

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


def test_a_loss_that_is_no_number_ends_the_run(rooms: Path, base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """A learning rate far too high: what the step saw is kept, and the checkpoint before it stays."""
    run = tmp_path / "run"
    done = segkit(*words(rooms, base, run, learning_rate=1e18, steps=20, checkpoint_every=1))

    assert done.code == 2
    assert "The loss is no number at step" in done.err
    step = int(done.err.split("at step ")[1].split(".")[0])
    seen = load_file(run / f"not-finite-step-{step}-process-0.safetensors")
    assert seen["moments.0"].shape == (2, 2, 4, 8, 8)
    assert seen["controls.0"].shape == (2, 64, 64)
    assert (run / "checkpoints" / f"step-{step - 1:08}").is_dir()


def test_other_things_are_not_written_over(rooms: Path, base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """A folder that is no run is refused; a base that is not there leaves nothing behind."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "photo.jpg").write_text("x")

    assert "other things are in it" in segkit(*words(rooms, base, tmp_path / "mine")).err
    assert segkit(*words(rooms, tmp_path / "nothing", tmp_path / "run")).code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_batch_larger_than_the_data_is_told(rooms: Path, base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """With the size that would do."""
    done = segkit(*words(rooms, base, tmp_path / "run", batch_size=50))
    assert done.code == 2
    assert "fewer than a batch of 50 on 1 processes. Use --batch-size" in done.err


def test_a_run_that_was_killed_while_it_began_begins_anew(
    rooms: Path, base: Path, tmp_path: Path, segkit: Segkit
) -> None:
    """Before run.toml stood there, and with an unfinished file left."""
    run = tmp_path / "run"
    run.mkdir()
    (run / "palette.csv").write_text("index,name,r,g,b\n0,wall,1,2,3\n")
    (run / ".part-0123456789ab").write_text("half")

    assert segkit(*words(rooms, base, run, steps=1)).code == 0
    assert not list(run.rglob(".part-*"))


def test_one_triple_can_be_trained_on(rooms: Path, base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """Alone; a batch of two is told which size would do."""
    alone = shutil.copytree(rooms, tmp_path / "alone")
    lines = [line for line in (alone / "metadata.jsonl").read_text().splitlines() if '"train"' in line]
    (alone / "metadata.jsonl").write_text(lines[0] + "\n")
    kept = lines[0].split('"key": "')[1].split('"')[0]
    for path in [*alone.glob("images/*/*"), *alone.glob("maps/*/*")]:
        if path.stem != kept:
            path.unlink()

    two = segkit(*words(alone, base, tmp_path / "run"))
    one = segkit(*words(alone, base, tmp_path / "run", batch_size=1, steps=2))

    assert (two.code, "1 triples are fewer than a batch of 2 on 1 processes. Use --batch-size 1" in two.err) == (
        2,
        True,
    )
    assert (one.code, one.err) == (0, "")


def test_a_dataset_with_errors_is_refused_with_them(rooms: Path, base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """A map that is gone, and one that was changed: the first with its cure, and how to see all."""
    broken = shutil.copytree(rooms, tmp_path / "broken")
    first, second = sorted(broken.glob("maps/*/*.png"))[:2]
    first.unlink()
    second.write_bytes(second.read_bytes() + b"x")

    done = segkit(*words(broken, base, tmp_path / "run"))

    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "2 errors, so nothing was trained." in done.err
    assert f"See all: segkit check {broken}" in done.err
    assert not (tmp_path / "run").exists()


def test_a_dataset_that_is_being_written_is_left_alone(rooms: Path, base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """The lock names who holds it."""
    busy = shutil.copytree(rooms, tmp_path / "busy")
    with dataset.locked(busy):
        done = segkit(*words(busy, base, tmp_path / "run"))
    assert (done.code, f"is being written by process {os.getpid()}" in done.err) == (2, True)


@pytest.mark.parametrize("what", ["nothing", "empty", "file"])
def test_what_is_no_dataset_is_told(base: Path, tmp_path: Path, segkit: Segkit, what: str) -> None:
    """No such folder, an empty one, a file: which layouts are known."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    done = segkit(*words(tmp_path / what, base, tmp_path / "run"))
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "Expected a dataset (segkit build-dataset), fill50k's prompt.json" in done.err


def test_a_changed_dataset_is_told(rooms: Path, base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """Other prompts are other data; the run is as it was."""
    mine = shutil.copytree(rooms, tmp_path / "mine")
    assert segkit(*words(mine, base, tmp_path / "run", steps=1)).code == 0
    key = next(mine.glob("images/*/*")).stem
    assert segkit("caption", mine, "--edit", key, "quite another room").code == 0

    done = segkit(*words(mine, base, tmp_path / "run", steps=2))

    assert (done.code, "was started otherwise: the dataset has changed" in done.err) == (2, True)


def limited() -> None:
    """Let files grow to a megabyte and no more, as on a disk that is full."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))


def test_a_full_disk_leaves_the_checkpoint_before(rooms: Path, base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """The run ends with one line, and goes on exactly once there is space."""
    for name, steps in (("whole", 2), ("full", 1)):
        assert segkit(*words(rooms, base, tmp_path / name, steps=steps, checkpoint_every=1)).code == 0
    run = tmp_path / "full"
    command = [sys.executable, "-m", "segkit", *words(rooms, base, run, steps=2, checkpoint_every=1)]

    full = subprocess.run(command, capture_output=True, text=True, preexec_fn=limited, check=False)
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
    """As many of the newest as were asked for, and the one with the lowest loss of held-out photos."""
    run, looking = tmp_path / "run", {"evaluate_every": 1}
    assert (
        segkit(*words(rooms, base, run, steps=5, checkpoint_every=1, keep=1, learning_rate=0.05, **looking)).code == 0
    )
    losses = {int(line["step"]): line["held_out_loss"] for line in log(run)}
    best = min(losses, key=lambda step: losses[step])
    assert best != 5, "a rate this high should not make the last step the best"
    kept = sorted(path.name for path in (run / "checkpoints").iterdir())
    assert kept == [f"step-{best:08}", "step-00000005"]


def test_too_little_memory_is_told_with_what_would_fit(
    rooms: Path, base: Path, tmp_path: Path, segkit: Segkit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The options that need less; here without a GPU, by what torch raises on one."""
    from trainer.step.loss import DiffusionLoss

    def refuse(*arguments: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(DiffusionLoss, "loss", refuse)
    done = segkit(*words(rooms, base, tmp_path / "run", resolution=576, no_cache=True))
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert (
        "with which a run goes on, or --batch-size 1 --accumulate 2, or --resolution 512. Checkpoints stay" in done.err
    )
