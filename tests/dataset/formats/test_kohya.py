"""Folders in the layout of kohya's scripts are read as entries."""

from pathlib import Path

import pytest

from segkit.dataset.formats import kohya
from segkit.dataset.formats.listing import Entry
from segkit.errors import DatasetError


def write(folder: Path, *names: str) -> None:
    """Create empty files."""
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()


def test_a_folder_of_another_layout_has_no_entries(tmp_path: Path) -> None:
    """The reader yields nothing where its folders are missing."""
    assert list(kohya.read(tmp_path)) == []


def test_photos_are_paired_with_maps_by_name(tmp_path: Path) -> None:
    """Suffixes may differ and be in capitals; the caption is stripped, and a missing one is an empty prompt."""
    write(tmp_path, "img/b.JPG", "img/a.webp", "img/notes.md", "cond/a.png", "cond/b.png")
    (tmp_path / "img" / "b.txt").write_text(" a café\n", "utf-8")

    assert list(kohya.read(tmp_path)) == [
        Entry(tmp_path / "img" / "a.webp", tmp_path / "cond" / "a.png", "", str(tmp_path)),
        Entry(tmp_path / "img" / "b.JPG", tmp_path / "cond" / "b.png", "a café", str(tmp_path)),
    ]


def test_unpaired_names_are_counted(tmp_path: Path) -> None:
    """A photo without a map and a map without a photo are one error with an example."""
    write(tmp_path, "img/a.png", "img/b.png", "cond/b.png", "cond/c.png")

    with pytest.raises(DatasetError, match=r"2 names are only in img/ or only in cond/, such as a\."):
        list(kohya.read(tmp_path))
