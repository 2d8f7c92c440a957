"""The demo renders photos with known ground truth, and compares a dataset with it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segkit.build import pipeline
from segkit.build.settings import BuildSettings
from segkit.build.tools import Networks
from segkit.dataset import Dataset
from segkit.errors import UsageError
from segkit.models.segment import Segmentation
from segkit.palette import Palette
from segkit.progress import silent
from segkit.toy import demo
from tests.conftest import Segkit

SIZES = ((128, 128), (160, 128))


@pytest.mark.parametrize("name", ["thesis.txt", "photos/holiday.jpg"])
def test_a_folder_of_other_things_is_left_alone(segkit: Segkit, tmp_path: Path, name: str) -> None:
    """The error names the foreign file, and nothing is written."""
    foreign = tmp_path / name
    foreign.parent.mkdir(exist_ok=True)
    foreign.write_text("mine")

    result = segkit("demo", tmp_path, "--photos", "1")

    assert result.code == 2
    assert f"contains {foreign.name}" in result.err
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [foreign]


@pytest.mark.parametrize("name", ["photos/room 12.jpg", "photos/room 001.png", "other/room 001.jpg"])
def test_only_names_of_the_demo_are_accepted(tmp_path: Path, name: str) -> None:
    """A missing folder and files of an earlier demo pass; similar names of other files do not."""
    demo.check_folder(tmp_path / "new")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "street 0012.jpg").touch()
    (tmp_path / "dataset").mkdir()
    demo.check_folder(tmp_path)

    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    with pytest.raises(UsageError, match="which is not a file of the demo"):
        demo.check_folder(tmp_path)


def test_photos_are_rendered_once(tmp_path: Path) -> None:
    """Sizes are cycled through, progress counts photos, and a second call rewrites no file."""
    calls = []
    truths = demo.render(tmp_path, 3, SIZES, lambda stage, done, total, note="": calls.append((stage, done, total)))
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}

    again = demo.render(tmp_path, 3, SIZES, silent)

    assert calls == [("rendering", 1, 3), ("rendering", 2, 3), ("rendering", 3, 3)]
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before
    sizes = {}
    for path in tmp_path.iterdir():
        with Image.open(path) as photo:
            sizes[path.name.split()[-1]] = photo.size
    assert sizes == {"000.jpg": SIZES[0], "001.jpg": SIZES[1], "002.jpg": SIZES[0]}
    assert again.keys() == truths.keys()
    assert all(truth.labels.shape in ((128, 128), (128, 160)) and truth.sentence for truth in truths.values())


def test_a_dataset_is_compared_with_the_ground_truth(tmp_path: Path) -> None:
    """A segmenter that sees walls only is as accurate as the share of wall; photos of another origin are left out."""
    ade = Palette.load("ade20k")
    truths = demo.render(tmp_path / "photos", 4, SIZES, silent)
    Image.effect_noise((128, 128), 90).convert("RGB").save(tmp_path / "photos" / "other.png")

    def walls(photos: object) -> list[Segmentation]:
        shapes = [(photo.height, photo.width) for photo in photos]  # type: ignore[attr-defined]
        return [Segmentation(np.zeros(shape, np.uint8), np.ones(shape, np.float32)) for shape in shapes]

    settings = BuildSettings(size=128, min_size=64, caption=False, keep_duplicates=True)
    pipeline.build_dataset(tmp_path / "photos", tmp_path / "out", settings, load=lambda _: Networks(ade, walls))
    evaluation = demo.evaluate(Dataset.open(tmp_path / "out"), truths)

    labels = np.concatenate([truth.labels.ravel() for truth in truths.values()])
    assert evaluation.maps.scenes == len(evaluation.captions) == 4
    assert evaluation.maps.accuracy == pytest.approx((labels == 0).mean())
    assert {truth for _, _, truth in evaluation.captions} == {truth.sentence for truth in truths.values()}


def test_a_build_stores_the_photos_of_a_demo_unscaled() -> None:
    """Otherwise the rendered ground truth would not fit the control maps."""
    for settings in (demo.BUILD_DEMO, demo.TRAINING_DEMO):
        for width, height in settings.sizes:
            assert min(width, height) == settings.build.size >= settings.build.min_size
            assert width % 8 == height % 8 == 0
