"""Contact sheets: layout, exact map colours, files."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segkit.dataset import Dataset
from segkit.reports import contact_sheet
from tests.conftest import Segkit


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for one dataset, shared by the module."""
    return tmp_path_factory.mktemp("sheet")


@pytest.fixture
def dataset(segkit: Segkit, place: Path, six_photos: Path, build_options: list[str]) -> Dataset:
    """A dataset of six triples; tests must not change it."""
    segkit("build-dataset", six_photos, "-o", place / "rooms", *build_options)
    return Dataset.open(place / "rooms")


def test_a_sheet_has_a_cell_for_every_triple(dataset: Dataset) -> None:
    """Six triples fill two rows of three; a smaller sample gives a smaller sheet."""
    whole, two = contact_sheet.draw(dataset), contact_sheet.draw(dataset, triples=2)

    assert whole.size == (two.width * 3 // 2, two.height * 2)
    cells = np.asarray(whole).reshape(2, two.height, 3, two.width // 2, 3)
    assert all(len(np.unique(cells[row, :, column])) > 100 for row in range(2) for column in range(3))


def test_maps_have_exact_colours(dataset: Dataset) -> None:
    """Scaling blends no colours: the map's half of a cell holds only class colours, black and white."""
    sheet = np.asarray(contact_sheet.draw(dataset, triples=1))

    half = sheet[: contact_sheet.CELL + 8, sheet.shape[1] // 2 + 4 :].reshape(-1, 3)

    classes = {swatch.rgb for swatch in dataset.info.palette} | {(0, 0, 0), (255, 255, 255)}
    assert {tuple(color) for color in np.unique(half, axis=0).tolist()} <= classes


def test_no_triples_give_an_empty_page(dataset: Dataset) -> None:
    """A sheet of zero triples is blank and raises no error."""
    assert len(np.unique(np.asarray(contact_sheet.draw(dataset, triples=0)))) == 1


def test_the_sheet_is_written_as_png(dataset: Dataset, tmp_path: Path) -> None:
    """The file contains exactly the drawn pixels."""
    contact_sheet.write(dataset, tmp_path / "sheet.png")

    with Image.open(tmp_path / "sheet.png") as image:
        assert image.format == "PNG"
        assert image.tobytes() == contact_sheet.draw(dataset).tobytes()
