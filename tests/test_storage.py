"""Atomic writes, JSON Lines and the dataset lock."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from segkit import dataset as datasets
from segkit import rows, storage
from segkit.dataset import Dataset
from segkit.errors import DatasetError, LockedError, StorageError
from tests.conftest import Segkit
from tests.dataset.test_dataset import build, render


def fail(error: BaseException) -> object:
    """Return a function that raises."""

    def failing(*arguments: object, **named: object) -> None:
        raise error

    return failing


@contextmanager
def held(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Let another process hold the lock of a dataset."""
    script = "import pathlib, sys; from segkit import dataset\n"
    script += "with dataset.locked(pathlib.Path(sys.argv[1])):\n    print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", script, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"held\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """A dataset of two triples."""
    return build(render(tmp_path / "photos", 2), tmp_path / "out")


def undamaged(number: int, reason: str) -> None:
    """Fail if a line is reported as damaged."""
    raise AssertionError(f"line {number}: {reason}")


@pytest.mark.parametrize("place", ["open", "fsync"])
@pytest.mark.parametrize("old", [None, b"old"])
@pytest.mark.parametrize(
    ("error", "raised"), [(OSError(28, "full"), StorageError), (KeyboardInterrupt(), KeyboardInterrupt)]
)
def test_an_interrupted_write_keeps_the_old_state(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    place: str,
    old: bytes | None,
    error: BaseException,
    raised: type[BaseException],
) -> None:
    """If anything fails before the rename, the old file is intact and no temporary file remains."""
    path = tmp_path / "file"
    if old:
        path.write_bytes(old)

    with monkeypatch.context() as patch:
        patch.setattr(os, place, fail(error))
        with pytest.raises(raised):
            storage.write(path, b"new")

    assert [file.read_bytes() for file in tmp_path.iterdir()] == ([old] if old else [])


def test_a_failed_rename_keeps_the_old_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A failed rename removes the temporary file, and the error says what to do."""
    path = tmp_path / "file"
    path.write_bytes(b"old")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", fail(OSError(5, "Input/output error")))
        with pytest.raises(StorageError, match=r"Input/output error\. Fix the cause and run"):
            storage.write(path, b"new")

    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"old"]


def test_missing_folders_are_created(tmp_path: Path) -> None:
    """Writing a file creates its missing parent folders."""
    storage.write(tmp_path / "a" / "b" / "file", b"new")

    assert (tmp_path / "a" / "b" / "file").read_bytes() == b"new"


def test_names_of_full_length_can_be_written(tmp_path: Path) -> None:
    """A name of 255 bytes can be written, because the temporary name does not contain it."""
    path = tmp_path / ("x" * 255)

    storage.write(path, b"new")

    assert path.read_bytes() == b"new"


def test_only_temporary_files_of_segkit_are_removed(tmp_path: Path) -> None:
    """Temporary files are deleted at any depth; files with similar names are kept."""
    (tmp_path / "deep").mkdir()
    for name in (".part-0123456789ab", "deep/.part-abcdefabcdef", ".part-notes", "part-0123456789ab", "deep/a.jpg"):
        (tmp_path / name).touch()

    storage.remove_unfinished(tmp_path)

    left = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert left == [".part-notes", "deep/a.jpg", "part-0123456789ab"]


def test_lines_round_trip(tmp_path: Path) -> None:
    """Records with line breaks, quotes and other alphabets survive a round trip."""
    records: list[dict[str, object]] = [{"a": "one\ntwo\u2028\r\"'"}, {"b": ["Zürich", "東京", 1.5, None, {}]}]

    storage.write_lines(tmp_path / "lines", records)

    assert [record for _, record in rows.json_lines(tmp_path / "lines", undamaged)] == records


def test_damaged_lines_are_reported_and_skipped(tmp_path: Path) -> None:
    """Each damaged line is reported with its number and reason; blank lines are skipped, all others read."""
    lines = [b'{"a": 1}', b'{"a": ', b"[1]", b"", b"\xff\xfe", b"[" * 100_000, b'{"a": 2}']
    (tmp_path / "lines").write_bytes(b"\n".join(lines))
    damage: dict[int, str] = {}

    records = list(rows.json_lines(tmp_path / "lines", damage.__setitem__))

    assert records == [(1, {"a": 1}), (7, {"a": 2})]
    assert list(damage) == [2, 3, 5, 6]
    assert damage[3] == "expected an object, found list"


def test_a_missing_file_has_no_lines(tmp_path: Path) -> None:
    """A missing file is read as empty."""
    assert list(rows.json_lines(tmp_path / "lines", undamaged)) == []


def test_an_unreadable_file_is_an_error(tmp_path: Path) -> None:
    """A file that exists but cannot be read is not treated as empty."""
    with pytest.raises(DatasetError, match=r"Cannot read .*: Is a directory"):
        list(rows.json_lines(tmp_path, undamaged))


def test_a_second_build_names_the_lock_holder(segkit: Segkit, dataset: Dataset, tmp_path: Path) -> None:
    """A second build of the same dataset ends with one line that names process and host of the first."""
    import socket

    with held(dataset.folder) as other:
        second = segkit("build-dataset", tmp_path / "photos", "-o", dataset.folder)

    assert second.code == 2
    assert second.err.count("\n") == 1
    assert f"process {other.pid} on {socket.gethostname()}" in second.err


def test_a_lock_without_a_signature_holds(dataset: Dataset) -> None:
    """A lock holder that has not written its name yet is reported as "another process"."""
    with held(dataset.folder):
        (dataset.hidden / "lock").write_bytes(b"")
        with pytest.raises(LockedError, match="being written by another process"), dataset.writing():
            pass


def test_the_lock_of_a_killed_process_is_taken_over(dataset: Dataset) -> None:
    """A stale lock file that still names a process does not block a build."""
    with held(dataset.folder) as other:
        other.kill()
        other.wait()
        stale = (dataset.hidden / "lock").read_text()
        with dataset.writing():
            fresh = (dataset.hidden / "lock").read_text()

    assert str(other.pid) in stale
    assert str(other.pid) not in fresh


def test_a_blocked_build_keeps_the_lock_file(tmp_path: Path) -> None:
    """While the first build loads its networks there is no dataset yet; a second build must not delete its lock."""
    out = tmp_path / "out"

    with held(out):
        for _ in range(2):
            with pytest.raises(LockedError), datasets.locked(out):
                pass

        assert (out / ".segkit" / "lock").exists()


def test_a_build_that_fails_early_leaves_nothing(tmp_path: Path) -> None:
    """The folder is removed if no dataset was created in it."""
    with pytest.raises(ZeroDivisionError), datasets.locked(tmp_path / "out"):
        raise ZeroDivisionError

    assert list(tmp_path.iterdir()) == []
