"""segkit.build.remembered: options that a rerun leaves out are those that the dataset was built with."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import segkit as api
from segkit.build import remembered
from segkit.dataset import Dataset
from segkit.dataset.info import FIXED
from segkit.errors import UsageError
from tests.conftest import Segkit
from tests.dataset.test_dataset import render


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photos and their dataset, built with options of its own. Read-only for tests."""
    folder = tmp_path_factory.mktemp("built")
    networks: dict[str, Any] = {"segmenter": "toy", "captioner": "toy"}
    stored: dict[str, Any] = {"size": 96, "min_size": 80, "min_confidence": 0.1, "photo_format": "png"}
    api.build_dataset(render(folder / "photos", 2), folder / "out", **networks, **stored)
    return folder


def settings(folder: Path) -> dict[str, object]:
    """Return the recorded settings of the dataset."""
    return Dataset.open(folder / "out").info.settings


@pytest.fixture
def folder(built: Path, tmp_path: Path) -> Path:
    """A copy with one more photo."""
    shutil.copytree(built, tmp_path, dirs_exist_ok=True)
    render(tmp_path / "photos", 3)
    return tmp_path


def test_a_rerun_without_options_uses_those_of_the_dataset(segkit: Segkit, folder: Path) -> None:
    """The new photo is stored in the size and format of the others, and nothing is recorded anew."""
    before = settings(folder)

    rerun = segkit("build-dataset", folder / "photos", "-o", folder / "out", "--json")

    assert (rerun.code, json.loads(rerun.out)["made"]) == (0, 1)
    assert settings(folder) == before
    dataset = Dataset.open(folder / "out")
    assert {min(triple.width, triple.height) for triple in dataset} == {96}
    assert {triple.file_name[-4:] for triple in dataset} == {".png"}
    assert {triple.prompt.model for triple in dataset} == {"toy"}


def test_python_and_the_dry_run_do_so_too(segkit: Segkit, folder: Path) -> None:
    """Neither needs an option of the first build."""
    planned = json.loads(segkit("build-dataset", folder / "photos", "-o", folder / "out", "--dry-run", "--json").out)

    assert (planned["made"], planned["kept"]) == (1, 2)
    assert len(api.build_dataset(folder / "photos", folder / "out")) == 3


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--size", "512", "was built with --size 96, not 512. Pass --size 96 or another output folder."),
        ("--photo-format", "jpg", "was built with --photo-format png, not jpg."),
        ("--segmenter", "toy-judge", "Pass --segmenter toy or another output folder."),
    ],
)
def test_another_value_is_refused_even_if_it_is_the_default(
    segkit: Segkit, folder: Path, option: str, value: str, message: str
) -> None:
    """What was typed is never replaced by what is remembered."""
    refused = segkit("build-dataset", folder / "photos", "-o", folder / "out", option, value)

    assert refused.code == 2
    assert message in refused.err


def test_a_file_of_options_counts_as_typed(segkit: Segkit, folder: Path) -> None:
    """A size in build.toml is compared with that of the dataset."""
    (folder / "build.toml").write_text("size = 512\n")

    refused = segkit("build-dataset", folder / "photos", "-o", folder / "out", "--config", folder / "build.toml")

    assert "was built with --size 96, not 512" in refused.err


def test_limits_of_photos_may_change_and_are_remembered(folder: Path) -> None:
    """Another min_size applies to this run, and to those after it that leave it out."""
    with pytest.raises(UsageError, match="size=96"):
        api.build_dataset(folder / "photos", folder / "out", size=128)
    api.build_dataset(folder / "photos", folder / "out", min_size=640)
    api.build_dataset(folder / "photos", folder / "out")

    assert settings(folder)["min_size"] == 640
    assert [rejection.reason for rejection in Dataset.open(folder / "out").rejections()] == ["too-small"]


def test_prompts_are_left_empty_again_unless_a_captioner_is_chosen(tmp_path: Path) -> None:
    """A build without a captioner is continued without one; naming one asks for it."""
    photos = render(tmp_path / "photos", 1)
    api.build_dataset(photos, tmp_path / "out", segmenter="toy", caption=False, size=96, min_size=80)

    assert remembered.complete(tmp_path / "out", {})["caption"] is False
    assert "caption" not in remembered.complete(tmp_path / "out", {"captioner": "toy"})


def test_a_new_dataset_has_the_defaults(tmp_path: Path) -> None:
    """Where there is no dataset, nothing is added; and everything that cannot change is remembered."""
    assert remembered.complete(tmp_path, {"size": 96}) == {"size": 96}
    assert set(FIXED) <= set(remembered.REMEMBERED)


def test_a_table_of_classes_that_moved_is_asked_for(segkit: Segkit, tmp_path: Path) -> None:
    """A table at its recorded place is used; otherwise the refusal names it."""
    photos, table = render(tmp_path / "photos", 1), tmp_path / "mine.csv"
    segkit("check-palette", "--extend", table, "--add", "solar panel")
    options = "--segmenter toy --no-caption --size 96 --min-size 80".split()
    segkit("build-dataset", photos, "-o", tmp_path / "out", *options, "--palette", table)

    again = segkit("build-dataset", photos, "-o", tmp_path / "out")
    table.rename(tmp_path / "other.csv")
    moved = segkit("build-dataset", photos, "-o", tmp_path / "out")

    assert again.code == 0, again.err
    assert f"was built with the palette {table}" in moved.err
    assert "Pass the same palette" in moved.err
