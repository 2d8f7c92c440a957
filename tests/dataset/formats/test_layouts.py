"""The layout of a folder is found by one rule, and a folder without one is explained."""

import json
from pathlib import Path

import pytest
from PIL import Image

from segkit.dataset.formats import layouts
from segkit.errors import DatasetError
from tests.conftest import Segkit

LINE = {"file_name": "0.png", "conditioning_image_file_name": "m.png", "text": "x"}


def test_each_layout_is_detected(tmp_path: Path) -> None:
    """By its list or its folders; other folders, files and missing paths have none."""
    folders = {name: tmp_path / name for name in ("fill50k", "imagefolder", "kohya", "photos")}
    for folder in folders.values():
        folder.mkdir()
    (folders["fill50k"] / "prompt.json").write_text('{"source": "0.png", "target": "1.png", "prompt": "x"}')
    (folders["imagefolder"] / "metadata.jsonl").write_text(json.dumps(LINE))
    for name in ("img", "cond"):
        (folders["kohya"] / name).mkdir()
        (folders["kohya"] / name / "0.png").touch()

    assert {name: layouts.detect(folder) for name, folder in folders.items()} == {
        "fill50k": "fill50k", "imagefolder": "imagefolder", "kohya": "kohya", "photos": None
    }  # fmt: skip
    assert [layouts.read(folders[name]).layout for name in ("fill50k", "imagefolder", "kohya")] == [
        "fill50k", "imagefolder", "kohya"
    ]  # fmt: skip
    assert layouts.detect(tmp_path / "nowhere") is None
    assert layouts.detect(folders["fill50k"] / "prompt.json") is None


def test_two_layouts_in_one_folder_are_refused(tmp_path: Path) -> None:
    """Which list counts is not guessed."""
    (tmp_path / "prompt.json").write_text('{"source": "0.png", "target": "1.png", "prompt": "x"}')
    (tmp_path / "metadata.jsonl").write_text(json.dumps(LINE))
    with pytest.raises(DatasetError, match=r"contains prompt\.json and metadata, which are lists of different tools"):
        layouts.detect(tmp_path)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("metadata.json1", "metadata.jsonl"), ("Metadata.jsonl", "metadata.jsonl"), ("metadata.json", "metadata.jsonl"),
        ("metadata (1).jsonl", "metadata.jsonl"), ("metadata.jsonl.txt", "metadata.jsonl"),
        ("metadata.CSV", "metadata.csv"), ("prompts.json", "prompt.json"), ("Prompt.json", "prompt.json"),
        ("prompt.jsonl", "prompt.json"),
    ],
)  # fmt: skip
def test_a_misnamed_list_is_pointed_out(tmp_path: Path, name: str, meant: str) -> None:
    """The message says which file to rename, and to what."""
    (tmp_path / name).touch()
    with pytest.raises(DatasetError, match="is not a dataset") as refused:
        layouts.read(tmp_path)
    assert f"If {name} is its list, rename it to {meant}." in str(refused.value)
    assert layouts.detect(tmp_path) is None
    with pytest.raises(DatasetError, match="rename it to"):
        layouts.detect_maps(tmp_path)


def test_folders_without_a_layout_are_explained(tmp_path: Path) -> None:
    """A missing folder, a file, metadata without maps and an empty folder are told apart."""
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "captions").mkdir()
    (tmp_path / "blank").mkdir()
    (tmp_path / "blank" / "prompt.json").touch()
    (tmp_path / "captions" / "metadata.jsonl").write_text('{"file_name": "0.png", "text": "x"}')
    for name, message in (
        ("nowhere", "nowhere does not exist. Expected a dataset"),
        ("file", "file is a file. Expected a dataset"),
        ("empty", "empty is not a dataset. Expected a dataset"),
        ("blank", "prompt.json is empty. Expected one JSON object on each line"),
        ("captions", "has the columns file_name, text. Expected file_name, conditioning_image_file_name and text."),
    ):
        with pytest.raises(DatasetError) as refused:
            layouts.read(tmp_path / name)
        assert message in str(refused.value)


@pytest.mark.parametrize("command", ["check-palette", "snap", "generate"])
def test_no_command_takes_the_photos_of_a_misnamed_list_for_maps(command: str, tmp_path: Path, segkit: Segkit) -> None:
    """The message names the list; nothing is examined, repaired or drawn."""
    for name in ("images", "maps"):
        (tmp_path / "data" / name).mkdir(parents=True)
        Image.new("RGB", (64, 64), (120, 120, 120)).save(tmp_path / "data" / name / "0.png")
    (tmp_path / "data" / "metadata.json1").write_text(json.dumps(LINE))
    options: dict[str, list[str | Path]] = {
        "check-palette": [tmp_path / "data"],
        "snap": [tmp_path / "data", "-o", tmp_path / "out"],
        "generate": ["--map", tmp_path / "data", "--prompt", "x", "-o", tmp_path / "out"],
    }

    done = segkit(command, *options[command])

    assert done.code == 2
    assert "If metadata.json1 is its list, rename it to metadata.jsonl." in done.err
    assert not (tmp_path / "out").exists()
