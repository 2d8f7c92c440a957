"""Locks name their holder, end with it, and work where the file system has none."""

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from segkit import dataset as datasets
from segkit import locks
from segkit.dataset import Dataset
from segkit.errors import LockedError, StorageError
from tests.conftest import Segkit
from tests.dataset.test_dataset import build, render
from tests.test_storage import renaming


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


def without_flock(number: int) -> object:
    """Replace flock by that of a file system without locks."""

    def failing(descriptor: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    return failing


@pytest.mark.skipif(os.name == "nt", reason="Windows locks in another way")
@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_without_flock_a_file_is_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """A second process is refused, with what to do if the first was killed; a lock of a killed one is taken over."""
    monkeypatch.setattr("fcntl.flock", without_flock(number))
    lock, marker = tmp_path / "lock", tmp_path / "lock-marker"

    refused = pytest.raises(LockedError, match=f"process {os.getpid()}.*if that process has ended, delete {marker}")
    with locks.locked(lock):
        left = marker.read_bytes()
        with refused, locks.locked(lock):
            pass
    assert not marker.exists()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    marker.write_bytes(left.replace(str(os.getpid()).encode(), str(gone.pid).encode()))
    marker.chmod(0o600)
    with locks.locked(lock):
        pass


@pytest.mark.skipif(os.name == "nt", reason="Windows locks in another way")
def test_a_disk_that_fails_is_no_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any other error of flock ends the command, with its reason."""
    monkeypatch.setattr("fcntl.flock", without_flock(errno.EIO))
    with pytest.raises(StorageError, match="Input/output error"), locks.locked(tmp_path / "lock"):
        pass


def test_the_holder_is_known_without_asking_for_the_lock(dataset: Dataset) -> None:
    """It is named while it lives; after a kill, its signature counts no more; that of another host does."""
    lock = dataset.hidden / "lock"
    before = locks.holder(lock)
    with held(dataset.folder) as other:
        during = locks.holder(lock)
        other.kill()
        other.wait()
        after = locks.holder(lock)
    lock.write_text(f"process {other.pid} on elsewhere")

    assert (before, after, locks.holder(lock)) == ("", "", f"process {other.pid} on elsewhere")
    assert during.startswith(f"process {other.pid} on ")


def test_a_file_system_without_renames_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A build ends with one line, whether or not the lock can be taken, and leaves no temporary file."""
    for number in (None, errno.ENOSYS):
        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", renaming(OSError(errno.ENOSYS, "Function not implemented")))
            if number:
                patch.setattr("fcntl.flock", without_flock(number))
            with pytest.raises(StorageError, match="cannot rename files"), datasets.locked(tmp_path / "out"):
                pass
        assert not list(tmp_path.rglob(".part-*"))
