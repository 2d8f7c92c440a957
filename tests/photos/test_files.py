"""segkit.photos.files: what is found, what is refused and why, and the geometry of what is taken."""

import os
import struct
import subprocess
import sys
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from segkit import photos
from segkit.errors import PhotoError
from segkit.photos import Limits
from segkit.toy import world

TINY = Limits(min_size=8, size=64)
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "HEIF", "JPEG2000", "PPM", "QOI", "PCX", "SGI", "TGA")
CORNERS = ("red", "lime", "blue", "black")


def encode(image: Image.Image, picture_format: str, **options: Any) -> bytes:
    """Return a picture's file."""
    pillow_heif.register_heif_opener()
    buffer = BytesIO()
    image.save(buffer, picture_format, **options)
    return buffer.getvalue()


def corners() -> Image.Image:
    """Return 96x64 pixels with a colour of its own in each quarter, in reading order as in CORNERS."""
    image = Image.new("RGB", (96, 64))
    for place, color in enumerate(CORNERS):
        image.paste(color, (place % 2 * 48, place // 2 * 32, place % 2 * 48 + 48, place // 2 * 32 + 32))
    return image


def seen(image: Image.Image) -> tuple[str, ...]:
    """Name the colours of the four quarters, in reading order."""
    names = {(True, False, False): "red", (False, True, False): "lime", (False, False, True): "blue"}
    quarters = np.asarray(image.resize((2, 2), Image.Resampling.NEAREST)).reshape(4, 3) > 127
    return tuple(names.get((bool(red), bool(green), bool(blue)), "black") for red, green, blue in quarters)


def reason(data: bytes, limits: Limits = TINY) -> str:
    """Return why a photo is refused."""
    with pytest.raises(PhotoError) as refused:
        photos.open_photo(data, limits)
    assert refused.value.reason in photos.REASONS
    return refused.value.reason


def png_header(width: int, height: int) -> bytes:
    """Return a PNG that claims a size and holds next to nothing."""
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(b"\0")))
    body = (struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def test_photos_are_found_by_their_suffix_in_a_stable_order(tmp_path: Path) -> None:
    """Photos are found in all folders and in any case; hidden ones, other files and datasets are not."""
    wanted = ["B.JPG", "a b/c.HeIc", "a.png", "z/y/x.TIFF"]
    for name in (*wanted, "note.txt", ".hidden.jpg", ".trash/d.jpg", "set/.segkit/x", "set/images/e.jpg", "out/f.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    found = list(photos.find(tmp_path, exclude=tmp_path / "out"))

    assert [path.relative_to(tmp_path).as_posix() for path in found] == wanted


def test_links_that_lead_in_circles_are_walked_once(tmp_path: Path) -> None:
    """However folders link to one another, each photo is found once, under its own name."""
    names = [f"{letter}/photo.jpg" for letter in "abcdefghij"]
    for name in names:
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    for start in tmp_path.iterdir():
        for target in (*"abcdefghij", "."):
            (start / f"to {target}").symlink_to(tmp_path / target)
    (tmp_path / "0 self").symlink_to(tmp_path / "0 self")

    found = list(photos.find(tmp_path))

    assert [path.relative_to(tmp_path).as_posix() for path in found] == names


def test_a_linked_folder_outside_is_walked(tmp_path: Path) -> None:
    """A link to a folder elsewhere is followed."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.jpg").touch()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "more").symlink_to(tmp_path / "elsewhere")

    found = list(photos.find(tmp_path / "photos"))

    assert found == [tmp_path / "photos" / "more" / "a.jpg"]


def test_a_folder_called_like_a_photo_is_named_and_walked(tmp_path: Path) -> None:
    """A folder x.jpg is found, so that its refusal is recorded, and so are the photos in it."""
    (tmp_path / "x.jpg").mkdir()
    (tmp_path / "x.jpg" / "y.jpg").touch()

    found = list(photos.find(tmp_path))

    assert found == [tmp_path / "x.jpg", tmp_path / "x.jpg" / "y.jpg"]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("folder", "not-a-file"),
        ("pipe", "not-a-file"),
        ("empty", "empty"),
        ("dangling link", "unreadable"),
        ("link to itself", "unreadable"),
        ("huge", "too-large"),
    ],
)
def test_what_holds_no_photo_is_refused_before_it_is_read(tmp_path: Path, kind: str, expected: str) -> None:
    """Folders, pipes, broken links, empty and huge files called like a photo are refused without blocking."""
    path = tmp_path / "x.jpg"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif "link" in kind:
        path.symlink_to(path if kind == "link to itself" else tmp_path / "nowhere")
    else:
        with path.open("wb") as file:
            file.truncate(0 if kind == "empty" else 2_000_000_000)

    with pytest.raises(PhotoError) as refused:
        photos.read(path, TINY.max_bytes)

    assert refused.value.reason == expected


@pytest.mark.parametrize("picture_format", FORMATS)
def test_every_format_opens(picture_format: str) -> None:
    """Each format that Pillow and pillow-heif write is read back."""
    opened = photos.open_photo(encode(corners(), picture_format), TINY)

    assert opened.image.mode == "RGB"
    assert opened.image.size == (96, 64)
    assert seen(opened.image) == CORNERS


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("share", [0.3, 0.7, 0.98])
@pytest.mark.parametrize("picture_format", [*FORMATS, "progressive", "tiff_lzw", "tiff_adobe_deflate"])
def test_truncated_photos_are_refused(picture_format: str, share: float) -> None:
    """A file that ends early is damaged in every format, never half a picture."""
    options = {"progressive": True} if picture_format == "progressive" else {}
    if picture_format.startswith("tiff"):
        data = encode(world.scene(1, (160, 120)).photo, "TIFF", compression=picture_format)
    else:
        data = encode(world.scene(1, (160, 120)).photo, "JPEG" if options else picture_format, **options)

    assert reason(data[: int(len(data) * share)]) == "damaged"


@pytest.mark.parametrize("place", [0.2, 0.5, 0.8])
def test_a_png_with_a_broken_byte_is_refused(place: float) -> None:
    """Pillow's first load of such a PNG fails and its second returns half a picture; segkit believes the first."""
    data = bytearray(encode(world.scene(1, (160, 120)).photo, "PNG"))
    data[int(len(data) * place)] ^= 0x55

    assert reason(bytes(data)) == "damaged"


@pytest.mark.parametrize("picture_format", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_comes_out_upright(picture_format: str, orientation: int) -> None:
    """All eight EXIF orientations are undone, once, and the record speaks of the upright picture."""
    back = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]  # inverse, in Transpose's numbers
    stored = corners() if back is None else corners().transpose(Image.Transpose(back))
    exif = Image.Exif()
    exif[0x0112] = orientation

    opened = photos.open_photo(encode(stored, picture_format, exif=exif), Limits(min_size=8, size=32))

    assert seen(opened.image) == CORNERS
    assert opened.image.size == (48, 32)
    assert (opened.geometry.source_width, opened.geometry.source_height) == (96, 64)
    assert opened.geometry.orientation == orientation


def test_a_turned_heic_comes_out_upright() -> None:
    """HEIC says how it is turned in a box of its own, which the decoder obeys; its EXIF is not applied again."""
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = corners().transpose(Image.Transpose.ROTATE_90)

    opened = photos.open_photo(encode(stored, "HEIF", exif=exif.tobytes()), TINY)

    assert (opened.image.size, seen(opened.image)) == ((96, 64), CORNERS)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize(
    "exif", [b"\xff" * 40, b"II*\0\xff\xff\xff\x7f", b"MM\0*", b"II*\0\x08\0\0\0\1\0\x12\1\2\0\1\0\0\0x"]
)
def test_broken_exif_does_not_cost_the_photo(exif: bytes) -> None:
    """A photo whose EXIF cannot be read is taken as it lies."""
    opened = photos.open_photo(encode(corners(), "JPEG", exif=b"Exif\0\0" + exif), TINY)

    assert seen(opened.image) == CORNERS


def test_the_first_frame_of_an_animation_is_taken() -> None:
    """Of an animated GIF only the first frame counts."""
    others = [Image.new("RGB", (96, 64), "white"), Image.new("RGB", (96, 64), "black")]

    opened = photos.open_photo(encode(corners(), "GIF", save_all=True, append_images=others), TINY)

    assert seen(opened.image) == CORNERS


@pytest.mark.parametrize(
    "data",
    [
        b"a",
        b"hello, this is text",
        b"<!doctype html><title>",
        bytes(500),
        b"\0\0\1\0\1\0\x20\x20" + bytes(99),
        b"\n" * 99,
    ],
)
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    """Text, web pages, zeros and icons that are called .jpg are no photos."""
    assert reason(data) == "not-a-photo"


def test_an_eps_called_jpg_starts_no_ghostscript(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostScript is refused by its first bytes; nothing of it is run."""
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    found = reason(encode(corners(), "EPS"))

    assert found == "not-a-photo"
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 10000), (10000, 1), (383, 600)])
def test_small_photos_are_refused(width: int, height: int) -> None:
    """The short side decides, however long the other is."""
    data = encode(Image.new("RGB", (width, height)), "PNG")

    assert reason(data, Limits()) == "too-small"


@pytest.mark.parametrize(("width", "height"), [(60_000, 60_000), (10_000, 9_001)])
def test_a_decompression_bomb_is_refused_by_its_header(width: int, height: int) -> None:
    """Too many pixels are refused before one is decoded; Pillow's own limit is back in place afterwards."""
    limit = Image.MAX_IMAGE_PIXELS

    found = reason(png_header(width, height))

    assert found == "too-large"
    assert limit == Image.MAX_IMAGE_PIXELS


def test_a_progressive_jpeg_is_not_allowed_to_be_huge() -> None:
    """A progressive JPEG is held whole while it is decoded, so the limit of other formats holds for it."""
    data = encode(corners(), "JPEG", progressive=True)
    frame = data.index(b"\xff\xc2") + 5

    assert reason(data[:frame] + struct.pack(">HH", 10_000, 20_000) + data[frame + 4 :]) == "too-large"


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
def test_a_200_megapixel_jpeg_needs_little_memory(tmp_path: Path) -> None:
    """A phone's 200-megapixel JPEG is decoded at a fraction: 100 MB suffice where the whole would take 200."""
    Image.new("L", (20_000, 10_000), 128).save(tmp_path / "phone.jpg")
    script = """
import resource, sys
from pathlib import Path
from segkit import photos
data = Path(sys.argv[1]).read_bytes()
photos.open_photo(Path(sys.argv[2]).read_bytes(), photos.Limits(min_size=8))  # loads what Pillow needs
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 100_000_000, -1))
photo = photos.open_photo(data, photos.Limits())
print(photo.image.size, photo.geometry.source_width)
"""
    corners().save(tmp_path / "small.jpg")
    command = [sys.executable, "-c", script, str(tmp_path / "phone.jpg"), str(tmp_path / "small.jpg")]

    ended = subprocess.run(command, capture_output=True, text=True, check=False)

    assert ended.stdout.strip() == "(1024, 512) 20000", ended.stderr


@given(st.integers(8, 700), st.integers(8, 700), st.integers(1, 40))
def test_fitting_keeps_the_aspect_and_never_enlarges(width: int, height: int, eighths: int) -> None:
    """Scaled down by one factor, rounded to whole pixels, cropped around the centre by less than 8: all on record."""
    size = 8 * eighths

    fitted = photos.fit(Image.new("RGB", (width, height)), size)

    geometry = fitted.geometry
    scale = min(1.0, size / min(width, height))
    assert (geometry.source_width, geometry.source_height) == (width, height)
    sides = (
        (fitted.image.width, geometry.resized_width, geometry.crop_left, width),
        (fitted.image.height, geometry.resized_height, geometry.crop_top, height),
    )
    for stored, resized, start, source in sides:
        assert stored % 8 == 0
        assert 0 <= resized - stored < 8
        assert start == (resized - stored) // 2
        assert resized <= source
        assert abs(resized - source * scale) <= 0.5
    assert min(geometry.resized_width, geometry.resized_height) <= size


@given(st.integers(8, 200), st.integers(8, 200), st.integers(1, 20))
def test_the_crop_is_where_the_record_says(width: int, height: int, eighths: int) -> None:
    """The stored picture is the resized one from (crop_left, crop_top) on."""
    ramp = Image.linear_gradient("L").resize((width, height)).convert("RGB")

    fitted = photos.fit(ramp, 8 * eighths)

    geometry = fitted.geometry
    resized = ramp.resize((geometry.resized_width, geometry.resized_height), Image.Resampling.LANCZOS)
    left, top = geometry.crop_left, geometry.crop_top
    assert fitted.image == resized.crop((left, top, left + fitted.image.width, top + fitted.image.height))


def test_a_jpeg_decoded_at_a_fraction_looks_like_the_whole() -> None:
    """Decoding a large JPEG at half size and scaling the rest changes no colour visibly."""
    large = world.scene(2, (750, 550)).photo.resize((1500, 1100))

    opened = photos.open_photo(encode(large, "JPEG", quality=95), Limits(min_size=8, size=256))

    expected = large.resize((opened.geometry.resized_width, opened.geometry.resized_height), Image.Resampling.LANCZOS)
    left, top = opened.geometry.crop_left, opened.geometry.crop_top
    expected = expected.crop((left, top, left + opened.image.width, top + opened.image.height))
    off = [abs(a - b) for a, b in zip(opened.image.tobytes(), expected.tobytes(), strict=True)]
    assert sum(off) / len(off) < 2
