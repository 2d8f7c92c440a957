"""Some triples as one picture."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segkit.dataset import Dataset
from segkit.reports import contact_sheet
from tests.conftest import Segkit


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for one dataset."""
    return tmp_path_factory.mktemp("sheet")


@pytest.fixture
def dataset(segkit: Segkit, place: Path, six_photos: Path, build_options: list[str]) -> Dataset:
    """Six triples. Not changed."""
    segkit("build-dataset", six_photos, "-o", place / "rooms", *build_options)
    return Dataset.open(place / "rooms")


def test_a_sheet_has_a_cell_for_every_triple(dataset: Dataset) -> None:
    """Six triples stand in two rows of three; fewer are asked for, and it is smaller."""
    whole, two = contact_sheet.draw(dataset), contact_sheet.draw(dataset, triples=2)

    assert whole.size == (two.width * 3 // 2, two.height * 2)
    cells = np.asarray(whole).reshape(2, two.height, 3, two.width // 2, 3)
    assert all(len(np.unique(cells[row, :, column])) > 100 for row in range(2) for column in range(3))


def test_the_maps_on_it_have_exact_colours(dataset: Dataset) -> None:
    """No colour is mixed on the way: the map's part of the first cell is black on white text, paper, and classes."""
    sheet = np.asarray(contact_sheet.draw(dataset, triples=1))

    half = sheet[: contact_sheet.CELL + 8, sheet.shape[1] // 2 + 4 :].reshape(-1, 3)

    classes = {swatch.rgb for swatch in dataset.info.palette} | {(0, 0, 0), (255, 255, 255)}
    assert {tuple(color) for color in np.unique(half, axis=0).tolist()} <= classes


def test_an_empty_dataset_gives_an_empty_page(dataset: Dataset) -> None:
    """No triple asked for, no error."""
    assert len(np.unique(np.asarray(contact_sheet.draw(dataset, triples=0)))) == 1


def test_it_is_written_as_a_png(dataset: Dataset, tmp_path: Path) -> None:
    """What is written is what is drawn."""
    contact_sheet.write(dataset, tmp_path / "sheet.png")

    with Image.open(tmp_path / "sheet.png") as image:
        assert image.format == "PNG"
        assert image.tobytes() == contact_sheet.draw(dataset).tobytes()
