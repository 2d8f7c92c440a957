"""What a reward gains on the toy world, judged by a network that gave none, and how that depends on its settings.

    python benchmarks/reward.py FOLDER                        # hours on two cores; continues where it was stopped
    python benchmarks/reward.py FOLDER --arms demo w0.1-t950-s1-n6 --seeds 1 --scenes 910000    # the figure, again
    python benchmarks/reward.py FOLDER --arms demo --strengths 1,1.5    # what drawing at a strength gains
    python benchmarks/reward.py FOLDER --arms w0.1-t700-s0.5 --demo-steps 200 --steps 20 --maps 16    # a trial
    python benchmarks/reward.py FOLDER --arms demo --base toy-sdxl --scenes 930000      # the demo on the other base

FOLDER/demo is the demo of `segkit demo --train`, made if it is missing: its ControlNet before the reward, "run", is
where every arm starts unless --start names another. "demo" is the demo's own training with a reward. The other arms
train for --steps with its settings, once for each of --seeds: "plain" without a reward, wA-tB-sC with --reward-weight
A, --reward-until B and --reward-share C for pictures predicted from noisy photos, wA-tB-sC-nN with --reward-steps N;
-gG after it means --reward-gradient-steps G, -still --no-reward-views, -lD --learning-rate D, -kE --start-strength E.

Each draws one picture of each fresh map, with equal noise; maps and prompts are the truth of scenes that no network and
no demo has seen. toy, which gave the reward, and then toy-judge, which gave none, look at the pictures as in `segkit
evaluate`; FOLDER/SCENES-MAPS/report.html shows the latter. The gap is that between "run" and the photos at the
pictures' size, in mIoU. KID compares features of toy-judge's encoder with those of the photos. Intervals: 95 %,
bootstrap over maps, paired with "run".
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from PIL.Image import Resampling

import segkit
from segkit import storage
from segkit.maps import codec, metrics
from segkit.maps.bootstrap import Estimate
from segkit.models import hub
from segkit.models.device import Device
from segkit.models.segment import NeuralSegmenter
from segkit.palette import Palette
from segkit.progress import silent
from segkit.toy import demo, world
from trainer import loop
from trainer.checkpoints import quiet
from trainer.checkpoints.load import load_base
from trainer.data.latents import Encoder
from trainer.evaluate import evaluation
from trainer.evaluate.evaluation import Evaluation
from trainer.settings import TrainSettings

ADE = Palette.load("ade20k")
FIRST_SCENE = 900_000
"""Seed of the first scene; the demo's begin at 0, those of the networks' training at 1,000,000."""

SIDE = demo.EVALUATION.resolution
ARMS = (
    "demo plain w0.1-t200-s0.5 w0.1-t700-s0.5 w0.1-t900-s0.5 w0.03-t900-s0.5 w0.3-t900-s0.5 w0.1-t900-s0.75 "
    "w0.1-t950-s1-n6 w0.1-t950-s1-n6-still w0.1-t700-s1-n6 w0.3-t950-s1-n6 w0.1-t950-s0.5-n6 w0.1-t120-s1-n6-g2"
).split()
ARM = re.compile(
    r"w([0-9.]+)-t([0-9]+)-s([0-9.]+)(?:-n([0-9]+))?(?:-g([0-9]+))?(-still)?(?:-l([0-9.e-]+))?(?:-k([0-9.]+))?"
)


def main() -> None:
    """Train the arms, let both networks look at their pictures, and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--arms", nargs="+", default=ARMS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="of the arms' trainings")
    parser.add_argument("--steps", type=int, default=demo.REWARDED.steps)
    parser.add_argument("--maps", type=int, default=128)
    parser.add_argument("--scenes", type=int, default=FIRST_SCENE, help="seed of the first scene")
    parser.add_argument("--demo-steps", type=int, default=demo.TRAIN.steps)
    parser.add_argument("--start", type=Path, help='ControlNet to train on from  [default: "run"]')
    parser.add_argument("--strengths", default="", help="to draw with, the first one being that of the start: 1,1.5")
    parser.add_argument("--base", choices=hub.TOY_BASES, default=hub.TOY)
    options = parser.parse_args()
    start = prepared(options.folder / "demo", options.demo_steps, options.base)
    dataset = fresh(options.folder / f"scenes-{options.scenes}-{options.maps}", options.scenes, options.maps)
    runs = [start]
    for arm in options.arms:
        runs += [start.parent / "rewarded"] if arm == "demo" else trained(arm, start, options)
    output = options.folder / f"{options.scenes}-{options.maps}"
    for judge in (hub.TOY, hub.TOY_JUDGE):
        settings = replace(demo.EVALUATION, judge=judge, split="all", strengths=options.strengths)
        result = evaluation.evaluate([str(run) for run in runs], dataset.folder, output, settings, silent)
        report(result, through_vae(dataset, options.base, judge))


def prepared(folder: Path, steps: int, base: str) -> Path:
    """Return the run of the demo before the reward, made if it is missing."""
    if not (folder / "rewarded" / "result.json").is_file():
        command = [sys.executable, "-m", "segkit", "demo", str(folder), "--train", "--steps", str(steps)]
        command += ["--base", base]
        subprocess.run(command, check=True)
    return folder / "run"


def fresh(folder: Path, first: int, count: int) -> segkit.Dataset:
    """Render scenes, and make a dataset with their true maps and sentences."""
    rows = []
    for seed in range(first, first + count):
        scene = world.scene(seed, (2 * SIDE, 2 * SIDE))
        row = {"source": f"source/{seed}.png", "target": f"target/{seed}.jpg", "prompt": scene.sentence}
        storage.write(folder / "rendered" / row["source"], codec.encode(scene.labels, ADE))
        storage.write(folder / "rendered" / row["target"], world.jpeg(scene.photo))
        rows.append(json.dumps(row))
    storage.write(folder / "rendered" / "prompt.json", "\n".join(rows).encode())
    imported = segkit.import_data(
        folder / "rendered", folder / "dataset", size=2 * SIDE, min_size=SIDE, keep_duplicates=True
    )
    if len(imported.dataset) != count:
        raise SystemExit(f"{folder}: {len(imported.dataset)} triples of {count} scenes")
    return imported.dataset


def trained(arm: str, start: Path, options: argparse.Namespace) -> Iterator[Path]:
    """Train an arm with each seed, and yield the runs."""
    for seed in options.seeds:
        changes = {"base": options.base, "steps": options.steps, "seed": seed}
        settings = replace(settings_of(arm, options.start or start), **changes)
        run = options.folder / "runs" / f"{arm}-{seed}"
        outcome = loop.train(start.parent / "dataset", run, settings)
        print(f"{run.name}: {outcome.steps:,} steps", flush=True)
        yield run


def settings_of(arm: str, start: Path) -> TrainSettings:
    """Return the settings of an arm by its name and the ControlNet that it starts from."""
    settings = replace(demo.REWARDED, controlnet=str(start), evaluate_every=0, preview_every=0)
    if arm == "plain":
        return settings.without_reward()
    match = ARM.fullmatch(arm)
    if not match:
        raise SystemExit(f"arm {arm}: expected demo, plain or a name such as w0.1-t700-s0.5")
    weight, until, share, steps, gradient_steps, still, rate, strength = match.groups()
    changes: dict[str, Any] = {"reward_weight": float(weight), "reward_until": int(until), "reward_share": float(share)}
    changes |= {"reward_steps": int(steps or 0), "reward_gradient_steps": int(gradient_steps or 1)}
    changes |= {"reward_views": not still}
    changes |= {"learning_rate": float(rate or settings.learning_rate), "start_strength": float(strength or 1)}
    return replace(settings, **changes)


@torch.no_grad()
def through_vae(dataset: segkit.Dataset, base: str, judge: str) -> float:
    """Return the mIoU of the photos after a round trip through the base's VAE, which no drawing can do without."""
    with quiet.diffusers():
        loaded, segment = load_base(base), NeuralSegmenter(judge, ADE, Device("cpu", "fp32"))
    encoder = Encoder(loaded, torch.device("cpu"), torch.float32)
    decoder, confusion = encoder.decoder(alone=False), metrics.empty_confusion()
    for triple in dataset:
        photo = np.array(triple.photo.resize((SIDE, SIDE), Resampling.LANCZOS))
        mean = encoder.photo(torch.from_numpy(photo).permute(2, 0, 1) / 127.5 - 1)[:1]
        pixels = decoder.pixels(mean * loaded.vae.config.scaling_factor)[0].permute(1, 2, 0)
        (seen,) = segment([Image.fromarray((255 * pixels).round().byte().numpy())])
        truth = Image.fromarray(triple.labels).resize((SIDE, SIDE), Resampling.NEAREST)
        confusion += metrics.confusion(np.asarray(truth), seen.labels)
    return metrics.map_quality(confusion, len(dataset), ADE).miou


def report(result: Evaluation, kept: float) -> None:
    """Print mIoU and KID, how they differ from the start, and the share of the gap that is closed."""
    results = result.results
    start = results.scores[0]
    miou = {score.name: score.metrics["miou"] for score in results.scores}
    gap = miou["photos"].value - miou[start.name].value
    gains = {one.second: minus(one.metrics["miou"]) for one in results.differences if one.first == start.name}
    kid = {score.name: score.values["kid"] for score in results.quality.scores if "kid" in score.values}
    rises = {one.second: minus(one.metrics["kid"]) for one in results.quality.differences if one.first == start.name}
    print(f"{result.judge['name']}, {results.maps} maps; photos through the VAE: mIoU {kept:.3f}")
    for name, value in miou.items():
        line = f"  {name:22} mIoU {value}"
        if name in gains:
            line += f", gain {gains[name]}, {gains[name].value / gap:.0%} of the gap"
        if name in kid:
            line += f", KID {kid[name]}"
        print(line + (f", {rises[name]} more" if name in rises else ""), flush=True)


def minus(difference: Estimate) -> Estimate:
    """Return the other difference of two contenders: second minus first."""
    return Estimate(-difference.value, -difference.high, -difference.low)


if __name__ == "__main__":
    main()
