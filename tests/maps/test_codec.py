"""Painting control maps and reading them back without loss."""

from io import BytesIO
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from PIL import Image

from segkit.maps import codec, snap
from segkit.maps.codec import Labels
from segkit.palette import UNLABELLED, Palette
from segkit.palette.tables import Swatch

ADE = Palette.load("ade20k")


def reopened(image: Image.Image, kind: str = "PNG", **options: object) -> Image.Image:
    """Save a picture and open it again."""
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return Image.open(buffer)


def some_labels(classes: int = 150) -> Labels:
    """Return a label map with every class once, and unlabelled pixels."""
    labels = np.full((32, 16), UNLABELLED, np.uint8)
    labels.flat[:classes] = np.arange(classes)
    return labels


def colors(palette: Palette, labels: Labels) -> NDArray[np.uint8]:
    """Paint labels class by class: (H, W, 3) RGB."""
    painted = np.zeros((*labels.shape, 3), np.uint8)
    for swatch in palette:
        painted[labels == swatch.index] = swatch.rgb
    return painted


@st.composite
def palettes(draw: st.DrawFn, unique: bool = False) -> Palette:
    """Draw a palette of 1 to 255 classes; if unique, colours are distinct and not black."""
    number = draw(st.sampled_from([1, 2, 3, 4, 16, 17, 150, 254, 255]))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    packed = (
        random.choice(np.arange(1, 1 << 24, 97), number, replace=False) if unique else random.integers(0, 4, number)
    )
    rgb = [(int(value) >> 16, int(value) >> 8 & 255, int(value) & 255) for value in packed]
    return Palette("drawn", tuple(Swatch(index, f"class {index}", (), rgb[index]) for index in range(number)))


def labels_of(palette: Palette) -> st.SearchStrategy[Labels]:
    """Draw label maps of a palette, with unlabelled pixels."""
    values = st.one_of(st.integers(0, len(palette) - 1), st.just(UNLABELLED))
    return arrays.arrays(np.uint8, arrays.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=values)


@given(st.data())
@settings(max_examples=60)
def test_painted_labels_read_back_for_every_palette(data: st.DataObject) -> None:
    """An encoded map gives the same labels, even if classes share colours or are black."""
    palette = data.draw(palettes())
    labels = data.draw(labels_of(palette))

    read, off = codec.read(Image.open(BytesIO(codec.encode(labels, palette))), palette)

    assert off == 0
    np.testing.assert_array_equal(read, labels)


@given(st.data())
@settings(max_examples=25)
def test_distinct_colours_read_back_from_rgb(data: st.DataObject) -> None:
    """Labels survive conversion to RGB if no two classes share a colour and none is black."""
    palette = data.draw(palettes(unique=True))
    labels = data.draw(labels_of(palette))

    read, off = codec.read(codec.paint(labels, palette).convert("RGB"), palette)

    assert off == 0
    np.testing.assert_array_equal(read, labels)


def test_the_file_is_an_indexed_png_with_exactly_the_palette() -> None:
    """It has mode P, pixel values equal to the labels, and a palette of the class colours followed by black."""
    labels = some_labels()

    with Image.open(BytesIO(codec.encode(labels, ADE))) as image:
        embedded = image.getpalette()
        values, rgb = np.asarray(image), np.asarray(image.convert("RGB"))

    assert image.mode == "P"
    assert embedded == [channel for swatch in ADE for channel in swatch.rgb] + [0] * 318
    np.testing.assert_array_equal(values, labels)
    np.testing.assert_array_equal(rgb, colors(ADE, labels))


@pytest.mark.parametrize("label", [150, 200, 254])
def test_labels_beyond_the_palette_are_refused(label: int) -> None:
    """A label that is neither a class nor 255 raises an error instead of giving a black pixel."""
    with pytest.raises(ValueError, match=f"label {label} is not a class of ade20k, which has 150"):
        codec.paint(np.array([[0, label]], np.uint8), ADE)


def test_indices_distinguish_classes_of_one_colour() -> None:
    """Road and skyscraper read back exactly from an indexed map, but both as road from a copy in RGB."""
    labels = np.array([[6, 48]], np.uint8)
    image = codec.paint(labels, ADE)

    assert codec.read(image, ADE)[0].tolist() == [[6, 48]]
    assert codec.read(image.convert("RGB"), ADE)[0].tolist() == [[6, 6]]


def test_indices_beyond_the_palette_are_off_the_palette() -> None:
    """In an indexed map the values 150 to 254 are off the ADE20K palette, although they are black."""
    image = Image.fromarray(np.array([[0, 150, 254, 255]], np.uint8))
    image.putpalette(ADE.bytes)

    labels, off = codec.read(image, ADE)

    assert (labels.tolist(), off) == ([[0, 255, 255, 255]], 2)


def test_a_map_with_a_reordered_palette_is_read_by_colour() -> None:
    """If the embedded palette differs, pixel values are meaningless and colours count."""
    labels = some_labels()
    order = np.random.default_rng(0).permutation(256)
    image = Image.fromarray(np.argsort(order).astype(np.uint8)[labels])
    image.putpalette(np.frombuffer(ADE.bytes, np.uint8).reshape(256, 3)[order].tobytes())

    read, off = codec.read(reopened(image), ADE)

    assert not codec.is_exact(image, ADE)
    assert off == 0
    np.testing.assert_array_equal(read, np.where(labels == 48, 6, labels))


@pytest.mark.parametrize(
    ("kind", "mode"),
    [("GIF", "P"), *product(("PNG", "BMP", "TIFF", "WEBP"), ("P", "RGB")), *product(("PNG", "TIFF"), ["RGBA"])],
)
def test_lossless_copies_read_back(kind: str, mode: str) -> None:
    """A map saved losslessly by other tools reads back in any mode; only fully transparent pixels are unlabelled."""
    labels = np.where(some_labels() == 48, np.uint8(6), some_labels())
    image = codec.paint(labels, ADE).convert(mode)
    if mode == "RGBA":
        image.putalpha(Image.linear_gradient("L").resize(image.size).point(lambda alpha: max(alpha, 1)))

    read, off = codec.read(reopened(image, kind, lossless=True), ADE)

    assert off == 0
    np.testing.assert_array_equal(read, labels)


@pytest.mark.parametrize("transparency", [0, bytes(range(256))])
def test_transparency_in_an_indexed_map_is_ignored(transparency: int | bytes) -> None:
    """Transparent palette entries count by their colour, without a warning, in any order of entries."""
    labels = np.where(some_labels() == 48, np.uint8(6), some_labels())
    reversed_map = Image.fromarray(np.uint8(255) - labels)
    reversed_map.putpalette(np.frombuffer(ADE.bytes, np.uint8).reshape(256, 3)[::-1].tobytes())

    read, off = codec.read(reopened(reversed_map, transparency=transparency), ADE)

    assert off == 0
    np.testing.assert_array_equal(read, labels)


@pytest.mark.parametrize(
    ("values", "dtype", "expected", "off"),
    [
        ((120, 0, 121, 5), np.uint8, (0, 255, 255, 255), 2),
        ((120 * 257, 0, 120, 120 * 257 + 1), np.uint16, (0, 255, 255, 255), 2),
        ((120 * 257, 0, -257, 257 * 256), np.int32, (0, 255, 255, 255), 2),
        ((120 * 257, 0, 0.5, np.nan), np.float32, (0, 255, 255, 255), 2),
    ],
    ids=["L", "I;16", "I", "F"],
)
def test_grey_maps_are_read_by_colour(
    values: tuple[float, ...], dtype: type, expected: tuple[int, ...], off: int
) -> None:
    """Grey v is the colour (v, v, v); deeper values count only if 8 bits can represent them, and are never clipped."""
    image = Image.fromarray(np.array([values], dtype))

    labels, number = codec.read(image, ADE)

    assert (labels.tolist(), number) == ([list(expected)], off)


def test_pixels_off_the_palette_are_counted_and_unlabelled() -> None:
    """A colour one step away from a class is counted as off the palette and not replaced by the nearest one."""
    rgb = colors(ADE, some_labels())
    rgb[0, :3] += 1

    labels, off = codec.read(Image.fromarray(rgb), ADE)

    assert off == 3
    assert labels[0, :4].tolist() == [255, 255, 255, 3]


def test_a_tall_map_is_read_completely() -> None:
    """Maps are read in strips; in one of odd height every row is read and pixels off the palette are counted in all."""
    labels = np.random.default_rng(0).integers(0, 6, (1027, 3)).astype(np.uint8)
    rgb = colors(ADE, labels)
    rgb[[0, 511, 512, 1026], 1] = 1

    read, off = codec.read(Image.fromarray(rgb), ADE)

    labels[[0, 511, 512, 1026], 1] = UNLABELLED
    assert off == 4
    np.testing.assert_array_equal(read, labels)


def test_pixels_are_counted_by_label() -> None:
    """count() returns the number of pixels of each of the 256 labels."""
    labels = some_labels()

    assert codec.count(labels) == np.bincount(labels.ravel(), minlength=256).tolist()


@given(st.data(), st.floats(0, 0.99))
@settings(max_examples=40)
def test_shares_and_unlabelled_pixels_add_up(data: st.DataObject, min_confidence: float) -> None:
    """Shares and the unlabelled share add up to 1; only pixels of low confidence change; largest shares come first."""
    labels = data.draw(labels_of(ADE))
    confidence = np.random.default_rng(labels.size).random(labels.shape, np.float32)

    confident, shares = codec.summarize(labels, confidence, ADE, min_confidence)

    sure = confidence >= min_confidence
    np.testing.assert_array_equal(confident, np.where(sure, labels, UNLABELLED))
    unlabelled = float((confident == UNLABELLED).mean())
    assert sum(share.share for share in shares) + unlabelled == pytest.approx(1, abs=5e-5 * (len(shares) + 1))
    assert [share.share for share in shares] == sorted((share.share for share in shares), reverse=True)
    assert {share.name for share in shares} == {ADE[int(index)].name for index in set(confident.flat) - {UNLABELLED}}


def test_confidence_is_averaged_by_class() -> None:
    """The confidence of a class is the mean over its pixels only."""
    labels = np.array([[0, 0], [2, 255]], np.uint8)
    confidence = np.array([[0.5, 1.0], [0.25, 0.9]], np.float32)

    _, shares = codec.summarize(labels, confidence, ADE)

    assert [(share.name, share.share, share.confidence) for share in shares] == [
        ("wall", 0.5, 0.75),
        ("sky", 0.25, 0.25),
    ]


def test_deep_class_indices_are_no_colours() -> None:
    """Index 120 in 16 bits is not the grey of a wall, which has the value 120 in 8 bits; snap reads it as a class."""
    indices = np.full((32, 32), 120, np.uint16)
    indices[:8] = 0
    image = Image.fromarray(indices)

    labels, off = codec.read(image, ADE)

    assert off == 32 * 24
    assert (labels == 255).all()
    assert (snap.snap(image, ADE, first_id=0).labels == indices).all()
