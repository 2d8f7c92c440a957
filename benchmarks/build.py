"""Photos per second of build-dataset against the loop that one would write from transformers' documentation.

    python benchmarks/build.py [--photos 6] [--rounds 3] [--folder full-size-models]
    python benchmarks/build.py --device cuda --network large --batch 1 4 8 16 --photos 32

Both run in this process and in turn, on the same networks (random weights, which cost the same time) and the same
photos of 1280x960. The loop opens a photo, calls processor, model and post_process_semantic_segmentation, paints class
by class and saves an RGB PNG. build-dataset does more: it hashes, finds duplicates, stores the photo too, and flushes
everything to the disk. Control maps are compared pixel by pixel.

With --batch, build-dataset alone, captions by BLIP base included: photos per second by batch size, and on a GPU the
share of the time in which it is busy, as nvidia-smi samples it. The networks are loaded before the clock starts.
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
    """One comparison: its name, the network's folder, the precision of ours, how many photos, the target ratio."""

    name: str
    folder: Path
    precision: device.Precision
    photos: int
    target: float


def documented_loop(photos: list[Path], output: Path, processor: Any, model: Any) -> None:
    """Segment, paint and save as transformers' documentation shows."""
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


def compare(case: Case, rounds: int, place: Path) -> None:
    """Run both in turn and print photos per second, the ratio of each round and the pixels that differ."""
    from transformers import OneFormerForUniversalSegmentation, OneFormerProcessor

    photos = render(place / f"photos-{case.photos}", case.photos)
    with hub.quiet():
        processor = OneFormerProcessor.from_pretrained(str(case.folder))
        model = OneFormerForUniversalSegmentation.from_pretrained(str(case.folder)).eval()
    table = Palette.load("ade20k")
    segmenter = NeuralSegmenter(str(case.folder), table, device.resolve("cpu", case.precision))
    tools = Networks(table, segmenter, batch=batches.size("auto", "cpu", segmenter.parameters))
    settings = BuildSettings(caption=False, size=960)
    theirs, ours = [], []
    for number in range(rounds + 1):  # the first warms up
        loop, built = place / f"{case.name}-loop-{number}", place / f"{case.name}-built-{number}"
        loop.mkdir()
        began = time.perf_counter()
        documented_loop(photos, loop, processor, model)
        theirs.append(time.perf_counter() - began)
        ours.append(build(photos, built, settings, tools))
    ratios = [loop / built for loop, built in zip(theirs[1:], ours[1:], strict=True)]
    print(
        f"{case.name:24} loop {len(photos) / statistics.median(theirs[1:]):6.2f} photos/s   "
        f"build-dataset {len(photos) / statistics.median(ours[1:]):6.2f} photos/s   "
        f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}), target {case.target}   "
        f"{different(loop, built)}",
        flush=True,
    )


def sweep(chosen: argparse.Namespace, place: Path) -> None:
    """Build by each batch size in turn; print photos per second, and how busy the GPU is."""
    scale = SCALES[chosen.network]
    with hub.quiet(), torch.device(chosen.device):
        segmenter = networks.write(place / "oneformer", networks.oneformer(Palette.load("ade20k"), scale))
        captioner = networks.write(place / "blip", networks.blip(scale=scale))
    settings = BuildSettings(
        segmenter=str(segmenter), captioner=str(captioner), device=chosen.device, size=960, keep_duplicates=True
    )
    tools = load_tools(settings)
    photos = render(place / "photos", chosen.photos)
    for turn, size in enumerate([chosen.batch[0], *chosen.batch]):  # the first warms up
        drafting = replace(tools.drafting, batch=size) if tools.drafting else None
        with Busy(chosen.device) as busy:
            seconds = build(photos, place / f"built-{turn}", settings, replace(tools, batch=size, drafting=drafting))
        if turn:
            words = "" if busy.share is None else f", GPU busy {busy.share:.0%}"
            print(f"batch {size:2}: {len(photos) / seconds:.2f} photos/s{words}", flush=True)
            if chosen.json:
                record = {"benchmark": "build", "network": chosen.network, "batch": size}
                record |= {"photos_per_second": len(photos) / seconds, "gpu_busy": busy.share}
                with chosen.json.open("a") as file:
                    file.write(json.dumps(record) + "\n")


def build(photos: list[Path], output: Path, settings: BuildSettings, tools: Networks) -> float:
    """Build a dataset with loaded networks; return the seconds."""
    began = time.perf_counter()
    build_dataset(photos[0].parent, output, settings, load=lambda _: tools)
    return time.perf_counter() - began


class Busy:
    """Samples how busy the GPU is, ten times a second, as nvidia-smi tells; nothing on a CPU."""

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
    """Compare the maps of both, as RGB."""
    from segkit.dataset import Dataset

    unequal = total = 0
    for triple in Dataset.open(built).triples():
        expected = np.asarray(Image.open(loop / f"{Path(triple.source).stem}.png"))
        found = np.asarray(Image.open(built / triple.conditioning_image_file_name).convert("RGB"))
        unequal += int((expected != found).any(-1).sum())
        total += expected.shape[0] * expected.shape[1]
    return f"{unequal:,} of {total:,} pixels differ"


def render(folder: Path, count: int) -> list[Path]:
    """Render photos."""
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{number:04}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        world.scene(number, (640, 480)).photo.resize(SIZE).save(path, quality=92)
    return paths


def main() -> None:
    """Run the three comparisons of the performance goals."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--photos", type=int, default=6)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--folder", type=Path, default=Path("full-size-models"), help="where full_size.py writes")
    options.add_argument("--only", default="", help="only cases whose name contains this")
    options.add_argument("--batch", type=int, nargs="+", help="batch sizes to sweep, instead of the comparison")
    options.add_argument("--device", default="cpu", help="where the sweep runs")
    options.add_argument("--network", choices=SCALES, default="tiny", help="the sweep's OneFormer: its Swin's size")
    options.add_argument("--json", type=Path, help="append each of the sweep's results to this file, one a line")
    chosen = options.parse_args()
    if chosen.batch:
        with tempfile.TemporaryDirectory() as folder:
            sweep(chosen, Path(folder))
        return
    write_full_size(chosen.folder)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        with hub.quiet():
            small = networks.write(place / "small", networks.oneformer(Palette.load("ade20k")))
        tiny = chosen.folder / "oneformer"
        print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, {SIZE[0]}x{SIZE[1]}")
        for case in (
            Case("swin-tiny-fp32", tiny, "fp32", chosen.photos, 1.2),
            Case("swin-tiny-bf16-autocast", tiny, "bf16", chosen.photos, 1.7),
            Case("small-fp32", small, "fp32", 4 * chosen.photos, 2.0),
        ):
            if chosen.only in case.name:
                compare(case, chosen.rounds, place)


if __name__ == "__main__":
    main()
