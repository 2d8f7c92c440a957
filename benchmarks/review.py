"""How fast a person finds errors when triples are ranked by doubt, in the toy world, where the truth is known.

    python benchmarks/review.py                    # three times 160 photos
    python benchmarks/review.py --photos 400 --seeds 1
    python benchmarks/review.py --damaged 0.25     # a quarter of the photos are dark, blurred or noisy

Photos of seeds that no network was trained on are rendered, and built into
a dataset with the toy networks. A simulated person looks at one triple after the other and gives each wrong area of at
least 0.3 % of the map its true class: one edit, through the function behind `segkit review`. Reported is, for the order
by doubt and for random orders, how many triples had to be looked at until half of the wrong pixels in such areas were
found, and how much mIoU an edit gained on average over the first quarter of all looks.
"""

import argparse
import platform
import random
import statistics
import tempfile
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter
from scipy import ndimage

from segkit.build import pipeline
from segkit.build.settings import BuildSettings
from segkit.dataset import Dataset, relabel
from segkit.maps import metrics, strokes
from segkit.maps.codec import Labels
from segkit.maps.strokes import Stroke
from segkit.models import hub
from segkit.review import queue
from segkit.toy import world

SIZE = (256, 192)
SMALLEST = 0.003
"""Share of a map, 0 to 1, below which a wrong area is overlooked."""

ORDERS = 50
"""Random orders that the number of looks is averaged over."""

FIRST_SEED = 5_000_000
"""Far from the seeds of the networks' training and of other benchmarks."""


@dataclass(frozen=True)
class Result:
    """What one dataset showed.

    Attributes:
        triples, areas: numbers of triples and of wrong areas.
        miou: before any edit, 0 to 1.
        looks: triples looked at until half of the wrong pixels were found: by doubt, and at random on average.
        gains: mIoU gained per edit, in points of 1/100, over the first quarter of the looks; likewise.
        milliseconds: median wall-clock time of storing one edit.
    """

    triples: int
    areas: int
    miou: float
    looks: tuple[int, float]
    gains: tuple[float, float]
    milliseconds: float

    @property
    def faster(self) -> float:
        """How many times fewer looks are needed by doubt."""
        return self.looks[1] / self.looks[0]


def degraded(photo: Image.Image, kind: int, rng: np.random.Generator) -> Image.Image:
    """Return a photo that is dark (0), blurred (1) or noisy (2)."""
    if kind == 0:
        return ImageEnhance.Brightness(photo).enhance(float(rng.uniform(0.2, 0.4)))
    if kind == 1:
        return photo.filter(ImageFilter.GaussianBlur(float(rng.uniform(2, 4))))
    noise = rng.normal(0, rng.uniform(25, 45), (photo.height, photo.width, 3))
    return Image.fromarray(np.clip(np.asarray(photo) + noise, 0, 255).astype(np.uint8))


def built(folder: Path, number: int, first: int, damaged: float) -> tuple[Dataset, dict[str, Labels]]:
    """Build a dataset of rendered photos; return it with the truth by key."""
    truths, rng = {}, np.random.default_rng(first)
    (folder / "photos").mkdir()
    for place in range(number):
        scene = world.scene(first + place, SIZE)
        photo = degraded(scene.photo, place % 3, rng) if rng.random() < damaged else scene.photo
        photo.save(folder / "photos" / f"{place:05}.png")
        truths[f"{place:05}.png"] = scene.labels
    settings = BuildSettings(
        segmenter=hub.TOY, captioner=hub.TOY, size=min(SIZE), min_size=64, photo_format="png", keep_duplicates=True
    )
    pipeline.build_dataset(folder / "photos", folder / "dataset", settings)
    dataset = Dataset.open(folder / "dataset")
    return dataset, {triple.key: truths[triple.source] for triple in dataset}


def wrong_areas(labels: Labels, truth: Labels) -> list[Stroke]:
    """Return the strokes that correct each wrong area that a person would notice."""
    result, smallest = [], SMALLEST * labels.size
    for label in np.unique(truth[labels != truth]).tolist():
        areas, number = ndimage.label((labels != truth) & (truth == label))
        sizes = np.bincount(areas.ravel(), minlength=number + 1)
        result += [
            Stroke(label, strokes.runs(areas == area)) for area in range(1, number + 1) if sizes[area] >= smallest
        ]
    return result


def looks(order: list[str], errors: dict[str, int]) -> int:
    """Return how many triples come first until half of the wrong pixels are among them."""
    half, seen = sum(errors.values()) / 2, 0
    for place, key in enumerate(order, 1):
        seen += errors[key]
        if seen >= half:
            return place
    return len(order)


def miou(dataset: Dataset, truths: dict[str, Labels]) -> float:
    """Return the mIoU of all maps, 0 to 1."""
    counts = metrics.empty_confusion()
    for triple in dataset:
        counts += metrics.confusion(truths[triple.key], triple.labels)
    return metrics.map_quality(counts, len(truths), dataset.info.palette).miou


def correct(dataset: Dataset, order: list[str], areas: dict[str, list[Stroke]]) -> tuple[int, list[float]]:
    """Correct all areas of the triples, one edit each; return the number of edits and the seconds that each took."""
    seconds = []
    for key in order:
        for stroke in areas[key]:
            started = time.perf_counter()
            relabel.relabel(dataset, key, [stroke], revision=relabel.state(dataset, key).revision)
            seconds.append(time.perf_counter() - started)
    return len(seconds), seconds


def undone(dataset: Dataset, order: list[str], areas: dict[str, list[Stroke]]) -> None:
    """Undo the edits of `correct`."""
    for key in order:
        for _ in areas[key]:
            relabel.undo(dataset, key)


def measure(folder: Path, number: int, first: int, damaged: float) -> Result:
    """Build a dataset, and review a quarter of it in both orders."""
    dataset, truths = built(folder, number, first, damaged)
    areas = {triple.key: wrong_areas(triple.labels, truths[triple.key]) for triple in dataset}
    errors = {key: sum(length for stroke in found for _, length in stroke.runs) for key, found in areas.items()}
    by_doubt = list(queue.rank(dataset).keys())
    rng, shuffled = random.Random(first), []
    for _ in range(ORDERS):
        shuffled.append(rng.sample(by_doubt, len(by_doubt)))
    before, quarter = miou(dataset, truths), len(by_doubt) // 4
    gains, times = [], []
    for order in (by_doubt, shuffled[0]):
        edits, seconds = correct(dataset, order[:quarter], areas)
        gains.append(100 * (miou(dataset, truths) - before) / max(edits, 1))
        times += seconds
        undone(dataset, order[:quarter], areas)
    assert miou(dataset, truths) == before, "undone edits must leave the maps as they were"
    random_looks = statistics.mean(looks(order, errors) for order in shuffled)
    return Result(
        len(by_doubt), sum(map(len, areas.values())), before, (looks(by_doubt, errors), random_looks),
        (gains[0], gains[1]), 1000 * statistics.median(times),
    )  # fmt: skip


def main() -> None:
    """Measure and print a line for each dataset, and the worst."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=160, help="photos of each dataset")
    parser.add_argument("--seeds", type=int, default=3, help="number of datasets")
    parser.add_argument("--first", type=int, default=FIRST_SEED, help="seed of the first photo of the first dataset")
    parser.add_argument("--damaged", type=float, default=0.0, help="share of dark, blurred or noisy photos")
    options = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {date.today()}; every line is a dataset of fresh seeds")
    results = []
    for number in range(options.seeds):
        with tempfile.TemporaryDirectory() as folder:
            first = options.first + 100_000 * number
            result = measure(Path(folder), options.photos, first, options.damaged)
            results.append(result)
            print(
                f"seed {first}: {result.triples} triples, mIoU {result.miou:.3f}, {result.areas} wrong areas; half of "
                f"the wrong pixels after {result.looks[0]} looks by doubt, {result.looks[1]:.0f} at random "
                f"({result.faster:.1f} times); mIoU per edit {result.gains[0]:.3f} and {result.gains[1]:.3f} points; "
                f"{result.milliseconds:.0f} ms an edit",
                flush=True,
            )
    print(f"worst: {min(result.faster for result in results):.1f} times faster by doubt")


if __name__ == "__main__":
    main()
