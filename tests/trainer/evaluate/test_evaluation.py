"""An evaluation from ControlNets to results: what is drawn, judged, kept, refused and written."""

import json
import re
import shutil
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import distributed

from segkit import storage
from segkit.dataset import Dataset
from segkit.errors import LockedError, ModelError, UsageError
from segkit.locks import locked
from segkit.maps import metrics
from segkit.palette import Palette, extend
from segkit.progress import NOTICE, Progress, silent
from tests import forks
from tests.conftest import Segkit
from tests.trainer.evaluate import processes
from tests.trainer.evaluate.conftest import Load
from trainer.checkpoints import runs
from trainer.evaluate import evaluation, judging
from trainer.evaluate.evaluation import Evaluation
from trainer.evaluate.settings import EvaluateSettings
from trainer.settings import SEG, TrainSettings, to_toml

Evaluate = Callable[..., Evaluation]


@pytest.fixture(scope="module")
def evaluate(rooms: Path, steering: Path, base: Path, by_brightness: Load) -> Evaluate:
    """Return a function that evaluates a ControlNet that steers and a fresh one, on six maps, in two steps."""

    def run(
        out: Path, controlnets: Sequence[str] = (str(steering), "fresh"), progress: Progress = silent, **changed: Any
    ) -> Evaluation:
        options: dict[str, Any] = {
            "base": str(base), "resolution": 64, "steps": 2, "device": "cpu", "guidance": 2.0, "split": "all",
            "judge": "toy",
        } | changed  # fmt: skip
        execution = evaluation.Execution(load=by_brightness)
        return evaluation.evaluate(controlnets, rooms, out, EvaluateSettings(**options), progress, execution)

    return run


@pytest.fixture(scope="module")
def evaluated(evaluate: Evaluate, tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    """A whole evaluation. Do not change it."""
    return evaluate(tmp_path_factory.mktemp("evaluated") / "out")


def contents(folder: Path) -> dict[str, bytes]:
    """Return all files of a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_scores_equal_those_computed_from_the_stored_files(evaluated: Evaluation, rooms: Path) -> None:
    """Every number can be recomputed from maps and judged maps; the photos are judged in the pictures' size."""
    record = json.loads((evaluated.output / "evaluation.json").read_text())
    dataset = Dataset.open(rooms)
    folders = {one["name"]: Path(one["pictures"]).name for one in record["contenders"]} | {"photos": "photos"}
    for score in evaluated.results.scores:
        confusion = metrics.empty_confusion()
        for triple in dataset:
            suffix = "" if score.kind == "photos" else "-0"
            with Image.open(evaluated.output / "judged" / folders[score.name] / f"{triple.key}{suffix}.png") as judged:
                truth = triple.control_map.resize(judged.size, Image.Resampling.NEAREST)
                confusion += metrics.confusion(np.asarray(truth), np.asarray(judged))
        quality = metrics.map_quality(confusion, 6, dataset.info.palette)
        assert score.metrics["miou"].value == pytest.approx(quality.miou)
        assert score.metrics["accuracy"].value == pytest.approx(quality.accuracy)
        assert {name: iou.value for name, iou in score.classes.items()} == pytest.approx(quality.iou)
        assert np.array_equal(score.confusion, confusion)
    assert "Not measured: KID and FID, as no features network was named (" in evaluated.notes[-1]
    assert "; the CLIP score, as no CLIP was named." in evaluated.notes[-1]
    assert not re.search(r"\w=", " ".join(evaluated.notes))  # neither a setting of Python nor an option
    assert record["quality"]["scores"] == []
    assert record["split"] == {"name": "all", "drawn": 6, "maps": 6}
    assert evaluated.miou == evaluated.results.scores[0].metrics["miou"]
    assert [score.kind for score in evaluated.results.scores] == ["controlnet", "controlnet", "base", "photos"]


def test_a_fresh_controlnet_draws_what_the_base_draws(evaluated: Evaluation) -> None:
    """Same maps, prompts and noise: without a trained ControlNet every paired difference is exactly zero."""
    differences = {(one.first, one.second): one.metrics for one in evaluated.results.differences}
    folders = [one["pictures"] for one in json.loads((evaluated.output / "evaluation.json").read_text())["contenders"]]
    steered, fresh, alone = (
        [np.asarray(Image.open(path)).tobytes() for path in sorted((evaluated.output / folder).glob("*.png"))]
        for folder in folders
    )

    assert fresh == alone
    assert not set(steered) & set(fresh)
    assert all((one.value, one.low, one.high) == (0, 0, 0) for one in differences["fresh", "base alone"].values())
    assert len(differences) == 3


def test_finished_pictures_are_neither_drawn_nor_judged_again(
    evaluated: Evaluation, evaluate: Evaluate, by_brightness: Load, tmp_path: Path
) -> None:
    """The same evaluation again gives the same bytes; what is missing or was replaced is drawn or judged again."""
    shown: list[Any] = by_brightness.shown  # type: ignore[attr-defined]
    out = tmp_path / "out"
    shutil.copytree(evaluated.output, out)
    before = contents(out)
    pictures = [name for name in before if name.startswith("pictures/steering")]
    photos = [name for name in before if name.startswith("judged/photos")]
    (out / pictures[0]).unlink()
    (out / photos[0]).write_bytes(before[photos[1]])
    shown.clear()

    again = evaluate(out)

    assert len(shown) == 1  # the photo; the picture is the same as before, so what the judge saw still holds
    after = contents(out)
    assert after.pop("evaluation.json") != before.pop("evaluation.json")  # it names its folder
    assert after == before
    assert again.to_json() == evaluated.to_json() | {"output": str(out)}


def test_a_killed_evaluation_continues(
    evaluated: Evaluation, rooms: Path, steering: Path, base: Path, tmp_path: Path
) -> None:
    """By kill -9 at flushes of pictures and judged maps: what was written is not repeated, and results are the same."""
    out, log = tmp_path / "out", tmp_path / "log.txt"
    places = [str(path) for path in (steering, base, rooms, out, log)]

    lasts = [1, 5, 20, 33, 42]  # a lock's probe, the protocol, pictures of both ControlNets, judged maps
    killed = [forks.run(processes.kill, last, *places).returncode for last in lasts]
    unfinished = [path for path in out.rglob("*") if storage.is_unfinished(path.name)]
    assert forks.run(processes.kill, 0, *places).returncode == 0

    written = log.read_text().split()
    assert killed == [-signal.SIGKILL] * len(lasts)
    assert unfinished
    assert len(written) == len(set(written))
    assert 0 <= 18 + 24 - len(written) <= len(lasts)  # a file may be in its place, and not in the list yet
    expected, result = contents(evaluated.output), contents(out)
    assert expected.pop("evaluation.json") != result.pop("evaluation.json")
    assert result == expected


def test_two_processes_share_the_work(
    evaluated: Evaluation, rooms: Path, steering: Path, base: Path, tmp_path: Path
) -> None:
    """Under a launcher each process draws, judges and embeds half of the maps; the first writes the same results."""
    out = tmp_path / "shared"
    store = distributed.TCPStore("localhost", 0, is_master=True, wait_for_workers=False)  # type: ignore[attr-defined]
    arguments = [store.port, str(steering), str(base), str(rooms), str(out)]
    started = [forks.start(processes.share, rank, *arguments, f"{out}-{rank}.txt") for rank in range(2)]
    for process in started:
        process.join()
    assert [process.exitcode for process in started] == [0, 0]

    drawn = [(tmp_path / f"shared-{rank}.txt").read_text().split() for rank in range(2)]
    assert [len(names) for names in drawn] == [9 + 12 + 12, 9 + 12 + 12]
    assert not set(drawn[0]) & set(drawn[1])
    for name in ("per-class.csv", "per-map.csv", "samples.png"):
        assert (out / name).read_bytes() == (evaluated.output / name).read_bytes()
    scores = json.loads((out / "evaluation.json").read_text())["quality"]["scores"]
    assert ["kid" in score["values"] for score in scores] == [True, True, True, False]


def test_several_pictures_of_a_map_are_averaged(evaluate: Evaluate, steering: Path, tmp_path: Path) -> None:
    """With two pictures a map, mIoU is the mean over two evaluations with one picture each; maps can be limited."""

    def miou(**changed: Any) -> float:
        return evaluate(tmp_path / "out", [str(steering)], limit=2, **changed).miou.value

    assert miou(count=2, seed=4) == pytest.approx((miou(seed=4) + miou(seed=5)) / 2)


def test_a_lora_draws_from_the_first_evaluation_on(
    evaluate: Evaluate, evaluated: Evaluation, steering: Path, tmp_path: Path
) -> None:
    """A new folder accepts a LoRA, which changes the pictures and is recorded; another weight of it is refused."""
    layer = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q.lora_{}.weight"
    file, out = tmp_path / "a.safetensors", tmp_path / "out"
    save_file({layer.format("A"): torch.randn(2, 64), layer.format("B"): torch.randn(64, 2)}, file)

    evaluate(out, [str(steering)], lora=(str(file),), limit=1)

    (picture,) = (out / "pictures").glob("steering*/*.png")
    (plain,) = evaluated.output.glob(f"pictures/steering*/{picture.name}")
    assert np.asarray(Image.open(picture)).tobytes() != np.asarray(Image.open(plain)).tobytes()
    (recorded,) = json.loads((out / "protocol.json").read_text())["lora"]
    assert (recorded["file"], recorded["weight"]) == ("a.safetensors", 1.0)
    with pytest.raises(UsageError, match="pictures of another protocol: lora="):
        evaluate(out, [str(steering)], lora=(f"{file}:0.5",), limit=1)


def test_strengths_are_compared_like_controlnets(
    evaluate: Evaluate, steering: Path, rooms: Path, tmp_path: Path
) -> None:
    """Each strength of a run has a row, the base alone is drawn once, and each notice is reported once."""
    run, notices = tmp_path / "run", list[str]()
    shutil.copytree(steering, run / "controlnet")
    (run / "run.toml").write_bytes(to_toml(TrainSettings(), rooms, run))
    (run / "run.json").write_text('{"told": {}}')
    runs.record(run, 3)

    def progress(stage: str, done: int, total: int, note: str = "") -> None:
        notices.extend([note] if stage == NOTICE else [])

    result = evaluate(tmp_path / "out", [str(run)], progress, strengths="0.5,1", limit=1)

    names = [score.name for score in result.results.scores]
    assert names == ["run, 0.5", "run, 1", "base alone", "photos"]
    assert result.verdict.startswith("No difference between")
    assert any("1 map only" in note for note in result.notes)
    assert sorted(notices) == sorted(result.notes)
    assert f"ControlNet: {run}, step 3, the result of a finished run." in notices


def test_tables_have_a_row_for_each_class_and_map(evaluated: Evaluation) -> None:
    """CSV files read by pandas agree with the results."""
    classes, maps = (pd.read_csv(evaluated.output / name) for name in ("per-class.csv", "per-map.csv"))

    assert len(classes) == 4 * len(evaluated.results.support)
    assert len(maps) == 4 * 6
    assert maps["map"].nunique() == 6
    photos = classes[classes["pictures"] == "photos"]
    assert photos["share"].sum() == pytest.approx(1)
    assert float(photos["iou"].mean()) == pytest.approx(evaluated.results.named("photos").metrics["miou"].value)


def test_the_report_shows_everything_without_a_network(evaluated: Evaluation, rooms: Path) -> None:
    """The page has the verdict, every contender and the judge, and loads nothing."""
    html = evaluated.report.read_text()

    assert evaluated.verdict in html
    assert "seen by toy" in html
    assert "out: all, 6 of 6 maps</h1>" in html
    options = dict(re.findall(r"<tr><td>(\w+)</td><td>(.*?)</td></tr>", " ".join(html.split()).replace("> <", "><")))
    assert options.items() >= {"split": "all, 6 of 6 maps", "device": "cpu", "precision": "fp32", "seed": "0"}.items()
    assert not {"judge_size", "limit", "distance", "clip", "prediction"} & options.keys()
    assert "http" not in html.replace("http-equiv", "")
    assert html.count("data:image/") >= 6 * 2
    keys = [triple.key for triple in Dataset.open(rooms)]
    assert [html.count(f">{place}: ") for place in ("best", "worst")] == [3, 3]
    assert all(html.count(f"<br>{key}<") == 1 for key in keys)  # none is shown twice


def test_a_judge_that_drew_the_maps_is_reported(rooms: Path) -> None:
    """By its weights or by name and revision; another segmenter passes."""
    drew = Dataset.open(rooms).info.models["segmenter"]

    def conflict(**identity: str) -> str:
        return judging.conflict(judging.Judge(lambda pictures: [], identity), drew)

    assert not conflict(name="eye", revision="1", weights="")
    assert "copy, also drew" in conflict(name="copy", revision="?", weights=drew["weights"])
    assert conflict(name=drew["name"], revision=drew["revision"], weights="")
    drew = {key: f"other + {drew[key]}" for key in ("name", "revision", "weights")}
    assert conflict(name="toy", revision="?", weights=drew["weights"].partition(" + ")[2])  # one of an ensemble
    assert conflict(name="other", revision="other", weights="")
    assert not conflict(name="toy", revision="other", weights="")
    assert not judging.conflict(judging.Judge(lambda pictures: [], {"name": "", "revision": "", "weights": ""}), {})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing.pth", "nothing.pth: no such file or folder. Expected one, a hub id, or fresh."),
        (SEG, f"{SEG} was made for Stable Diffusion 1.5 and does not fit --base toy. Use a run"),
        ("fresh", "fresh: not a union ControlNet, so it has no mode. Leave out --controlnet-mode 5."),
    ],
)
def test_messages_name_what_was_typed(segkit: Segkit, rooms: Path, tmp_path: Path, name: str, message: str) -> None:
    """ControlNets are arguments of the command, and are not called by the name that they have in Python."""
    mode = ("--controlnet-mode", 5) if name == "fresh" else ()
    refused = segkit(
        "evaluate", name, "--dataset", rooms, "-o", tmp_path / "out", "--base", "toy", "--judge", "toy-judge", *mode
    )

    assert refused.code == 2
    assert refused.err.startswith(message)


def test_what_cannot_be_evaluated_is_refused(evaluate: Evaluate, steering: Path, tmp_path: Path) -> None:
    """Foreign files, a ControlNet twice, other colours, a missing split, a folder in use: one line, nothing drawn."""

    def refuse(match: str, *controlnets: str, out: str = "out", **changed: Any) -> None:
        with pytest.raises((UsageError, ModelError), match=match):
            evaluate(tmp_path / out, controlnets, **changed)

    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    refuse("contains thesis.txt", "fresh", out="mine")
    refuse("each named once", "fresh", "fresh")
    refuse("each named once", str(steering), f"{steering}/.")
    refuse("no triple of the split test", "fresh", split="test")
    shutil.copytree(steering, tmp_path / "run")
    table = extend.encode(Palette.load("ade20k"))
    (tmp_path / "run" / "palette.csv").write_bytes(table.replace(b"120,120,120", b"121,120,120", 1))
    refuse("trained with another palette", str(tmp_path / "run"))
    refuse("judge nope", "fresh", judge="nope")
    refuse("clip nope", "fresh", clip="nope")
    refuse("or any other OneFormer", "fresh", preset="controlnet-paper", judge="toy-judge")
    assert not (tmp_path / "out").exists()
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]
    (tmp_path / "out").mkdir()
    with locked(tmp_path / "out" / ".lock"), pytest.raises(LockedError):
        evaluate(tmp_path / "out", ["fresh"])
