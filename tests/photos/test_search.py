"""Finding photos in folders, and saying what was passed over."""

import os
import sys
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from segkit import photos

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="other systems lack these files or names")


def encode(picture_format: str) -> bytes:
    """Return a small picture in a format."""
    buffer = BytesIO()
    Image.new("RGB", (16, 16), "teal").save(buffer, picture_format)
    return buffer.getvalue()


def passed_over(folder: Path, follow_links: bool = False) -> dict[str, str]:
    """Return the reason of every file that a search passes over, by its path."""
    _, passed = photos.search(folder, follow_links=follow_links)
    assert {item.reason for item in passed} <= set(photos.REASONS)
    return {item.path.relative_to(folder).as_posix(): item.reason for item in passed}


def test_photos_are_found_by_their_suffix_in_a_stable_order(tmp_path: Path) -> None:
    """Suffixes match in any case and at any depth; hidden files, other files and datasets are skipped."""
    expected = ["B.JPG", "a b/c.HeIc", "a.png", "z/y/x.TIFF"]
    for name in (
        *expected,
        "note.txt",
        ".hidden.jpg",
        ".trash/d.jpg",
        "set/.segkit/x",
        "set/images/e.jpg",
        "out/f.jpg",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    paths = list(photos.find(tmp_path, exclude=tmp_path / "out"))

    assert [path.relative_to(tmp_path).as_posix() for path in paths] == expected


def test_cyclic_links_are_walked_once(tmp_path: Path) -> None:
    """However folders link to one another, each photo is found once, under its real path."""
    names = [f"{letter}/photo.jpg" for letter in "abcdefghij"]
    for name in names:
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    for start in tmp_path.iterdir():
        for target in (*"abcdefghij", "."):
            (start / f"to {target}").symlink_to(tmp_path / target)
    (tmp_path / "0 self").symlink_to(tmp_path / "0 self")

    paths = list(photos.find(tmp_path))

    assert [path.relative_to(tmp_path).as_posix() for path in paths] == names


def test_links_to_folders_outside_are_followed_on_request(tmp_path: Path) -> None:
    """Photos behind such a link are found under the path of the link."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.jpg").touch()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "more").symlink_to(tmp_path / "elsewhere")

    paths = list(photos.find(tmp_path / "photos", follow_links=True))

    assert paths == [tmp_path / "photos" / "more" / "a.jpg"]


def test_a_folder_named_like_a_photo_is_yielded_and_walked(tmp_path: Path) -> None:
    """A folder x.jpg is yielded, so that its refusal is recorded, and photos inside it are found."""
    (tmp_path / "x.jpg").mkdir()
    (tmp_path / "x.jpg" / "y.jpg").touch()

    paths = list(photos.find(tmp_path))

    assert paths == [tmp_path / "x.jpg", tmp_path / "x.jpg" / "y.jpg"]


@pytest.mark.parametrize(
    "name",
    [
        "@eaDir/IMG_1.jpg/SYNOPHOTO_THUMB_B.jpg",
        "@eaDir/IMG_1.jpg@SynoEAStream",
        "rooms/@EADIR/IMG_1.jpg",
        ".thumbnails/1.jpg",
        ".@__thumb/default1.jpg",
        "__MACOSX/rooms/._1.jpg",
        "._1.jpg",
        ".DS_Store",
        "rooms/Thumbs.db",
        "Desktop.ini",
    ],
)
def test_thumbnails_and_system_files_are_passed_over(tmp_path: Path, name: str) -> None:
    """What a NAS, a desktop or a phone leaves beside photos is never taken for a photo, and is returned by name."""
    for path in (tmp_path / name, tmp_path / "z.jpg"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode("JPEG"))

    assert passed_over(tmp_path) == {name: "thumbnail"}
    assert list(photos.find(tmp_path)) == [tmp_path / "z.jpg"]


def test_every_file_is_a_photo_or_is_passed_over(tmp_path: Path) -> None:
    """Hidden files, files of other kinds, pictures without a known ending and datasets are all returned."""
    expected = {
        ".hidden.jpg": "hidden",
        ".trash/a/b.jpg": "hidden",
        "notes.txt": "other-file",
        "photo": "unknown-ending",
        "photo.JPG_large": "unknown-ending",
        "raw.CR2": "not-a-photo",
        "rooms": "dataset",
    }
    for name in (*expected, "a.jpg", "x/b.PNG"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name == "rooms":
            (path / ".segkit").mkdir(parents=True)
            (path / "metadata.jsonl").touch()
        else:
            path.write_bytes(b"Dear diary" if name == "notes.txt" else encode("TIFF" if "raw" in name else "JPEG"))

    found, _ = photos.search(tmp_path)

    assert passed_over(tmp_path) == expected
    assert [path.relative_to(tmp_path).as_posix() for path in found] == ["a.jpg", "x/b.PNG"]


@LINUX
def test_pipes_and_broken_links_do_not_block_the_search(tmp_path: Path) -> None:
    """Files that cannot be read are passed over without opening a pipe."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "dangling").symlink_to("nowhere")

    assert passed_over(tmp_path) == {"circle": "unreadable", "dangling": "unreadable", "pipe": "other-file"}


@LINUX
def test_links_that_lead_out_are_not_followed(tmp_path: Path) -> None:
    """Files, folders and chains of links outside the folder are passed over; links inside it are followed."""
    inside, outside = tmp_path / "photos", tmp_path / "photos and more"
    for folder in (inside / "a", outside):
        folder.mkdir(parents=True)
        (folder / "1.jpg").write_bytes(encode("JPEG"))
    (inside / "file.jpg").symlink_to(outside / "1.jpg")
    (inside / "folder").symlink_to(outside)
    (inside / "up").symlink_to("..")
    (inside / "relative.png").symlink_to("../photos and more/1.jpg")
    (inside / "chain").symlink_to("folder")
    (inside / "note").symlink_to("/etc/hostname")
    (inside / "same.jpg").symlink_to("a/1.jpg")
    outward = ("chain", "file.jpg", "folder", "note", "relative.png", "up")

    found, _ = photos.search(inside)
    followed, _ = photos.search(inside, follow_links=True)

    assert passed_over(inside) == dict.fromkeys(outward, "link-outside")
    assert found == [inside / "a" / "1.jpg", inside / "same.jpg"]
    assert inside / "file.jpg" in followed
    assert inside / "folder" / "1.jpg" in followed or inside / "chain" / "1.jpg" in followed


@LINUX
def test_a_photo_folder_behind_a_link_is_searched(tmp_path: Path) -> None:
    """The folder itself may be a link: what lies below its target is inside."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "1.jpg").touch()
    (tmp_path / "real" / "2.jpg").symlink_to(tmp_path / "real" / "1.jpg")
    (tmp_path / "link").symlink_to("real")

    found, passed = photos.search(tmp_path / "link")

    assert (found, passed) == ([tmp_path / "link" / "1.jpg", tmp_path / "link" / "2.jpg"], [])
