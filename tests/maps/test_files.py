"""Control maps are found in files and folders, and opened safely."""

import io
import os
from pathlib import Path

import pytest
from PIL import Image

from segkit.errors import MapError
from segkit.maps import files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two maps, one of them in a subfolder, and a text."""
    (tmp_path / "b").mkdir()
    for name in ("a.png", "b/c.GIF"):
        Image.new("P", (4, 2)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("hello")
    return tmp_path


def test_a_folder_is_searched_and_a_file_is_itself(folder: Path) -> None:
    """Names are relative to the folder, or to the folder that the file lies in."""
    assert files.find(folder) == (folder, [folder / "a.png", folder / "b" / "c.GIF"])
    assert files.find(folder / "b" / "c.GIF") == (folder / "b", [folder / "b" / "c.GIF"])


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("notes.txt", "does not have the suffix of a picture"),
        ("none.png", "does not exist"),
        ("empty", "contains no pictures"),
    ],
)
def test_other_targets_are_refused(folder: Path, name: str, reason: str) -> None:
    """The error states the target, the reason and what was expected, in the words of the caller."""
    (folder / "empty").mkdir()

    with pytest.raises(MapError) as refused:
        files.find(folder / name, "a table")

    assert str(refused.value) == f"{folder / name} {reason}. Expected a table."


@pytest.mark.parametrize("picture_format", files.FORMATS)
def test_every_format_is_read(tmp_path: Path, picture_format: str) -> None:
    """The pixels are loaded from a file and from an open one, whatever the suffix."""
    Image.new("RGB", (4, 2), (120, 120, 120)).save(tmp_path / "map.png", picture_format)

    opened = [files.read(tmp_path / "map.png"), files.decode(io.BytesIO((tmp_path / "map.png").read_bytes()))]

    for image in opened:
        assert (image.format, image.size) == (picture_format, (4, 2))
        assert image.convert("RGB").getpixel((0, 0)) == (120, 120, 120)
        image.close()  # Pillow leaves a GIF's file open for the next frames


def test_what_cannot_be_opened_is_refused(folder: Path) -> None:
    """A missing file, a folder, a named pipe and foreign formats: the message follows the name of the file."""
    os.mkfifo(folder / "pipe.png")
    Image.new("RGB", (4, 2)).save(folder / "foreign.png", "PPM")

    messages = {}
    for name in ("none.png", "b", "pipe.png", "notes.txt", "foreign.png"):
        with pytest.raises(MapError) as refused:
            files.read(folder / name)
        messages[name] = str(refused.value)

    assert messages["none.png"] == "does not exist"
    assert messages["b"] == messages["pipe.png"] == "is not a file"
    assert messages["notes.txt"].startswith("does not open (UnidentifiedImageError: ")
    assert messages["foreign.png"].startswith("does not open (UnidentifiedImageError: ")
