"""The one write path: a temporary name beside the target, fsync, rename, fsync of the folder; and the lock.

Kill -9 at any moment leaves under a final name either the old file or the whole new one.
"""

import errno
import hashlib
import json
import os
import re
import secrets
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from segkit.errors import LockedError, StorageError

TEMPORARY = ".part-"
"""What the names of unfinished files begin with. Fixed length, so that a 255-byte name cannot break it; hidden."""

_UNFINISHED = re.compile(re.escape(TEMPORARY) + "[0-9a-f]{12}")


def write(path: Path, data: bytes) -> None:
    """Put data under a name, whole or not at all.

    Raises:
        StorageError: the disk is full, read-only or fails; no file or the old one stands under the name.
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
        raise _refusal(path, error) from error


def _write_through(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)


def make_folder(folder: Path) -> None:
    """Make a folder and its missing parents, durably.

    Raises:
        StorageError: the disk refuses, or a file stands in the way.
    """
    if folder.is_dir():
        return
    make_folder(folder.parent)
    try:
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)
    except OSError as error:
        raise _refusal(folder, error) from error


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk (a no-op where folders cannot be opened, as on Windows)."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush(folder: Path) -> None:
    """Flush all files of a folder, and the names in it, to the disk.

    Raises:
        OSError: the disk refuses.
    """
    for parent, _, names in os.walk(folder):
        for name in names:
            with (Path(parent) / name).open("rb+") as file:
                os.fsync(file.fileno())
        sync_folder(Path(parent))


def remove(paths: Iterable[Path], folder: Path) -> None:
    """Delete files of one folder, in the order given, durably: not even a power cut brings one back.

    Raises:
        StorageError: the disk refuses.
    """
    path = folder
    try:
        for path in paths:
            path.unlink(missing_ok=True)
        sync_folder(folder)
    except OSError as error:
        raise _refusal(path, error) from error


def remove_unfinished(folder: Path) -> None:
    """Delete what a killed run left under temporary names, in the folder and all below it.

    Raises:
        StorageError: the disk refuses.
    """
    for parent, _, names in os.walk(folder):
        unfinished = [Path(parent) / name for name in names if _UNFINISHED.fullmatch(name)]
        if unfinished:
            remove(unfinished, Path(parent))


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Say of a file that is written piece by piece what the disk refused.

    Raises:
        StorageError: the disk is full, or refuses.
    """
    try:
        yield
    except OSError as error:
        raise _refusal(path, error) from error


def _refusal(path: Path, error: OSError) -> StorageError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    cure = "Free some space" if full else "Mend that"
    return StorageError(
        f"Cannot write {path}: {os.strerror(error.errno or 0)}. "
        f"{cure} and run the same command again; finished work is kept."
    )


def sha256(data: bytes) -> str:
    """Return the SHA-256 of data in hex."""
    return hashlib.sha256(data).hexdigest()


def to_line(record: dict[str, Any]) -> bytes:
    """Return a record as one line of JSON Lines (UTF-8, keys in the order given)."""
    return json.dumps(record, ensure_ascii=False, separators=(", ", ": ")).encode() + b"\n"


def write_lines(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """Replace a JSON Lines file as a whole."""
    write(path, b"".join(map(to_line, records)))


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file that names this host and process; the kernel frees it however the process ends.

    Raises:
        LockedError: another process holds it; the text says who.
    """
    from filelock import FileLock, Timeout

    def sign(descriptor: int) -> None:
        os.ftruncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)  # os.pwrite is not to be had on Windows
        os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())

    lock = FileLock(path, timeout=0, on_acquired=sign)
    try:
        lock.acquire()
    except Timeout:
        holder = "another process"
        with suppress(OSError):
            holder = path.read_text(errors="replace") or holder
        folder = path.parent.parent
        raise LockedError(f"{folder} is being written by {holder}. Wait for it to end, or stop it.") from None
    except OSError as error:
        raise _refusal(path, error) from error
    try:
        yield
    finally:
        with suppress(OSError):
            os.truncate(path, 0)
        lock.release()
