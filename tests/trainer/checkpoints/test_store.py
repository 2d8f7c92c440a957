"""Checkpoints of a run are complete or do not count, and old ones are pruned."""

import shutil
from pathlib import Path

import pytest
import torch

from segkit.errors import StorageError
from trainer.checkpoints import store
from trainer.checkpoints.store import Checkpoint

WEIGHTS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.full((4,), 1 / 3, dtype=torch.float16)}


def write(folder: Path, *steps: int) -> None:
    """Write small checkpoints."""
    for step in steps:
        store.finish(store.stage(folder, step), step, {"controlnet": WEIGHTS}, {"lr": step}, {"note": "x"})


def names(folder: Path) -> list[str]:
    """Return the names of everything in a folder."""
    return sorted(path.name for path in folder.iterdir())


def test_a_checkpoint_survives_a_round_trip(tmp_path: Path) -> None:
    """Weights, optimizer state, values and files that were staged beforehand are returned as they were written."""
    staged = store.stage(tmp_path / "checkpoints", 7)
    (staged / "shards").mkdir()
    (staged / "shards" / "0.bin").write_bytes(b"shard")
    optimizer = {"state": {0: {"exp_avg": torch.ones(2)}}, "lr": 1e-5}

    finished = store.finish(staged, 7, {"controlnet": WEIGHTS}, optimizer, {"scaler": {"scale": 2.0}})

    found = store.newest(tmp_path / "checkpoints")
    assert found == finished == Checkpoint(tmp_path / "checkpoints" / "step-00000007", 7)
    weights = found.tensors("controlnet")
    assert weights.keys() == WEIGHTS.keys()
    assert all(weights[name].dtype == WEIGHTS[name].dtype for name in WEIGHTS)
    assert all(torch.equal(weights[name], WEIGHTS[name]) for name in WEIGHTS)
    assert found.state() == {"scaler": {"scale": 2.0}, "step": 7}
    assert torch.equal(found.optimizer()["state"][0]["exp_avg"], torch.ones(2))
    assert (found.folder / "shards" / "0.bin").read_bytes() == b"shard"


def test_there_may_be_no_checkpoint(tmp_path: Path) -> None:
    """A missing folder has none, and neither has one with other folders or an unfinished checkpoint."""
    assert store.newest(tmp_path / "missing") is None
    (tmp_path / "step-1").mkdir()
    (tmp_path / "step-00000002").write_text("a file")
    store.stage(tmp_path, 3)
    assert store.newest(tmp_path) is None


@pytest.mark.parametrize("damage", ["changed", "missing", "no state", "no hashes", "other json"])
def test_a_damaged_checkpoint_does_not_count(tmp_path: Path, damage: str) -> None:
    """The newest checkpoint whose files all match their hashes is found."""
    write(tmp_path, 3, 20)
    newest = tmp_path / "step-00000020"
    weights = newest / "controlnet.safetensors"
    if damage == "changed":
        data = bytearray(weights.read_bytes())
        data[-1] ^= 1
        weights.write_bytes(data)
    elif damage == "missing":
        weights.unlink()
    elif damage == "no hashes":
        (newest / "sha256.json").unlink()
    else:
        (newest / "sha256.json").write_text("{}" if damage == "no state" else "[1]")

    found = store.newest(tmp_path)

    assert found is not None
    assert found.step == 3


def test_an_equal_step_is_replaced(tmp_path: Path) -> None:
    """A run that repeats a step writes its checkpoint again, without anything of the old one."""
    write(tmp_path, 5)
    (tmp_path / "step-00000005" / "old").write_text("x")

    store.finish(store.stage(tmp_path, 5), 5, {}, None, {"note": "new"})

    found = store.newest(tmp_path)
    assert found is not None
    assert found.state()["note"] == "new"
    assert names(found.folder) == ["sha256.json", "state.json"]


def test_staging_starts_empty(tmp_path: Path) -> None:
    """Files that a killed run left in the staging folder do not become part of the checkpoint."""
    (store.stage(tmp_path, 5) / "left").write_text("x")
    assert names(store.stage(tmp_path, 5)) == []


def test_a_failed_write_leaves_earlier_checkpoints(tmp_path: Path) -> None:
    """The error says what to do; the unfinished checkpoint is removed."""
    write(tmp_path, 5)
    staged = store.stage(tmp_path, 6)
    (staged / "optimizer.pt").mkdir()  # cannot be opened for writing, like a file on a full disk

    with pytest.raises(StorageError, match=r"step-00000006: cannot be written \(Is a directory\)\. Earlier"):
        store.finish(staged, 6, {"controlnet": WEIGHTS}, {"lr": 1}, {})

    assert names(tmp_path) == ["step-00000005"]


@pytest.mark.parametrize(
    ("keep", "best", "left"), [(1, [], [50]), (2, [], [9, 50]), (1, [1, 3], [1, 3, 50]), (9, [], [1, 3, 9, 50])]
)
def test_the_newest_and_the_best_are_kept(tmp_path: Path, keep: int, best: list[int], left: list[int]) -> None:
    """Older checkpoints are removed, and so are staging folders of killed runs; other folders stay."""
    write(tmp_path, 9, 1, 50, 3)
    store.stage(tmp_path, 51)
    shutil.copytree(tmp_path / "step-00000001", tmp_path / "mine")

    store.prune(tmp_path, keep, best)

    assert names(tmp_path) == ["mine", *(f"step-{step:08}" for step in left)]
