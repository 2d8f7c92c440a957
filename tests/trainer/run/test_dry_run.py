"""segkit train --dry-run: everything is checked and reported, nothing is trained."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import Segkit
from tests.trainer.runs import words


@pytest.fixture
def uncached(rooms: Path, tmp_path: Path) -> Path:
    """A dataset without a cache."""
    return shutil.copytree(rooms, tmp_path / "rooms", ignore=shutil.ignore_patterns("cache"))


def files(folder: Path) -> set[Path]:
    """Return all files in a folder and its subfolders but stamps, which are kept only of files a few seconds old."""
    return {path for path in folder.rglob("*") if path.is_file() and path.suffix != ".stamps"}


def test_a_plan_leaves_only_the_first_batch(uncached: Path, base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """The plan has weights, memory, steps and times; the only new file shows the first batch in exact colours."""
    before = files(tmp_path)

    done = segkit(*words(uncached, base, tmp_path / "run", steps=100, ema=0.9), "--dry-run", "--json")

    plan = json.loads(done.out)
    assert (done.code, plan["triples"], plan["held_out"], plan["steps"], plan["resumed"]) == (0, 5, 1, 100, 0)
    assert files(tmp_path) - before == {tmp_path / "run-first-batch.png"}
    assert plan["memory"]["gradients"] == 4 * plan["trained"] == plan["memory"]["ControlNet"]
    assert plan["memory"]["adamw"] == 2 * plan["memory"]["running mean"] == 8 * plan["trained"]
    assert plan["memory"]["measured peak"] > sum(plan["memory"].values()) / 2
    assert plan["seconds"] >= 100 * plan["step_seconds"] > 0
    assert plan["sizes"] == {"64 x 64": 6}  # 5 triples: the last batch of two is padded
    from segkit.palette import Palette

    with Image.open(plan["picture"]) as picture:
        colors = {color for _, color in picture.getcolors(1 << 24) or ()}
    assert colors & {swatch.rgb for swatch in Palette.load("ade20k")}


def test_the_predicted_cache_size_is_exact(uncached: Path, base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """The plan predicts the cache to the byte, and nothing once it is filled."""
    plan = json.loads(segkit(*words(uncached, base, tmp_path / "run"), "--dry-run", "--json").out)
    assert segkit(*words(uncached, base, tmp_path / "run", steps=1)).code == 0
    again = json.loads(segkit(*words(uncached, base, tmp_path / "run", steps=5), "--dry-run", "--json").out)

    assert plan["cache"] == sum(path.stat().st_size for path in (uncached / ".segkit" / "cache").rglob("*.bin"))
    assert plan["cache_photos"] == 5 * 2 + 1
    prompt = plan["cache"] - (plan["cache_photos"]) * 2 * 4 * 8 * 8 * 4
    assert plan["cache_triple"] == 2 * (2 * 4 * 8 * 8 * 4) + prompt / plan["cache_prompts"]
    assert (again["cache"], again["resumed"], again["steps"]) == (0, 1, 4)


def test_a_plan_is_printed(uncached: Path, base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """Without --json the plan is text, with the time at which the training would finish."""
    done = segkit(*words(uncached, base, tmp_path / "run", no_cache=True), "--dry-run")

    assert done.code == 0
    for part in ("5 training triples, 1 held out", "not measured: 1.5 GB as set. 12 GB: fits;",
                 "trainable weights on cpu, fp32", " steps of ",
                 "Started now, it would finish on", "Nothing was written to", "VAE and text encoder"):  # fmt: skip
        assert part in done.out


def test_a_dry_run_refuses_what_train_refuses(uncached: Path, base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """A folder that is not a base, or a run started with another seed: the same message, and no picture."""
    invalid = segkit(*words(uncached, tmp_path, tmp_path / "run"), "--dry-run")
    assert (invalid.code, "no unet" in invalid.err) == (2, True)
    assert segkit(*words(uncached, base, tmp_path / "run", steps=1)).code == 0
    other = segkit(*words(uncached, base, tmp_path / "run", seed=3), "--dry-run")
    assert (other.code, "--seed 0 became --seed 3" in other.err) == (2, True)
    assert not (tmp_path / "run-first-batch.png").exists()
