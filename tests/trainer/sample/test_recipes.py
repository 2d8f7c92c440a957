"""A picture's recipe has everything that the picture depends on, and its PNG holds the recipe."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from segkit.palette import Palette
from segkit.storage import sha256
from tests.trainer.runs import path_of
from trainer.sample import recipes
from trainer.sample.recipes import Recipes
from trainer.sample.requests import DrawRequest, Subject
from trainer.settings import GenerateSettings

ADE = Palette.load("ade20k")
RECIPES = Recipes(GenerateSettings(), ADE, "fp32", ["0123", "4567"])


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    """A picture of a map of five bytes."""
    (tmp_path / "a.png").write_bytes(b"a map")
    return Subject(DrawRequest("a", tmp_path / "a.png", "a room"), 7, 0.5, (64, 96))


def test_a_recipe_is_complete(subject: Subject) -> None:
    """It has prompt, settings, precision, weights and the hashes of map and palette, as JSON values."""
    settings = GenerateSettings(
        negative="fog", scheduler="ddim", steps=9, guidance=3.0, guidance_end=0.6, control_start=0.1, control_end=0.8
    )

    recipe = Recipes(settings, ADE, "bf16", ["0123"]).recipe(subject)

    assert recipe == {
        "prompt": "a room", "negative": "fog", "seed": 7, "size": [64, 96], "scheduler": "ddim", "steps": 9,
        "guidance": 3.0, "guidance_end": 0.6, "strength": 0.5, "control_start": 0.1, "control_end": 0.8,
        "precision": "bf16", "map_sha256": sha256(b"a map"), "palette_hash": ADE.hash, "weights": ["0123"],
    }  # fmt: skip


@pytest.mark.parametrize(
    "changed",
    [
        {"settings": GenerateSettings(negative="fog")},
        {"settings": GenerateSettings(scheduler="unipc")},
        {"settings": GenerateSettings(guidance_end=0.5)},
        {"settings": GenerateSettings(control_start=0.5)},
        {"settings": GenerateSettings(control_end=0.5)},
        {"palette": None},
        {"precision": "fp16"},
        {"weights": ["0123", "89ab"]},
    ],
)
def test_another_computation_is_another_recipe(subject: Subject, changed: dict[str, Any]) -> None:
    """Settings, palette, precision, weights and strength count; device, batch and number of pictures do not."""
    same = replace(RECIPES, settings=GenerateSettings(device="cuda", count=3, batch_size=4, strengths="0.5,1"))
    recipe = RECIPES.recipe(subject)

    assert same.recipe(subject) == recipe
    assert replace(RECIPES, **changed).recipe(subject) != recipe
    assert RECIPES.recipe(replace(subject, strength=1.0)) != recipe


def test_a_changed_map_is_another_recipe(subject: Subject) -> None:
    """The map counts by its content, not by its name."""
    before = RECIPES.recipe(subject)
    control_map = path_of(subject.request.control_map)
    renamed = control_map.rename(control_map.with_name("b.png"))
    moved = replace(subject, request=replace(subject.request, control_map=renamed))
    assert RECIPES.recipe(moved) == before

    renamed.write_bytes(b"other")
    assert RECIPES.recipe(moved) != before


@given(st.dictionaries(st.text(), st.one_of(st.text(), st.integers(), st.lists(st.booleans())), max_size=4))
def test_a_recipe_survives_the_png(recipe: dict[str, Any]) -> None:
    """Any text, including that of other scripts, is read as it was written, and the pixels are unchanged."""
    picture = Image.new("RGB", (3, 2), (1, 2, 3))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.png"
        path.write_bytes(recipes.encode(picture, recipe))

        assert recipes.read(path) == recipe
        with Image.open(path) as image:
            assert image.tobytes() == picture.tobytes()


def test_other_files_have_no_recipe(tmp_path: Path) -> None:
    """A missing file, another tool's PNG, a JPEG and a PNG with other text are no pictures of segkit."""
    Image.new("RGB", (2, 2)).save(tmp_path / "plain.png")
    Image.new("RGB", (2, 2)).save(tmp_path / "photo.jpg")
    (tmp_path / "text.png").write_text("hello")
    damaged = recipes.encode(Image.new("RGB", (2, 2)), {"seed": 1}).replace(b'{"seed": 1}', b'{"seed": 1]')
    (tmp_path / "damaged.png").write_bytes(damaged)
    for name in ("missing.png", "plain.png", "photo.jpg", "text.png", "damaged.png"):
        assert recipes.read(tmp_path / name) is None
