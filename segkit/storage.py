"""Durable, atomic file writes (temporary name, fsync, rename, fsync of the folder), and JSON Lines.

All files of segkit are written here. After `kill -9` at any moment, a final name refers either to the complete old file
or to the complete new one.
"""

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from segkit.errors import StorageError

TEMPORARY = ".part-"
"""Prefix of unfinished files. They do not contain the final name, which may already have the maximum of 255 bytes."""

_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
"""Errors of a write to a read-only disk, or without permission."""

NOT_SUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
"""Errors of a call that a file system does not know."""

_UNFINISHED = re.compile(re.escape(TEMPORARY) + "[0-9a-f]{12}")


def is_unfinished(name: str) -> bool:
    """Return whether a file name, without folders, is one that segkit gives to an unfinished file."""
    return bool(_UNFINISHED.fullmatch(name))


def write(path: Path, data: bytes) -> None:
    """Write a file atomically, creating missing parent folders.

    Raises:
        StorageError: the disk is full, read-only or failing. The old file, if any, is intact.
    """
    temporary = path.parent / (TEMPORARY + secrets.token_hex(6))
    try:
        make_folder(path.parent)
        try:
            _write_through(temporary, data)
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
    except OSError as error:
        raise _storage_error(path, error) from error


def _write_through(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)


def make_folder(folder: Path) -> None:
    """Create a folder and its missing parents, durably.

    Raises:
        StorageError: a folder cannot be created, or a file of that name exists.
    """
    if folder.is_dir():
        return
    make_folder(folder.parent)
    try:
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)
    except OSError as error:
        raise _storage_error(folder, error) from error


def sync_folder(folder: Path) -> None:
    """Flush a folder's directory entries to disk, where the system can: Windows and some network drives cannot."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in NOT_SUPPORTED:
            raise
    finally:
        os.close(descriptor)


def flush(folder: Path) -> None:
    """Flush all files and directory entries of a folder tree to disk.

    Raises:
        OSError: flushing fails.
    """
    for parent, _, names in os.walk(folder):
        for name in names:
            with (Path(parent) / name).open("rb+") as file:
                os.fsync(file.fileno())
        sync_folder(Path(parent))


def remove(paths: Iterable[Path], folder: Path) -> None:
    """Delete files of one folder in the given order, durably: no file reappears after a power cut.

    Raises:
        StorageError: a file cannot be deleted.
    """
    path = folder
    try:
        for path in paths:
            path.unlink(missing_ok=True)
        sync_folder(folder)
    except OSError as error:
        raise _storage_error(path, error) from error


def remove_unfinished(folder: Path) -> None:
    """Delete the temporary files that a killed process left anywhere below a folder.

    Raises:
        StorageError: a file cannot be deleted.
    """
    for parent, _, names in os.walk(folder):
        unfinished = [Path(parent) / name for name in names if is_unfinished(name)]
        if unfinished:
            remove(unfinished, Path(parent))


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Translate OSErrors into StorageErrors around code that writes a file piece by piece.

    Raises:
        StorageError: the disk is full or a write fails.
    """
    try:
        yield
    except OSError as error:
        raise _storage_error(path, error) from error


def is_writable(folder: Path) -> bool:
    """Return whether files can be written in a folder, or in the nearest parent of one that does not exist.

    A file is created, renamed and deleted: permissions alone do not tell, for example on network drives.
    """
    existing = next((path for path in (folder, *folder.absolute().parents) if path.is_dir()), folder)
    try:
        require_rename(existing)
    except StorageError:
        return False
    return True


def free_space(folder: Path) -> int:
    """Return the bytes that are free where a folder is or, if it does not exist, will be."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(existing).free


def require_rename(folder: Path) -> None:
    """Refuse a file system that cannot rename files, before any work is lost. Object storage often cannot.

    Raises:
        StorageError: a file cannot be created, renamed or deleted in this folder.
    """
    probe, renamed = (folder / (TEMPORARY + secrets.token_hex(6)) for _ in range(2))
    try:
        probe.touch(exist_ok=False)
        try:
            probe.replace(renamed)
        except OSError:
            with suppress(OSError):
                probe.unlink()
            raise
        renamed.unlink(missing_ok=True)  # a writer that starts now removes all unfinished files
    except OSError as error:
        if error.errno not in (*NOT_SUPPORTED, errno.EPERM) or not error.filename2:  # of a rename only
            raise _storage_error(folder, error) from error
        raise StorageError(
            f"Cannot write {folder}: its file system cannot rename files ({os.strerror(error.errno)}), as with mounted "
            "object storage, so nothing could be written safely. Write to another disk and copy the result there; "
            "datasets are read from it."
        ) from error


def _storage_error(path: Path, error: OSError) -> StorageError:
    cures = dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "Free some space")
    cures |= dict.fromkeys(_READ_ONLY, "Make it writable for you")
    cure = cures.get(error.errno or 0, "Fix the cause")
    return StorageError(
        f"Cannot write {path}: {os.strerror(error.errno or 0)}. "
        f"{cure} and run the same command again{'' if error.errno in _READ_ONLY else '; finished work is saved'}."
    )


def sha256(data: bytes) -> str:
    """Return the SHA-256 of data as lowercase hex."""
    return hashlib.sha256(data).hexdigest()


def to_line(record: dict[str, Any]) -> bytes:
    """Encode a record as one line of JSON Lines (UTF-8, keys in insertion order)."""
    return json.dumps(record, ensure_ascii=False, separators=(", ", ": ")).encode() + b"\n"


def write_lines(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """Write a JSON Lines file atomically, replacing an existing one."""
    write(path, b"".join(map(to_line, records)))


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """Write a file piece by piece, and put it in place atomically at the end of the block.

    If the block raises, the old file, if any, is intact.

    Raises:
        StorageError: the disk is full, read-only or failing.
    """
    make_folder(path.parent)
    temporary = path.parent / (TEMPORARY + secrets.token_hex(6))
    try:
        with disk_errors(path):
            with temporary.open("xb", buffering=1 << 20) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            sync_folder(path.parent)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
