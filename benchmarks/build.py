"""Throughput of build-dataset compared with a loop written after transformers' documentation.

    python benchmarks/build.py [--photos 6] [--rounds 3] [--folder full-size-models]
    python benchmarks/build.py --device cuda --network large --batch 1 4 8 16 --photos 32

Both run alternately in this process with the same networks (random weights, which does not affect the time) and the
same photos of 1280x960. The loop opens a photo, calls processor, model and post_process_semantic_segmentation, paints
class by class and saves an RGB PNG. build-dataset also hashes photos, finds duplicates, stores the photos and flushes
everything to disk. Control maps are compared pixel by pixel.

With --batch, only build-dataset runs, with captions by BLIP base: photos per second by batch size and, on a GPU, the
utilisation sampled by nvidia-smi. Networks are loaded before timing starts.
"""

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from full_size import write as write_full_size
from PIL import Image

from segkit.build.pipeline import build_dataset
from segkit.build.settings import BuildSettings
from segkit.build.tools import Networks
from segkit.build.tools import load as load_tools
from segkit.models import batches, device, hub
from segkit.models.segment import NeuralSegmenter
from segkit.palette import Palette
from segkit.toy import world
from segkit.toy.learn import networks

SIZE = (1280, 960)

SCALES = {"small": networks.SMALL, "tiny": networks.FULL, "large": networks.LARGE}


@dataclass(frozen=True)
class Case:
    """A comparison: name, network folder, precision of segkit, number of photos, target ratio of throughputs."""

    name: str
    folder: Path
    precision: device.Precision
    photos: int
    target: float


def documented_loop(photos: list[Path], output: Path, processor: Any, model: Any) -> None:
    """Segment, paint and save as in transformers' documentation."""
    colors = [swatch.rgb for swatch in Palette.load("ade20k")]
    for path in photos:
        image = Image.open(path).convert("RGB")
        inputs = processor(images=image, task_inputs=["semantic"], return_tensors="pt")
        with torch.no_grad():
            outputs = model(**inputs)
        labels = processor.post_process_semantic_segmentation(outputs, target_sizes=[image.size[::-1]])[0].numpy()
        painted = np.zeros((*labels.shape, 3), np.uint8)
        for index, color in enumerate(colors):
            painted[labels == index] = color
        Image.fromarray(painted).save(output / f"{path.stem}.png")


def compare(case: Case, rounds: int, place: Path, cpu_time: bool) -> None:
    """Run both alternately; print the pixels that differ in each round, seconds per photo and the ratio of all."""
    from transformers import OneFormerForUniversalSegmentation, OneFormerProcessor

    with hub.quiet():
        processor = OneFormerProcessor.from_pretrained(str(case.folder))
        model = OneFormerForUniversalSegmentation.from_pretrained(str(case.folder)).eval()
    palette = Palette.load("ade20k")
    segmenter = NeuralSegmenter(str(case.folder), palette, device.resolve("cpu", case.precision))
    tools = Networks(palette, segmenter, batch=batches.size("auto", "cpu", segmenter.parameters))
    settings = BuildSettings(caption=False, size=960)
    clock = time.process_time if cpu_time else time.perf_counter
    theirs, ours = [], []
    for number in range(rounds + 1):  # the first round warms up; each has other photos
        photos = render(place / f"photos-{case.photos}-{number}", case.photos, number * case.photos)
        loop, built = place / f"{case.name}-loop-{number}", place / f"{case.name}-built-{number}"
        loop.mkdir()
        start = clock()
        documented_loop(photos, loop, processor, model)
        theirs.append(clock() - start)
        start = clock()
        build(photos, built, settings, tools)
        ours.append(clock() - start)
        print(f"  round {number}: {theirs[-1]:.2f} and {ours[-1]:.2f}, {different(loop, built)}", flush=True)
    ratios = [loop / built for loop, built in zip(theirs[1:], ours[1:], strict=True)]
    unit = "CPU s" if cpu_time else "s"
    print(
        f"{case.name:24} loop {statistics.median(theirs[1:]) / len(photos):6.2f} {unit} a photo   "
        f"build-dataset {statistics.median(ours[1:]) / len(photos):6.2f} {unit} a photo   "
        f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}), target {case.target}",
        flush=True,
    )


def sweep(options: argparse.Namespace, place: Path) -> None:
    """Build with each batch size; print photos per second and the GPU's utilisation."""
    scale = SCALES[options.network]
    with hub.quiet(), torch.device(options.device):
        segmenter = networks.write(place / "oneformer", networks.oneformer(Palette.load("ade20k"), scale))
        captioner = networks.write(place / "blip", networks.blip(scale=scale))
    settings = BuildSettings(
        segmenter=str(segmenter), captioner=str(captioner), device=options.device, size=960, keep_duplicates=True
    )
    tools = load_tools(settings)
    photos = render(place / "photos", options.photos)
    for turn, size in enumerate([options.batch[0], *options.batch]):  # the first round warms up
        drafting = replace(tools.drafting, batch=size) if tools.drafting else None
        with Busy(options.device) as busy:
            seconds = build(photos, place / f"built-{turn}", settings, replace(tools, batch=size, drafting=drafting))
        if turn:
            utilisation = "" if busy.share is None else f", GPU busy {busy.share:.0%}"
            print(f"batch {size:2}: {len(photos) / seconds:.2f} photos/s{utilisation}", flush=True)
            if options.json:
                record = {"benchmark": "build", "network": options.network, "batch": size}
                record |= {"photos_per_second": len(photos) / seconds, "gpu_busy": busy.share}
                with options.json.open("a") as file:
                    file.write(json.dumps(record) + "\n")


def build(photos: list[Path], output: Path, settings: BuildSettings, tools: Networks) -> float:
    """Build a dataset with loaded networks; return the time in seconds."""
    start = time.perf_counter()
    build_dataset(photos[0].parent, output, settings, load=lambda _: tools)
    return time.perf_counter() - start


class Busy:
    """Samples the GPU's utilisation with nvidia-smi ten times a second; does nothing on a CPU."""

    COMMAND = ("nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "--loop-ms=100")

    def __init__(self, device: str) -> None:
        self.share: float | None = None
        self._device = device

    def __enter__(self) -> "Busy":
        on_gpu = self._device.startswith("cuda")
        self._process = subprocess.Popen(self.COMMAND, stdout=subprocess.PIPE, text=True) if on_gpu else None
        return self

    def __exit__(self, *error: object) -> None:
        if self._process:
            self._process.terminate()
            samples = [int(line) for line in self._process.communicate()[0].split() if line.isdecimal()]
            self.share = statistics.mean(samples) / 100 if samples else None


def different(loop: Path, built: Path) -> str:
    """Compare the control maps of both, as RGB."""
    from segkit.dataset import Dataset

    unequal = total = 0
    for triple in Dataset.open(built).triples():
        expected = np.asarray(Image.open(loop / f"{Path(triple.source).stem}.png"))
        actual = np.asarray(Image.open(built / triple.conditioning_image_file_name).convert("RGB"))
        unequal += int((expected != actual).any(-1).sum())
        total += expected.shape[0] * expected.shape[1]
    return f"{unequal:,} of {total:,} pixels differ"


def render(folder: Path, count: int, first: int = 0) -> list[Path]:
    """Render photos, by consecutive seeds, and return their paths."""
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{number:04}.jpg" for number in range(first, first + count)]
    for number, path in enumerate(paths, first):
        world.scene(number, (640, 480)).photo.resize(SIZE).save(path, quality=92)
    return paths


def main() -> None:
    """Run the three comparisons, or with --batch the sweep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path("full-size-models"), help="folder written by full_size.py")
    parser.add_argument("--cpu-time", action="store_true", help="compare CPU seconds, on a machine that others use too")
    parser.add_argument("--only", default="", help="run only cases whose name contains this")
    parser.add_argument("--batch", type=int, nargs="+", help="batch sizes to sweep instead of the comparison")
    parser.add_argument("--device", default="cpu", help="device of the sweep")
    parser.add_argument("--network", choices=SCALES, default="tiny", help="size of the sweep's OneFormer")
    parser.add_argument("--json", type=Path, help="append the sweep's results to this JSON Lines file")
    options = parser.parse_args()
    if options.batch:
        with tempfile.TemporaryDirectory() as folder:
            sweep(options, Path(folder))
        return
    write_full_size(options.folder)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        with hub.quiet():
            small = networks.write(place / "small", networks.oneformer(Palette.load("ade20k")))
        tiny = options.folder / "oneformer"
        print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, {SIZE[0]}x{SIZE[1]}")
        for case in (
            Case("swin-tiny-fp32", tiny, "fp32", options.photos, 2.2),
            Case("swin-tiny-bf16-autocast", tiny, "bf16", options.photos, 1.7),
            Case("small-fp32", small, "fp32", 4 * options.photos, 2.0),
        ):
            if options.only in case.name:
                compare(case, options.rounds, place, options.cpu_time)


if __name__ == "__main__":
    main()
