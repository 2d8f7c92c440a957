"""Errors of segkit train: one line with the remedy, and nothing is lost."""

import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import Segkit
from tests.trainer.runs import log, same, weights_of, words


def test_a_batch_larger_than_the_dataset_is_refused(rooms: Path, base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """The message proposes a batch size."""
    done = segkit(*words(rooms, base, tmp_path / "run", batch_size=50))
    assert done.code == 2
    assert "fewer than a batch of 50 on 1 process. Use --batch-size" in done.err


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

    assert (two.code, "1 triple is fewer than a batch of 2 on 1 process. Use --batch-size 1" in two.err) == (
        2,
        True,
    )
    assert (one.code, one.err) == (0, "")


def test_a_dataset_with_errors_is_refused(rooms: Path, base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """With a missing map and a changed one, both are listed, and the message says how to see them again."""
    broken = shutil.copytree(rooms, tmp_path / "broken")
    first, second = sorted(broken.glob("maps/*/*.png"))[:2]
    first.unlink()
    second.write_bytes(second.read_bytes() + b"x")

    done = segkit(*words(broken, base, tmp_path / "run"))

    assert done.code == 2
    assert all(path.stem in done.err for path in (first, second))
    assert "2 errors, so nothing was trained." in done.err.splitlines()[-1]
    assert f"See all: segkit check {broken}" in done.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["missing", "empty", "file"])
def test_a_path_that_is_not_a_dataset_is_refused(base: Path, tmp_path: Path, segkit: Segkit, name: str) -> None:
    """For a missing folder, an empty one and a file, the message lists the supported layouts."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    done = segkit(*words(tmp_path / name, base, tmp_path / "run"))
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert (
        "Expected a dataset (segkit build-dataset), its shards with index.json (segkit export), fill50k's" in done.err
    )


@contextmanager
def limited_files() -> Iterator[None]:
    """Limit files of this process to 100 kB meanwhile, which simulates a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_earlier_checkpoints(rooms: Path, base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """The run ends with one line, and resumes bit for bit once there is space."""
    for name, steps in (("whole", 2), ("full", 1)):
        assert segkit(*words(rooms, base, tmp_path / name, steps=steps, checkpoint_every=1)).code == 0
    run = tmp_path / "full"
    command = words(rooms, base, run, steps=2, checkpoint_every=1)

    with limited_files():
        full = segkit(*command)
    left = sorted(path.name for path in (run / "checkpoints").iterdir())
    again = segkit(*command)

    assert (full.code, full.err.count("\n")) == (2, 1)
    assert "cannot be written" in full.err
    assert "Earlier checkpoints are kept" in full.err
    assert left == ["step-00000001"]
    assert again.code == 0
    assert same(weights_of(run), weights_of(tmp_path / "whole"))
    assert log(run) == log(tmp_path / "whole")
