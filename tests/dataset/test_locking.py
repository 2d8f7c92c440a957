"""segkit.dataset.locking: one writer at a time, and no trace of a dataset that was not created."""

from pathlib import Path

import pytest

from segkit.dataset.locking import locked, refuse_other_folder
from segkit.errors import DatasetError, LockedError


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    """The lock is held until its context ends."""
    (tmp_path / ".segkit").mkdir()
    (tmp_path / ".segkit" / "dataset.toml").write_text("")

    with locked(tmp_path), pytest.raises(LockedError, match="is being written"), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


def test_a_folder_without_a_dataset_is_removed_again(tmp_path: Path) -> None:
    """A build that fails before it creates the dataset leaves nothing."""
    with pytest.raises(KeyError), locked(tmp_path / "new"):
        raise KeyError

    assert not (tmp_path / "new").exists()


def test_other_content_is_refused(tmp_path: Path) -> None:
    """A file, and a folder with visible content; hidden files do not count."""
    (tmp_path / "file").write_text("x")
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / ".DS_Store").write_text("x")

    with pytest.raises(DatasetError, match="is a file"):
        refuse_other_folder(tmp_path / "file")
    with pytest.raises(DatasetError, match="not empty"):
        refuse_other_folder(tmp_path)
    refuse_other_folder(tmp_path / "hidden")
    refuse_other_folder(tmp_path / "missing")
