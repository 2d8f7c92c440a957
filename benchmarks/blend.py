"""What tiles, mirror images and a second network gain, and what they cost, on rendered scenes with small things.

    python benchmarks/blend.py [--sides 512 1024] [--scene 256] [--photos 2] [--draws 5] [--seed 70000]
    python benchmarks/blend.py --megapixels 12

A scene of the toy world fills its photo, and the toy segmenter, whose input is 192 pixels high, sees it whole. So that
things are small in relation to the photo, each photo is a sheet of several scenes side by side, with the labels known
for each pixel: of 512 pixels 2 x 2 scenes, of 1024 pixels 4 x 4. With --sides 512 --scene 512, a scene fills the photo.
mIoU counts the classes of all photos of a draw; the worst and the median of the draws are printed, all of fresh seeds,
with the CPU seconds per photo.

With --megapixels, the peak memory of one photo of that size is measured, each option in a process of its own: with a
OneFormer of few weights, but with the input of the released ones, 640 pixels high, and so with outputs of their size.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from segkit.maps import metrics
from segkit.models import hub
from segkit.models.blend import BlendedSegmenter
from segkit.models.device import Device
from segkit.models.segment import NeuralSegmenter, Segmenter
from segkit.palette import Palette
from segkit.toy import world
from segkit.toy.learn import networks

ADE = Palette.load("ade20k")
CPU = Device("cpu", "fp32")


def sheet(seed: int, side: int, scene: int) -> tuple[Image.Image, np.ndarray]:
    """Return a square photo of several scenes, and its labels."""
    count = side // scene
    scenes = [world.scene(seed + number, (scene, scene)) for number in range(count**2)]
    rows = [scenes[start : start + count] for start in range(0, len(scenes), count)]
    photo = np.vstack([np.hstack([np.asarray(scene.photo) for scene in row]) for row in rows])
    return Image.fromarray(photo), np.vstack([np.hstack([scene.labels for scene in row]) for row in rows])


def options(tiles: int) -> dict[str, Segmenter]:
    """Return the segmenters to compare, by name."""
    toy, judge = (NeuralSegmenter(name, ADE, CPU) for name in ("toy", "toy-judge"))
    return {
        "none": toy,
        "flip-average": BlendedSegmenter([toy], 0, True, 8),
        f"tiles {tiles}": BlendedSegmenter([toy], tiles, False, 8),
        f"tiles {tiles + 1}": BlendedSegmenter([toy], tiles + 1, False, 8),
        "ensemble": BlendedSegmenter([toy, judge], 0, False, 8),
        f"all, tiles {tiles}": BlendedSegmenter([toy, judge], tiles, True, 8),
    }


def compare(side: int, scene: int, draws: Sequence[range]) -> None:
    """Print mIoU and CPU seconds of each option at one size."""
    scores: dict[str, list[float]] = {}
    seconds: dict[str, list[float]] = {}
    segmenters = options(side // scene)
    for draw in draws:
        counts = {name: metrics.empty_confusion() for name in segmenters}
        for number in draw:
            photo, labels = sheet(number * 100, side, scene)
            for name, segment in segmenters.items():
                start = time.process_time()
                (segmentation,) = segment([photo])
                seconds.setdefault(name, []).append(time.process_time() - start)
                counts[name] += metrics.confusion(labels, segmentation.labels)
        for name, confusion in counts.items():
            scores.setdefault(name, []).append(metrics.map_quality(confusion, len(draw), ADE).miou)
    for name, values in scores.items():
        gains = [value - plain for value, plain in zip(values, scores["none"], strict=True)]
        print(
            f"{side} {name:16} mIoU median {statistics.median(values):.3f} worst {min(values):.3f}   "
            f"gain median {statistics.median(gains):+.3f} worst {min(gains):+.3f}   "
            f"{statistics.median(seconds[name]):.2f} CPU s a photo",
            flush=True,
        )


def peak(option: str, megapixels: float) -> None:
    """Segment one photo with that many tiles along its short side, and print the memory that this took at its peak."""
    height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    photo = world.scene(0, (640, 480)).photo.resize((height * 4 // 3, height))
    with tempfile.TemporaryDirectory() as folder:
        with hub.quiet():
            scale = replace(networks.SMALL, shortest_edge=640)
            networks.write(Path(folder), networks.oneformer(ADE, scale))
        segmenter = NeuralSegmenter(folder, ADE, CPU)
    segment: Segmenter = segmenter if option == "none" else BlendedSegmenter([segmenter], int(option), False)
    segment([photo.resize((640, 640))])  # what is allocated once
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    segment([photo])
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(f"{photo.width} x {photo.height}, tiles {option}: {grown / 1024:,.0f} MiB more than 640 x 640", flush=True)


def main() -> None:
    """Compare mIoU and time, or with --megapixels the memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[512, 1024])
    parser.add_argument("--scene", type=int, default=256, help="side of a scene on a sheet, in pixels")
    parser.add_argument("--photos", type=int, default=2, help="photos per draw")
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--seed", type=int, default=70000)
    parser.add_argument("--megapixels", type=float)
    parser.add_argument("--tiles", nargs="+", default=["none", "1", "2", "4"], help="of the measurement of memory")
    chosen = parser.parse_args()
    if chosen.megapixels and len(chosen.tiles) == 1:
        peak(chosen.tiles[0], chosen.megapixels)
    elif chosen.megapixels:
        for tiles in chosen.tiles:
            subprocess.run([sys.executable, *sys.argv, "--tiles", tiles], check=True)
    else:
        starts = range(chosen.seed, chosen.seed + chosen.draws * chosen.photos, chosen.photos)
        for side in chosen.sides:
            compare(side, chosen.scene, [range(start, start + chosen.photos) for start in starts])


if __name__ == "__main__":
    main()
