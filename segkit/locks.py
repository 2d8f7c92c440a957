"""Locks that name the process which holds them, and vanish with it."""

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from segkit import storage
from segkit.errors import LockedError

_NO_LOCKS = (errno.ENOLCK, *storage.NOT_SUPPORTED)
"""Errors of flock on a file system without locks, such as Lustre by default, or NFS without its lock daemon."""


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Hold an OS lock on a file that names this host and process. The kernel releases it however the process ends.

    On a file system without locks, the existence of a second file is the lock. It is left behind by a process that is
    killed, and taken over if that process ran on this host.

    Yields:
        Whether the previous holder was killed: only then can it have left temporary files behind. Without locks, True.

    Raises:
        LockedError: another process holds the lock; the message names it.
        StorageError: the disk is full, read-only or failing, or its file system cannot rename files.
    """
    from filelock import FileLock, Timeout

    was_killed: list[bool] = []
    lock = FileLock(path, timeout=0, on_acquired=lambda descriptor: was_killed.append(_sign(descriptor)))
    try:
        lock.acquire()
    except Timeout:
        raise _locked_error(path, _signature(path)) from None
    except OSError as error:
        storage.require_rename(path.parent)  # the clearer reason, where that fails too
        if error.errno not in _NO_LOCKS:
            with storage.disk_errors(path):
                raise
        with _marked(path.with_name(path.name + "-marker")):
            yield True
        return
    try:
        storage.require_rename(path.parent)  # while the lock is held, so that a kill here is noticed
        yield was_killed[-1]
    finally:
        with suppress(OSError):
            os.truncate(path, 0)
        lock.release()


def _sign(descriptor: int) -> bool:
    """Sign a lock that was taken, and return whether its previous holder was killed: an orderly end leaves it empty."""
    was_killed = os.fstat(descriptor).st_size > 0
    name = f"process {os.getpid()} on {socket.gethostname()}".encode()
    os.lseek(descriptor, 0, os.SEEK_SET)  # Windows has no os.pwrite
    os.write(descriptor, name)  # never empty on the way: killed here, the next holder must still notice
    os.ftruncate(descriptor, len(name))
    return was_killed


def _signature(path: Path) -> str:
    """Return the process that signed a lock, in words; "" if it has not, or has released the lock."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


@contextmanager
def _marked(path: Path) -> Iterator[None]:
    """Hold a lock that consists in the existence of a file; see `locked`."""
    from filelock import SoftFileLock, Timeout

    lock = SoftFileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        process = f"process {lock.pid}" if lock.pid else ""
        cure = f" This file system has no locks: if that process has ended, delete {path}"
        raise _locked_error(path, process, cure) from None
    except OSError:
        with storage.disk_errors(path):
            raise
    try:
        yield
    finally:
        lock.release()


def holder(path: Path) -> str:
    """Return the process that holds a lock, in words; "" if there is none.

    The lock itself is not touched: asking for it, even for a moment, could make another process give up. A process on
    this host is looked up, one on another host is believed. The locks of file systems without locks are not seen.
    """
    signature = _signature(path)
    number, _, host = signature.removeprefix("process ").partition(" on ")
    if os.name != "nt" and host == socket.gethostname() and number.isdecimal():  # os.kill() on Windows would kill
        try:
            os.kill(int(number), 0)
        except ProcessLookupError:
            return ""
        except (OSError, OverflowError):
            pass  # it belongs to another user, or the signature is damaged
    return signature


def _locked_error(path: Path, process: str, cure: str = "") -> LockedError:
    folder = path.parent.parent if path.parent.name.startswith(".") else path.parent  # a run's lock lies in the run
    return LockedError(
        f"{folder} is being written by {process or 'another process'}. Wait until it finishes, or stop it.{cure}"
    )
