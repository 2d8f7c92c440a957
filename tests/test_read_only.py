"""A dataset on a disk that cannot be written is opened, checked, trained on, drawn from and exported."""

import errno
import json
import os
from contextlib import ExitStack
from pathlib import Path

import pytest

import segkit as package
from segkit import storage
from segkit.dataset import locked, reading
from segkit.errors import LockedError, StorageError
from tests.conftest import Segkit
from tests.dataset.test_dataset import build, contents, render, written
from tests.read_only import read_only

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs Unix permissions")


@pytest.fixture
def rooms(tmp_path: Path) -> Path:
    """A dataset of six triples with prompts, some held out, that no process has locked for writing since."""
    made = build(render(tmp_path / "photos", 6), tmp_path / "disk" / "rooms")
    made.replace_all([written(triple, "a room with a bed") for triple in made.triples()])
    return made.folder


def losses(run: Path) -> list[float]:
    """Return the loss of each step."""
    lines = map(json.loads, (run / "log.jsonl").read_text().splitlines())
    found = [line["loss"] for line in lines if "loss" in line]
    assert found
    return found


@pytest.mark.parametrize("lock", [True, False])
def test_a_read_only_dataset_serves_every_reader(segkit: Segkit, rooms: Path, tmp_path: Path, lock: bool) -> None:
    """With the lock's file of an earlier writer or without; nothing is written to it, and the cache is in the run."""
    if not lock:
        (rooms / ".segkit" / "lock").unlink(missing_ok=True)
    before = contents(rooms)
    run, small = tmp_path / "run", ["--base", "toy", "--resolution", 64, "--steps", 2]

    with read_only(rooms):
        with pytest.raises(PermissionError):
            (rooms / "x").touch()
        assert len(package.Dataset.open(rooms)) == 6
        ended = {
            "check": segkit("check", rooms),
            "check-palette": segkit("check-palette", rooms),
            "dry run": segkit("train", rooms, "-o", run, *small, "--controlnet", "fresh", "--dry-run"),
            "train": segkit("train", rooms, "-o", run, *small, "--controlnet", "fresh", "--batch-size", 1),
            "generate": segkit("generate", "--map", rooms, "--controlnet", run, *small[2:], "-o", tmp_path / "drawn"),
            "export": segkit("export", run, "--to", "pth", "-o", tmp_path / "rooms.pth"),
        }

    assert {name: (result.code, result.err) for name, result in ended.items() if result.code} == {}
    assert contents(rooms) == before
    assert (run / "cache").is_dir()
    assert (tmp_path / "rooms.pth").is_file()


def test_changing_a_read_only_dataset_is_refused_first(segkit: Segkit, rooms: Path, tmp_path: Path) -> None:
    """One line that names the file, before a network is loaded; the dataset stays the same."""
    before = contents(rooms)

    with read_only(rooms):
        redrafted = segkit("caption", rooms, "--redo-drafts", "--captioner", tmp_path / "nowhere")
        edited = segkit("caption", rooms, "--edit", "000.png", "a bed")

    for ended in (redrafted, edited):
        assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
        assert f"Cannot write {rooms}" in ended.err
    assert contents(rooms) == before


def test_the_cache_is_shared_where_it_can_be_written(segkit: Segkit, rooms: Path, tmp_path: Path) -> None:
    """The run of a dataset that can be written has no cache of its own; one folder of another user's is enough."""
    small = ["--base", "toy", "--controlnet", "fresh", "--resolution", 64, "--steps", 1, "--preview-every", 0]

    shared = segkit("train", rooms, "-o", tmp_path / "first", *small)
    foreign = next((rooms / ".segkit" / "cache").iterdir())
    with read_only(foreign):
        own = segkit("train", rooms, "-o", tmp_path / "second", *small)

    assert (shared.code, own.code) == (0, 0), own.err
    assert not (tmp_path / "first" / "cache").exists()
    assert (tmp_path / "second" / "cache").is_dir()
    assert losses(tmp_path / "first") == losses(tmp_path / "second")


def test_a_writer_is_noticed_without_writing(rooms: Path) -> None:
    """A reader that cannot take the lock still sees that another process holds it."""
    refused = pytest.raises(LockedError, match="is being written by process")
    with locked(rooms), read_only(rooms), refused, reading(rooms):
        pass
    with read_only(rooms), reading(rooms), pytest.raises(StorageError, match="Permission denied"):
        storage.write(rooms / "x", b"")


@pytest.mark.parametrize(
    ("number", "is_read"), [(errno.ENOSPC, False), (errno.EIO, False), (errno.EROFS, True), (errno.EPERM, True)]
)
def test_a_full_disk_is_not_a_read_only_one(
    rooms: Path, monkeypatch: pytest.MonkeyPatch, number: int, is_read: bool
) -> None:
    """Only a lack of permission lets a dataset be read without its lock."""
    original = os.open

    def fail(path: str, flags: int, *mode: int, **options: int) -> int:
        if flags & (os.O_RDWR | os.O_WRONLY):
            raise OSError(number, os.strerror(number))
        return original(path, flags, *mode, **options)

    with monkeypatch.context() as patched, ExitStack() as stack:
        patched.setattr(os, "open", fail)
        if not is_read:
            stack.enter_context(pytest.raises(StorageError, match=os.strerror(number)))
        with reading(rooms):
            assert is_read
