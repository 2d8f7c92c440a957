"""Maps painted in an image editor are read exactly or repaired, and refused where that is not certain."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from PIL import Image

from segkit.dataset import Dataset, painted, relabel
from segkit.errors import DatasetError, MapError, UsageError
from segkit.maps import codec
from segkit.maps.codec import ClassShare
from segkit.palette import Palette
from tests.dataset.test_dataset import build, render

ADE = Palette.load("ade20k")
LAMP, ROAD, SKYSCRAPER = (ADE.find(name) for name in ("lamp", "road", "skyscraper"))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of four triples whose maps are flat areas, as those of real segmenters. Do not change it."""
    folder = tmp_path_factory.mktemp("painted")
    dataset = build(render(folder / "photos", 4), folder / "out")
    with dataset.writing():
        for triple in dataset:
            labels = np.zeros((triple.height, triple.width), np.uint8)
            labels[40:] = 3
            labels[20:60, 30:80] = 7
            relabel_whole(dataset, triple.key, labels)
    return folder / "out"


def relabel_whole(dataset: Dataset, key: str, labels: codec.Labels) -> None:
    """Store a map as if a segmenter had made it."""
    from segkit import storage

    triple, data = dataset.get([key])[0], codec.encode(labels, ADE)
    storage.write(dataset.folder / triple.conditioning_image_file_name, data)
    classes = codec.summarize(labels, np.full(labels.shape, 0.5, np.float32), ADE)[1]
    dataset.commit([replace(triple, classes=classes, map_sha256=storage.sha256(data))])
    dataset.fold()


@pytest.fixture
def dataset(built: Path, tmp_path: Path) -> Dataset:
    """A copy of that dataset."""
    shutil.copytree(built, tmp_path / "out")
    return Dataset.open(tmp_path / "out")


def with_lamp(dataset: Dataset, place: int = 0) -> Image.Image:
    """Return a map with a lamp painted on it, in RGB as editors save it."""
    image = dataset[place].control_map.convert("RGB")
    image.paste(LAMP.rgb, (4, 4, 24, 34))
    return image


def test_a_painted_map_is_one_edit_by_a_person(dataset: Dataset, tmp_path: Path) -> None:
    """Saved as RGB, every pixel is what was painted; undone, the map is as before."""
    before, expected = dataset[0].labels, dataset[0].labels
    expected[4:34, 4:24] = LAMP.index
    with_lamp(dataset).save(tmp_path / "map.png")

    taken = painted.take(dataset, dataset[0].source, tmp_path / "map.png")
    after, record = dataset[0].labels, dataset[0]
    again = painted.take(dataset, dataset[0].source, tmp_path / "map.png")
    relabel.undo(dataset, dataset[0].key)

    assert np.array_equal(after, expected)
    assert (taken.key, taken.note, taken.reason) == (record.key, "", "")
    assert taken.changed == pytest.approx((before != expected).mean())
    assert record.map_by_person
    assert again.changed == 0
    assert np.array_equal(dataset[0].labels, before)


def test_a_map_a_little_off_its_colours_is_repaired(dataset: Dataset, tmp_path: Path) -> None:
    """Saved as JPEG, it becomes exact again, and the result says so."""
    expected = dataset[0].labels
    expected[4:34, 4:24] = LAMP.index
    with_lamp(dataset).save(tmp_path / "map.jpg", quality=90)

    taken = painted.take(dataset, dataset[0].key, tmp_path / "map.jpg")

    assert "saved as JPEG" in taken.note
    assert (dataset[0].labels != expected).mean() < 0.01
    assert [problem for problem in dataset.check() if problem.severity == "error"] == []


def test_a_jpeg_of_the_stored_map_is_no_edit(dataset: Dataset, tmp_path: Path) -> None:
    """Where it differs in uncertain pixels only, nothing was painted: the record stays, and the pixels are counted."""
    before = dataset[0]
    before.control_map.convert("RGB").save(tmp_path / "map.jpg", quality=95, subsampling=0)

    taken = painted.take(dataset, before.key, tmp_path / "map.jpg")

    assert (taken.changed, taken.pixels) == (0, 0)
    assert "saved as JPEG" in taken.note
    assert dataset[0] == before


def test_lines_that_a_repair_leaves_are_told_from_painting(dataset: Dataset) -> None:
    """Only of a repaired map, and only where no area of 3 x 3 pixels changes; the classes are named."""
    noisy = np.array(dataset[0].control_map.convert("RGB"))
    noisy[::7, ::5] ^= 2
    line, area = noisy.copy(), noisy.copy()
    line[4:6, 4:60] = LAMP.rgb
    area[4:9, 4:60] = LAMP.rgb
    exact = np.array(dataset[0].control_map.convert("RGB"))
    exact[4:6, 4:60] = LAMP.rgb

    results = [
        painted.take(dataset, dataset[0].key, Image.fromarray(pixels), dry_run=True) for pixels in (line, area, exact)
    ]

    assert [result.is_thin for result in results] == [True, False, False]
    assert [(change.old, change.new, change.pixels) for change in results[0].changes] == [("wall", "lamp", 112)]
    assert dataset[0].edits.revision == 0


def test_transparent_pixels_are_counted(dataset: Dataset) -> None:
    """They become unlabelled, and the result says how many."""
    image = dataset[0].control_map.convert("RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 16, 8))

    taken = painted.take(dataset, dataset[0].key, image)

    assert (taken.transparent, taken.pixels) == (128, 128)
    assert (dataset[0].labels[:8, :16] == 255).all()


def test_advice_fits_a_map_painted_by_hand(dataset: Dataset) -> None:
    """Noise is refused without options of other commands; a name that is a little off is suggested."""
    first = dataset[0]
    noise = np.random.default_rng(0).integers(0, 256, (first.height, first.width, 3), np.uint8)
    with pytest.raises(MapError, match=r"cannot be repaired: .*Paint on a copy of the stored map") as error:
        painted.take(dataset, first.key, Image.fromarray(noise))
    assert "build-dataset" not in str(error.value)
    with pytest.raises(UsageError, match=f"Did you mean .*{first.source}"):
        painted.take(dataset, f"{first.source}x", first.control_map)


def test_classes_of_one_colour_stay_apart_where_nothing_was_painted(dataset: Dataset, tmp_path: Path) -> None:
    """ADE20K's road and skyscraper share a colour, which RGB pictures cannot tell; the map before can."""
    labels = dataset[0].labels
    labels[labels == 3] = SKYSCRAPER.index
    labels[:4] = ROAD.index
    relabel.replace_labels(dataset, dataset[0].key, labels)

    painted.take(dataset, dataset[0].key, with_lamp(dataset))

    labels[4:34, 4:24] = LAMP.index
    assert np.array_equal(dataset[0].labels, labels)


def test_a_class_that_cannot_be_told_apart_is_named(dataset: Dataset) -> None:
    """If nothing is known of the map before, as for one that was painted over in place."""
    labels = np.full((dataset[0].height, dataset[0].width), ROAD.index, np.uint8)
    triple = replace(dataset[0], classes=(ClassShare("skyscraper", 1.0, 1.0),))

    with pytest.raises(MapError, match="so skyscraper can no longer be told from"):
        painted.exact(codec.paint(labels, ADE).convert("RGB"), triple, ADE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda image: image.resize((64, 64)), "is 64x64 now, not .*: paint it at its own size"),
        (lambda image: Image.new("RGB", image.size), "shows no class at all: it is black"),
        (lambda image: Image.effect_noise(image.size, 90).convert("RGB"), "cannot be repaired"),
    ],
)
def test_a_map_that_cannot_be_taken_changes_nothing(
    dataset: Dataset, tmp_path: Path, change: object, message: str
) -> None:
    """The message names file and reason."""
    assert callable(change)
    before = dataset[0]
    change(with_lamp(dataset)).save(tmp_path / "map.png")

    with pytest.raises(MapError, match=f"map.png {message}"):
        painted.take(dataset, before.key, tmp_path / "map.png")

    assert dataset[0] == before


def test_a_map_painted_over_in_place_is_taken_over(dataset: Dataset, tmp_path: Path) -> None:
    """Its own path says so; another map is refused meanwhile, since it would destroy what was painted."""
    path = dataset.folder / dataset[0].conditioning_image_file_name
    with_lamp(dataset).save(path)
    saved = path.read_bytes()

    with pytest.raises(DatasetError, match="changed outside segkit"):
        painted.take(dataset, dataset[0].key, dataset[0].control_map.convert("RGB").rotate(180))
    untouched = path.read_bytes()
    painted.take(dataset, dataset[0].key, path)

    assert untouched == saved
    assert (dataset[0].labels[4:34, 4:24] == LAMP.index).all()
    assert dataset[0].map_by_person
    assert [problem for problem in dataset.check() if problem.severity == "error"] == []


def test_maps_of_a_folder_are_matched_by_key_or_photo(dataset: Dataset, tmp_path: Path) -> None:
    """What cannot be matched or taken has a reason, and does not stop the others."""
    folder = tmp_path / "maps"
    (folder / "more").mkdir(parents=True)
    with_lamp(dataset, 0).save(folder / f"{dataset[0].key}.png")
    with_lamp(dataset, 1).save(folder / "001.png")
    with_lamp(dataset, 1).save(folder / "more" / "001.bmp")
    with_lamp(dataset, 2).resize((8, 8)).save(folder / "002.png")
    with_lamp(dataset, 3).save(folder / "garden.png")

    results = {Path(taken.file).name: taken for taken in painted.take_folder(dataset, folder)}

    assert [name for name, taken in results.items() if not taken.reason] == ["001.png", f"{dataset[0].key}.png"]
    assert "belongs to the same photo as" in results["001.bmp"].reason
    assert "is 8x8 now" in results["002.png"].reason
    assert "is named after no triple" in results["garden.png"].reason
    assert [triple.map_by_person for triple in dataset] == [True, True, False, False]
    with pytest.raises(UsageError, match="contains no pictures"):
        painted.take_folder(dataset, tmp_path / "nothing")
