"""Photos whose hashes agree are rejected only if their pictures do, and every decision survives an interruption."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import fft

from segkit import photos
from segkit.build import intake
from segkit.build.arrival import Candidate
from segkit.build.history import History
from segkit.build.intake import Intake
from segkit.dataset import Rejection
from segkit.photos import Limits, near_duplicates
from segkit.toy import world
from tests.dataset.test_dataset import build


def lookalike(known: Image.Image, other: Image.Image) -> Image.Image:
    """Return a picture with the coarse pattern, and so the hash, of one photo and the details of another."""
    coarse, fine = (fft.dctn(np.asarray(image.convert("L"), np.float64)) for image in (known, other))
    fine[:10, :10] = coarse[:10, :10]
    return Image.fromarray(np.clip(fft.idctn(fine), 0, 255).astype(np.uint8)).convert("RGB")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A photo, a look-alike of it, copies of both, and another photo."""
    folder = tmp_path / "photos"
    folder.mkdir()
    first, second, third = (world.scene(seed, (320, 240)).photo for seed in (1, 2, 3))
    other = lookalike(first, second)
    first.save(folder / "a.png")
    other.save(folder / "b.png")
    first.resize((240, 180)).save(folder / "c.jpg", quality=50)
    other.crop((16, 0, 320, 240)).save(folder / "d.jpg", quality=80)
    third.save(folder / "e.png")
    return folder


def test_a_lookalike_is_a_photo_of_its_own(folder: Path) -> None:
    """The hashes of the first two differ in a few bits, yet only the copies are rejected, each for its original."""
    hashes = [near_duplicates.perceptual_hash(Image.open(folder / name)) for name in ("a.png", "b.png")]
    paths, history = list(photos.find(folder)), History(None)

    arrivals = list(intake.arrivals(Intake(folder, paths, Limits(min_size=64, size=128)), history))

    keys = {arrival.source: arrival.key for arrival in arrivals if isinstance(arrival, Candidate)}
    assert (hashes[0] ^ hashes[1]).bit_count() <= 4
    assert list(keys) == ["a.png", "b.png", "e.png"]
    assert [arrival.message for arrival in arrivals if isinstance(arrival, Rejection)] == [
        f"looks like the photo with key {keys['a.png']}",
        f"looks like the photo with key {keys['b.png']}",
    ]


def test_a_dataset_of_hashes_alone_is_extended(folder: Path, tmp_path: Path) -> None:
    """New photos are compared with the stored ones, of which the record holds the plain hash only."""
    (tmp_path / "first").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "first" / name).write_bytes((folder / name).read_bytes())
    build(tmp_path / "first", tmp_path / "out")

    dataset = build(folder, tmp_path / "out")

    assert [triple.source for triple in dataset] == ["a.png", "b.png", "e.png"]
    assert [rejection.reason for rejection in dataset.rejections()] == ["near-duplicate"] * 2


def test_a_stored_photo_without_its_file_is_compared_with_its_source(folder: Path, tmp_path: Path) -> None:
    """Its look-alike is still accepted, its copy rejected, and the files come back."""
    for name in ("b.png", "c.jpg", "d.jpg", "e.png"):
        (folder / name).rename(tmp_path / name)
    dataset = build(folder, tmp_path / "out")
    (dataset.folder / dataset[0].file_name).unlink()
    for name in ("b.png", "c.jpg"):
        (tmp_path / name).rename(folder / name)

    dataset = build(folder, tmp_path / "out")

    assert [triple.source for triple in dataset] == ["a.png", "b.png"]
    assert [rejection.source for rejection in dataset.rejections()] == ["c.jpg"]
    assert (dataset.folder / dataset[0].file_name).exists()


def test_photos_in_a_folder_void_its_rejection() -> None:
    """An unreadable folder is forgotten once a photo inside it was seen, and kept otherwise."""
    history = History(None)
    history.expect(Path("/photos"), [Path("/photos/a/b/1.jpg"), Path("/photos/c.jpg")], Limits())

    valid = [history.still_rejected(Rejection(name, "", "unreadable", "")) for name in ("a", "a/b", "d", "c.jpg")]

    assert valid == [False, False, True, False]
