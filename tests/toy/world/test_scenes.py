"""Scenes of the toy world: the class of every pixel is known, and the sentences are true."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from segkit.errors import UsageError
from segkit.palette import Palette
from segkit.toy import world
from segkit.toy.world import Scene, grammar
from tests.conftest import Segkit

ADE = Palette.load("ade20k")


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    """Three hundred scenes."""
    return [world.scene(seed) for seed in range(300)]


def mask(scene: Scene, name: str) -> np.ndarray:
    """Return the mask of a class's pixels, (H, W)."""
    pixels: np.ndarray = scene.labels == ADE.find(name).index
    return pixels


@pytest.mark.parametrize("size", [(128, 128), (96, 1024), (1024, 96), (333, 217), (640, 480)])
def test_every_pixel_has_a_class_at_any_size_and_aspect(size: tuple[int, int]) -> None:
    """Photo and labels have the requested size, and every pixel has one of the classes of the toy world."""
    allowed = {ADE.find(name).index for name in world.CLASSES}
    for seed in range(12):
        scene = world.scene(seed, size)

        assert scene.photo.size == size
        assert scene.photo.mode == "RGB"
        assert scene.labels.shape == (size[1], size[0])
        assert set(np.unique(scene.labels).tolist()) <= allowed


@pytest.mark.parametrize("size", [(95, 128), (128, 1025)])
def test_sizes_out_of_range_are_refused(size: tuple[int, int]) -> None:
    """The error for a size out of range states the range."""
    with pytest.raises(UsageError, match="96 to 1024"):
        world.scene(0, size)


def test_scenes_depend_on_the_seed_alone() -> None:
    """Equal seeds give equal photos, labels and sentences; another seed gives another photo."""
    first, again, other = world.scene(5), world.scene(5), world.scene(6)

    assert first.photo.tobytes() == again.photo.tobytes()
    assert (first.labels == again.labels).all()
    assert first.sentence == again.sentence
    assert first.photo.tobytes() != other.photo.tobytes()


def test_another_size_shows_the_same_place() -> None:
    """A scene at twice the size agrees with the small one except for a few pixels at edges."""
    for seed in range(10):
        small, large = world.scene(seed, (160, 120)), world.scene(seed, (320, 240))

        assert (large.labels[::2, ::2] == small.labels).mean() > 0.95


def test_all_classes_occur(scenes: list[Scene]) -> None:
    """Each of the 24 classes occurs in many scenes."""
    for name in world.CLASSES:
        assert sum(bool(mask(scene, name).any()) for scene in scenes) >= 15


def test_a_sentence_mentions_all_large_things_and_nothing_else(scenes: list[Scene]) -> None:
    """Mentioned classes are in the labels and large enough, and every thing of that size is mentioned."""
    for scene in scenes:
        named = grammar.mentioned(scene.sentence)

        assert all(mask(scene, name).mean() >= grammar.NAMED for name in named), scene.sentence
        things = {thing.name for thing in scene.things if thing.share >= grammar.NAMED}
        assert things & (set(grammar.NOUNS) - set(grammar.GROUND)) <= named, scene.sentence


def test_left_right_and_under_are_true(scenes: list[Scene]) -> None:
    """Things described as left or right are on that side, and things described as under another are below it."""
    sides = unders = 0
    for scene in scenes:
        for noun, side in re.findall(r"\ba (\w+) on the (left|right)", scene.sentence):
            (name,) = grammar.mentioned(noun)
            (thing,) = (thing for thing in scene.things if thing.name == name and thing.share >= grammar.NAMED)
            assert (thing.x < 0.37) if side == "left" else (thing.x > 0.63), scene.sentence
            sides += 1
        for low, high in re.findall(r"\ba (\w+) under a (\w+)", scene.sentence):
            lower, higher = ([t for t in scene.things if {t.name} == grammar.mentioned(noun)] for noun in (low, high))
            assert min(thing.y for thing in lower) > max(thing.y for thing in higher), scene.sentence
            unders += 1
    assert sides > 50
    assert unders > 10


def test_numbers_are_true(scenes: list[Scene]) -> None:
    """The words "two" and "three" match the number of large things of that class."""
    counted = 0
    for scene in scenes:
        for number, noun in re.findall(r"\b(two|three) (\w+)", scene.sentence):
            (name,) = grammar.mentioned(noun)
            large = sum(thing.name == name and thing.share >= grammar.NAMED for thing in scene.things)
            assert large == {"two": 2, "three": 3}[number], scene.sentence
            counted += 1
    assert counted > 30


def test_words_vary(scenes: list[Scene]) -> None:
    """Sentences differ, and synonyms of a class are used."""
    sentences = [scene.sentence for scene in scenes]

    assert len(set(sentences)) > 270
    for word in ("sofa", "couch", "painting", "picture", "rug", "carpet"):
        assert any(re.search(rf"\b{word}s?\b", sentence) for sentence in sentences)


def test_nothing_is_a_speck(scenes: list[Scene]) -> None:
    """Every thing in a scene is large enough to be recognised."""
    ground = {"wall", "floor", "ceiling", "sky", *grammar.GROUND}
    for scene in scenes:
        assert all(thing.share >= 0.01 for thing in scene.things if thing.name not in ground)


def test_variants_match_their_names(tmp_path: Path) -> None:
    """The copy has the same bytes, the turned one looks the same upright, the mirrored one is the mirror image."""
    paths = world.write_variants(tmp_path, 3)

    def pixels(name: str) -> np.ndarray:
        with Image.open(paths[name]) as image:
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"), np.float32)

    original = pixels("original")
    assert paths["copy"].read_bytes() == paths["original"].read_bytes()
    with Image.open(paths["turned"]) as turned:
        assert turned.size == original.shape[:2]
    assert np.abs(pixels("turned") - original).mean() < 3
    assert np.abs(pixels("mirrored")[:, ::-1] - original).mean() < 3
    assert np.abs(pixels("grey") - original.mean(2, keepdims=True)).mean() < 12
    assert pixels("cropped").shape == (346, 462, 3)


def test_a_build_rejects_duplicate_variants(segkit: Segkit, tmp_path: Path, build_options: list[str]) -> None:
    """The copy is rejected as identical, and at least two of the altered variants as near-duplicates."""
    world.write_variants(tmp_path / "photos", 3)

    built = segkit("build-dataset", tmp_path / "photos", "-o", tmp_path / "out", "--min-size", "96", *build_options)

    assert built.code == 0
    rejected = (tmp_path / "out" / ".segkit" / "rejected.jsonl").read_text()
    assert rejected.count('"identical"') == 1
    assert rejected.count('"near-duplicate"') >= 2


def test_the_captioners_vocabulary_contains_every_word(scenes: list[Scene]) -> None:
    """Every word of three hundred sentences is in it."""
    vocabulary = set(grammar.vocabulary())

    words = {word for scene in scenes for word in re.findall(r"\w+|,", scene.sentence)}

    assert words <= vocabulary
    assert len(vocabulary) < 120
