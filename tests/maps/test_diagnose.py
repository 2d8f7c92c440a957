"""The causes of wrong colours, told from maps that were made by the true mechanism."""

from collections import Counter
from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from PIL.Image import Resampling

from segkit.maps import codec, diagnose, schemes
from segkit.maps.codec import Labels
from segkit.palette import Palette
from segkit.toy import world
from segkit.toy.world import damage

SMOOTH = (Resampling.BILINEAR, Resampling.BICUBIC, Resampling.LANCZOS, Resampling.BOX)
Maker = Callable[[Labels], Image.Image]

MAKERS: list[tuple[str, Maker]] = [
    ("exact", damage.painted),
    ("bgr", lambda labels: damage.by("bgr", labels)),
    ("golden-angle", lambda labels: damage.by("golden-angle", labels)),
    ("outlined", damage.outlined),
    ("outlined", damage.ruled),
    *(("jpeg", lambda labels, q=q: damage.jpeg(damage.painted(labels), q, 2)) for q in (30, 50, 75, 95)),
    *(("jpeg", lambda labels, q=q: damage.jpeg(damage.painted(labels), q, 0)) for q in (50, 75, 95)),
    *(("resized", lambda labels, how=how: damage.halved(damage.painted(labels), how)) for how in SMOOTH),
    ("resized", lambda labels: damage.painted(labels).resize((401, 397), Resampling.BICUBIC)),
    ("label-ids", Image.fromarray),
    ("label-ids", lambda labels: Image.fromarray(labels + np.uint8(1)).convert("RGB")),
    ("greyscale", lambda labels: damage.painted(labels).convert("L")),
]


def cause(image: Image.Image) -> str:
    """Return the cause that is found against ADE."""
    return diagnose.identify(image, damage.ADE).cause


@pytest.mark.parametrize("size", [192, 512, 768])
@pytest.mark.parametrize("classes", [5, 15, 25])
def test_every_cause_is_recognised(classes: int, size: int) -> None:
    """In two rooms or streets of each size, of each cause: all are told by their names."""
    found = Counter(
        (expected, cause(make(labels)))
        for labels in (damage.place(seed, classes, size) for seed in (classes, classes + 1))
        for expected, make in MAKERS
    )

    assert {pair for pair in found if pair[0] != pair[1]} == set()


def test_maps_shifted_by_one_are_told_by_what_makes_no_sense() -> None:
    """Of 60 toy scenes more than 80 % are told, none of the right ones is called shifted; and so with more classes."""
    scenes = [world.scene(seed, (256, 256)).labels for seed in range(60)]
    places = [damage.place(seed, 15 + 10 * (seed % 2), 256) for seed in range(40)]

    assert sum(cause(damage.by("shifted", labels)) == "shifted" for labels in scenes) > 48
    assert sum(cause(damage.by("shifted", labels)) == "shifted" for labels in places) >= 39
    assert {cause(damage.painted(labels)) for labels in scenes + places} == {"exact"}


@pytest.mark.parametrize("classes", [1, 2, 5, 15, 25])
def test_no_clean_map_is_called_dirty(classes: int) -> None:
    """Whatever classes stand wherever: 40 maps of classes drawn by lot are exact."""
    maps = [damage.regions(seed, classes, 192) for seed in range(40)]

    assert {cause(damage.painted(labels)) for labels in maps} == {"exact"}


def test_cocos_maps_are_told_from_ades() -> None:
    """By their colours, of which but one is ADE's; a damaged one is still COCO's."""
    coco = Palette.load("coco_panoptic")
    image = damage.painted(damage.regions(4, 15, 384, coco), coco)

    found = diagnose.identify(image, damage.ADE)
    assert (found.cause, found.damage) == ("coco", "none")
    assert found.off_palette > 0.9
    assert "100.0% of the pixels are exact coco_panoptic colours" in found.evidence
    assert diagnose.identify(image, coco).cause == "exact"
    blurred = diagnose.identify(damage.jpeg(image, 75), damage.ADE)
    assert (blurred.cause, blurred.damage) == ("coco", "jpeg")


def test_a_map_as_segkit_writes_it_is_exact_whatever_it_shows() -> None:
    """Its pixels are indices: what it shows is not judged."""
    labels = damage.place(7, 15, 128)
    image = codec.paint(np.where(labels > 0, labels - 1, np.uint8(255)).astype(np.uint8), damage.ADE)

    assert cause(image) == "exact"


def test_a_map_that_could_be_either_says_so() -> None:
    """Three classes whose swapped colours are ADE's as well."""
    ade = damage.ADE
    twice = [swatch.index for swatch in ade if swatch.rgb[::-1] in ade.by_color and swatch.rgb[::-1] != swatch.rgb][:3]
    labels = np.repeat(np.array(twice, np.uint8), 30)[None].repeat(60, 0)

    found = diagnose.identify(damage.painted(labels), ade)

    assert found.cause == "exact"
    assert "bgr" in found.possible


def test_photos_and_noise_are_unknown() -> None:
    """They are no maps at all."""
    noise = np.random.default_rng(0).integers(0, 256, (99, 99, 3), np.uint8)

    assert cause(Image.fromarray(noise)) == "unknown"
    assert cause(world.scene(3, (256, 256)).photo) == "unknown"


def test_a_jpeg_file_is_known_by_its_format() -> None:
    """Quality 100 leaves few traces in the pixels."""
    buffer = BytesIO()
    damage.painted(damage.place(1, 8, 256)).save(buffer, "JPEG", quality=100, subsampling=0)

    assert cause(Image.open(buffer)) == "jpeg"


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (2, 2), (7, 3)])
def test_tiny_maps_are_judged_too(size: tuple[int, int]) -> None:
    """One colour of the palette is an exact map of any size; another colour is unknown."""
    assert cause(Image.new("RGB", size, damage.ADE[2].rgb)) == "exact"
    assert cause(Image.new("RGB", size, (1, 254, 3))) == "unknown"


def test_the_golden_angle_begins_as_the_tool_has_it() -> None:
    """Black, then the colours that OpenCV 5 gives for its hues."""
    assert [schemes.golden_angle_color(index) for index in (0, 1, 2, 3, 149)] == [
        (0, 0, 0),
        (51, 255, 105),
        (101, 0, 178),
        (255, 235, 102),
        (255, 0, 136),
    ]
