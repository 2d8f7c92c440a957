"""Photos as people have them: found, opened upright in sRGB with every fault named, and fitted to the training size."""

import os
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image, ImageCms, UnidentifiedImageError
from PIL.Image import Resampling, Transpose

from segkit import modes
from segkit.errors import PhotoError
from segkit.triple import Geometry

REASONS = {
    "unreadable": "the system did not hand it out",
    "not-a-file": "a folder, pipe or device, not a file",
    "empty": "no bytes",
    "not-a-photo": "no picture format that segkit reads",
    "damaged": "truncated or broken inside",
    "too-small": "shorter than --min-size",
    "too-large": "more pixels than --max-megapixels",
    "identical": "byte for byte a copy of another photo",
    "near-duplicate": "looks like another photo (--keep-duplicates keeps it)",
}
"""Why a photo is left out: the closed list that rejected.jsonl uses."""

CONVERSIONS = ("icc-to-srgb", "icc-unreadable", "alpha-over-white", *modes.CONVERSIONS)
"""What may have been done to a photo's colours on the way in."""

FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "TIFF", "BMP", "DIB", "GIF", "AVIF", "HEIF", "JPEG2000", "PPM", "TGA")
"""What Image.open may try. Not EPS, whose reader starts Ghostscript on a file that is only called .jpg."""

SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .mpo .png .apng .webp .tif .tiff .bmp .dib .gif .avif .heic .heif .hif .jp2 .j2k .ppm .pgm "
    ".pbm .pnm .tga".split()
)
JPEG_MEGAPIXELS = 250
"""JPEG decodes at 1/2, 1/4 or 1/8 scale, so honest 200-megapixel phone photos fit in memory; others do not."""

_TURNS = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}  # EXIF 2.32, tag 0x0112
_header_lock = threading.Lock()


@dataclass(frozen=True)
class Limits:
    """What a photo must be like: short side in pixels, at least; megapixels (JPEG: up to 250), at most; target size."""

    min_size: int = 384
    max_megapixels: float = 90
    size: int = 512


@dataclass(frozen=True)
class Photo:
    """An opened and fitted photo: upright RGB pixels, and how they came out of the source."""

    image: Image.Image
    geometry: Geometry


def find(folder: Path, without: Path | None = None) -> Iterator[Path]:
    """Yield everything under a folder that is called like a photo, in a stable order.

    Hidden files and folders are passed over, as are symbolic links that lead into a folder already being walked. A
    folder or pipe called like a photo is yielded (open_photo refuses it and says why), and so is a folder that cannot
    be listed: nothing vanishes in silence.

    Args:
        folder: where to look.
        without: a folder to leave out, such as the dataset being written.
    """
    found = _walk(folder, without.resolve() if without else None, frozenset())
    yield from sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def _walk(folder: Path, without: Path | None, above: frozenset[Path]) -> Iterator[Path]:
    real = folder.resolve()
    if real in above or real == without or (folder / ".segkit").is_dir():
        return
    try:
        entries = list(os.scandir(folder))
    except OSError:
        yield folder
        return
    for entry in entries:
        path = folder / entry.name
        if entry.name.startswith("."):
            continue
        if path.suffix.lower() in SUFFIXES:
            yield path
        if path.is_dir():
            yield from _walk(path, without, above | {real})


def read(path: Path) -> bytes:
    """Read a photo's bytes.

    Raises:
        PhotoError: "unreadable", "not-a-file" (a named pipe would block for ever) or "empty".
    """
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode) and path.suffix.lower() not in SUFFIXES:
            raise PhotoError("unreadable", "a folder that cannot be listed")
        if not stat.S_ISREG(status.st_mode):
            raise PhotoError("not-a-file", "a folder, pipe or device that is called like a photo")
        data = path.read_bytes()
    except OSError as error:
        raise PhotoError("unreadable", f"{os.strerror(error.errno or 0)}") from None
    if not data:
        raise PhotoError("empty", "0 bytes")
    return data


def open_photo(data: bytes, limits: Limits) -> Photo:
    """Decode a photo: whole, upright, sRGB, 8 bits, fitted.

    EXIF orientation and ICC profile are applied, transparency is laid over white, 16-bit and float pictures are
    scaled, the first frame of an animation is taken. Never raises anything but PhotoError.

    Args:
        data: the file's bytes.
        limits: sizes to accept and to make.

    Raises:
        PhotoError: with a reason from REASONS.
    """
    image = _header(data)
    _check_size(image, limits)
    try:
        width, height = image.size
        orientation = _orientation(image)
        _draft(image, limits.size)
        image.load()  # verify() passes most damaged files; only a full load counts
        image = _upright(image)
        if orientation in (5, 6, 7, 8):
            width, height = height, width
        image, conversions = _to_srgb(image)
        return fit(image, limits.size, (width, height), orientation, conversions)
    except PhotoError:
        raise
    except Exception as error:  # Pillow raises ValueError, SyntaxError, TypeError, struct.error ... on damaged files
        raise PhotoError("damaged", f"{type(error).__name__}: {error}") from None


def fit(
    image: Image.Image,
    size: int,
    source: tuple[int, int] | None = None,
    orientation: int = 1,
    conversions: tuple[str, ...] = (),
) -> Photo:
    """Scale the short side down to size (never up) and crop both sides to multiples of 8 around the centre.

    Args:
        image: RGB, upright; may be smaller than the source where JPEG was decoded at a fraction.
        size: target of the short side in pixels.
        source: upright width and height of the source; the image's own if None.
        orientation: the EXIF orientation that was applied, for the record.
        conversions: what was done to the colours, for the record.
    """
    source = source or image.size
    scale = min(1.0, size / min(source))
    resized = max(8, round(source[0] * scale)), max(8, round(source[1] * scale))
    if resized != image.size:
        image = image.resize(resized, Resampling.LANCZOS)
    width, height = resized[0] // 8 * 8, resized[1] // 8 * 8
    left, top = (resized[0] - width) // 2, (resized[1] - height) // 2
    image = image.crop((left, top, left + width, top + height))
    image.info.clear()  # PNG would be saved with the profile of the source
    return Photo(image, Geometry(*source, orientation, conversions, *resized, left, top))


def _header(data: bytes) -> Image.Image:
    _register_heif()
    try:
        with _header_lock:  # Pillow's own limit is global; ours (_check_size) depends on the format
            limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            try:
                return Image.open(BytesIO(data), formats=[name for name in FORMATS if name in _readable()])
            finally:
                Image.MAX_IMAGE_PIXELS = limit
    except UnidentifiedImageError:
        raise PhotoError("not-a-photo", _not_a_photo(data)) from None
    except Exception as error:
        raise PhotoError("damaged", f"{type(error).__name__}: {error}") from None


def _readable() -> dict[str, Any]:
    Image.init()
    return Image.OPEN


def _register_heif() -> None:
    try:
        import pillow_heif
    except ImportError:
        return
    pillow_heif.register_heif_opener()


def _not_a_photo(data: bytes) -> str:
    if data[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypheif") and "HEIF" not in _readable():
        return "HEIC needs a plugin; type: pip install pillow-heif"
    if data[:1] == b"<":
        return "text that begins with '<' (a saved web page?)"
    return f"no known picture format; begins with {data[:8]!r}"


def _check_size(image: Image.Image, limits: Limits) -> None:
    width, height = image.size
    if min(width, height) < limits.min_size:
        raise PhotoError("too-small", f"{width}x{height}; the short side must have {limits.min_size} pixels")
    is_jpeg = image.format in ("JPEG", "MPO")
    most = max(limits.max_megapixels, JPEG_MEGAPIXELS) if is_jpeg else limits.max_megapixels
    if width * height > most * 1e6:
        raise PhotoError("too-large", f"{width}x{height}; at most {most:g} megapixels for {image.format}")


def _draft(image: Image.Image, size: int) -> None:
    """Let JPEG decode at a fraction, at least twice the target so that the final scaling stays sharp."""
    if image.format in ("JPEG", "MPO") and min(image.size) >= 4 * size:
        scale = 2 * size / min(image.size)
        image.draft(image.mode, (round(image.width * scale), round(image.height * scale)))


def _orientation(image: Image.Image) -> int:
    try:
        found = image.getexif().get(0x0112, 1)
    except Exception:  # broken EXIF is no reason to lose the photo
        return 1
    return found if found in _TURNS else 1


def _upright(image: Image.Image) -> Image.Image:
    turn = _TURNS.get(_orientation(image))  # read anew: loading a TIFF turns it
    return image if turn is None else image.transpose(turn)


def _to_srgb(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    profile = image.info.get("icc_profile")
    done: list[str] = []
    image, conversion = modes.to_eight_bits(image)
    if conversion:
        done.append(conversion)
    if modes.has_alpha(image):
        image, was_transparent = modes.over_white(image)
        if was_transparent:
            done.append("alpha-over-white")
    if profile and not _is_srgb(profile):
        try:
            source = ImageCms.ImageCmsProfile(BytesIO(profile))
            converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
            return converted or image, (*done, "icc-to-srgb")
        except (ImageCms.PyCMSError, OSError, ValueError):
            done.append("icc-unreadable")
    return image.convert("RGB"), tuple(done)


def _is_srgb(profile: bytes) -> bool:
    return b"sRGB" in profile[:4096] or b"s\0R\0G\0B" in profile[:4096]
