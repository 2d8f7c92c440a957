"""segkit train --dry-run: everything checked and told, nothing trained."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import Segkit
from tests.trainer.runs import words


@pytest.fixture
def own(rooms: Path, tmp_path: Path) -> Path:
    """A dataset without a cache."""
    return shutil.copytree(rooms, tmp_path / "rooms", ignore=shutil.ignore_patterns("cache"))


def files(folder: Path) -> set[Path]:
    """Return all files below a folder."""
    return {path for path in folder.rglob("*") if path.is_file()}


def test_a_plan_is_told_and_nothing_is_left(own: Path, base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """Weights, memory, cache, steps and times; one file more: the first batch, each map in exact colours."""
    before = files(tmp_path)

    done = segkit(*words(own, base, tmp_path / "run", steps=100, ema=0.9), "--dry-run", "--json")

    plan = json.loads(done.out)
    assert (done.code, plan["triples"], plan["held_out"], plan["steps"], plan["resumed"]) == (0, 5, 1, 100, 0)
    assert files(tmp_path) - before == {tmp_path / "run-first-batch.png"}
    assert plan["memory"]["gradients"] == 4 * plan["trained"] == plan["memory"]["ControlNet"]
    assert plan["memory"]["adamw"] == 2 * plan["memory"]["running mean"] == 8 * plan["trained"]
    assert plan["memory"]["measured peak"] > sum(plan["memory"].values()) / 2
    assert plan["seconds"] >= 100 * plan["step_seconds"] > 0
    assert plan["sizes"] == {"64 x 64": 6}  # the last batch of two is filled up
    from segkit.palette import Palette

    with Image.open(plan["picture"]) as picture:
        colors = {color for _, color in picture.getcolors(1 << 24) or ()}
    assert colors & {swatch.rgb for swatch in Palette.load("ade20k")}


def test_the_cache_takes_what_was_told(own: Path, base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """To the byte; once it is there, nothing is missing."""
    told = json.loads(segkit(*words(own, base, tmp_path / "run"), "--dry-run", "--json").out)
    assert segkit(*words(own, base, tmp_path / "run", steps=1)).code == 0
    again = json.loads(segkit(*words(own, base, tmp_path / "run", steps=5), "--dry-run", "--json").out)

    assert told["cache"] == sum(path.stat().st_size for path in (own / ".segkit" / "cache").rglob("*.bin"))
    assert told["cache_photos"] == 5 * 2 + 1
    assert (again["cache"], again["resumed"], again["steps"]) == (0, 1, 4)


def test_a_plan_is_told_in_words(own: Path, base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """With the end by the clock."""
    done = segkit(*words(own, base, tmp_path / "run", no_cache=True), "--dry-run")

    assert done.code == 0
    for words_of_it in ("5 triples to learn from, 1 held out", "weights are trained on cpu, fp32", "A step takes",
                        "begun now, it ends on", "Nothing was trained", "VAE and text encoder"):  # fmt: skip
        assert words_of_it in done.out


def test_what_train_refuses_is_refused(own: Path, base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """A base that is none, and a run that was started otherwise: the same line, and no picture."""
    none = segkit(*words(own, tmp_path, tmp_path / "run"), "--dry-run")
    assert (none.code, "no unet" in none.err) == (2, True)
    assert segkit(*words(own, base, tmp_path / "run", steps=1)).code == 0
    other = segkit(*words(own, base, tmp_path / "run", seed=3), "--dry-run")
    assert (other.code, "--seed was 0, now 3" in other.err) == (2, True)
    assert not (tmp_path / "run-first-batch.png").exists()
