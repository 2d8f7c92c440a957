"""Quality in an evaluation: from the command line to the files, computed once."""

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torchmetrics.image.kid import KernelInceptionDistance

from segkit.dataset import Dataset
from segkit.models.device import Device
from tests.conftest import Result, Segkit
from trainer.evaluate import judging
from trainer.evaluate.quality import measure, networks, vectors


@pytest.fixture
def command(segkit: Segkit, steering: Path, base: Path, rooms: Path, clip: Path, tmp_path: Path) -> Any:
    """Return a function that evaluates a ControlNet on three maps, by default with a CLIP for every measure."""

    def run(*options: str, features: str = str(clip)) -> Result:
        return segkit(
            "evaluate", steering, "--base", base, "--dataset", rooms, "--split", "all", "--limit", 3,
            "--steps", 1, "--guidance", 1, "--resolution", 64, "--device", "cpu", "--judge", "toy-judge",
            "--features", features, *([] if "--clip" in options else ["--clip", clip]), "-o", tmp_path / "out",
            *options,
        )  # fmt: skip

    return run


def kid_of_torchmetrics(photos: Sequence[Any], pictures: Sequence[Any]) -> float:
    """Return KID of two sets of vectors."""
    with warnings.catch_warnings(action="ignore"):
        metric = KernelInceptionDistance(feature=torch.nn.Identity(), subsets=1, subset_size=len(photos))
    metric.update(torch.from_numpy(np.stack(photos)), real=True)
    metric.update(torch.from_numpy(np.stack(pictures)), real=False)
    return float(metric.compute()[0])


def test_quality_from_the_command_line(command: Any, rooms: Path, clip: Path, tmp_path: Path) -> None:
    """Table, record, CSV and page agree with torchmetrics on the stored pictures; a rerun computes nothing again."""
    out = tmp_path / "out"
    printed = command("--count", "2", "--distance", "both")

    assert printed.code == 0
    assert "Quality of the pictures" in printed.out
    assert "published figures do not compare" in printed.out
    html = (out / "report.html").read_text()
    for title in ("KID of tiny-clip features", "FID of tiny-clip features", "CLIP score", "diversity of features"):
        assert title in html
    quality = json.loads((out / "evaluation.json").read_text())["quality"]
    values = {score["name"]: score["values"] for score in quality["scores"]}
    assert values["steering"]["kid"]["value"] == pytest.approx(kid_of_files(out, rooms, clip), rel=1e-3)
    assert set(values["photos"]) == {"clip_score"}
    assert all(set(one) == {"value", "low", "high"} for one in quality["differences"][0]["values"].values())
    table = pd.read_csv(out / "per-map.csv").set_index("pictures")["color_diversity"]
    assert float(table["steering"].mean()) == pytest.approx(values["steering"]["color_diversity"]["value"])
    assert table["photos"].isna().all()

    files = {path: path.stat().st_mtime_ns for path in (out / vectors.FOLDER).rglob("*.safetensors")}
    assert len(files) == 3 + 2 * 3 * (2 * 2 + 1) + 3 * 2 * 2  # prompts; features and CLIP; colours
    damaged = min(files)
    content = damaged.read_bytes()
    damaged.write_bytes(content[:-9])
    again = command("--count", "2", "--distance", "both", "--json")
    assert json.loads(again.out)["quality"] == quality
    assert damaged.read_bytes() == content
    assert [path for path, time in files.items() if path.stat().st_mtime_ns != time] == [damaged]


def kid_of_files(out: Path, rooms: Path, clip: Path) -> float:
    """Return KID of the first ControlNet's pictures, computed from the files: the mean over two drawings."""
    folder = out / json.loads((out / "evaluation.json").read_text())["contenders"][0]["pictures"]
    embed = networks.load_features(str(clip), Device("cpu", "fp32")).embed
    photos = {triple.key: rooms / triple.file_name for triple in Dataset.open(rooms)}
    kids = []
    for seed in range(2):
        pictures = sorted(folder.glob(f"*-{seed}.png"))
        sizes = [size(path) for path in pictures]
        real = [photos[path.stem.removesuffix(f"-{seed}")] for path in pictures]
        drawn, shown = (
            [embed(judging.opened(path.read_bytes(), one)) for path, one in zip(paths, sizes, strict=True)]
            for paths in (pictures, real)
        )
        kids.append(kid_of_torchmetrics(shown, drawn))
    return float(np.mean(kids))


def size(path: Path) -> tuple[int, int]:
    """Return the size of a picture."""
    with Image.open(path) as image:
        return image.size


def test_fid_replaces_kid_where_there_are_enough_maps(command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the toy judge's features and no CLIP, which a notice states; FID has no interval and no difference."""
    monkeypatch.setattr(measure, "ENOUGH", 3)

    result = command("--clip", "", "--json", features="toy-judge")

    quality = json.loads(result.out)["quality"]
    values = {score["name"]: score["values"] for score in quality["scores"]}
    assert set(values["steering"]) == {"fid"}
    assert set(values["steering"]["fid"]) == {"value"}
    assert quality["differences"][0]["values"] == {}
    assert "Not measured: the CLIP score, as no CLIP was named." in result.progress


def test_what_cannot_be_loaded_is_refused_before_anything_is_drawn(command: Any, tmp_path: Path) -> None:
    """One line says what is wrong."""
    result = command(features=str(tmp_path / "absent.pth"))

    assert result.code != 0
    assert "absent.pth: does not exist" in result.err
    assert not (tmp_path / "out").exists()
