"""Diagnosis of maps that were damaged by the actual mechanisms."""

from collections import Counter
from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from PIL.Image import Resampling

from segkit.maps import codec, diagnose
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
    """Return the diagnosed cause, relative to ADE20K."""
    return diagnose.identify(image, damage.ADE).cause


@pytest.mark.parametrize("classes", [5, 15, 25])
@pytest.mark.parametrize(
    ("size", "maps"),
    [(192, 2), pytest.param(512, 1, marks=pytest.mark.long), pytest.param(768, 1, marks=pytest.mark.long)],
)
def test_every_cause_is_recognised(classes: int, size: int, maps: int) -> None:
    """For each cause, maps of each size and number of classes are diagnosed correctly."""
    outcomes = Counter(
        (expected, cause(make(labels)))
        for labels in (damage.place(classes + place, classes, size) for place in range(maps))
        for expected, make in MAKERS
    )

    assert {pair for pair in outcomes if pair[0] != pair[1]} == set()


@pytest.mark.parametrize("classes", [1, 2, 5, 15, 25])
def test_clean_maps_cause_no_false_alarms(classes: int) -> None:
    """40 clean maps of random classes in random places are diagnosed as exact."""
    maps = [damage.regions(seed, classes, 192) for seed in range(40)]

    assert {cause(damage.painted(labels)) for labels in maps} == {"exact"}


def test_coco_maps_are_recognised() -> None:
    """They share only one colour with ADE20K; a damaged COCO map is recognised too."""
    coco = Palette.load("coco_panoptic")
    image = damage.painted(damage.regions(4, 15, 384, coco), coco)

    diagnosis = diagnose.identify(image, damage.ADE)
    assert (diagnosis.cause, diagnosis.damage) == ("coco", "none")
    assert diagnosis.off_palette > 0.9
    assert "100.0% of the pixels are exact coco_panoptic colours" in diagnosis.evidence
    assert diagnose.identify(image, coco).cause == "exact"
    blurred = diagnose.identify(damage.jpeg(image, 75), damage.ADE)
    assert (blurred.cause, blurred.damage) == ("coco", "jpeg")


def test_an_indexed_map_is_exact_regardless_of_its_content() -> None:
    """Its pixels are indices, so plausibility is not examined."""
    labels = damage.place(7, 15, 128)
    image = codec.paint(np.where(labels > 0, labels - 1, np.uint8(255)).astype(np.uint8), damage.ADE)

    assert cause(image) == "exact"


def test_other_possible_causes_are_reported() -> None:
    """Three classes whose colours with red and blue swapped are in ADE20K too leave "bgr" possible."""
    ade = damage.ADE
    ambiguous = [swatch.index for swatch in ade if swatch.rgb[::-1] in ade.by_color and swatch.rgb[::-1] != swatch.rgb][
        :3
    ]
    labels = np.repeat(np.array(ambiguous, np.uint8), 30)[None].repeat(60, 0)

    diagnosis = diagnose.identify(damage.painted(labels), ade)

    assert diagnosis.cause == "exact"
    assert "bgr" in diagnosis.possible


def test_photos_and_noise_are_no_maps() -> None:
    """Pictures without flat areas are diagnosed as such."""
    noise = np.random.default_rng(0).integers(0, 256, (99, 99, 3), np.uint8)

    assert cause(Image.fromarray(noise)) == "photo"
    assert cause(world.scene(3, (256, 256)).photo) == "photo"


def test_a_jpeg_file_is_recognised_by_its_format() -> None:
    """At quality 100 the pixels alone contain little evidence."""
    buffer = BytesIO()
    damage.painted(damage.place(1, 8, 256)).save(buffer, "JPEG", quality=100, subsampling=0)

    assert cause(Image.open(buffer)) == "jpeg"


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (2, 2), (7, 3)])
def test_tiny_maps_are_diagnosed(size: tuple[int, int]) -> None:
    """At any size a single colour of the palette is an exact map, and any other colour is unknown."""
    assert cause(Image.new("RGB", size, damage.ADE[2].rgb)) == "exact"
    assert cause(Image.new("RGB", size, (1, 254, 3))) == "unknown"
