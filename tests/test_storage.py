"""The write path: whole or not at all; and the lock."""

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
    """Let another process hold a dataset's lock."""
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
    """Stand for a list in which no line is damaged."""
    raise AssertionError(f"line {number}: {reason}")


@pytest.mark.parametrize("place", ["open", "fsync"])
@pytest.mark.parametrize("old", [None, b"old"])
@pytest.mark.parametrize(
    ("error", "shown"), [(OSError(28, "full"), StorageError), (KeyboardInterrupt(), KeyboardInterrupt)]
)
def test_an_interrupted_write_leaves_the_old_file_or_none(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    place: str,
    old: bytes | None,
    error: BaseException,
    shown: type[BaseException],
) -> None:
    """Whatever fails before the rename, what stood under the name stands there still, and no litter lies about."""
    path = tmp_path / "file"
    if old:
        path.write_bytes(old)

    with monkeypatch.context() as patch:
        patch.setattr(os, place, fail(error))
        with pytest.raises(shown):
            storage.write(path, b"new")

    assert [file.read_bytes() for file in tmp_path.iterdir()] == ([old] if old else [])


def test_a_failed_rename_leaves_the_old_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A rename that fails takes its temporary file away again, and the error says what to do."""
    path = tmp_path / "file"
    path.write_bytes(b"old")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", fail(OSError(5, "Input/output error")))
        with pytest.raises(StorageError, match=r"Input/output error\. Mend that and run"):
            storage.write(path, b"new")

    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"old"]


def test_missing_folders_are_made(tmp_path: Path) -> None:
    """A file is written into folders that are not there yet."""
    storage.write(tmp_path / "a" / "b" / "file", b"new")

    assert (tmp_path / "a" / "b" / "file").read_bytes() == b"new"


def test_names_of_full_length_can_be_written(tmp_path: Path) -> None:
    """A name of 255 bytes leaves no room for a suffix, so the temporary name needs none."""
    path = tmp_path / ("x" * 255)

    storage.write(path, b"new")

    assert path.read_bytes() == b"new"


def test_only_unfinished_files_of_segkit_are_cleared_away(tmp_path: Path) -> None:
    """Temporary names are deleted at any depth; files that merely resemble them stay."""
    (tmp_path / "deep").mkdir()
    for name in (".part-0123456789ab", "deep/.part-abcdefabcdef", ".part-notes", "part-0123456789ab", "deep/a.jpg"):
        (tmp_path / name).touch()

    storage.remove_unfinished(tmp_path)

    left = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert left == [".part-notes", "deep/a.jpg", "part-0123456789ab"]


def test_lines_come_back_as_they_were_written(tmp_path: Path) -> None:
    """Records survive, with line breaks, quotes and other alphabets in them."""
    records: list[dict[str, object]] = [{"a": "one\ntwo\u2028\r\"'"}, {"b": ["Zürich", "東京", 1.5, None, {}]}]

    storage.write_lines(tmp_path / "lines", records)

    assert [record for _, record in rows.json_lines(tmp_path / "lines", undamaged)] == records


def test_every_damaged_line_is_told_and_the_others_are_read(tmp_path: Path) -> None:
    """Damage is named by line and reason, and costs only its own line."""
    lines = [b'{"a": 1}', b'{"a": ', b"[1]", b"", b"\xff\xfe", b"[" * 100_000, b'{"a": 2}']
    (tmp_path / "lines").write_bytes(b"\n".join(lines))
    told: dict[int, str] = {}

    found = list(rows.json_lines(tmp_path / "lines", told.__setitem__))

    assert found == [(1, {"a": 1}), (7, {"a": 2})]
    assert list(told) == [2, 3, 4, 5, 6]
    assert told[3] == "expected an object, found list"


def test_no_file_holds_no_lines(tmp_path: Path) -> None:
    """A list that was never written is empty."""
    assert list(rows.json_lines(tmp_path / "lines", undamaged)) == []


def test_a_list_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    """A list that the system does not hand out is not taken for an empty one."""
    with pytest.raises(DatasetError, match=r"Cannot read .*: Is a directory"):
        list(rows.json_lines(tmp_path, undamaged))


def test_a_second_build_says_who_holds_the_dataset(segkit: Segkit, dataset: Dataset, tmp_path: Path) -> None:
    """Two builds at once on one dataset: the second ends with one line that names process and host."""
    import socket

    with held(dataset.folder) as other:
        second = segkit("build-dataset", tmp_path / "photos", "-o", dataset.folder)

    assert second.code == 2
    assert second.err.count("\n") == 1
    assert f"process {other.pid} on {socket.gethostname()}" in second.err


def test_a_lock_whose_holder_is_unknown_still_holds(dataset: Dataset) -> None:
    """A holder that has not signed yet is "another process"."""
    with held(dataset.folder):
        (dataset.hidden / "lock").write_bytes(b"")
        with pytest.raises(LockedError, match="being written by another process"), dataset.writing():
            pass


def test_the_lock_of_a_killed_process_is_taken_over(dataset: Dataset) -> None:
    """A stale lock stops nobody, although its file still names a process."""
    with held(dataset.folder) as other:
        other.kill()
        other.wait()
        stale = (dataset.hidden / "lock").read_text()
        with dataset.writing():
            fresh = (dataset.hidden / "lock").read_text()

    assert str(other.pid) in stale
    assert str(other.pid) not in fresh


def test_who_comes_too_late_leaves_the_holders_lock_alone(tmp_path: Path) -> None:
    """While a first build loads its networks there is no dataset yet; a second one must not clear its lock away."""
    out = tmp_path / "out"

    with held(out):
        for _ in range(2):
            with pytest.raises(LockedError), datasets.locked(out):
                pass

        assert (out / ".segkit" / "lock").exists()


def test_a_build_that_fails_before_its_dataset_exists_leaves_nothing(tmp_path: Path) -> None:
    """A folder in which no dataset came to be is removed again."""
    with pytest.raises(ZeroDivisionError), datasets.locked(tmp_path / "out"):
        raise ZeroDivisionError

    assert list(tmp_path.iterdir()) == []
