"""Folders in the layout of kohya's scripts are read as entries."""

import unicodedata
from pathlib import Path

import pytest

from segkit.dataset.formats import kohya
from segkit.dataset.formats.listing import Entry
from segkit.errors import DatasetError


def write(folder: Path, *names: str) -> Path:
    """Create empty files and return the folder."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_the_layout_is_told_by_two_folders(tmp_path: Path) -> None:
    """One of them alone is another layout."""
    (tmp_path / "img").mkdir()
    assert not kohya.detect(tmp_path)
    (tmp_path / "cond").mkdir()
    assert kohya.detect(tmp_path)


def test_photos_are_paired_with_maps_by_name(tmp_path: Path) -> None:
    """Suffixes may differ and be in capitals; the caption is stripped, and a missing one is an empty prompt."""
    write(tmp_path, "img/b.JPG", "img/a.avif", "img/notes.md", "img/._a.avif", "cond/a.png", "cond/b.tif")
    (tmp_path / "img" / "b.txt").write_text(" a café\n", "utf-8")

    assert kohya.read(tmp_path).entries == (
        Entry(tmp_path / "img" / "a.avif", tmp_path / "cond" / "a.png", "", str(tmp_path)),
        Entry(tmp_path / "img" / "b.JPG", tmp_path / "cond" / "b.tif", "a café", str(tmp_path)),
    )


@pytest.mark.parametrize(
    ("name", "content", "text", "notes"),
    [
        ("0.caption", b"picture\n", "picture", 0),
        ("0.TXT", b"picture\n", "picture", 0),
        ("0.Caption", b"picture", "picture", 0),
        ("0.txt", b"\xef\xbb\xbfpicture\r\n", "picture", 0),
        ("0.txt", b"picture\n\nanother caption\n", "picture", 1),
        ("0.txt", b"\n  picture  \n", "picture", 0),
        ("0.txt", b"one\rtwo", "one", 1),
        ("0.txt", "a\u2028b\u0085c\n".encode(), "a\u2028b\u0085c", 0),
        ("0.txt", b"", "", 0),
        ("0.md", b"picture", "", 0),
    ],
)
def test_captions_are_read_as_the_scripts_do(tmp_path: Path, name: str, content: bytes, text: str, notes: int) -> None:
    """The first line counts, whatever the case of the suffix; a byte-order mark is dropped."""
    write(tmp_path, "img/0.png", "cond/0.png")
    (tmp_path / "img" / name).write_bytes(content)

    listing = kohya.read(tmp_path)

    assert [entry.text for entry in listing.entries] == [text]
    assert listing.notes == ("Captions of several lines, of which the first is used: 1.",) * notes


def test_a_caption_in_another_encoding_is_refused(tmp_path: Path) -> None:
    """The message names the file."""
    write(tmp_path, "img/0.png", "cond/0.png")
    (tmp_path / "img" / "0.txt").write_bytes("café".encode("latin-1"))
    with pytest.raises(DatasetError, match=r"0\.txt: cannot be read .* Save it as UTF-8"):
        kohya.read(tmp_path)
    (tmp_path / "img" / "0.txt").write_bytes(b"a\0b")
    with pytest.raises(DatasetError, match=r"0\.txt: contains a NUL character"):
        kohya.read(tmp_path)


def test_accents_may_be_written_in_two_ways(tmp_path: Path) -> None:
    """On macOS a letter and its accent are stored apart, elsewhere as one character; the names are the same."""
    composed, decomposed = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    write(tmp_path, f"img/{decomposed}.png", f"cond/{composed}.png")
    (tmp_path / "img" / f"{composed}.txt").write_text("a café")
    assert [entry.text for entry in kohya.read(tmp_path).entries] == ["a café"]


def test_two_captions_of_a_photo_must_agree(tmp_path: Path) -> None:
    """Equal ones are one caption, different ones are refused."""
    write(tmp_path, "img/0.png", "cond/0.png")
    for name in ("0.txt", "0.caption"):
        (tmp_path / "img" / name).write_text("a room\n")
    assert [entry.text for entry in kohya.read(tmp_path).entries] == ["a room"]

    (tmp_path / "img" / "0.caption").write_text("another room\n")
    with pytest.raises(DatasetError, match=r"0\.caption and 0\.txt are different captions of one photo"):
        kohya.read(tmp_path)


def test_subfolders_are_read(tmp_path: Path) -> None:
    """Pairs are found by their path; repeats in a folder's name are ignored, and that is said."""
    write(tmp_path, "img/0.png", "cond/0.png", "img/10_rooms/0.png", "cond/10_rooms/0.png", "img/10_rooms/._0.png")
    (tmp_path / "img" / "10_rooms" / "0.txt").write_text("deep")

    listing = kohya.read(tmp_path)

    assert [(entry.photo.relative_to(tmp_path).as_posix(), entry.text) for entry in listing.entries] == [
        ("img/0.png", ""), ("img/10_rooms/0.png", "deep")
    ]  # fmt: skip
    assert listing.notes == ("Repeats in folder names such as 10_rooms are ignored: an epoch shows every photo once.",)


@pytest.mark.parametrize("folder", ["img", "cond"])
def test_two_files_of_one_name_are_refused(tmp_path: Path, folder: str) -> None:
    """They would share a caption or a photo."""
    write(tmp_path, "img/1.png", "cond/1.png", f"{folder}/1.jpg")
    with pytest.raises(DatasetError, match=r"1\.jpg and 1\.png share one name"):
        kohya.read(tmp_path)


def test_unpaired_names_are_counted(tmp_path: Path) -> None:
    """A photo without a map and a map without a photo are one error with an example."""
    write(tmp_path, "img/a.png", "img/b.png", "cond/b.png", "cond/c.png")

    with pytest.raises(DatasetError, match=r"2 files without a counterpart .*img/a\.png has no map in cond/"):
        kohya.read(tmp_path)
