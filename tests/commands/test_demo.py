"""segkit demo."""

import re
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import Result, Segkit


@pytest.fixture
def shown(segkit: Segkit, tmp_path: Path) -> Result:
    """The output of the demo with eight photos."""
    return segkit("demo", tmp_path / "demo", "--photos", "8")


def test_the_demo_measures_its_maps(shown: Result) -> None:
    """The demo succeeds, describes its networks, and its maps agree with the ground truth."""
    assert shown.code == 0
    assert "know the toy world only" in shown.out
    figures = re.search(r"mIoU (0\.\d+), (\d+\.\d)% of the pixels right", shown.out)
    assert figures
    assert float(figures[1]) > 0.7
    assert float(figures[2]) > 95


def test_the_demo_shows_captions_pictures_and_what_comes_next(shown: Result, tmp_path: Path) -> None:
    """One screen shows three drafts with the true sentences and three commands to run next; sheet and page exist."""
    assert len(re.findall(r"(room|street) 00\d\.jpg .*\n +the truth: ", shown.out)) == 3
    assert [line.split()[1] for line in shown.out.splitlines()[-3:]] == ["build-dataset", "check", "train"]
    assert sum(-(-len(line) // 80) for line in shown.out.splitlines()) <= 24
    assert (tmp_path / "demo" / "dataset" / ".segkit" / "report.html").is_file()
    with Image.open(tmp_path / "demo" / "contact-sheet.png") as sheet:
        sheet.load()
        assert sheet.width > 1000


def test_a_second_demo_repeats_no_work(segkit: Segkit, shown: Result, tmp_path: Path) -> None:
    """A second run keeps photos and triples and prints the same figures."""
    again = segkit("demo", tmp_path / "demo", "--photos", "8")

    assert again.code == 0
    assert "8 triples of " in again.out
    assert "every pixel on the palette" in again.out
    figures = [line for line in shown.out.splitlines() if "mIoU" in line]
    assert figures == [line for line in again.out.splitlines() if "mIoU" in line]


def test_the_demo_trains_and_measures_pictures(segkit: Segkit, tmp_path: Path) -> None:
    """--train writes a run and its report, and measures pictures from before and after training and the photos."""
    done = segkit("demo", tmp_path / "demo", "--train", "--photos", "30", "--steps", "3")

    assert done.code == 0
    rows = re.findall(r"\((before|after|upper bound)\)\s+│\s+(0\.\d{3})", done.out)
    assert [name for name, _ in rows] == ["before", "after", "upper bound"]
    assert float(rows[2][1]) > 0.6 > float(rows[0][1])
    assert (tmp_path / "demo" / "run" / "report.html").is_file()
    assert (tmp_path / "demo" / "run" / "run.safetensors").is_file()
    with Image.open(tmp_path / "demo" / "pictures" / "before-after.png") as sheet:
        assert sheet.height > 200
    again = segkit("demo", tmp_path / "demo", "--train", "--photos", "30", "--steps", "3")
    assert re.findall(r"\((before|after|upper bound)\)\s+│\s+(0\.\d{3})", again.out) == rows
