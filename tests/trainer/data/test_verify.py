"""Every photo and map of another tool's dataset is opened before a training, and all that is wrong is listed."""

import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segkit import photos
from segkit.dataset.formats.listing import Entry
from segkit.maps import codec
from segkit.palette import Palette
from segkit.photos import Limits
from segkit.toy import world
from segkit.toy.world import damage
from trainer.data import crops, verify
from trainer.data.examples import Example

ADE = Palette.load("ade20k")
SIZE = (48, 32)


def photo(number: int = 0) -> Image.Image:
    """Return a photo."""
    return Image.fromarray(np.random.default_rng(number).integers(0, 255, (4, 6, 3), np.uint8)).resize(SIZE)


def control_map(number: int = 0) -> Image.Image:
    """Return a map of two classes."""
    labels = np.random.default_rng(number).integers(0, 150, (1, 2))
    return Image.fromarray(np.array([swatch.rgb for swatch in ADE], np.uint8)[labels]).resize(SIZE, 0)


@pytest.fixture
def entry(tmp_path: Path) -> Entry:
    """Return a pair of files."""
    photo().save(tmp_path / "photo.png")
    control_map().save(tmp_path / "map.png")
    return Entry(tmp_path / "photo.png", tmp_path / "map.png", "a room", "list, line 1")


def test_a_pair_is_measured(entry: Entry) -> None:
    """Its size and the hashes of its files, and progress counts the pairs."""
    calls: list[tuple[str, int, int]] = []
    hashes = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (entry.photo, entry.control_map)]

    measured, problems = verify.measure([entry, entry], ADE, lambda *call: calls.append(call))

    assert measured == [verify.Measured(*SIZE, *hashes)] * 2
    assert problems == []
    assert calls == [("photos and maps", 1, 2), ("photos and maps", 2, 2)]


def test_all_problems_are_listed(entry: Entry, tmp_path: Path) -> None:
    """A missing photo, a cut one, a damaged map, another shape and wrong colours, each with its file."""
    cut = tmp_path / "cut.jpg"
    photo().resize((480, 320)).save(cut)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size * 2 // 3])
    (tmp_path / "damaged.png").write_bytes(b"\x89PNG rubbish")
    control_map().resize((32, 32), 0).save(tmp_path / "square.png")
    Image.new("RGB", SIZE, (1, 2, 3)).save(tmp_path / "off.png")
    swapped = Entry(entry.control_map, entry.photo, "", "list, line 7")
    pairs = [
        entry,
        Entry(tmp_path / "gone.png", entry.control_map, "", "list, line 2"),
        Entry(cut, entry.control_map, "", "list, line 3"),
        *(Entry(entry.photo, tmp_path / name, "", "list") for name in ("damaged.png", "square.png", "off.png")),
        swapped,
    ]

    measured, problems = verify.measure(pairs, ADE)

    assert len(measured) == 1
    assert [(problem.rule, Path(problem.place).name) for problem in problems] == [
        ("file-missing", "gone.png"),
        ("unreadable-photo", "cut.jpg"),
        ("unreadable-map", "damaged.png"),
        ("shapes-differ", "square.png"),
        ("swapped", "photo.png"),
        ("off-palette", "off.png"),
    ]
    assert "does not exist; list, line 2 names it." in problems[0].message
    assert "damaged" in problems[1].message
    assert "they are swapped. Correct the columns of list, line 7." in problems[4].message
    assert verify.measure(pairs[-2:], None)[1] == []


def exif(orientation: int, kind: int) -> bytes:
    """Return a TIFF block with one entry, the orientation, as SHORT (3) or BYTE (1)."""
    value = struct.pack("<HH", orientation, 0) if kind == 3 else struct.pack("<BBH", orientation, 0, 0)
    return b"II*\0" + struct.pack("<IHHHI", 8, 1, 0x112, kind, 1) + value + struct.pack("<I", 0)


@pytest.mark.parametrize("case", ["orientation 9", "orientation 6", "as a byte", "broken", "turned TIFF"])
def test_photos_are_read_as_a_build_reads_them(case: str, tmp_path: Path, entry: Entry) -> None:
    """Odd, broken and true orientations give the pixels that build-dataset would store, here and in a batch."""
    path = tmp_path / "odd.png"
    data = {"orientation 9": exif(9, 3), "orientation 6": exif(6, 3), "as a byte": exif(6, 1), "broken": b"\xff\xfe\0"}
    if case in data:
        photo().save(path, exif=data[case])
    else:
        tags = Image.Exif()
        tags[0x112] = 6
        photo().transpose(Image.Transpose.ROTATE_90).save(tmp_path / "odd.tif", exif=tags)
        path = tmp_path / "odd.tif"
    built = photos.open_photo(path.read_bytes(), Limits(min_size=8, size=32)).image
    turned = built.width < built.height

    measured, problems = verify.measure([Entry(path, entry.control_map, "", "list")], None)

    assert (problems != []) == turned  # the map lies on its side then
    example = Example(path, path, "", *built.size)
    assert crops._opened(example).tobytes() == built.tobytes()
    if not turned:
        assert (measured[0].width, measured[0].height) == built.size


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [(6, Image.Transpose.ROTATE_90), (3, Image.Transpose.ROTATE_180), (2, Image.Transpose.FLIP_LEFT_RIGHT)],
)
def test_maps_are_turned_as_their_orientation_says(
    orientation: int, turn: Image.Transpose, tmp_path: Path, entry: Entry
) -> None:
    """As Hugging Face datasets turns them, so that they fit their photos."""
    path = tmp_path / "turned.png"
    control_map(5).transpose(turn).save(path, exif=exif(orientation, 3))
    example = Example(entry.photo, path, "", *SIZE)

    _, problems = verify.measure([Entry(entry.photo, path, "", "list")], ADE)
    labels = crops.control_map(example, crops.View((0, 0, *SIZE), SIZE, False), ADE)

    assert problems == []
    colors = np.array([swatch.rgb for swatch in ADE], np.uint8)
    assert (colors[labels] == np.asarray(control_map(5))).all()


def test_a_photo_in_a_format_without_maps_is_no_map(tmp_path: Path, entry: Entry) -> None:
    """Beside an AVIF photo, a map with wrong colours is off the palette, as beside any other photo."""
    photo().save(tmp_path / "photo.avif")
    Image.new("RGB", SIZE, (1, 2, 3)).save(tmp_path / "off.png")

    _, problems = verify.measure([Entry(tmp_path / "photo.avif", tmp_path / "off.png", "", "list")], ADE)

    assert [problem.rule for problem in problems] == ["off-palette"]


def test_maps_that_only_make_sense_otherwise_are_problems(tmp_path: Path) -> None:
    """A shifted scene and an all-black map have colours of the palette; indexed maps are what they are."""
    scene = world.scene(5, (144, 96)).labels
    damage.by("shifted", scene).save(tmp_path / "shifted.png")
    Image.new("RGB", (144, 96)).save(tmp_path / "black.png")
    damage.painted(scene).save(tmp_path / "right.png")
    codec.paint(scene - np.uint8(1), ADE).save(tmp_path / "indexed.png")
    photo().resize((144, 96)).save(tmp_path / "photo.png")
    names = ("shifted", "black", "right", "indexed")

    _, problems = verify.measure(
        [Entry(tmp_path / "photo.png", tmp_path / f"{name}.png", "", "list") for name in names], ADE
    )

    assert [(problem.rule, problem.place) for problem in problems] == [
        ("off-palette", f"{tmp_path.name}/shifted.png"),
        ("off-palette", f"{tmp_path.name}/black.png"),
    ]
    assert "a list of 151 colours with black first" in problems[0].message
    assert "no pixel has a class" in problems[1].message
