"""Synthetic label maps with known ground truth, and the damage that tools do to control maps."""

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from PIL.Image import Resampling

from segkit.maps import codec, plausibility, schemes
from segkit.maps.codec import Labels
from segkit.palette import Palette

ADE = Palette.load("ade20k")


def regions(seed: int, number: int, size: int = 512, palette: Palette = ADE) -> Labels:
    """Return a (size, size) label map of irregular regions, of distinct classes as long as there are enough."""
    random = np.random.default_rng(seed)
    points = random.uniform(0, size, (number, 2)).astype(np.float32)
    classes = [swatch.index for swatch in palette if palette.by_color[swatch.rgb] == swatch.index]
    labels = random.choice(np.array(classes, np.uint8), number, replace=number > len(classes))
    return _filled(random, points, labels, size)


def place(seed: int, number: int, size: int = 512) -> Labels:
    """Return a label map of a room or a street in which classes are where they belong: sky above, floor below."""
    random = np.random.default_rng(seed)
    indoors = random.random() < 0.5
    first = ("wall", "floor", "ceiling") if indoors else ("sky", "building", "road")
    excluded = {*first, *(plausibility.OUTDOORS if indoors else plausibility.INDOORS), "skyscraper"}
    candidates = [swatch.index for swatch in ADE if swatch.name not in excluded]
    chances = 1 / (np.array(candidates) + 3)
    drawn = random.choice(candidates, number - len(first), replace=False, p=chances / chances.sum())
    names = [*first, *(ADE[index].name for index in drawn.tolist())]
    points = random.uniform(0, size, (number, 2)).astype(np.float32)
    points[:, 0] = np.sort(points[:, 0])
    points[: number // 3, 0] *= 0.6  # the topmost third moves up, which makes room for classes that belong above
    names.sort(key=lambda name: (name not in plausibility.ABOVE) + (name in plausibility.BELOW))
    return _filled(random, points, np.array([ADE.find(name).index for name in names], np.uint8), size)


def thin(seed: int, number: int, size: int = 512, palette: Palette = ADE) -> Labels:
    """Return `regions` with poles, stripes, wires and letters, 3 to 8 pixels thick, of further classes drawn over them.

    There is one such shape for every five regions, and at least two.
    """
    random = np.random.default_rng(seed)
    label_map = regions(seed, number, size, palette)
    classes = [swatch.index for swatch in palette if palette.by_color[swatch.rgb] == swatch.index]
    absent = np.setdiff1d(classes, label_map)
    shapes = max(number // 5, 2)
    for label in random.choice(absent if len(absent) >= shapes else classes, shapes, replace=len(classes) < shapes):
        label_map[_SHAPES[random.integers(len(_SHAPES))](random, size)] = label
    return label_map


def _pole(random: np.random.Generator, size: int) -> NDArray[np.bool_]:
    """Return a bar that leans a little, from a tenth to two thirds of the map long."""
    y, x = np.mgrid[:size, :size]
    if random.random() < 0.3:
        y, x = x, y
    top, left = random.uniform(0, size * 0.6), random.uniform(0, size)
    along, slant = y - top, random.normal(0, 0.1)
    length = random.uniform(size / 10, size / 1.5)
    return np.asarray((along >= 0) & (along < length) & (np.abs(x - left - slant * along) <= random.uniform(1.5, 4)))


def _stripes(random: np.random.Generator, size: int) -> NDArray[np.bool_]:
    """Return parallel bars, 3 to 8 pixels thick, in a rectangle."""
    y, x = np.mgrid[:size, :size]
    if random.random() < 0.5:
        y, x = x, y
    width, period = random.integers(3, 9), random.integers(10, 25)
    top, left = random.uniform(0, size * 0.8, 2)
    inside = (y >= top) & (y < top + size / 8) & (x >= left) & (x < left + size / 6)
    return np.asarray(inside & ((y - int(top)) % period < width))


def _wire(random: np.random.Generator, size: int) -> NDArray[np.bool_]:
    """Return a wave, 3 to 5 pixels thick, across half of the map or more."""
    y, x = np.mgrid[:size, :size]
    start, length = random.uniform(0, size / 2), random.uniform(size / 2, size)
    phase, period, height = random.uniform(0, 6), random.uniform(size / 4, size), random.uniform(0, size / 10)
    middle = random.uniform(0, size) + height * np.sin(phase + x * 6.28 / period)
    return np.asarray((x >= start) & (x < start + length) & (np.abs(y - middle) <= random.uniform(1.5, 2.5)))


def _letters(random: np.random.Generator, size: int) -> NDArray[np.bool_]:
    """Return a word of Pillow's built-in font, whose strokes are 3 to 8 pixels thick."""
    picture = Image.new("1", (size, size))
    word = "".join(random.choice(list("AEHKLMNRSTXZ"), random.integers(2, 7)))
    place = random.uniform(0, size * 0.8, 2)
    stroke = int(random.integers(0, 2))
    font = ImageFont.load_default(int(random.integers(32, 56)))
    ImageDraw.Draw(picture).text(tuple(place), word, 1, font, stroke_width=stroke)
    return np.asarray(picture)


_SHAPES = (_pole, _stripes, _wire, _letters)


def _filled(random: np.random.Generator, points: NDArray[np.float32], labels: Labels, size: int) -> Labels:
    """Label every pixel with its nearest point (a Voronoi diagram), in slightly warped coordinates."""
    number = len(points)
    y, x = np.mgrid[:size, :size].astype(np.float32)
    amplitude = 0.05 * size / np.sqrt(number)
    y, x = (axis + amplitude * _noise(random, size, int(4 * np.sqrt(number)) + 3) for axis in (y, x))
    nearest, label_map = np.full((size, size), np.inf, np.float32), np.zeros((size, size), np.uint8)
    for (top, left), label in zip(points, labels, strict=True):
        distance = (y - top) ** 2 + (x - left) ** 2
        label_map[distance < nearest] = label
        nearest = np.minimum(nearest, distance)
    return label_map


def _noise(random: np.random.Generator, size: int, cells: int) -> NDArray[np.float32]:
    coarse = Image.fromarray(random.normal(size=(cells, cells)).astype(np.float32))
    return np.asarray(coarse.resize((size, size), Resampling.BICUBIC))


def painted(labels: Labels, palette: Palette = ADE) -> Image.Image:
    """Return the control map in RGB, in exact colours."""
    return codec.paint(labels, palette).convert("RGB")


def jpeg(image: Image.Image, quality: int, subsampling: int = 2) -> Image.Image:
    """Return the picture after a round trip through JPEG (subsampling 2 is 4:2:0, 0 is 4:4:4)."""
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=quality, subsampling=subsampling)
    return Image.open(buffer).convert("RGB")


def halved(image: Image.Image, how: Resampling) -> Image.Image:
    """Return the picture at half its width and height."""
    return image.resize((image.width // 2, image.height // 2), how)


def outlined(labels: Labels, palette: Palette = ADE) -> Image.Image:
    """Return the control map with anti-aliased white lines, one pixel wide, between its regions."""
    fine = np.kron(labels, np.ones((4, 4), np.uint8))
    line = np.zeros(fine.shape, bool)
    for offset in (-2, -1, 1, 2):
        line |= (np.roll(fine, offset, 0) != fine) | (np.roll(fine, offset, 1) != fine)
    share = np.asarray(Image.fromarray(line).convert("L").resize(labels.shape[::-1], Resampling.BOX))[..., None] / 255
    return Image.fromarray(np.round(np.asarray(painted(labels, palette)) * (1 - share) + 255 * share).astype(np.uint8))


def ruled(labels: Labels, palette: Palette = ADE) -> Image.Image:
    """Return the control map with aliased white lines, one pixel wide, between its regions."""
    line = np.zeros(labels.shape, bool)
    line[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    line[1:] |= labels[1:] != labels[:-1]
    return Image.fromarray(np.where(line[..., None], np.uint8(255), np.asarray(painted(labels, palette))))


def by_hand(seed: int, labels: Labels, palette: Palette = ADE) -> Image.Image:
    """Return the control map with each class in one flat colour that misses its own by at most 3 (RGB L2)."""
    random = np.random.default_rng(seed)
    offsets = np.array([offset for offset in np.ndindex(7, 7, 7) if sum((part - 3) ** 2 for part in offset) <= 9]) - 3
    colors = np.zeros((256, 3), np.int64)
    colors[: len(palette)] = [swatch.rgb for swatch in palette]
    colors[: len(palette)] += random.choice(offsets, len(palette))
    return Image.fromarray(np.clip(colors, 0, 255).astype(np.uint8)[labels])


def by(name: str, labels: Labels) -> Image.Image:
    """Return the control map in the colours of a known scheme; classes without a colour in it become black."""
    (scheme,) = (known for known in schemes.known(ADE) if known.name == name)
    colors = np.zeros((256, 3), np.uint8)
    colors[list(scheme.classes)] = scheme.colors
    return Image.fromarray(colors[labels])
