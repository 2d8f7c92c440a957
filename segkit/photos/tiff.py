"""TIFF beyond Pillow: pages after a thumbnail, and colour in floats or more than 16 bits."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile

from segkit.errors import PhotoError
from segkit.photos import frames, srgb

_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_REDUCED, _MASK = 1, 4  # bits of NewSubfileType
_PAGES = 10_000
_THUMBNAIL = 4
"""A first page is taken for a thumbnail if a later one of its shape has this many times its pixels."""

# Tags of TIFF 6.0 and its supplements.
_SUBFILE, _OLD_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 254, 255, 256, 257, 258, 259, 262
_STRIPS, _ORIENTATION, _SAMPLES, _ROWS, _STRIP_BYTES, _PLANAR, _PREDICTOR = 273, 274, 277, 278, 279, 284, 317
_TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES, _SUB_IFDS, _EXTRA, _FORMAT = 322, 323, 324, 325, 330, 338, 339
_PROFILE = 34675

_COMPRESSIONS = (1, 5, 8, 32773, 32946, 34925, 50000)  # none, LZW, deflate, PackBits, deflate, LZMA, Zstandard
_RAW_PHOTOMETRIC = (32803, 34892)  # colour filter array, linear raw


def is_tiff(data: bytes) -> bool:
    """Report whether data begins like a TIFF or BigTIFF."""
    return data.startswith(_MAGIC)


def picture(data: bytes) -> tuple[bytes, str]:
    """Find the page of a TIFF that is the photo: the first one, but not a thumbnail that precedes the picture.

    Returns:
        The file with this page in the first place, and the word that records it; see frames.word.

    Raises:
        PhotoError: there is only a thumbnail, and the picture is where raw converters look for it.
    """
    try:
        pages = _pages(data)
    except Exception:  # a damaged directory; Pillow says what is wrong with it
        pages = []
    if not pages:
        return data, ""
    kinds = [int(page.get(_SUBFILE, 0)) | (page.get(_OLD_SUBFILE) == 2) for _, page in pages]
    whole = [index for index, kind in enumerate(kinds) if not kind & (_REDUCED | _MASK)]
    if not whole and any(_SUB_IFDS in page for _, page in pages):
        raise PhotoError("not-a-photo", "a TIFF that holds a thumbnail of camera raw data; convert it to JPEG or PNG")
    chosen = _largest_of_a_shape([_size(page) for _, page in pages], whole or list(range(len(pages))))
    if chosen:
        data = _with_first_page(data, pages[chosen][0])
    return data, frames.word(chosen, len(pages))


def _largest_of_a_shape(sizes: list[tuple[int, int]], candidates: list[int]) -> int:
    chosen = candidates[0]
    for index in candidates[1:]:
        (width, height), (first_width, first_height) = sizes[index], sizes[chosen]
        same_shape = abs(width * first_height - height * first_width) <= 0.05 * width * first_height
        if same_shape and width * height >= _THUMBNAIL * first_width * first_height:
            chosen = index
    return chosen


def _is_big(data: bytes) -> bool:
    return data[2:3] == b"+" or data[3:4] == b"+"


def _pages(data: bytes, most: int = _PAGES) -> list[tuple[int, ImageFileDirectory_v2]]:
    """Return offset and tags of each page. A list that ends in a loop or damage is cut there."""
    header = data[: 16 if _is_big(data) else 8]
    offset = ImageFileDirectory_v2(header).next
    pages: dict[int, ImageFileDirectory_v2] = {}
    file = BytesIO(data)
    while offset and offset not in pages and offset < len(data) and len(pages) < most:
        page = ImageFileDirectory_v2(header)
        file.seek(offset)
        page.load(file)
        if _WIDTH not in page or _HEIGHT not in page:
            break
        pages[offset] = page
        offset = page.next
    return list(pages.items())


def _size(page: Mapping[int, Any]) -> tuple[int, int]:
    return int(page[_WIDTH]), int(page[_HEIGHT])


def _with_first_page(data: bytes, offset: int) -> bytes:
    order = "<" if data[:1] == b"I" else ">"
    place, kind = (8, "Q") if _is_big(data) else (4, "I")
    field = struct.pack(order + kind, offset)
    return data[:place] + field + data[place + len(field) :]


@dataclass(frozen=True)
class DeepPage:
    """A page in floats, or in integers that Pillow does not read.

    Attributes:
        size: width and height as stored.
        orientation: value of the tag, 1 to 8.
        profile: ICC profile, if there is one.
    """

    size: tuple[int, int]
    orientation: int
    profile: bytes | None
    _data: bytes
    _tags: Mapping[int, Any]

    def read(self) -> tuple[Image.Image, str]:
        """Return the picture in mode L or RGB, or with alpha, and the conversion from srgb.CONVERSIONS.

        Raises:
            ValueError: no value is finite.
        """
        values = _planes(self._data, self._tags)
        colors = values[..., : _colors(self._tags)]
        grey, conversion = srgb.scale(colors.squeeze(-1) if colors.shape[-1] == 1 else colors)
        if self._tags.get(_PHOTOMETRIC) == 0:  # white is zero
            grey = 255 - grey
        image = Image.fromarray(grey)
        extra = self._tags.get(_EXTRA, (0,))[0]
        if extra in (1, 2) and values.shape[-1] > colors.shape[-1]:
            image = _with_alpha(image, values[..., colors.shape[-1]], premultiplied=extra == 1)
        image.info["icc_profile"] = self.profile
        return image, conversion


def _with_alpha(image: Image.Image, alpha: NDArray[Any], premultiplied: bool) -> Image.Image:
    top = np.iinfo(alpha.dtype).max if alpha.dtype.kind in "iu" else 1
    share = np.nan_to_num(alpha.astype(np.float32) / np.float32(top)).clip(0, 1)
    image = image.convert("RGB")
    image.putalpha(Image.fromarray((share * 255).round().astype(np.uint8)))
    if premultiplied:
        image = Image.frombytes("RGBa", image.size, image.tobytes()).convert("RGBA")
    return image


def is_misread(data: bytes) -> bool:
    """Report whether Pillow would scramble the first page in silence: planes of 16 bits without compression."""
    try:
        _, tags = _pages(data, 1)[0]
        return int(tags.get(_PLANAR, 1)) == 2 and int(tags.get(_COMPRESSION, 1)) == 1 and max(tags[_BITS]) > 8
    except Exception:  # a damaged directory; Pillow says what is wrong with it
        return False


def deep_page(data: bytes) -> DeepPage | None:
    """Return the first page of a TIFF that Pillow does not read; None if its directory is damaged.

    Raises:
        PhotoError: its kind of pixels is not supported; the message says what it is.
    """
    try:
        _, tags = _pages(data, 1)[0]
        size = _size(tags)
        _dtype(tags)
    except Exception:
        return None
    kind = {1: "unsigned integers", 2: "signed integers", 3: "floats"}.get(_sample_format(tags), "numbers")
    bits, samples, compression = tags[_BITS], int(tags.get(_SAMPLES, 1)), int(tags.get(_COMPRESSION, 1))
    if tags.get(_PHOTOMETRIC) in _RAW_PHOTOMETRIC:
        raise PhotoError("not-a-photo", "camera raw; convert it to JPEG, PNG or TIFF, for example with darktable-cli")
    if _dtype(tags) is None or not _colors(tags) or compression not in _COMPRESSIONS:
        raise PhotoError(
            "not-a-photo",
            f"a TIFF of {bits[0]}-bit {kind}, {samples} to a pixel, compression {compression}, which segkit does not "
            "read; convert it to RGB of 8 or 16 bits",
        )
    orientation = int(tags.get(_ORIENTATION, 1))
    return DeepPage(size, orientation if 1 <= orientation <= 8 else 1, tags.get(_PROFILE), data, tags)


def _sample_format(tags: Mapping[int, Any]) -> int:
    return int(tags.get(_FORMAT, (1,))[0])


def _colors(tags: Mapping[int, Any]) -> int:
    """Return the number of colour channels; 0 if they are neither grey nor RGB."""
    number = {0: 1, 1: 1, 2: 3}.get(int(tags.get(_PHOTOMETRIC, -1)), 0)
    return number if number <= int(tags.get(_SAMPLES, 1)) else 0


def _dtype(tags: Mapping[int, Any]) -> np.dtype[Any] | None:
    """Return the type of a sample in native byte order; None if NumPy has no such type or samples differ."""
    kinds, bits = {1: "u", 2: "i", 3: "f"}, tags[_BITS]
    kind = kinds.get(_sample_format(tags))
    if kind is None or len(set(bits)) > 1 or len(set(tags.get(_FORMAT, (1,)))) > 1:
        return None
    known = (16, 32, 64) if kind == "f" else (8, 16, 32)
    return np.dtype(f"{kind}{bits[0] // 8}") if bits[0] in known else None


def _planes(data: bytes, tags: Mapping[int, Any]) -> NDArray[Any]:
    """Return the samples, (H, W, samples)."""
    samples = int(tags.get(_SAMPLES, 1))
    places = tags[_TILES if _TILES in tags else _STRIPS]
    if int(tags.get(_PLANAR, 1)) == 1 or samples == 1:
        return _samples(data, tags, places, 0, samples)
    each = len(places) // samples
    return np.concatenate(
        [_samples(data, tags, places[i * each : (i + 1) * each], i * each, 1) for i in range(samples)], axis=-1
    )


def _samples(data: bytes, tags: Mapping[int, Any], places: tuple[int, ...], first: int, samples: int) -> NDArray[Any]:
    """Decode strips or tiles. Pillow decompresses them as 8-bit grey, as wide as a row has bytes."""
    dtype = _dtype(tags)
    assert dtype is not None  # deep_page has refused it
    width, height = _size(tags)
    tiled = _TILES in tags
    row = int(tags[_TILE_WIDTH]) if tiled else width
    across = -(-width // row)
    pixel = dtype.itemsize * samples
    sizes = tags[_TILE_BYTES if tiled else _STRIP_BYTES][first : first + len(places)]
    page: dict[int, tuple[int, ...]] = {
        _WIDTH: (across * row * pixel,),
        _HEIGHT: (height,),
        _BITS: (8,),
        _PHOTOMETRIC: (1,),
        _SAMPLES: (1,),
    }
    page[_COMPRESSION] = (int(tags.get(_COMPRESSION, 1)),)
    if tiled:
        page |= {_TILE_WIDTH: (row * pixel,), _TILE_HEIGHT: (int(tags[_TILE_HEIGHT]),)}
        page |= {_TILES: places, _TILE_BYTES: sizes}
    else:
        page |= {_STRIPS: places, _STRIP_BYTES: sizes, _ROWS: (min(int(tags.get(_ROWS, height)), height),)}
    with TiffImageFile(BytesIO(_with_page(data, page))) as image:
        coded = np.asarray(image).reshape(height, across, row * pixel)
    values = _unpredicted(coded, int(tags.get(_PREDICTOR, 1)), dtype, samples, data[:1] == b"I")
    return values.reshape(height, across * row, samples)[:, :width]


def _with_page(data: bytes, tags: Mapping[int, tuple[int, ...]]) -> bytes:
    """Return a TIFF with the pixel data of another one, and one page with these tags, all of type LONG.

    Not ImageFileDirectory_v2.tobytes: it moves the offsets of strips.
    """
    order = "<" if data[:1] == b"I" else ">"
    start = len(data) + len(data) % 2
    end = start + 2 + 12 * len(tags) + 4
    entries, values = b"", b""
    for tag in sorted(tags):
        packed = struct.pack(f"{order}{len(tags[tag])}I", *tags[tag])
        field = packed if len(packed) == 4 else struct.pack(order + "I", end + len(values))
        values += b"" if len(packed) == 4 else packed
        entries += struct.pack(order + "HHI", tag, 4, len(tags[tag])) + field
    page = struct.pack(order + "H", len(tags)) + entries + bytes(4)
    header = struct.pack(order + "2sHI", data[:2], 42, start)  # a BigTIFF becomes a TIFF; its strips stay in place
    return b"".join((header, data[8:].ljust(start - 8, b"\0"), page, values))


def _unpredicted(
    coded: NDArray[np.uint8], predictor: int, dtype: np.dtype[Any], samples: int, little: bool
) -> NDArray[Any]:
    """Undo the predictor of the rows of strips or tiles: differences of samples (2), or of their sorted bytes (3)."""
    height, across, _ = coded.shape
    if predictor == 3:  # Adobe Photoshop TIFF Technical Note 3
        summed = coded.reshape(height, across, -1, samples).cumsum(axis=2, dtype=np.uint8)
        planes = summed.reshape(height, across, dtype.itemsize, -1)  # most significant bytes of a row first
        return np.ascontiguousarray(planes.swapaxes(2, 3)).view(dtype.newbyteorder(">")).astype(dtype)
    values = coded.view(dtype.newbyteorder("<" if little else ">")).astype(dtype)
    if predictor == 2:
        integers = values.view(f"u{dtype.itemsize}").reshape(height, across, -1, samples)
        values = integers.cumsum(axis=2, dtype=integers.dtype).view(dtype)
    return values
