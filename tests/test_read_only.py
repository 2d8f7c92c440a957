"""A dataset on a disk that cannot be written is opened, checked, trained on, drawn from and exported."""

import json
import os
from pathlib import Path

import pytest

import segkit as package
from segkit.dataset import Dataset, checks, locked
from segkit.errors import LockedError
from tests.conftest import Segkit
from tests.dataset.test_dataset import build, contents, render, written
from tests.read_only import read_only
from tests.test_locks import held

SMALL = ["--base", "toy", "--controlnet", "fresh", "--resolution", 64, "--steps", 1, "--preview-every", 0]
"""Options of a training of a second."""

pytestmark = [
    pytest.mark.skipif(os.name == "nt", reason="needs Unix permissions"),
    pytest.mark.usefixtures("short_callbacks"),
]


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
    shared = segkit("train", rooms, "-o", tmp_path / "first", *SMALL)
    foreign = next((rooms / ".segkit" / "cache").glob("latents-*"))
    with read_only(foreign):
        second = segkit("train", rooms, "-o", tmp_path / "second", *SMALL)

    assert (shared.code, second.code) == (0, 0), second.err
    assert not (tmp_path / "first" / "cache").exists()
    assert (tmp_path / "second" / "cache").is_dir()
    assert losses(tmp_path / "first") == losses(tmp_path / "second")


def test_readers_and_a_writer_do_not_disturb_each_other(segkit: Segkit, rooms: Path, tmp_path: Path) -> None:
    """While another process holds the lock, a check, a training and a read-only one go through, and the lock holds."""
    with held(rooms) as writer:
        checked = segkit("check", rooms)
        trained = segkit("train", rooms, "-o", tmp_path / "first", *SMALL)
        with read_only(rooms):
            also = segkit("train", rooms, "-o", tmp_path / "second", *SMALL)
        with pytest.raises(LockedError, match=f"is being written by process {writer.pid}"), locked(rooms):
            pass

    assert [(one.code, one.err) for one in (checked, trained, also)] == [(0, "")] * 3
    assert losses(tmp_path / "first") == losses(tmp_path / "second")


def test_what_cannot_be_remembered_is_said_once(segkit: Segkit, rooms: Path) -> None:
    """A read-only dataset is checked without stamps, and the next check of the same reads everything again."""
    for path in (*rooms.glob("images/*/*"), *rooms.glob("maps/*/*")):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    notes = []

    with read_only(rooms):
        checks.check(Dataset.open(rooms), progress=lambda stage, done, total, note="": notes.append(note))

    [note] = filter(None, notes)
    assert note.startswith("Checked files cannot be remembered, so the next check reads them again. Cannot write")
