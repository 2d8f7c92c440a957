"""segkit demo."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from segkit.toy import demo
from tests.conftest import Result, Segkit


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one demo that all tests share; the first of them runs it, the others repeat no work."""
    return tmp_path_factory.getbasetemp() / "shown" / "demo"


@pytest.fixture
def shown(segkit: Segkit, folder: Path) -> Result:
    """The output of the demo with eight photos."""
    return segkit("demo", folder, "--photos", "8")


def test_the_demo_measures_its_maps(shown: Result) -> None:
    """The demo succeeds, describes its networks, and its maps agree with the ground truth."""
    assert shown.code == 0
    assert "know the toy world only" in shown.out
    figures = re.search(r"mIoU (0\.\d+), (\d+\.\d)% of the pixels right", shown.out)
    assert figures
    assert float(figures[1]) > 0.7
    assert float(figures[2]) > 95


def test_the_demo_shows_captions_pictures_and_what_comes_next(shown: Result, folder: Path) -> None:
    """One screen shows three drafts with the true sentences and three commands to run next; sheet and page exist."""
    assert len(re.findall(r"(room|street) 00\d\.jpg .*\n +the truth: ", shown.out)) == 3
    assert [line.split()[1] for line in shown.out.splitlines()[-3:]] == ["build-dataset", "check", "train"]
    assert sum(-(-len(line) // 80) for line in shown.out.splitlines()) <= 24
    assert (folder / "dataset" / ".segkit" / "report.html").is_file()
    with Image.open(folder / "contact-sheet.png") as sheet:
        sheet.load()
        assert sheet.width > 1000


def test_a_second_demo_repeats_no_work(segkit: Segkit, shown: Result, folder: Path) -> None:
    """A second run keeps photos and triples and prints the same figures."""
    again = segkit("demo", folder, "--photos", "8")

    assert again.code == 0
    assert "8 triples of " in again.out
    assert "every pixel on the palette" in again.out
    figures = [line for line in shown.out.splitlines() if "mIoU" in line]
    assert figures == [line for line in again.out.splitlines() if "mIoU" in line]


@pytest.mark.parametrize("option", [("--steps", "5"), ("--base", "toy-sdxl")])
def test_options_of_the_training_need_it(segkit: Segkit, tmp_path: Path, option: tuple[str, str]) -> None:
    """Without --train they would change nothing; nothing is rendered."""
    done = segkit("demo", tmp_path / "demo", *option)

    assert done.code == 2
    assert f"{option[0]} is for the training. Add --train." in done.err
    assert not (tmp_path / "demo").exists()


def test_the_demo_trains_and_measures_pictures(segkit: Segkit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--train writes two runs, without and with a reward, and compares their pictures with the base's and the photos.

    The judge drew none of the maps and gave no reward, so the evaluation has nothing to warn of.
    """
    monkeypatch.setattr("segkit.toy.demo.EVALUATION", replace(demo.EVALUATION, steps=2))  # pictures need not be good
    monkeypatch.setattr("trainer.sample.sampler.STEPS", 2)
    done = segkit("demo", tmp_path / "demo", "--train", "--photos", "30", "--steps", "2")

    assert done.code == 0
    rows = agreement(done)
    assert [name for name, _ in rows] == ["run", "rewarded", "base alone", "photos"]
    assert float(rows[-1][1]) > 0.6 > max(float(rows[0][1]), float(rows[1][1]))
    assert re.search(r"(rewarded|run) obeys its maps|between (rewarded|run) and (rewarded|run)", done.out)
    assert "toy-judge sees" in done.out
    assert any("features 4 of 4" in line for line in done.progress)  # for KID, which needs more than this one map
    assert not [line for line in done.progress if "judge" in line and "drew the dataset's maps" in line]
    for run, steps in (("run", 2), ("rewarded", 1)):
        assert (tmp_path / "demo" / run / "report.html").is_file()
        assert (tmp_path / "demo" / run / f"{run}.safetensors").is_file()
        assert json.loads((tmp_path / "demo" / run / "result.json").read_text())["steps"] == steps
    assert "reward_loss" in (tmp_path / "demo" / "rewarded" / "log.jsonl").read_text()
    with Image.open(tmp_path / "demo" / "evaluation" / "samples.png") as sheet:
        assert sheet.height > 200
    again = segkit("demo", tmp_path / "demo", "--train", "--photos", "30", "--steps", "2")
    assert agreement(again) == rows


def test_the_demo_trains_on_the_other_base(segkit: Segkit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --base toy-sdxl both ControlNets are of SDXL's structure, and the pictures are judged as those of toy."""
    monkeypatch.setattr("segkit.toy.demo.EVALUATION", replace(demo.EVALUATION, steps=1))
    monkeypatch.setattr("trainer.sample.sampler.STEPS", 1)

    done = segkit("demo", tmp_path / "demo", "--train", "--photos", "30", "--steps", "1", "--base", "toy-sdxl")

    assert done.code == 0
    assert "steer the toy Stable Diffusion XL" in done.out
    assert [name for name, _ in agreement(done)] == ["run", "rewarded", "base alone", "photos"]
    for run in ("run", "rewarded"):
        config = json.loads((tmp_path / "demo" / run / "controlnet" / "config.json").read_text())
        assert config["addition_embed_type"] == "text_time"
        assert 'base = "toy-sdxl"' in (tmp_path / "demo" / run / "run.toml").read_text()


def agreement(done: Result) -> list[tuple[str, str]]:
    """Return the pictures and their mIoU from the first rows of the demo's evaluation."""
    return re.findall(r"│ (run|rewarded|base alone|photos)\s+│ (0\.\d{3})", done.out)[:4]
