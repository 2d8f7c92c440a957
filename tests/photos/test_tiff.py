"""TIFF beyond Pillow: colour in floats, and pages after a thumbnail."""

import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from segkit import photos
from segkit.errors import PhotoError
from segkit.photos import Limits
from segkit.toy import world

TINY = Limits(min_size=8, size=256)


def scene() -> NDArray[np.uint8]:
    """Return the pixels of a rendered photo, (96, 128, 3)."""
    return np.asarray(world.scene(4, (128, 96)).photo)


def predicted(rows: NDArray[Any], predictor: int, order: str) -> bytes:
    """Encode rows of samples, (H, W, samples), as a strip or tile with a predictor."""
    if predictor == 2:
        integers = rows.view(f"u{rows.dtype.itemsize}")
        rows = np.diff(integers, axis=1, prepend=integers[:, :1] * 0).view(rows.dtype)
    if predictor == 3:
        size, samples = rows.dtype.itemsize, rows.shape[2]
        planes = rows.astype(rows.dtype.newbyteorder(">")).reshape(len(rows), -1).view(np.uint8)
        sorted_bytes = planes.reshape(len(rows), -1, size).swapaxes(1, 2).reshape(len(rows), -1, samples)
        return np.diff(sorted_bytes, axis=1, prepend=sorted_bytes[:, :1] * 0).tobytes()
    return rows.astype(f"{order}{rows.dtype.kind}{rows.dtype.itemsize}").tobytes()


def blocks(values: NDArray[Any], tile: int) -> list[NDArray[Any]]:
    """Divide a picture into strips of 17 rows, or into square tiles padded with zeros."""
    if not tile:
        return [values[top : top + 17] for top in range(0, len(values), 17)]
    padded = np.pad(values, [(0, -values.shape[0] % tile), (0, -values.shape[1] % tile), (0, 0)])
    return [
        padded[top : top + tile, left : left + tile]
        for top in range(0, padded.shape[0], tile)
        for left in range(0, padded.shape[1], tile)
    ]


def directory(tags: dict[int, Any], start: int, order: str, following: int = 0) -> bytes:
    """Return a page's directory, to lie at a place in the file; numbers become LONG, bytes UNDEFINED."""
    end = start + 2 + 12 * len(tags) + 4
    entries, values = b"", b""
    for tag in sorted(tags):
        value = tags[tag] if isinstance(tags[tag], tuple | bytes) else (tags[tag],)
        packed = value if isinstance(value, bytes) else struct.pack(f"{order}{len(value)}I", *value)
        entries += struct.pack(order + "HHI", tag, 7 if isinstance(value, bytes) else 4, len(value))
        entries += packed.ljust(4, b"\0") if len(packed) <= 4 else struct.pack(order + "I", end + len(values))
        values += packed if len(packed) > 4 else b""
    return struct.pack(order + "H", len(tags)) + entries + struct.pack(order + "I", following) + values


def deep_tiff(values: NDArray[Any], order: str = "<", tile: int = 0, tags: dict[int, Any] | None = None) -> bytes:
    """Write samples (H, W, C) of any depth as a TIFF in strips of 17 rows or in tiles; tags by number."""
    (height, width, samples), tags = values.shape, {259: 1, 284: 1, 317: 1, **(tags or {})}
    planes = [values] if tags[284] == 1 else [values[..., channel : channel + 1] for channel in range(samples)]
    parts = [predicted(block, tags[317], order) for plane in planes for block in blocks(plane, tile)]
    parts = [zlib.compress(part) for part in parts] if tags[259] == 8 else parts
    offsets = np.cumsum([8, *map(len, parts)]).tolist()
    page: dict[int, Any] = {256: width, 257: height, 258: (values.dtype.itemsize * 8,) * samples, 277: samples}
    page |= {262: 2 if samples >= 3 else 1, 339: ({"u": 1, "i": 2, "f": 3}[values.dtype.kind],) * samples}
    offset, size = tuple(offsets[:-1]), tuple(map(len, parts))
    page |= {322: tile, 323: tile, 324: offset, 325: size} if tile else {273: offset, 278: 17, 279: size}
    start = offsets[-1] + offsets[-1] % 2
    header = struct.pack(order + "2sHI", b"II" if order == "<" else b"MM", 42, start)
    return (header + b"".join(parts)).ljust(start, b"\0") + directory(page | tags, start, order)


def difference(photo: photos.Photo, expected: NDArray[np.uint8]) -> int:
    """Return the largest difference of a photo from the expected pixels."""
    return int(np.abs(np.asarray(photo.image).astype(int) - expected).max())


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("tile", [0, 48])
@pytest.mark.parametrize("planar", [1, 2])
@pytest.mark.parametrize("predictor", [1, 2, 3])
@pytest.mark.parametrize("compression", [1, 8])
def test_float_colour_is_read(compression: int, predictor: int, planar: int, tile: int, order: str) -> None:
    """Strips or tiles, planes, predictors and byte orders of 32-bit floats in 0..1 give the scene's pixels."""
    tags = {259: compression, 284: planar, 317: predictor}
    data = deep_tiff(scene().astype(np.float32) / 255, order, tile, tags)

    photo = photos.open_photo(data, TINY)

    assert photo.geometry.conversions == ("float",)
    assert difference(photo, scene()) == 0


@pytest.mark.parametrize(
    ("dtype", "top", "conversion"),
    [("f2", 1, "float"), ("f8", 1, "float"), ("f4", 255, "float"), ("f4", 65535, "float"), ("u4", 65535, "32-bit")],
)
def test_other_depths_of_colour_are_read(dtype: str, top: int, conversion: str) -> None:
    """Half and double precision, integers of 32 bits, and floats on the scales of 8 and 16 bits."""
    photo = photos.open_photo(deep_tiff((scene().astype(np.float64) * (top / 255)).astype(dtype)), TINY)

    assert photo.geometry.conversions == (conversion,)
    assert difference(photo, scene()) <= 1


@pytest.mark.parametrize("gain", [3.0, 20.0, 60.0, 3000.0])
def test_floats_above_one_are_scaled_instead_of_black(gain: float) -> None:
    """Renderers write light on any scale: the brightest hundredth becomes white."""
    photo = photos.open_photo(deep_tiff((scene() / 255 * gain).astype(np.float32)), TINY)

    assert abs(np.asarray(photo.image).mean() - scene().mean()) < 25


def test_floats_around_zero_are_scaled_as_a_whole() -> None:
    """In pixels normalised to -1..1 the negative half is not black."""
    photo = photos.open_photo(deep_tiff((scene() / 127.5 - 1).astype(np.float32)), TINY)

    assert abs(np.asarray(photo.image).mean() - scene().mean()) < 25


@pytest.mark.parametrize(("extra", "hidden"), [(2, 200), (1, 0)])
def test_alpha_in_floats_is_composited_over_white(extra: int, hidden: int) -> None:
    """Straight and premultiplied alpha: what is transparent becomes white."""
    values = np.dstack([scene(), np.full((96, 128), 255, np.uint8)]).astype(np.float32) / 255
    values[:48] = [hidden / 255] * 3 + [0]

    photo = photos.open_photo(deep_tiff(values, tags={338: (extra,)}), TINY)

    assert photo.geometry.conversions == ("float", "alpha-over-white")
    assert np.asarray(photo.image)[:48].min() == 255
    assert np.array_equal(np.asarray(photo.image)[48:], scene()[48:])


def test_a_turned_float_picture_is_upright() -> None:
    """The orientation of a TIFF in floats is applied and recorded."""
    turned = np.rot90(scene()).astype(np.float32) / 255

    photo = photos.open_photo(deep_tiff(turned, tags={274: 6}), TINY)

    assert photo.geometry.orientation == 6
    assert (photo.geometry.source_width, photo.geometry.source_height) == (128, 96)
    assert difference(photo, scene()) == 0


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({262: 8}, "TIFF of 32-bit floats, 3 to a pixel"),
        ({259: 34712}, "compression 34712, which segkit does not read; convert it to RGB of 8 or 16 bits"),
        ({262: 32803}, "camera raw; convert it"),
    ],
)
def test_other_deep_pictures_are_named(tags: dict[int, Any], words: str) -> None:
    """What is not read is told as what it is, not as damaged."""
    with pytest.raises(PhotoError, match=words) as refused:
        photos.open_photo(deep_tiff(scene().astype(np.float32), tags=tags), TINY)

    assert refused.value.reason == "not-a-photo"


@pytest.mark.parametrize("share", [0.3, 0.9])
@pytest.mark.parametrize("compression", [1, 8])
def test_a_cut_float_picture_is_damaged(compression: int, share: float) -> None:
    """The directory is kept and strips are lost, as with an interrupted copy."""
    data = deep_tiff(scene().astype(np.float32) / 255, tags={259: compression})
    start = struct.unpack("<I", data[4:8])[0]
    lost = bytearray(data)
    lost[int(start * share) : start] = b""
    lost[4:8] = struct.pack("<I", int(start * share))

    with pytest.raises(PhotoError) as refused:
        photos.open_photo(bytes(lost), TINY)

    assert refused.value.reason == "damaged"


@pytest.mark.parametrize("planar", [1, 2])
@pytest.mark.parametrize("order", ["<", ">"])
def test_sixteen_bit_colour_is_read(order: str, planar: int) -> None:
    """16-bit RGB gives the pixels of 8 bits, whoever decodes it."""
    photo = photos.open_photo(deep_tiff(scene().astype(np.uint16) * 257, order, tags={284: planar}), TINY)

    assert difference(photo, scene()) <= 1


def test_a_small_float_picture_is_read() -> None:
    """64 x 48 pixels without compression, as a scanner or renderer writes them."""
    small = np.asarray(world.scene(4, (128, 96)).photo.resize((64, 48)))

    photo = photos.open_photo(deep_tiff(small.astype(np.float32) / 255), TINY)

    assert photo.image.size == (64, 48)
    assert difference(photo, small) == 0


def pages(*images: Image.Image, kinds: tuple[int, ...] = (), tag: int = 254) -> bytes:
    """Write a TIFF of several pages; kinds are values of NewSubfileType or, with tag=255, SubfileType."""
    buffer = BytesIO()
    images[0].save(buffer, "TIFF", save_all=True, append_images=images[1:])
    data = bytearray(buffer.getvalue())
    link, offset = 4, struct.unpack("<I", data[4:8])[0]
    for kind in kinds:
        number = struct.unpack("<H", data[offset : offset + 2])[0]
        body = data[offset + 2 : offset + 2 + 12 * number]
        following = struct.unpack("<I", data[offset + 2 + 12 * number :][:4])[0]
        entry = struct.pack("<HHII", tag, 4, 1, kind)
        place = len(data) + len(data) % 2
        data = data.ljust(place, b"\0") + struct.pack("<H", number + 1) + entry + body + struct.pack("<I", following)
        data[link : link + 4] = struct.pack("<I", place)
        link, offset = place + 2 + 12 * (number + 1), following
    return bytes(data)


RED, BLUE = Image.new("RGB", (64, 48), "red"), Image.new("RGB", (128, 96), "blue")


@pytest.mark.parametrize(
    ("data", "color", "word"),
    [
        (pages(RED, BLUE, kinds=(1, 0)), "blue", "frame-2-of-2"),
        (pages(RED, BLUE, kinds=(2, 1), tag=255), "blue", "frame-2-of-2"),
        (pages(RED, RED.resize((96, 72)), BLUE, kinds=(1, 1, 0)), "blue", "frame-3-of-3"),
        (pages(RED, BLUE, kinds=(0, 4)), "red", "first-frame-of-2"),
        (pages(BLUE, RED, kinds=(0, 1)), "blue", "first-frame-of-2"),
        (pages(RED, BLUE), "blue", "frame-2-of-2"),
        (pages(BLUE, RED, BLUE), "blue", "first-frame-of-3"),
        (pages(RED, BLUE.resize((96, 72))), "red", "first-frame-of-2"),
        (pages(RED, BLUE.rotate(90, expand=True)), "red", "first-frame-of-2"),
        (pages(RED, kinds=(1,)), "red", ""),
    ],
    ids="flagged old-flag two mask after unflagged equal larger other-shape alone".split(),
)
def test_a_thumbnail_page_is_not_taken_for_the_picture(data: bytes, color: str, word: str) -> None:
    """The first page that is not a reduced one is the photo, and which one it is is recorded."""
    photo = photos.open_photo(data, TINY)

    assert photo.image == Image.new("RGB", photo.image.size, color)
    assert photo.geometry.conversions == ((word,) if word else ())


def test_a_float_picture_behind_a_thumbnail_is_read() -> None:
    """The page in floats is found, although Pillow opens the thumbnail only."""
    data = deep_tiff(scene().astype(np.float32) / 255)
    thumbnail = {254: 1, 256: 8, 257: 8, 258: 8, 259: 1, 262: 1, 273: 8, 279: 64}
    start, following = len(data), struct.unpack("<I", data[4:8])[0]
    data = data[:4] + struct.pack("<I", start) + data[8:] + directory(thumbnail, start, "<", following)

    photo = photos.open_photo(data, TINY)

    assert photo.geometry.conversions == ("frame-2-of-2", "float")
    assert difference(photo, scene()) == 0


def test_a_thumbnail_of_raw_data_is_refused() -> None:
    """A raw file renamed to .tif holds its picture in a sub-IFD; its thumbnail is no photo."""
    data = deep_tiff(scene(), tags={254: 1, 330: 8})

    with pytest.raises(PhotoError, match="thumbnail of camera raw data") as refused:
        photos.open_photo(data, TINY)

    assert refused.value.reason == "not-a-photo"


def test_pages_in_a_loop_end() -> None:
    """A page list that leads back to its beginning is read once."""
    data = bytearray(deep_tiff(scene()))
    start = struct.unpack("<I", data[4:8])[0]
    number = struct.unpack("<H", data[start : start + 2])[0]
    data[start + 2 + 12 * number : start + 6 + 12 * number] = struct.pack("<I", start)

    assert photos.open_photo(bytes(data), TINY).geometry.conversions == ()
