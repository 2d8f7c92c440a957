"""The toy world: what is rendered is known to the last pixel, and what is said of it is true."""

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
    """Tell which pixels are of a class, (H, W)."""
    found: np.ndarray = scene.labels == ADE.find(name).index
    return found


@pytest.mark.parametrize("size", [(128, 128), (96, 1024), (1024, 96), (333, 217), (640, 480)])
def test_every_pixel_has_a_class_at_any_size_and_aspect(size: tuple[int, int]) -> None:
    """Photo and labels have the size asked for, and no pixel is left without one of the world's classes."""
    allowed = {ADE.find(name).index for name in world.CLASSES}
    for seed in range(12):
        scene = world.scene(seed, size)

        assert scene.photo.size == size
        assert scene.photo.mode == "RGB"
        assert scene.labels.shape == (size[1], size[0])
        assert set(np.unique(scene.labels).tolist()) <= allowed


@pytest.mark.parametrize("size", [(95, 128), (128, 1025)])
def test_sizes_out_of_range_are_refused(size: tuple[int, int]) -> None:
    """A size that the world is not made for is refused with the range."""
    with pytest.raises(UsageError, match="96 to 1024"):
        world.scene(0, size)


def test_a_seed_gives_the_same_scene_again_and_another_gives_another() -> None:
    """Photo, labels and words come from the seed alone."""
    first, again, other = world.scene(5), world.scene(5), world.scene(6)

    assert first.photo.tobytes() == again.photo.tobytes()
    assert (first.labels == again.labels).all()
    assert first.sentence == again.sentence
    assert first.photo.tobytes() != other.photo.tobytes()


def test_another_size_shows_the_same_place() -> None:
    """A scene at twice the size agrees with the small one in all but a few pixels at the edges."""
    for seed in range(10):
        small, large = world.scene(seed, (160, 120)), world.scene(seed, (320, 240))

        assert (large.labels[::2, ::2] == small.labels).mean() > 0.95


def test_all_classes_occur(scenes: list[Scene]) -> None:
    """Each of the 24 classes is in many scenes, under its ADE20K name."""
    for name in world.CLASSES:
        assert sum(bool(mask(scene, name).any()) for scene in scenes) >= 15


def test_a_sentence_names_what_is_there_and_nothing_else(scenes: list[Scene]) -> None:
    """Whatever is named is in the labels, and large enough; every thing of that size is named."""
    for scene in scenes:
        named = grammar.mentioned(scene.sentence)

        assert all(mask(scene, name).mean() >= grammar.NAMED for name in named), scene.sentence
        things = {each.name for each in scene.things if each.share >= grammar.NAMED}
        assert things & (set(grammar.NOUNS) - set(grammar.GROUND)) <= named, scene.sentence


def test_left_right_and_under_are_true(scenes: list[Scene]) -> None:
    """What is said to be on a side has its middle there, and what is under something is lower than it."""
    sides = unders = 0
    for scene in scenes:
        for noun, side in re.findall(r"\ba (\w+) on the (left|right)", scene.sentence):
            (name,) = grammar.mentioned(noun)
            (thing,) = (each for each in scene.things if each.name == name and each.share >= grammar.NAMED)
            assert (thing.x < 0.37) if side == "left" else (thing.x > 0.63), scene.sentence
            sides += 1
        for low, high in re.findall(r"\ba (\w+) under a (\w+)", scene.sentence):
            lower, higher = ([e for e in scene.things if {e.name} == grammar.mentioned(noun)] for noun in (low, high))
            assert min(each.y for each in lower) > max(each.y for each in higher), scene.sentence
            unders += 1
    assert sides > 50
    assert unders > 10


def test_numbers_are_true(scenes: list[Scene]) -> None:
    """Two or three are as many things of that class, each large enough to be named."""
    counted = 0
    for scene in scenes:
        for number, noun in re.findall(r"\b(two|three) (\w+)", scene.sentence):
            (name,) = grammar.mentioned(noun)
            large = sum(each.name == name and each.share >= grammar.NAMED for each in scene.things)
            assert large == {"two": 2, "three": 3}[number], scene.sentence
            counted += 1
    assert counted > 30


def test_words_vary(scenes: list[Scene]) -> None:
    """Sentences differ, and a class goes by more than one name."""
    sentences = [scene.sentence for scene in scenes]

    assert len(set(sentences)) > 270
    for word in ("sofa", "couch", "painting", "picture", "rug", "carpet"):
        assert any(re.search(rf"\b{word}s?\b", sentence) for sentence in sentences)


def test_nothing_is_a_speck(scenes: list[Scene]) -> None:
    """Whatever stands or hangs in a scene is seen well enough to be recognised."""
    ground = {"wall", "floor", "ceiling", "sky", *grammar.GROUND}
    for scene in scenes:
        assert all(each.share >= 0.01 for each in scene.things if each.name not in ground)


def test_variants_are_what_their_names_say(tmp_path: Path) -> None:
    """A copy has the same bytes, a turned one shows the same upright, a mirrored one the mirror's picture."""
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


def test_a_build_takes_one_of_the_variants(segkit: Segkit, tmp_path: Path, build_options: list[str]) -> None:
    """The copy is left out as identical, turned, grey and cropped ones as near-duplicates; a mirror's is new."""
    world.write_variants(tmp_path / "photos", 3)

    built = segkit("build-dataset", tmp_path / "photos", "-o", tmp_path / "out", "--min-size", "96", *build_options)

    assert built.code == 0
    rejected = (tmp_path / "out" / ".segkit" / "rejected.jsonl").read_text()
    assert rejected.count('"identical"') == 1
    assert rejected.count('"near-duplicate"') >= 2
