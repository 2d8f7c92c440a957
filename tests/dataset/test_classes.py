"""Classes that a person adds to a dataset: everything that knew the palette before goes on working."""

from pathlib import Path

import numpy as np
import pytest

from segkit.build import pipeline
from segkit.build.settings import BuildSettings
from segkit.build.tools import Networks
from segkit.dataset import Dataset, classes, relabel
from segkit.errors import PaletteError
from segkit.maps import codec
from segkit.maps.strokes import Stroke
from segkit.palette import Palette, extend
from tests.dataset.test_dataset import brightness, build, render


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """A dataset of two triples."""
    return build(render(tmp_path / "photos", 2), tmp_path / "out")


def errors(dataset: Dataset) -> list[str]:
    """Return the rules of all errors that check finds."""
    return [problem.rule for problem in dataset.check() if problem.severity == "error"]


def test_a_class_is_added_at_the_end_and_nothing_else_changes(dataset: Dataset, tmp_path: Path) -> None:
    """No file is written but dataset.toml; a build without the class adds photos; the class can be painted."""
    before = {path: path.read_bytes() for path in dataset.folder.rglob("*.png")}
    old = dataset.info.palette

    (panel,) = classes.add_classes(dataset, ["solar panel"])
    (tram,) = classes.add_classes(dataset, ["tram"])
    render(tmp_path / "photos", 1, first=2)
    rebuilt = build(tmp_path / "photos", dataset.folder)
    relabel.relabel(rebuilt, rebuilt[0].key, [Stroke(panel.index, ((0, 500),))])
    again = build(tmp_path / "photos", dataset.folder)

    assert (panel.index, tram.index, len(again)) == (150, 151, 3)
    assert [(swatch.name, swatch.rgb) for swatch in again.info.palette][:150] == [(s.name, s.rgb) for s in old]
    assert len({swatch.rgb for swatch in again.info.palette} - {swatch.rgb for swatch in old}) == 2
    assert {path: path.read_bytes() for path in before if path.stem != again[0].key} == {
        path: data for path, data in before.items() if path.stem != again[0].key
    }
    assert "solar panel" in {share.name for share in again[0].classes}
    assert again.info.built_with.hash == old.hash
    assert errors(again) == []
    assert errors(Dataset.open(dataset.folder)) == []


def test_a_person_keeps_a_new_class_when_the_photo_is_lost(dataset: Dataset, tmp_path: Path) -> None:
    """The photo is restored beside the map, although the segmenter does not know the class."""
    (panel,) = classes.add_classes(dataset, ["solar panel"])
    relabel.relabel(dataset, dataset[0].key, [Stroke(panel.index, ((0, 500),))])
    before = dataset[0].labels
    for name in (dataset[0].file_name, dataset[0].conditioning_image_file_name):
        (dataset.folder / name).unlink()

    rebuilt = build(tmp_path / "photos", dataset.folder)

    assert np.array_equal(rebuilt[0].labels, before)
    assert errors(rebuilt) == []


def test_the_table_of_an_extended_palette_fits_afterwards(dataset: Dataset, tmp_path: Path) -> None:
    """The same class in a palette file, whose free colour is the same, may be passed to a build."""
    classes.add_classes(dataset, ["solar panel"])
    table = tmp_path / "mine.csv"
    table.write_bytes(extend.encode(extend.extended(Palette.load("ade20k"), ["solar panel"], "mine")))
    settings = BuildSettings(size=96, min_size=80, caption=False, palette=str(table))
    tools = Networks(Palette.load(table), brightness, None, "brightness", "1")

    pipeline.build_dataset(tmp_path / "photos", dataset.folder, settings, load=lambda _: tools)

    assert errors(Dataset.open(dataset.folder)) == []


@pytest.mark.parametrize(
    ("name", "message"), [("bed", "already class 7"), ("lamps", "another form of class"), (" ", "not a valid class")]
)
def test_a_class_that_exists_or_cannot_be_named_is_refused(dataset: Dataset, name: str, message: str) -> None:
    """The palette stays as it is."""
    before = dataset.info.palette

    with pytest.raises(PaletteError, match=message):
        classes.add_classes(dataset, [name])

    assert Dataset.open(dataset.folder).info.palette == before


def test_another_palette_is_still_found_by_check(dataset: Dataset) -> None:
    """Only classes added at the end are accepted, and only where they were added by segkit."""
    from dataclasses import replace

    from msgspec import structs

    classes.add_classes(dataset, ["solar panel"])
    wall, building, *rest = dataset.info.palette
    swapped = replace(wall, rgb=building.rgb), replace(building, rgb=wall.rgb), *rest
    dataset.save_info(structs.replace(dataset.info, palette=replace(dataset.info.palette, swatches=swapped)))

    assert "palette-differs" in errors(dataset)


def test_maps_of_a_shorter_palette_are_exact() -> None:
    """Their indices are read, so that classes of one colour stay apart; one beyond them is not exact."""
    ade, longer = Palette.load("ade20k"), extend.extended(Palette.load("ade20k"), ["solar panel"], "mine")
    road, skyscraper = ade.find("road").index, ade.find("skyscraper").index
    labels = np.array([[road, skyscraper, 255, 149]], np.uint8)

    image = codec.paint(labels, ade)
    beyond = codec.paint(labels, ade)
    beyond.putpixel((0, 0), 150)
    reverse = codec.paint(labels, longer)

    assert codec.is_exact(image, longer)
    assert np.array_equal(codec.read(image, longer)[0], labels)
    assert not codec.is_exact(beyond, longer)
    assert not codec.is_exact(reverse, ade)
