"""dataset.toml of a build: what a rebuild needs is recorded, and kept up to date."""

import tomllib
from pathlib import Path

import pytest
import tomli_w

from segkit.build import pipeline, target
from segkit.build.settings import BuildSettings
from segkit.build.tools import Networks
from segkit.dataset import Dataset
from segkit.dataset.info import FIXED
from segkit.errors import DatasetError, UsageError
from segkit.palette import Palette
from tests.dataset.test_dataset import brightness, render

ADE = Palette.load("ade20k")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of two photos."""
    return render(tmp_path / "photos", 2)


def build(photos: Path, revision: str = "1", **changed: object) -> Dataset:
    """Build a dataset beside the photos, or build it again."""
    values = {"size": 96, "min_size": 80, "caption": False, "prefix": "a photo:", "split": "val=0.5"}
    settings = BuildSettings(**values | changed)  # type: ignore[arg-type]
    networks = Networks(ADE, brightness, None, "b", revision, weights="abc", precision="bf16")
    pipeline.build_dataset(photos, photos.parent / "out", settings, load=lambda _: networks)
    return Dataset.open(photos.parent / "out")


def test_everything_that_a_rebuild_needs_is_recorded(photos: Path) -> None:
    """The recorded settings give equal ones, models have hash and precision, and libraries their version."""
    info = build(photos, min_confidence=0.25, keep_duplicates=True, limit=2, batch_size="3").info

    again = BuildSettings(**info.settings)
    assert (again.size, again.min_confidence, again.keep_duplicates, again.prefix, again.split) == (
        96, 0.25, True, "a photo:", "val=0.5",
    )  # fmt: skip
    assert {"limit", "batch_size", "device", "retry_rejected", "prune", "force"}.isdisjoint(info.settings)
    assert info.models == {"segmenter": {"name": "b", "revision": "1", "weights": "abc", "precision": "bf16"}}
    assert info.versions.keys() == {"segkit", "torch", "transformers", "pillow", "numpy"}


def test_a_rerun_records_only_what_it_used(photos: Path) -> None:
    """How photos are chosen is as in the last build; how prompts are drafted, as for the last photos that were new."""
    before = build(photos, min_size=64).info

    again = build(photos, captioner="toy", beams=4, store_confidence=True, prefix="", split="").info
    render(photos, 3)
    more = build(photos, captioner="toy").info

    assert again.settings == before.settings | {"min_size": 80}
    assert (again.settings["prefix"], again.settings["split"]) == ("a photo:", "val=0.5")
    assert more.settings == before.settings | {"min_size": 80, "captioner": "toy"}


@pytest.mark.parametrize("more", [0, 1])
def test_another_segmenter_is_refused_with_and_without_new_photos(photos: Path, more: int) -> None:
    """The record of what made the maps stays true, and the line says what made them."""
    dataset = build(photos)
    before = (dataset.hidden / "dataset.toml").read_bytes()
    render(photos, 2 + more)

    with pytest.raises(UsageError, match=r"was segmented by b, not by toy\. Pass segmenter=b or another output folder"):
        build(photos, segmenter="toy")

    assert (dataset.hidden / "dataset.toml").read_bytes() == before


def test_a_dataset_of_an_earlier_version_opens_and_is_completed(photos: Path) -> None:
    """Without versions, hashes and most settings it is read, and a build that adds a photo records them."""
    dataset = build(photos)
    path = dataset.hidden / "dataset.toml"
    content = tomllib.loads(path.read_text())
    del content["versions"]
    content["settings"] = {name: content["settings"][name] for name in (*FIXED, "palette", "split", "prefix")}
    content["models"] = {"segmenter": {"name": "b", "revision": "1"}}
    path.write_text(tomli_w.dumps(content))

    old = Dataset.open(dataset.folder).info
    render(photos, 3)
    new = build(photos).info

    assert (old.versions, old.models["segmenter"]) == ({}, {"name": "b", "revision": "1"})
    assert new.versions == target.versions()
    assert new.models["segmenter"]["weights"] == "abc"
    assert new.settings["min_size"] == 80


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("tiles", 2, r"built with tiles=0, not 2\."),
        ("flip_average", True, r"flip_average=False, not flip_average=True\."),
        ("ensemble", "toy-judge", r"without an ensemble, not with ensemble=toy-judge\. Leave it out"),
    ],
)
def test_how_photos_are_segmented_never_changes(photos: Path, setting: str, value: object, message: str) -> None:
    """Tiles and mirror images are recorded, and a build with others is refused, as it would mix two kinds of maps."""
    info = build(photos).info
    assert (info.settings["tiles"], info.settings["flip_average"], info.settings["ensemble"]) == (0, False, "")

    with pytest.raises(UsageError, match=message):
        build(photos, "1", **{setting: value})


def test_a_build_that_is_refused_records_nothing(photos: Path) -> None:
    """Another segmenter's settings do not replace those of the dataset."""
    dataset = build(photos)
    before = (dataset.hidden / "dataset.toml").read_bytes()
    render(photos, 3)

    with pytest.raises(DatasetError, match="was segmented by b"):
        build(photos, revision="2")

    assert (dataset.hidden / "dataset.toml").read_bytes() == before
