"""Folders of clusters whose processes were killed do not pile up."""

import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from segkit.build.engines.workplace import LOCK, PREFIX, remove_abandoned, workplace

HOLD = """
from segkit.build.engines.workplace import workplace

with workplace() as folder:
    print(folder, flush=True)
    input()
"""


@pytest.fixture
def parent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for temporary files, with a name short enough for Ray."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="s-") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


def holder() -> tuple["subprocess.Popen[str]", Path]:
    """Start a process that holds a folder."""
    process = subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    return process, Path(process.stdout.readline().strip())


def test_the_folder_of_a_killed_process_is_removed_by_the_next(parent: Path) -> None:
    """That of a living process stays, whatever its age, and so do folders of others that only look alike."""
    killed, abandoned = holder()
    (abandoned / "session").mkdir()
    living, used = holder()
    (parent / f"{PREFIX}old" / "session").mkdir(parents=True)
    linked = parent / "elsewhere"
    linked.mkdir()
    (linked / LOCK).touch()
    (parent / f"{PREFIX}link").symlink_to(linked)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert abandoned.is_dir()

    with workplace() as folder:
        assert not abandoned.exists()
        assert used.is_dir()
        assert Path(folder).is_dir()
        remove_abandoned(parent)
        assert Path(folder).is_dir()
    living.communicate("\n")

    assert sorted(path.name for path in parent.iterdir()) == sorted([f"{PREFIX}old", f"{PREFIX}link", "elsewhere"])
    assert (linked / LOCK).exists()


def test_what_a_dying_cluster_still_writes_is_removed_by_the_next(
    parent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock is the last file to go, so a folder that fills again is recognised."""
    remove = shutil.rmtree

    def fill_again(path: Path, **_: bool) -> None:
        remove(path)
        (path / "late").mkdir(parents=True)

    with monkeypatch.context() as patches, workplace() as folder:
        Path(folder, "session").mkdir()
        Path(folder, "latest").symlink_to(Path(folder, "session"))
        patches.setattr(shutil, "rmtree", fill_again)
    assert Path(folder, "session", "late").is_dir()

    with workplace():
        assert not Path(folder).exists()
