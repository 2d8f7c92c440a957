"""Finding photos in folders, and decoding them to upright sRGB at the training size, with a reason for each failure."""

import errno
import math
import os
import stat
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
    "unreadable": "the operating system refused to read it",
    "not-a-file": "a folder, pipe or device, not a file",
    "empty": "zero bytes",
    "not-a-photo": "not an image format that segkit reads",
    "damaged": "truncated or corrupt",
    "too-small": "short side below min_size",
    "too-large": "above max_megapixels, or too large for memory",
    "identical": "byte-identical to another photo",
    "near-duplicate": "looks like another photo (allowed by keep_duplicates)",
}
"""Reasons to reject a photo: the closed list used in rejected.jsonl."""

FORMATS = (
    "JPEG", "MPO", "PNG", "WEBP", "TIFF", "BMP", "DIB", "GIF", "AVIF", "HEIF", "JPEG2000", "PPM", "QOI", "PSD", "PCX",
    "SGI", "TGA",
)  # fmt: skip
"""Formats that Image.open may try, in this order. TGA has no signature, so it comes last. EPS is left out because its
reader would run Ghostscript on any PostScript file that is named .jpg."""

SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .mpo .png .apng .webp .tif .tiff .bmp .dib .gif .avif .avifs .heic .heics .heif .heifs .hif "
    ".jp2 .j2k .jpf .jpx .j2c .jpc .ppm .pgm .pbm .pnm .qoi .psd .pcx .sgi .tga".split()
)
JPEG_MEGAPIXELS = 250
"""Limit for baseline JPEG, which decodes at 1/2, 1/4 or 1/8 scale, so that 200-megapixel phone photos fit in memory."""

_TRANSPOSES = {
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


def find(folder: Path, exclude: Path | None = None) -> Iterator[Path]:
    """Yield all paths below a folder that have the suffix of a photo, sorted.

    Hidden files and folders, datasets, and symbolic links to folders that are visited anyway are skipped. Nothing else
    is dropped silently: a folder or pipe with the suffix of a photo is yielded, and so is a folder that cannot be
    listed; `read` refuses them with a reason.

    Args:
        folder: folder to search.
        exclude: folder to skip, such as the dataset being written.
    """
    paths = set(_walk(folder, exclude.resolve() if exclude else None))
    yield from sorted(paths, key=lambda path: path.relative_to(folder).as_posix())


def _walk(root: Path, exclude: Path | None) -> Iterator[Path]:
    queue, visited = deque([root]), {exclude}
    while queue:
        folder = queue.popleft()
        real = folder.resolve()  # links may form cycles
        if real in visited:
            continue
        visited.add(real)
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
                # links come after all real folders, so that photos are found under their real paths
                queue.insert(len(queue) if entry.is_symlink() else 0, path)


def _visible(folder: Path) -> list["os.DirEntry[str]"]:
    entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    is_dataset = any(entry.name == ".segkit" for entry in entries)
    return [entry for entry in entries if not entry.name.startswith(".") and not is_dataset]


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        return error.errno == errno.EACCES  # a link into a folder without permission, as opposed to a link to itself


def read(path: Path, max_bytes: float = math.inf) -> bytes:
    """Read the bytes of a photo.

    Args:
        path: file to read.
        max_bytes: larger files are refused.

    Raises:
        PhotoError: "unreadable", "not-a-file" (opening a named pipe would block), "too-large" or "empty".
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
        raise PhotoError("unreadable", os.strerror(error.errno or 0)) from None
    if not data:
        raise PhotoError("empty", "0 bytes")
    return data


def open_photo(data: bytes, limits: Limits) -> Photo:
    """Decode a photo completely and fit it: upright, 8-bit sRGB.

    EXIF orientation and ICC profile are applied, transparency is composited over white, 16-bit and float pictures are
    scaled to 8 bits, and of an animation the first frame is used. No other exception than PhotoError is raised.

    Args:
        data: content of the file.
        limits: sizes to accept and to produce.

    Raises:
        PhotoError: with a reason from REASONS.
    """
    image, source, orientation, conversions = _decode(data, limits)
    with _photo_errors(image):
        return fit(image, limits.size, source, orientation, conversions)


def open_upright(data: bytes) -> Image.Image:
    """Decode a photo completely at full size: upright, 8-bit sRGB, by the rules of `open_photo`.

    Raises:
        PhotoError: with a reason from REASONS.
    """
    return _decode(data, Limits(min_size=1, size=1_000_000))[0]


def _decode(data: bytes, limits: Limits) -> tuple[Image.Image, tuple[int, int], int, tuple[str, ...]]:
    """Return a photo, the size of its upright source, its EXIF orientation, and the colour conversions applied."""
    image = _header(data)
    _check_size(image, limits)
    with _photo_errors(image):
        source = image.size
        # Pillow rotates a TIFF on load() and drops its orientation; its size is upright from the start.
        applied_by_load = _orientation(image) if image.format == "TIFF" else 1
        _draft(image, limits.size)
        # verify() accepts most damaged files, so load everything. Only the first load() of an object can be trusted:
        # after a failure the second may return half a picture.
        image.load()
        orientation = _orientation(image)
        if orientation != 1:
            image = image.transpose(_TRANSPOSES[orientation])
        image, conversions = srgb.to_srgb(image)
        upright_size = source[::-1] if orientation >= 5 else source
        return image, upright_size, max(applied_by_load, orientation), conversions


@contextmanager
def _photo_errors(image: Image.Image) -> Iterator[None]:
    """Raise whatever Pillow raises as a PhotoError."""
    try:
        yield
    except MemoryError:
        raise PhotoError("too-large", f"{image.width}x{image.height} does not fit in memory") from None
    except Exception as error:  # damaged files make Pillow raise ValueError, SyntaxError, TypeError, struct.error ...
        raise PhotoError("damaged", f"{type(error).__name__}: {error}") from None


def _header(data: bytes) -> Image.Image:
    try:
        with _header_lock:  # Pillow's limit is global and must be restored; ours (_check_size) depends on the format
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
    """Return the members of FORMATS that the installed Pillow reads."""
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
        return PhotoError("not-a-photo", "HEIC. Run: pip install pillow-heif, then build with retry_rejected")
    if start[:1] == b"<":
        return PhotoError("not-a-photo", "text that begins with '<' (a saved web page?)")
    return PhotoError("not-a-photo", f"unknown image format; begins with {data[:8]!r}")


def _check_size(image: Image.Image, limits: Limits) -> None:
    width, height = image.size
    if min(width, height) < limits.min_size:
        raise PhotoError("too-small", f"{width}x{height}; the short side must have {limits.min_size} pixels")
    # progressive JPEG holds all coefficients in memory, even when it is decoded at a fraction
    draftable = image.format in ("JPEG", "MPO") and "progressive" not in image.info
    limit = max(limits.max_megapixels, JPEG_MEGAPIXELS) if draftable else limits.max_megapixels
    if width * height > limit * 1e6:
        raise PhotoError("too-large", f"{width}x{height}; at most {limit:g} megapixels for {image.format}")


def _draft(image: Image.Image, size: int) -> None:
    """Let libjpeg decode at a fraction, at least twice the target so that the final scaling stays sharp."""
    if image.format in ("JPEG", "MPO") and min(image.size) >= 4 * size:
        scale = 2 * size / min(image.size)
        image.draft(image.mode, (round(image.width * scale), round(image.height * scale)))


def upright(image: Image.Image) -> Image.Image:
    """Return a picture, already loaded, with its EXIF orientation applied."""
    orientation = _orientation(image)
    return image if orientation == 1 else image.transpose(_TRANSPOSES[orientation])


def _orientation(image: Image.Image) -> int:
    """Return the EXIF (or XMP) orientation, 1 to 8. Load a PNG first: reading its EXIF would load it unchecked."""
    try:
        orientation = int(image.getexif().get(0x0112, 1))
    except Exception:  # broken EXIF is not a reason to reject the photo
        return 1
    return orientation if orientation in _TRANSPOSES else 1
