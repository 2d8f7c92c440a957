"""Control maps that a person painted are taken over, and classes without a pixel are named."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segkit.build import pipeline, repainted
from segkit.build.outcome import Outcome
from segkit.build.settings import BuildSettings
from segkit.build.tools import Networks
from segkit.dataset import Dataset, relabel
from segkit.maps.strokes import Stroke
from segkit.palette import Palette, extend
from tests.dataset.test_dataset import brightness, contents, render

NEW = (0xA8, 0x77, 0xFF)


@pytest.fixture
def solar(tmp_path: Path) -> Dataset:
    """A dataset of three triples whose palette adds a solar panel."""
    mine = extend.extended(Palette.load("ade20k"), ["solar panel"], "mine")
    (tmp_path / "mine.csv").write_bytes(extend.encode(mine))
    render(tmp_path / "photos", 3)
    build(tmp_path)
    return Dataset.open(tmp_path / "out")


def build(folder: Path) -> Outcome:
    """Build the dataset, or build it again."""
    settings = BuildSettings(size=96, min_size=80, caption=False, palette=str(folder / "mine.csv"))
    palette = Palette.load(folder / "mine.csv")
    return pipeline.build_dataset(
        folder / "photos", folder / "out", settings, load=lambda _: Networks(palette, brightness, None, "b", "1")
    )


def test_a_painted_map_is_taken_over(solar: Dataset, tmp_path: Path) -> None:
    """Saved as RGB by an editor, it becomes an indexed map with the new class recorded; a check finds no error."""
    before = solar[0].labels
    path = solar.folder / solar[0].conditioning_image_file_name
    image = solar[0].control_map.convert("RGB")
    image.paste(solar.info.palette.find("solar panel").rgb, (8, 8, 40, 24))
    image.save(path)

    outcome = build(tmp_path)
    again, files = build(tmp_path), contents(solar.folder)
    build(tmp_path)

    expected = before.copy()
    expected[8:24, 8:40] = 150
    assert np.array_equal(solar[0].labels, expected)
    assert "solar panel" in {share.name for share in solar[0].classes}
    assert (outcome.changed, again.changed) == (True, False)
    assert any(note.startswith("Repainted maps taken over: 1 (maps/") for note in outcome.notes)
    assert not any("No pixel of this class" in note for note in outcome.notes)
    assert [problem for problem in solar.check() if problem.severity == "error"] == []
    assert contents(solar.folder) == files


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda image: image.resize((image.width // 2, image.height)), "not 128x96: paint it at its own size"),
        (lambda image: _spotted(image), "has 4 pixels in colours of no class: paint without smoothing"),
        (lambda image: Image.new("RGB", image.size), "shows no class at all: it is black"),
    ],
)
def test_a_map_that_cannot_be_taken_over_stays(solar: Dataset, tmp_path: Path, damage: object, message: str) -> None:
    """It is named in every run, with the reason, and stays as the person saved it."""
    assert callable(damage)
    path = solar.folder / solar[0].conditioning_image_file_name
    damage(solar[0].control_map.convert("RGB")).save(path)
    saved = path.read_bytes()

    for _ in range(2):
        assert any(message in note for note in build(tmp_path).notes)

    assert path.read_bytes() == saved


def _spotted(image: Image.Image) -> Image.Image:
    image.paste((1, 2, 3), (0, 0, 2, 2))
    return image


def test_classes_of_one_colour_are_not_merged_in_silence(solar: Dataset, tmp_path: Path) -> None:
    """A skyscraper saved as RGB has the colour of a road: the map is refused instead of turning one into the other."""
    path = solar.folder / solar[0].conditioning_image_file_name
    image = solar[0].control_map
    image.paste(48, (0, 0, 40, 40))
    image.save(path)
    build(tmp_path)
    assert "skyscraper" in {share.name for share in solar[0].classes}

    image.convert("RGB").save(path)
    notes = build(tmp_path).notes

    assert any("so skyscraper can no longer be told from the class of the same colour" in note for note in notes)
    assert repainted.adopt(solar).adopted == []


def test_several_classes_without_a_pixel_are_named(tmp_path: Path) -> None:
    """In the plural."""
    mine = extend.extended(Palette.load("ade20k"), ["solar panel", "pergola"], "mine")
    (tmp_path / "mine.csv").write_bytes(extend.encode(mine))
    render(tmp_path / "photos", 1)

    [note] = [note for note in build(tmp_path).notes if note.startswith("No pixel")]

    assert note.startswith("No pixel of these classes yet: solar panel (150, ")
    assert "Paint them into" in note


def test_a_class_without_a_pixel_is_named(solar: Dataset, tmp_path: Path) -> None:
    """With its index, its colour and where to paint it; a palette without classes of one's own needs no note."""
    [note] = list(repainted.unseen_classes(solar))

    assert note.startswith(f"No pixel of this class yet: solar panel (150, {solar.info.palette[150].hex}).")
    assert str(solar.folder / "maps") in note
    assert note in build(tmp_path).notes


def test_a_palette_that_counts_from_one_is_said_to(tmp_path: Path) -> None:
    """Its classes are those of ADE20K all the same, and the build says how it read the indices."""
    rows = [f"{swatch.index + 1},{swatch.name},{','.join(map(str, swatch.rgb))}" for swatch in Palette.load("ade20k")]
    (tmp_path / "mine.csv").write_text("\n".join(["index,name,r,g,b", *rows]))
    render(tmp_path / "photos", 1)

    notes = build(tmp_path).notes

    assert "mine.csv numbers its classes from 1 to 150; they are read as 0 to 149" in notes[0]
    assert Dataset.open(tmp_path / "out").info.palette.hash == Palette.load("ade20k").hash


def test_what_was_painted_over_an_edit_can_be_undone(solar: Dataset, tmp_path: Path) -> None:
    """A build takes it over as one more edit of the map's history; the record says that a person made the map."""
    relabel.relabel(solar, solar[0].key, [Stroke(36, ((0, 90),))])
    edited, path = solar[0].labels, solar.folder / solar[0].conditioning_image_file_name
    image = solar[0].control_map.convert("RGB")
    image.paste(solar.info.palette.find("solar panel").rgb, (8, 8, 40, 24))
    image.save(path)

    build(tmp_path)
    taken = solar[0]
    painted = taken.labels
    state = relabel.undo(solar, taken.key)

    assert (painted[8:24, 8:40] == 150).all()
    assert (taken.map_by_person, taken.edits.revision) == (True, 2)
    assert (state.undoable, state.redoable) == (1, 1)
    assert np.array_equal(solar[0].labels, edited)
