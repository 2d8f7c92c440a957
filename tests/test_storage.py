"""Atomic writes, JSON Lines and what a file system must be able to do."""

import errno
import os
import stat
from pathlib import Path

import pytest

from segkit import rows, storage
from segkit.errors import DatasetError, StorageError


def fail(error: BaseException) -> object:
    """Return a function that raises."""

    def failing(*arguments: object, **named: object) -> None:
        raise error

    return failing


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


def renaming(error: OSError) -> object:
    """Replace rename by that of a file system without renames."""

    def failing(path: Path, target: Path) -> None:
        raise OSError(error.errno, error.strerror, str(path), None, str(target))

    return failing


def test_a_file_system_without_renames_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The line says what cannot be done there and what can; nothing is left, and other faults keep their message."""
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", renaming(OSError(errno.ENOSYS, "Function not implemented")))
        with pytest.raises(StorageError, match=r"its file system cannot rename files \(Function not implemented\)"):
            storage.require_rename(tmp_path)
        assert not storage.is_writable(tmp_path)
        patch.setattr(Path, "replace", renaming(OSError(errno.ENOSPC, "No space left on device")))
        with pytest.raises(StorageError, match=r"No space left on device\. Free some space"):
            storage.require_rename(tmp_path)

    storage.require_rename(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_folders_that_cannot_be_flushed_are_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Some network drives flush files only; a disk that fails is still an error."""

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        number = errno.EINVAL
        storage.write(tmp_path / "file", b"new")
        number = errno.EIO
        with pytest.raises(StorageError, match="Input/output error"):
            storage.write(tmp_path / "file", b"newer")
    assert (tmp_path / "file").read_bytes() == b"newer"
