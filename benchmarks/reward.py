"""What a reward gains on the toy world, judged by a network that gave none, and how that depends on its settings.

    python benchmarks/reward.py FOLDER                        # two hours on two cores; continues where it was stopped
    python benchmarks/reward.py FOLDER --arms start plain w0.1-t700-s0.5 --minutes 10
    python benchmarks/reward.py FOLDER --arms start w0.1-t700-s0.5 --demo-steps 200 --steps 20 --maps 16    # a trial

FOLDER/demo is the demo of `segkit demo --train`, made if it is missing: its ControlNet is where every arm starts.
"plain" trains on without a reward. An arm wA-tB-sC has --reward toy, --reward-weight A, --reward-until B and
--reward-share C. Each arm trains for --minutes of wall-clock time, measured by its own first steps, or for --steps. Its
pictures of fresh maps (the true labels of scenes that no network and no demo has seen), one each with equal noise, are
segmented by toy-judge, which gave no reward, and by toy, which did. The gap is that between the start and the photos
themselves at the pictures' size, in mIoU. Intervals: 95 %, bootstrap over maps, paired with the start.
"""

import argparse
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.Image import Resampling

from segkit import storage
from segkit.maps import codec, metrics
from segkit.models import hub
from segkit.models.device import Device
from segkit.models.segment import NeuralSegmenter
from segkit.palette import Palette
from segkit.toy import demo, world
from trainer import loop
from trainer.run import dry_run
from trainer.sample import generate
from trainer.sample.requests import DrawRequest
from trainer.settings import GenerateSettings, TrainSettings

ADE = Palette.load("ade20k")
FIRST_SCENE = 900_000
"""Seed of the first scene; the demo's begin at 0, those of the networks' training at 1,000,000."""

SIDE, BATCH, RESAMPLES = 64, 8, 1000
ARMS = (
    "start plain w0.1-t200-s0.5 w0.1-t400-s0.5 w0.1-t700-s0.5 w0.1-t900-s0.5 w0.03-t700-s0.5 w0.3-t700-s0.5 "
    "w0.1-t700-s0.25 w0.1-t700-s0.75"
).split()
CONTINUED = replace(
    demo.TRAIN, learning_rate=1e-3, warmup=20, schedule="cosine", ema=0.99, evaluate_every=0, preview_every=0
)
"""Settings of every arm: those of the demo at a third of its learning rate."""

SAMPLING = GenerateSettings(base=hub.TOY, resolution=SIDE, steps=20, guidance=2.0, batch_size=BATCH)
"""How every picture is drawn."""

Confusions = NDArray[np.int64]
"""(N, 256, 256): the confusion of each map."""


@dataclass(frozen=True)
class Maps:
    """Fresh maps to draw, with the photos they were made for, at the pictures' size."""

    requests: list[DrawRequest]
    labels: list[codec.Labels]
    photos: list[Image.Image]


def main() -> None:
    """Train and judge the arms, and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--arms", nargs="+", default=ARMS)
    parser.add_argument("--maps", type=int, default=128)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--steps", type=int, default=0, help="steps of every arm, in place of --minutes")
    parser.add_argument("--demo-steps", type=int, default=demo.TRAIN.steps)
    options = parser.parse_args()
    start = prepared(options.folder / "demo", options.demo_steps)
    maps = fresh(options.folder / "maps", options.maps)
    judges = {name: NeuralSegmenter(name, ADE, Device("cpu", "fp32")) for name in (hub.TOY_JUDGE, hub.TOY)}
    ceilings = {name: confusions(judge, maps.photos, maps.labels) for name, judge in judges.items()}
    print(f"{options.maps} maps; photos: " + ", ".join(f"{name} {miou(c):.3f}" for name, c in ceilings.items()))
    begun: dict[str, Confusions] = {}
    for arm in dict.fromkeys(["start", *options.arms]):
        run, note = (start, "") if arm == "start" else trained(arm, start, options)
        settings = replace(SAMPLING, controlnet=str(run))
        drawn = generate.generate(maps.requests, options.folder / "pictures" / arm, settings, quiet, overwrite=True)
        for name, judge in judges.items():
            found = confusions(judge, [picture.image for picture in drawn], maps.labels)
            begun.setdefault(name, found)
            print(f"{arm:16} {name:9} {row(found, begun[name], ceilings[name])} {note}", flush=True)


def quiet(stage: str, done: int, total: int, note: str = "") -> None:
    """Report no progress."""


def prepared(folder: Path, steps: int) -> Path:
    """Return the run of the demo, made if it is missing."""
    if not (folder / "run" / "result.json").is_file():
        command = [sys.executable, "-m", "segkit", "demo", str(folder), "--train", "--steps", str(steps)]
        subprocess.run(command, check=True)
    return folder / "run"


def fresh(folder: Path, count: int) -> Maps:
    """Render scenes and write the maps of their true labels."""
    scenes = [world.scene(FIRST_SCENE + number, (2 * SIDE, 2 * SIDE)) for number in range(count)]
    paths = [folder / f"{number:04}.png" for number in range(count)]
    for path, scene in zip(paths, scenes, strict=True):
        storage.write(path, codec.encode(scene.labels, ADE))
    return Maps(
        [DrawRequest(path.stem, path, scene.sentence) for path, scene in zip(paths, scenes, strict=True)],
        [np.asarray(Image.fromarray(scene.labels).resize((SIDE, SIDE), Resampling.NEAREST)) for scene in scenes],
        [scene.photo.resize((SIDE, SIDE), Resampling.LANCZOS) for scene in scenes],
    )


def trained(arm: str, start: Path, options: argparse.Namespace) -> tuple[Path, str]:
    """Train an arm; return its run, and its steps and minutes in words."""
    settings = replace(CONTINUED, controlnet=str(start), **reward_of(arm))
    dataset, run = start.parent / "dataset", options.folder / "runs" / arm
    if not (run / "run.toml").is_file():
        settings = replace(settings, steps=options.steps or steps_in(options.minutes, dataset, run, settings))
        settings = replace(settings, warmup=min(settings.warmup, settings.steps // 4), checkpoint_every=settings.steps)
    else:  # as it was begun: the schedule depends on the number of steps
        from trainer import settings as stored

        settings = TrainSettings(**{k: v for k, v in stored.read(run / "run.toml").items() if k in asdict(settings)})
    began = time.perf_counter()
    outcome = loop.train(dataset, run, settings)
    return run, f"({outcome.steps:,} steps, {(time.perf_counter() - began) / 60:.1f} minutes now)"


def reward_of(arm: str) -> dict[str, Any]:
    """Return the settings of an arm by its name."""
    if arm == "plain":
        return {}
    match = re.fullmatch(r"w([0-9.]+)-t([0-9]+)-s([0-9.]+)", arm)
    if not match:
        raise SystemExit(f"arm {arm}: expected start, plain or a name such as w0.1-t700-s0.5")
    weight, until, share = match.groups()
    return {"reward": hub.TOY, "reward_weight": float(weight), "reward_until": int(until), "reward_share": float(share)}


def steps_in(minutes: float, dataset: Path, run: Path, settings: TrainSettings) -> int:
    """Return how many steps fit into some minutes, as the dry run measures them."""
    return max(1, int(60 * minutes / dry_run.plan(dataset, run, settings, quiet).step_seconds))


def confusions(judge: NeuralSegmenter, pictures: Sequence[Image.Image], labels: Sequence[codec.Labels]) -> Confusions:
    """Return the confusion between each map and what the judge sees in its picture."""
    seen = [
        segmentation.labels
        for first in range(0, len(pictures), BATCH)
        for segmentation in judge(pictures[first : first + BATCH])
    ]
    return np.stack([metrics.confusion(truth, found) for truth, found in zip(labels, seen, strict=True)])


def miou(parts: Confusions) -> float:
    """Return the mIoU over the pixels of all maps."""
    return metrics.map_quality(parts.sum(0), len(parts), ADE).miou


def row(parts: Confusions, start: Confusions, photos: Confusions) -> str:
    """Return mIoU, the gain over the start with its interval, and the share of the gap that it closes."""
    random = np.random.default_rng(0)
    gains = []
    for _ in range(RESAMPLES):
        chosen = np.bincount(random.integers(len(parts), size=len(parts)), minlength=len(parts))
        gains.append(weighted(parts, chosen) - weighted(start, chosen))
    low, high = np.quantile(gains, [0.025, 0.975])
    gain = miou(parts) - miou(start)
    gap = miou(photos) - miou(start)
    return f"mIoU {miou(parts):.3f}, gain {gain:+.3f} [{low:+.3f}, {high:+.3f}], {gain / gap:.0%} of the gap"


def weighted(parts: Confusions, counts: NDArray[np.int64]) -> float:
    """Return the mIoU of maps counted several times."""
    return metrics.map_quality(np.tensordot(counts, parts, 1), int(counts.sum()), ADE).miou


if __name__ == "__main__":
    main()
