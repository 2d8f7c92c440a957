"""How edited maps get to the disk: killed at any moment, a dataset shows the old map or the new one, and is sound."""

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from segkit import storage
from segkit.dataset import Dataset, history, records, relabel, saving
from segkit.errors import StorageError
from segkit.maps.codec import Labels
from segkit.maps.strokes import Stroke
from tests import forks
from tests.dataset.test_dataset import build, render

FIRST, SECOND = [Stroke(36, ((0, 90),))], [Stroke(99, ((50, 90),))]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of two triples. Do not change it."""
    folder = tmp_path_factory.mktemp("saving")
    build(render(folder / "photos", 2), folder / "out")
    return folder / "out"


def killed_at(flush: int, work: Callable[[], object]) -> bool:
    """Run work in a process that kills itself before it flushes a file for the N-th time; return whether it did."""
    child = os.fork()
    if not child:
        forks.die_at_flush(flush)
        try:
            work()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def maps(original: Labels, *edits: list[Stroke]) -> list[Labels]:
    """Return the maps after each edit."""
    result = [original]
    for strokes in edits:
        after = result[-1].copy()
        for stroke in strokes:
            ((start, length),) = stroke.runs
            after.ravel()[start : start + length] = stroke.label
        result.append(after)
    return result


@pytest.mark.parametrize("step", ["edit", "undo"])
def test_a_kill_at_any_flush_loses_nothing_that_was_acknowledged(
    built: Path, tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Check finds nothing wrong even before the next writer; that one shows a whole edit, which can be undone."""
    if step == "undo":
        monkeypatch.setattr(records, "QUICK", 0)  # as in a large dataset, whose edits stay in parts
    before = 0 if step == "edit" else 2
    prepared = tmp_path / "prepared"
    shutil.copytree(built, prepared)
    dataset = Dataset.open(prepared)
    key = dataset[0].key
    states = maps(dataset[0].labels, FIRST, SECOND)
    for strokes in (FIRST, SECOND)[:before]:
        relabel.relabel(dataset, key, strokes)
    after = 1

    def work(folder: Path) -> None:
        if step == "edit":
            relabel.relabel(Dataset.open(folder), key, FIRST)
        else:
            relabel.undo(Dataset.open(folder), key)

    shown: list[int] = []
    was_killed = True
    while was_killed:
        folder = tmp_path / str(len(shown))
        shutil.copytree(prepared, folder)
        was_killed = killed_at(len(shown) + 1, partial(work, folder))
        shown.append(state_after_kill(folder, states))
        assert Dataset.open(folder)[0].edits.revision == before + (shown[-1] == after)
        restored(folder, shown[-1], states[0])

    assert (shown[0], shown[-1]) == (before, after)
    assert shown == sorted(shown, reverse=after < before)


def state_after_kill(folder: Path, states: list[Labels]) -> int:
    """Check a dataset before and after its next writer, and return which of some states its first map is in."""
    dataset = Dataset.open(folder)
    assert [problem.rule for problem in dataset.check() if problem.severity == "error"] == []
    with dataset.writing():
        pass
    data = (folder / dataset[0].conditioning_image_file_name).read_bytes()
    assert storage.sha256(data) == dataset[0].map_sha256
    return next(place for place, labels in enumerate(states) if np.array_equal(labels, dataset[0].labels))


def restored(folder: Path, edits: int, original: Labels) -> None:
    """Undo edits, and demand the original map."""
    dataset = Dataset.open(folder)
    for _ in range(edits):
        relabel.undo(dataset, dataset[0].key)
    assert np.array_equal(dataset[0].labels, original)
    shutil.rmtree(folder)


def test_a_failed_save_can_be_repeated(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full disk the edit is refused, the next one counts, and the failed one never comes back."""
    shutil.copytree(built, tmp_path / "out")
    dataset = Dataset.open(tmp_path / "out")
    key, write = dataset[0].key, storage.write
    states = maps(dataset[0].labels, SECOND)

    def full(path: Path, data: bytes) -> None:
        if "parts" in path.parts:
            raise StorageError(f"Cannot write {path}: No space left on device.")
        write(path, data)

    with monkeypatch.context() as patched:
        patched.setattr(storage, "write", full)
        with pytest.raises(StorageError):
            relabel.relabel(dataset, key, FIRST, revision=0)
    state = relabel.relabel(dataset, key, SECOND, revision=0)
    after = dataset[0].labels
    relabel.undo(dataset, key)

    assert (state.revision, state.undoable) == (1, 1)
    assert np.array_equal(after, states[1])
    assert np.array_equal(dataset[0].labels, states[0])


def test_only_histories_that_are_ahead_of_their_records_are_read(built: Path, tmp_path: Path) -> None:
    """After a kill, looking for what to complete reads the last line of each history."""
    shutil.copytree(built, tmp_path / "out")
    dataset = Dataset.open(tmp_path / "out")
    key = dataset[0].key
    relabel.relabel(dataset, key, [Stroke(36, tuple((start, 1) for start in range(0, 9000, 2)))])
    relabel.undo(dataset, key)
    path = history.path(dataset.folder, key)

    number = history.last_number(dataset.folder, key)
    path.write_bytes(b"{" + path.read_bytes())  # damaged at its beginning

    assert path.stat().st_size > 1 << 15
    assert number == 2
    assert saving.complete(dataset) == 0
