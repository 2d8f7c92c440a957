"""The photos of a build: found, and told apart from datasets and control maps."""

import os
from pathlib import Path

import pytest

from segkit.build import find
from segkit.build.arrival import source_name
from segkit.build.settings import BuildSettings
from segkit.errors import UsageError


def test_photos_are_found_up_to_the_limit(tmp_path: Path) -> None:
    """The first photos by name are examined, the others counted as skipped."""
    for name in ("c.png", "a.jpg", "b.webp", "notes.txt"):
        (tmp_path / name).touch()

    paths, passed, outcome = find.find_photos(tmp_path, tmp_path / "out", BuildSettings(limit=2))

    assert [path.name for path in paths] == ["a.jpg", "b.webp"]
    assert [(item.path.name, item.reason) for item in passed] == [("notes.txt", "other-file")]
    assert (outcome.found, outcome.skipped) == (4, {"limit": 1, "other-file": 1})


def test_a_folder_of_other_pictures_says_what_to_do(tmp_path: Path) -> None:
    """Without any photo, the message names a picture that was passed over and its cure."""
    (tmp_path / ".hidden").touch()
    (tmp_path / "a.jxl").write_bytes(b"\xff\x0a")
    (tmp_path / "b.txt").touch()

    with pytest.raises(UsageError, match=r"3 other files were passed over, such as a.jxl: JPEG XL; convert it"):
        find.find_photos(tmp_path, tmp_path / "out", BuildSettings())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", "nowhere: no such folder. Expected a folder of photos."),
        ("a.jpg", "a.jpg: a file. Expected a folder of photos."),
        ("rooms", "rooms is a segkit dataset. Expected a folder of photos."),
        ("rooms/images", "rooms/images lies in the segkit dataset "),
        ("empty", "empty contains no photos. Expected files named ."),
        ("kohya", "kohya already has control maps (layout kohya), which are not photos. Train on it as it is: segkit"),
    ],
)
def test_a_folder_without_photos_is_refused(tmp_path: Path, name: str, message: str) -> None:
    """The message says what was found instead."""
    (tmp_path / "a.jpg").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "rooms" / ".segkit").mkdir(parents=True)
    (tmp_path / "rooms" / ".segkit" / "dataset.toml").touch()
    (tmp_path / "rooms" / "images").mkdir()
    for folder in ("img", "cond"):
        (tmp_path / "kohya" / folder).mkdir(parents=True)

    with pytest.raises(UsageError) as refused:
        find.find_photos(tmp_path / name, tmp_path / "out", BuildSettings())

    assert str(refused.value).startswith(f"{tmp_path}{os.sep}{message}")


def test_an_output_that_is_or_contains_the_photos_is_refused(tmp_path: Path) -> None:
    """The message says so, and names a folder that works; links do not hide it."""
    photos = tmp_path / "my photos"
    photos.mkdir()
    (photos / "a.jpg").touch()
    (tmp_path / "link").symlink_to(photos)

    for output in (photos, tmp_path / "link", photos / ".." / "my photos"):
        with pytest.raises(
            UsageError, match=r"is both the folder of photos and the output. .*'.*my photos-dataset'\.$"
        ):
            find.find_photos(photos, output, BuildSettings())
    with pytest.raises(UsageError, match=r"The output folder .* contains the folder of photos .*my photos\."):
        find.find_photos(photos, tmp_path, BuildSettings())
    _, _, outcome = find.find_photos(photos, photos / "out", BuildSettings())
    assert outcome.notes == [
        f"The output folder {photos / 'out'} lies inside the folder of photos; it is not searched for photos."
    ]


def touch(folder: Path, *names: str) -> Path:
    """Create empty files and return the folder."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


@pytest.mark.parametrize(
    ("names", "masks"),
    [
        (("photos/a.jpg", "photos/b.jpg", "masks/a.png", "masks/b.png"), ("masks/a.png", "masks/b.png")),
        (("a.jpg", "b.jpg", "labels/a_mask.png", "labels/b_mask.png"), ("labels/a_mask.png", "labels/b_mask.png")),
        (("x/img/1/a.jpg", "x/seg_maps/1/a.png", "x/seg_maps/2/b.png"), ("x/seg_maps/1/a.png", "x/seg_maps/2/b.png")),
        (("photos/a.jpg", "masks/c.jpg", "masks/d.jpg"), ()),
        (("holiday/a.jpg", "home/a.jpg"), ()),
        (("masks/a.jpg", "masks/b.jpg"), ()),
    ],
)
def test_maps_beside_photos_are_not_taken_for_photos(
    tmp_path: Path, names: tuple[str, ...], masks: tuple[str, ...]
) -> None:
    """A folder named like one of masks, whose pictures are named like those beside it, is skipped with a note."""
    folder = touch(tmp_path / "data", *names)

    paths, passed, outcome = find.find_photos(folder, tmp_path / "out", BuildSettings())

    assert {source_name(path, folder) for path in paths} == set(names) - set(masks)
    assert {item.path.relative_to(folder).as_posix() for item in passed} == set(masks)
    assert outcome.skipped == ({"mask": len(masks)} if masks else {})
    assert [note for note in outcome.notes if "taken for control maps and skipped" in note] == outcome.notes
    assert len(outcome.notes) == bool(masks)
    assert outcome.found == len(names)


def test_a_folder_of_masks_can_be_passed_itself(tmp_path: Path) -> None:
    """What looks like masks is built from if it is named."""
    folder = touch(tmp_path / "data", "photos/a.jpg", "masks/a.png")

    paths, _, outcome = find.find_photos(folder / "masks", tmp_path / "out", BuildSettings())

    assert ([path.name for path in paths], outcome.notes) == (["a.png"], [])
