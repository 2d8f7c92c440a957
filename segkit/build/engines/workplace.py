"""The folder that a cluster on this machine lies in; those that killed processes left behind are removed."""

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

PREFIX = "segkit-ray-"

LOCK = "segkit.lock"
"""File in each folder that the process which created it holds a lock on, however many machines and containers share the
folder for temporary files. The number of a process would mean another one there."""

SHORT = 20
"""Characters of a folder for temporary files in which the names of Ray's sockets are short enough: of at most 107."""


@contextmanager
def workplace() -> Iterator[str]:
    """Yield a new folder for temporary files, which is removed at the end; those without a living owner are removed."""
    parent = Path(tempfile.gettempdir() if len(tempfile.gettempdir()) <= SHORT else "/tmp")
    remove_abandoned(parent)
    folder, lock = _locked_folder(parent)
    try:
        yield str(folder)
    finally:
        lock.release()
        _remove(folder)


def remove_abandoned(parent: Path) -> None:
    """Remove the folders of this user's processes that have ended, and could not remove them because they were killed.

    Folders without a lock stay: an earlier version may use them.

    Args:
        parent: folder for temporary files.
    """
    for lock in parent.glob(f"{PREFIX}*/{LOCK}"):
        if _is_own(lock.parent) and (ownership := _try_lock(lock)):
            ownership.release()
            _remove(lock.parent)


def _remove(folder: Path) -> None:
    """Remove a folder, its lock last: if parts of a cluster still write, the next one finds it and removes it."""
    with suppress(OSError):  # another process removes it, too
        for path in folder.iterdir():
            if path.name != LOCK:
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() and not path.is_symlink() else path.unlink()
        (folder / LOCK).unlink(missing_ok=True)
        try:
            folder.rmdir()
        except OSError:
            (folder / LOCK).touch()


def _is_own(folder: Path) -> bool:
    """Return whether this user created a folder; a link is none."""
    try:
        status = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and (not hasattr(os, "getuid") or status.st_uid == os.getuid())


def _try_lock(path: Path) -> FileLock | None:
    """Take a lock; None if another process has it, or the file system has none."""
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except (Timeout, OSError):
        return None
    return lock


def _locked_folder(parent: Path) -> tuple[Path, FileLock]:
    """Create a folder, and hold its lock. Without locks, nobody takes it for abandoned: nobody can take its lock."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        path = folder / LOCK
        lock = FileLock(path, timeout=0)
        try:
            lock.acquire()
        except Timeout:  # another process looked at it before it was locked, and removes it
            continue
        except OSError:
            path.unlink(missing_ok=True)
            return folder, lock
        if path.exists():
            return folder, lock
