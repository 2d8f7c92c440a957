"""Reading photos and decoding them to upright sRGB at the training size, with a reason for each failure."""

import errno
import math
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path

from PIL import Image, UnidentifiedImageError, features

from segkit.errors import PhotoError
from segkit.photos import frames, hdr, quality, signatures, srgb, tiff
from segkit.photos.geometry import TRANSPOSES, Decoded, Photo, fit, turned
from segkit.photos.search import SUFFIXES

GONE = "gone"
"""Reason of a photo that was found, and no longer is there when it is read. Nothing is recorded about it."""

REASONS = {
    "unreadable": "the operating system refused to read it",
    "not-a-file": "a folder, pipe or device, not a file",
    "empty": "zero bytes",
    "not-a-photo": "not an image format that segkit reads",
    "damaged": "truncated or corrupt",
    "too-small": "short side below min_size=PIXELS",
    "too-large": "above max_megapixels=NUMBER, or too large for memory",
    "hdr": "high dynamic range (PQ or HLG), which is not sRGB",
    "identical": "byte-identical to another photo",
    "crashed-worker": "worker processes died of it (tried again by retry_rejected=True)",
    "near-duplicate": "looks like another photo (allowed by keep_duplicates=True)",
    "unknown-ending": "a picture whose name does not end like one",
    "thumbnail": "thumbnail or other data of a NAS, a phone or a desktop",
    "hidden": "hidden file",
    "link-outside": "link that leads out of the folder (allowed by follow_links=True)",
    "mask": "control map of a photo in a folder beside it",
    "dataset": "a segkit dataset",
    "other-file": "not a picture",
    GONE: "deleted or moved while the dataset was built",
}
"""Reasons to leave out a file: but for GONE the closed list used in rejected.jsonl."""

SKIPPED = ("thumbnail", "hidden", "link-outside", "mask", "dataset", "other-file", GONE)
"""Reasons for which a file counts as skipped instead of rejected: nothing is wrong with it as a photo."""

FORMATS = (
    "JPEG", "MPO", "PNG", "WEBP", "TIFF", "BMP", "DIB", "GIF", "AVIF", "HEIF", "JPEG2000", "PPM", "QOI", "PSD", "PCX",
    "SGI", "TGA",
)  # fmt: skip
"""Formats that Image.open may try, in this order. TGA has no signature, so it comes last. EPS is left out because its
reader would run Ghostscript on any PostScript file that is named .jpg."""

_OF_GONE = frozenset(
    (errno.ENOENT, errno.ENOTDIR, errno.ESTALE, errno.ENODEV, errno.ENXIO, errno.ENOTCONN, errno.EHOSTDOWN,
     errno.EHOSTUNREACH, errno.ETIMEDOUT)
)  # fmt: skip
"""What systems say of a file that was deleted, or whose disk was unmounted or disconnected."""

JPEG_MEGAPIXELS = 250
"""Limit for baseline JPEG, which decodes at 1/2, 1/4 or 1/8 scale, so that 200-megapixel phone photos fit in memory."""

_header_lock = threading.Lock()


@dataclass(frozen=True)
class Limits:
    """Sizes to accept and to produce.

    Attributes:
        min_size: minimum short side in pixels.
        max_megapixels: maximum area; baseline JPEG may have JPEG_MEGAPIXELS regardless.
        size: target length of the short side in pixels.
    """

    min_size: int = 384
    max_megapixels: float = 90
    size: int = 512

    @property
    def max_bytes(self) -> int:
        """Maximum file size: 8 bytes a pixel, as in uncompressed 16-bit RGBA."""
        return int(max(8 * self.max_megapixels, JPEG_MEGAPIXELS) * 1e6)


def read(path: Path, max_bytes: float = math.inf) -> bytes:
    """Read the bytes of a photo.

    Args:
        path: file to read.
        max_bytes: larger files are refused.

    Raises:
        PhotoError: GONE, "unreadable", "not-a-file" (opening a named pipe would block), "too-large" or "empty".
    """
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode) and path.suffix.lower() not in SUFFIXES:
            raise PhotoError("unreadable", "a folder that cannot be listed")
        if not stat.S_ISREG(status.st_mode):
            raise PhotoError("not-a-file", "a folder, pipe or device with the name of a photo")
        if status.st_size > max_bytes:
            raise PhotoError("too-large", f"{status.st_size / 1e6:,.0f} MB; at most {max_bytes / 1e6:,.0f} MB")
        data = path.read_bytes()
    except OSError as error:
        is_gone = error.errno in _OF_GONE and not path.is_symlink()  # a link may lead nowhere from the start
        raise PhotoError(GONE if is_gone else "unreadable", os.strerror(error.errno or 0)) from None
    if not data:
        raise PhotoError("empty", "0 bytes")
    return data


def open_photo(data: bytes, limits: Limits) -> Photo:
    """Decode a photo completely and fit it: upright, 8-bit sRGB.

    EXIF orientation and ICC profile are applied, transparency is composited over white, 16-bit and float pictures are
    scaled to 8 bits. Of an animation the first frame is used, of a TIFF the first page that is not a thumbnail, and
    that is recorded among the conversions. No other exception than PhotoError is raised.

    Args:
        data: content of the file.
        limits: sizes to accept and to produce.

    Raises:
        PhotoError: with a reason from REASONS.
    """
    decoded = decode(data, limits)
    with _damage(decoded.image.size):
        return fit(decoded, limits.size)


def open_upright(data: bytes) -> Image.Image:
    """Decode a photo completely at full size: upright, 8-bit sRGB, by the rules of `open_photo`.

    Raises:
        PhotoError: with a reason from REASONS.
    """
    decoded = decode(data, Limits(min_size=1, size=1_000_000))
    with _damage(decoded.image.size):
        return turned(srgb.to_srgb(decoded.image)[0], decoded.orientation)


def decode(data: bytes, limits: Limits) -> Decoded:
    """Decode a photo completely, at least at twice the size to fit it to; see `open_photo`.

    Raises:
        PhotoError: with a reason from REASONS.
    """
    image, data, frame = _header(data)
    if isinstance(image, tiff.DeepPage):
        return _decode_deep(image, frame, limits)
    _check_size(image.size, limits, image)
    if hdr_curve := hdr.curve(image, data):
        raise PhotoError("hdr", f"{image.format} with the {hdr_curve} curve; convert it to SDR (8-bit sRGB)")
    with _damage(image.size):
        source = image.size
        frame = frame or frames.position(image, data)
        # Pillow rotates a TIFF on load() and drops its orientation; its size is upright from the start.
        applied_by_load = _orientation(image) if image.format == "TIFF" else 1
        covered = _draft(image, limits.size)
        # verify() accepts most damaged files, so load everything. Only the first load() of an object can be trusted:
        # after a failure the second may return half a picture.
        image.load()
        detail = quality.coarseness(image, data)
        orientation = _orientation(image)
        image, conversions = srgb.to_plain(image)
        applied = (frame, *conversions) if frame else conversions
        return Decoded(image, source, covered, orientation, applied_by_load, applied, detail)


def _decode_deep(page: tiff.DeepPage, frame: str, limits: Limits) -> Decoded:
    """Decode a TIFF that Pillow does not read."""
    _check_size(page.size, limits)
    with _damage(page.size):
        image, conversion = page.read()
        plain, conversions = srgb.to_plain(image)
        applied = tuple(filter(None, (frame, conversion, *conversions)))
        return Decoded(plain, orientation=page.orientation, conversions=applied)


@contextmanager
def _damage(size: tuple[int, int]) -> Iterator[None]:
    """Translate what damaged files make Pillow raise: ValueError, SyntaxError, TypeError, struct.error ..."""
    try:
        yield
    except PhotoError:
        raise
    except MemoryError:
        raise PhotoError("too-large", f"{size[0]}x{size[1]} does not fit in memory") from None
    except Exception as error:
        raise PhotoError("damaged", f"{type(error).__name__}: {error}") from None


def _header(data: bytes) -> tuple[Image.Image | tiff.DeepPage, bytes, str]:
    """Open a photo without decoding it.

    Returns:
        The picture, or a page of a TIFF that Pillow does not read; the data, with that page in the first place; and
        which frame it is, if that is known already.
    """
    frame = ""
    if tiff.is_tiff(data):
        if meaning := signatures.unreadable(data[: signatures.HEAD]):
            raise PhotoError("not-a-photo", meaning)
        data, frame = tiff.picture(data)
        if tiff.is_misread(data) and (page := tiff.deep_page(data)):
            return page, data, frame
    try:
        with _header_lock:  # Pillow's limit is global and must be restored; ours (_check_size) depends on the format
            limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            try:
                return Image.open(BytesIO(data), formats=_formats()), data, frame
            finally:
                Image.MAX_IMAGE_PIXELS = limit
    except UnidentifiedImageError:
        if tiff.is_tiff(data) and (page := tiff.deep_page(data)):
            return page, data, frame
        raise _unidentified(data) from None
    except Exception as error:
        raise PhotoError("damaged", f"{type(error).__name__}: {error}") from None


@cache
def _formats() -> list[str]:
    """Return the members of FORMATS that the installed Pillow reads."""
    with suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def _unidentified(data: bytes) -> PhotoError:
    head = data[: signatures.HEAD]
    if package := _missing_package(brand := signatures.brand(head)):
        return PhotoError("not-a-photo", f"{brand}. Run: pip install {package}, then build with retry_rejected")
    if meaning := signatures.unreadable(head):
        return PhotoError("not-a-photo", meaning)
    if kind := _begins_like(head):
        return PhotoError("damaged", f"begins like {kind}, but its header is broken or cut short")
    return PhotoError("not-a-photo", f"unknown image format; begins with {data[:8]!r}")


def _missing_package(brand: str) -> str:
    """Return what pip must install so that Pillow reads a brand of ISO media files; "" if nothing is missing."""
    if brand == "HEIC" and "HEIF" not in _formats():
        return "pillow-heif"
    return "--upgrade pillow" if brand == "AVIF" and not features.check("avif") else ""


def _begins_like(head: bytes) -> str:
    """Return the format that the first bytes announce; "" if none does."""
    if kind := signatures.readable(head):
        return kind[0]
    tests = ((name, Image.OPEN[name][1]) for name in _formats())
    return next(
        (name for name, recognises in tests if recognises and recognises(head[:16].ljust(16, b"\0")) is True), ""
    )


def _check_size(size: tuple[int, int], limits: Limits, image: Image.Image | None = None) -> None:
    width, height = size
    if min(width, height) < limits.min_size:
        raise PhotoError("too-small", f"{width}x{height}; the short side must have {limits.min_size} pixels")
    picture_format = image.format if image else "TIFF"
    # progressive JPEG holds all coefficients in memory, even when it is decoded at a fraction
    draftable = image and picture_format in ("JPEG", "MPO") and "progressive" not in image.info
    limit = max(limits.max_megapixels, JPEG_MEGAPIXELS) if draftable else limits.max_megapixels
    if width * height > limit * 1e6:
        raise PhotoError("too-large", f"{width}x{height}; at most {limit:g} megapixels for {picture_format}")


def _draft(image: Image.Image, size: int) -> tuple[float, float] | None:
    """Let libjpeg decode at a fraction, at least twice the target so that the final scaling stays sharp.

    At 1.5 times the target, a fifth of the energy of the finest details would be lost.

    Returns:
        Width and height, in decoded pixels, of what shows the photo; None if it is decoded at its full size.
    """
    if image.format in ("JPEG", "MPO") and min(image.size) >= 4 * size:
        scale = 2 * size / min(image.size)
        drafted = image.draft(image.mode, (round(image.width * scale), round(image.height * scale)))
        return drafted[1][2:] if drafted else None
    return None


def upright(image: Image.Image) -> Image.Image:
    """Return a picture, already loaded, with its EXIF orientation applied."""
    return turned(image, _orientation(image))


def _orientation(image: Image.Image) -> int:
    """Return the EXIF (or XMP) orientation, 1 to 8. Load a PNG first: reading its EXIF would load it unchecked."""
    try:
        orientation = int(image.getexif().get(0x0112, 1))
    except Exception:  # broken EXIF is not a reason to reject the photo
        return 1
    return orientation if orientation in TRANSPOSES else 1
