"""Photos as people have them: found, opened upright in sRGB with every fault named, and fitted to the training size."""

import errno
import math
import os
import stat
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path

from PIL import Image, UnidentifiedImageError
from PIL.Image import Transpose

from segkit.errors import PhotoError
from segkit.photos import srgb
from segkit.photos.geometry import Photo, fit

REASONS = {
    "unreadable": "the system did not hand it out",
    "not-a-file": "a folder, pipe or device, not a file",
    "empty": "no bytes",
    "not-a-photo": "no picture format that segkit reads",
    "damaged": "truncated or broken inside",
    "too-small": "shorter than --min-size",
    "too-large": "more than --max-megapixels, or than fits in memory",
    "identical": "byte for byte a copy of another photo",
    "near-duplicate": "looks like another photo (--keep-duplicates keeps it)",
}
"""Why a photo is left out: the closed list that rejected.jsonl uses."""

FORMATS = (
    "JPEG", "MPO", "PNG", "WEBP", "TIFF", "BMP", "DIB", "GIF", "AVIF", "HEIF", "JPEG2000", "PPM", "QOI", "PSD", "PCX",
    "SGI", "TGA",
)  # fmt: skip
"""What Image.open may try, in this order. TGA has no mark of its own, so it comes last. Not EPS, whose reader starts
Ghostscript on a file that is only called .jpg."""

SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .mpo .png .apng .webp .tif .tiff .bmp .dib .gif .avif .avifs .heic .heics .heif .heifs .hif "
    ".jp2 .j2k .jpf .jpx .j2c .jpc .ppm .pgm .pbm .pnm .qoi .psd .pcx .sgi .tga".split()
)
JPEG_MEGAPIXELS = 250
"""Baseline JPEG decodes at 1/2, 1/4 or 1/8 scale, so honest 200-megapixel phone photos fit in memory; others do not."""

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

    @property
    def max_bytes(self) -> int:
        """The largest file to read: 8 bytes a pixel, as in 16-bit RGBA without compression."""
        return int(max(8 * self.max_megapixels, JPEG_MEGAPIXELS) * 1e6)


def find(folder: Path, exclude: Path | None = None) -> Iterator[Path]:
    """Yield everything under a folder that is called like a photo, in a stable order.

    Hidden files and folders are passed over, as are datasets, and symbolic links to a folder that is walked anyway. A
    folder or pipe called like a photo is yielded (read refuses it and says why), and so is a folder that cannot be
    listed: nothing vanishes in silence.

    Args:
        folder: where to look.
        exclude: a folder to leave out, such as the dataset being written.
    """
    found = set(_walk(folder, exclude.resolve() if exclude else None))
    yield from sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def _walk(root: Path, exclude: Path | None) -> Iterator[Path]:
    waiting, seen = deque([root]), {exclude}
    while waiting:
        folder = waiting.popleft()
        real = folder.resolve()
        if real in seen:
            continue
        seen.add(real)
        try:
            entries = _visible(folder)
        except OSError:
            yield folder
            continue
        for entry in entries:
            path = folder / entry.name
            if path.suffix.lower() in SUFFIXES:
                yield path
            if _is_folder(entry):
                # links after all real folders, so that photos are found under their own names
                waiting.insert(len(waiting) if entry.is_symlink() else 0, path)


def _visible(folder: Path) -> list["os.DirEntry[str]"]:
    entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    is_dataset = any(entry.name == ".segkit" for entry in entries)
    return [entry for entry in entries if not entry.name.startswith(".") and not is_dataset]


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        return error.errno == errno.EACCES  # behind a link that may not be followed; a link in a circle is none


def read(path: Path, max_bytes: float = math.inf) -> bytes:
    """Read a photo's bytes, max_bytes at most.

    Raises:
        PhotoError: "unreadable", "not-a-file" (a named pipe would block for ever), "too-large" or "empty".
    """
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode) and path.suffix.lower() not in SUFFIXES:
            raise PhotoError("unreadable", "a folder that cannot be listed")
        if not stat.S_ISREG(status.st_mode):
            raise PhotoError("not-a-file", "a folder, pipe or device that is called like a photo")
        if status.st_size > max_bytes:
            raise PhotoError("too-large", f"{status.st_size / 1e6:,.0f} MB; at most {max_bytes / 1e6:,.0f} MB")
        data = path.read_bytes()
    except OSError as error:
        raise PhotoError("unreadable", os.strerror(error.errno or 0)) from None
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
        source = image.size
        turned = _orientation(image) if image.format == "TIFF" else 1  # loading turns it; its size is upright before
        _draft(image, limits.size)
        image.load()  # verify() passes most damaged files; only a full load counts, and only the first on an object
        turn = _orientation(image)
        if turn != 1:
            image = image.transpose(_TURNS[turn])
        image, conversions = srgb.to_srgb(image)
        return fit(image, limits.size, source[::-1] if turn >= 5 else source, max(turned, turn), conversions)
    except MemoryError:
        raise PhotoError("too-large", f"{image.width}x{image.height} does not fit in memory") from None
    except Exception as error:  # Pillow raises ValueError, SyntaxError, TypeError, struct.error ... on damaged files
        raise PhotoError("damaged", f"{type(error).__name__}: {error}") from None


def _header(data: bytes) -> Image.Image:
    try:
        with _header_lock:  # Pillow's own limit is global; ours (_check_size) depends on the format
            limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            try:
                return Image.open(BytesIO(data), formats=_formats())
            finally:
                Image.MAX_IMAGE_PIXELS = limit
    except UnidentifiedImageError:
        raise _unidentified(data) from None
    except Exception as error:
        raise PhotoError("damaged", f"{type(error).__name__}: {error}") from None


@cache
def _formats() -> list[str]:
    """Return those of FORMATS that this Pillow reads."""
    with suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def _unidentified(data: bytes) -> PhotoError:
    start = data[:16].ljust(16, b"\0")
    for name in _formats():
        recognises = Image.OPEN[name][1]
        if recognises and recognises(start) is True:
            return PhotoError("damaged", f"begins like {name}, but its header is broken or cut short")
    if start[4:12] in (b"ftypheic", b"ftypheix", b"ftyphevc", b"ftypmif1", b"ftypheif"):
        return PhotoError("not-a-photo", "HEIC. Type: pip install pillow-heif, then build with --retry-rejected")
    if start[:1] == b"<":
        return PhotoError("not-a-photo", "text that begins with '<' (a saved web page?)")
    return PhotoError("not-a-photo", f"no known picture format; begins with {data[:8]!r}")


def _check_size(image: Image.Image, limits: Limits) -> None:
    width, height = image.size
    if min(width, height) < limits.min_size:
        raise PhotoError("too-small", f"{width}x{height}; the short side must have {limits.min_size} pixels")
    draftable = image.format in ("JPEG", "MPO") and "progressive" not in image.info  # that is decoded whole in any case
    most = max(limits.max_megapixels, JPEG_MEGAPIXELS) if draftable else limits.max_megapixels
    if width * height > most * 1e6:
        raise PhotoError("too-large", f"{width}x{height}; at most {most:g} megapixels for {image.format}")


def _draft(image: Image.Image, size: int) -> None:
    """Let JPEG decode at a fraction, at least twice the target so that the final scaling stays sharp."""
    if image.format in ("JPEG", "MPO") and min(image.size) >= 4 * size:
        scale = 2 * size / min(image.size)
        image.draft(image.mode, (round(image.width * scale), round(image.height * scale)))


def _orientation(image: Image.Image) -> int:
    """Return the EXIF (or XMP) orientation, 1 to 8. Load a PNG first: reading its EXIF loads it, damaged or not."""
    try:
        found = int(image.getexif().get(0x0112, 1))
    except Exception:  # broken EXIF is no reason to lose the photo
        return 1
    return found if found in _TURNS else 1
