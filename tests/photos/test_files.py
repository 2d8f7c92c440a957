"""Refusing, decoding and fitting photos."""

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
from numpy.typing import NDArray
from PIL import Image

from segkit import photos
from segkit.errors import PhotoError
from segkit.photos import Limits
from segkit.toy import world
from tests.photos.test_srgb import SWAPPED

TINY = Limits(min_size=8, size=64)
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "HEIF", "JPEG2000", "PPM", "QOI", "PCX", "SGI", "TGA")
CORNERS = ("red", "lime", "blue", "black")


def encode(image: Image.Image, picture_format: str, **options: Any) -> bytes:
    """Return a picture as the bytes of a file."""
    pillow_heif.register_heif_opener()
    buffer = BytesIO()
    image.save(buffer, picture_format, **options)
    return buffer.getvalue()


def corners() -> Image.Image:
    """Return 96 x 64 pixels whose quarters have the colours of CORNERS, in reading order."""
    image = Image.new("RGB", (96, 64))
    for quarter, color in enumerate(CORNERS):
        left, top = quarter % 2 * 48, quarter // 2 * 32
        image.paste(color, (left, top, left + 48, top + 32))
    return image


def quarters(image: Image.Image) -> tuple[str, ...]:
    """Return the names of the colours of the four quarters, in reading order."""
    names = {(True, False, False): "red", (False, True, False): "lime", (False, False, True): "blue"}
    pixels = np.asarray(image.resize((2, 2), Image.Resampling.NEAREST)).reshape(4, 3) > 127
    return tuple(names.get((bool(red), bool(green), bool(blue)), "black") for red, green, blue in pixels)


def reason(data: bytes, limits: Limits = TINY) -> str:
    """Return the reason for which a photo is refused."""
    with pytest.raises(PhotoError) as refused:
        photos.open_photo(data, limits)
    assert refused.value.reason in photos.REASONS
    return refused.value.reason


def png_header(width: int, height: int) -> bytes:
    """Return a PNG that declares a size and contains almost no data."""
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(b"\0")))
    body = (struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


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
def test_unsuitable_paths_are_refused_before_reading(tmp_path: Path, kind: str, expected: str) -> None:
    """Folders, pipes, broken links, empty and huge files with the suffix of a photo are refused without blocking."""
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
def test_every_format_is_decoded(picture_format: str) -> None:
    """Every format that Pillow and pillow-heif can write is read back."""
    opened = photos.open_photo(encode(corners(), picture_format), TINY)

    assert opened.image.mode == "RGB"
    assert opened.image.size == (96, 64)
    assert quarters(opened.image) == CORNERS


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("share", [0.3, 0.7, 0.98])
@pytest.mark.parametrize("picture_format", [*FORMATS, "progressive", "tiff_lzw", "tiff_adobe_deflate"])
def test_truncated_photos_are_refused(picture_format: str, share: float) -> None:
    """A truncated file of any format is reported as damaged and never decoded in part."""
    options = {"progressive": True} if picture_format == "progressive" else {}
    if picture_format.startswith("tiff"):
        data = encode(world.scene(1, (160, 120)).photo, "TIFF", compression=picture_format)
    else:
        data = encode(world.scene(1, (160, 120)).photo, "JPEG" if options else picture_format, **options)

    assert reason(data[: int(len(data) * share)]) == "damaged"


@pytest.mark.parametrize("position", [0.2, 0.5, 0.8])
def test_a_png_with_a_corrupt_byte_is_refused(position: float) -> None:
    """Pillow's first load of such a PNG fails and a second one returns half a picture; the first counts."""
    data = bytearray(encode(world.scene(1, (160, 120)).photo, "PNG"))
    data[int(len(data) * position)] ^= 0x55

    assert reason(bytes(data)) == "damaged"


@pytest.mark.parametrize("picture_format", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_applied(picture_format: str, orientation: int) -> None:
    """All eight EXIF orientations are applied exactly once, and the geometry refers to the upright picture."""
    inverse = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]  # values of Image.Transpose
    stored = corners() if inverse is None else corners().transpose(Image.Transpose(inverse))
    exif = Image.Exif()
    exif[0x0112] = orientation

    opened = photos.open_photo(encode(stored, picture_format, exif=exif), Limits(min_size=8, size=32))

    assert quarters(opened.image) == CORNERS
    assert opened.image.size == (48, 32)
    assert (opened.geometry.source_width, opened.geometry.source_height) == (96, 64)
    assert opened.geometry.orientation == orientation


def test_the_orientation_of_heic_is_applied_once() -> None:
    """HEIC stores its rotation in a separate box that the decoder applies; the EXIF value is not applied again."""
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = corners().transpose(Image.Transpose.ROTATE_90)

    opened = photos.open_photo(encode(stored, "HEIF", exif=exif.tobytes()), TINY)

    assert (opened.image.size, quarters(opened.image)) == ((96, 64), CORNERS)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize(
    "exif", [b"\xff" * 40, b"II*\0\xff\xff\xff\x7f", b"MM\0*", b"II*\0\x08\0\0\0\1\0\x12\1\2\0\1\0\0\0x"]
)
def test_broken_exif_is_ignored(exif: bytes) -> None:
    """A photo whose EXIF cannot be read is decoded without rotation."""
    opened = photos.open_photo(encode(corners(), "JPEG", exif=b"Exif\0\0" + exif), TINY)

    assert quarters(opened.image) == CORNERS


WITHOUT_HEIF = """
import sys
sys.modules["pillow_heif"] = None
from segkit import photos
from segkit.errors import PhotoError
data = open(sys.argv[1], "rb").read()
for brand in sys.argv[2:]:
    try:
        photos.open_photo(data[:8] + brand.encode() + data[12:], photos.Limits(min_size=8))
    except PhotoError as error:
        print(brand, error.reason, error)
"""


def test_heic_without_pillow_heif_is_told_as_what_it_is(tmp_path: Path) -> None:
    """Under every brand the message names HEIC and what to install."""
    brands = ["heic", "heix", "heim", "heis", "hevc", "hevx", "hevm", "hevs", "mif1", "msf1"]
    (tmp_path / "a.heic").write_bytes(encode(corners(), "HEIF"))

    command = [sys.executable, "-c", WITHOUT_HEIF, str(tmp_path / "a.heic"), *brands]
    process = subprocess.run(command, capture_output=True, text=True, check=False)

    cure = "HEIC. Run: pip install pillow-heif, then build with retry_rejected"
    assert process.stdout.splitlines() == [f"{brand} not-a-photo {cure}" for brand in brands], process.stderr


@pytest.mark.parametrize("brand", [b"heim", b"heis", b"hevm", b"mif1", b"msf1"])
def test_heic_of_every_brand_is_read(brand: bytes) -> None:
    """With pillow-heif, the brand does not matter."""
    data = encode(corners(), "HEIF")

    assert quarters(photos.open_photo(data[:8] + brand + data[12:], TINY).image) == CORNERS


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\xff\x0a" + bytes(99), "JPEG XL; convert it"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(99), "camera raw; convert it"),
        (b"\0\0\0\x14ftypqt  \0\0\0\0qt  " + bytes(99), "a video"),
        (b"II*\0\x10\0\0\0CR\2\0" + bytes(99), "camera raw; convert it"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Run: git lfs pull"),
    ],
)
def test_other_pictures_are_told_as_what_they_are(data: bytes, words: str) -> None:
    """What is behind the ending of a photo is named, with what to do."""
    with pytest.raises(PhotoError, match=words) as refused:
        photos.open_photo(data, TINY)

    assert refused.value.reason == "not-a-photo"


def test_the_first_frame_of_an_animation_is_used() -> None:
    """The other frames of an animated GIF are ignored."""
    others = [Image.new("RGB", (96, 64), "white"), Image.new("RGB", (96, 64), "black")]

    opened = photos.open_photo(encode(corners(), "GIF", save_all=True, append_images=others), TINY)

    assert quarters(opened.image) == CORNERS


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
def test_other_data_is_refused(data: bytes) -> None:
    """Text, web pages, zeros and icons are refused as not being photos."""
    assert reason(data) == "not-a-photo"


def test_eps_never_starts_ghostscript(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostScript is refused by its first bytes and never executed."""
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    refusal = reason(encode(corners(), "EPS"))

    assert refusal == "not-a-photo"
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 10000), (10000, 1), (383, 600)])
def test_small_photos_are_refused(width: int, height: int) -> None:
    """The short side decides, regardless of the long one."""
    data = encode(Image.new("RGB", (width, height)), "PNG")

    assert reason(data, Limits()) == "too-small"


@pytest.mark.parametrize(("width", "height"), [(60_000, 60_000), (10_000, 9_001)])
def test_a_decompression_bomb_is_refused_from_its_header(width: int, height: int) -> None:
    """Too many pixels are refused before decoding, and Pillow's own limit is restored afterwards."""
    limit = Image.MAX_IMAGE_PIXELS

    refusal = reason(png_header(width, height))

    assert refusal == "too-large"
    assert limit == Image.MAX_IMAGE_PIXELS


def test_a_huge_progressive_jpeg_is_refused() -> None:
    """Decoding progressive JPEG takes memory for all pixels, so the limit of other formats applies."""
    data = encode(corners(), "JPEG", progressive=True)
    frame = data.index(b"\xff\xc2") + 5

    assert reason(data[:frame] + struct.pack(">HH", 10_000, 20_000) + data[frame + 4 :]) == "too-large"


@pytest.mark.skipif(sys.platform != "linux", reason="the memory limit works on Linux only")
def test_a_200_megapixel_jpeg_needs_little_memory(tmp_path: Path) -> None:
    """A 200-megapixel phone photo is decoded at a fraction: 100 MB suffice, where all pixels would take 200 MB."""
    Image.new("L", (20_000, 10_000), 128).save(tmp_path / "phone.jpg")
    script = """
import resource, sys
from pathlib import Path
from segkit import photos
data = Path(sys.argv[1]).read_bytes()
photos.open_photo(Path(sys.argv[2]).read_bytes(), photos.Limits(min_size=8))  # loads Pillow's plug-ins
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 100_000_000, -1))
photo = photos.open_photo(data, photos.Limits())
print(photo.image.size, photo.geometry.source_width)
"""
    corners().save(tmp_path / "small.jpg")
    command = [sys.executable, "-c", script, str(tmp_path / "phone.jpg"), str(tmp_path / "small.jpg")]

    process = subprocess.run(command, capture_output=True, text=True, check=False)

    assert process.stdout.strip() == "(1024, 512) 20000", process.stderr


def test_decoding_jpeg_at_a_fraction_hardly_changes_colours() -> None:
    """Decoding at half size before scaling gives nearly the same picture as scaling the whole."""
    large = world.scene(2, (750, 550)).photo.resize((1500, 1100))

    opened = photos.open_photo(encode(large, "JPEG", quality=95), Limits(min_size=8, size=256))

    expected = large.resize((opened.geometry.resized_width, opened.geometry.resized_height), Image.Resampling.LANCZOS)
    left, top = opened.geometry.crop_left, opened.geometry.crop_top
    expected = expected.crop((left, top, left + opened.image.width, top + opened.image.height))
    differences = [abs(a - b) for a, b in zip(opened.image.tobytes(), expected.tobytes(), strict=True)]
    assert sum(differences) / len(differences) < 2


@pytest.mark.parametrize("orientation", [1, 6, 7])
@pytest.mark.parametrize("size", [(1031, 777), (1064, 776), (1025, 1799)])
def test_decoding_jpeg_at_a_fraction_moves_nothing(size: tuple[int, int], orientation: int) -> None:
    """A JPEG decoded at an eighth, of sides that are no multiples of 8, shows every spot where the whole photo does."""
    limits, rng = Limits(min_size=8, size=48), np.random.default_rng(size[0])
    across, down = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    pixels = np.zeros(size[::-1], np.float32)
    for x, y in [*rng.uniform(0.1, 0.9, (2, 2)), (0.96, 0.04), (0.04, 0.96)]:
        pixels += 255 * np.exp(-((across - x * size[0]) ** 2 + (down - y * size[1]) ** 2) / (2 * 14**2))
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).convert("RGB")

    whole = photos.open_photo(encode(picture, "PNG", exif=exif), limits)
    drafted = photos.open_photo(encode(picture, "JPEG", quality=98, exif=exif), limits)

    assert drafted.geometry == whole.geometry
    levels = [np.asarray(photo.image.convert("L"), np.float32) for photo in (whole, drafted)]
    assert np.abs(shift(*levels)).max() < 0.03


def shift(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return by how many pixels the quarters of a picture are shifted against those of another, by least squares."""
    down, across = np.gradient(first, axis=0), np.gradient(first, axis=1)
    shifts = []
    for rows in (slice(0, len(first) // 2), slice(len(first) // 2, None)):
        for columns in (slice(0, first.shape[1] // 2), slice(first.shape[1] // 2, None)):
            slopes = np.stack([across[rows, columns].ravel(), down[rows, columns].ravel()], axis=1)
            solution, *_ = np.linalg.lstsq(slopes, (first - second)[rows, columns].ravel(), rcond=None)
            shifts.append(solution)
    return np.array(shifts)


def test_a_profile_is_applied_to_the_scaled_photo() -> None:
    """Red and green are exchanged by the profile, whether the photo is scaled, turned, transparent or neither."""
    exif = Image.Exif()
    exif[0x0112] = 6
    swapped = ("lime", "red", "blue", "black")
    for limits in (TINY, Limits(min_size=8, size=16)):
        for image in (corners(), corners().convert("RGBA")):
            opened = photos.open_photo(encode(image, "PNG", icc_profile=SWAPPED), limits)
            assert quarters(opened.image) == swapped
            assert opened.geometry.conversions == ("icc-to-srgb",)
        stored = encode(corners().transpose(Image.Transpose.ROTATE_90), "PNG", icc_profile=SWAPPED, exif=exif)
        assert quarters(photos.open_photo(stored, limits).image) == swapped
        assert quarters(photos.open_upright(stored)) == swapped
