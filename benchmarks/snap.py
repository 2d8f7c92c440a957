"""Accuracy and speed of map repair: segkit's spatial repair, the nearest colour, and Pillow's quantize.

    python benchmarks/snap.py            # 20 maps of each kind; --maps 100 for reliable counts of invented classes

Synthetic maps of 1024 x 1024 pixels with irregular regions of random classes are damaged and repaired. Wrong pixels are
given in percent of all pixels, speeds in megapixels per CPU second of one thread; the methods run alternately.
"""

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from PIL import Image
from PIL.Image import Resampling

from segkit.maps import borders, nearest, pixels
from segkit.maps.codec import Labels
from segkit.maps.pixels import Packed
from segkit.toy.world import damage

SIDE = 1024
COLORS = tuple(dict.fromkeys(swatch.rgb for swatch in damage.ADE))
CLASSES = np.array([damage.ADE.by_color[rgb] for rgb in COLORS], np.uint8)

Damage = Callable[[Labels], tuple[Image.Image, Labels]]
"""Damages a label map: returns the damaged control map and its ground truth."""


def jpeg(quality: int) -> Damage:
    """Return damage by JPEG of a quality."""
    return lambda truth: (damage.jpeg(damage.painted(truth), quality), truth)


def halved(resampling: Resampling) -> Damage:
    """Return damage by halving the size; the ground truth is the label map halved with NEAREST."""
    return lambda truth: (damage.halved(damage.painted(truth), resampling), truth[1::2, 1::2])


@dataclass(frozen=True)
class Case:
    """A kind of damage: number of regions, damage, maximum share of wrong pixels (%), and arguments of repair."""

    name: str
    regions: int
    apply: Damage
    target: float | None
    solid: int = borders.SOLID
    outlined: bool = False


CASES = (
    Case("JPEG q75, 30 regions", 30, jpeg(75), 0.4),
    Case("JPEG q50, 30 regions", 30, jpeg(50), 0.8),
    Case("JPEG q75, 300 regions", 300, jpeg(75), 4.5),
    Case("LANCZOS halved, 30 regions", 30, halved(Resampling.LANCZOS), 0.5, 3),
    Case("BILINEAR halved, 30 regions", 30, halved(Resampling.BILINEAR), 0.5, 3),
    Case("soft white outlines, 30 regions", 30, lambda truth: (damage.outlined(truth), truth), 1.0, 3, True),
    Case("hard white outlines, 30 regions", 30, lambda truth: (damage.ruled(truth), truth), 1.0, 3, True),
    Case("exact, 30 regions", 30, lambda truth: (damage.painted(truth), truth), 0.0, 3),
)


@dataclass
class Score:
    """Accumulated errors and time of one repair method."""

    wrong: list[float] = field(default_factory=list)
    invented: int = 0
    seconds: float = 0.0
    pixels: int = 0

    def add(self, repair: Callable[[], Labels], truth: Labels) -> None:
        """Repair one map and add the result."""
        start = time.process_time()
        labels = repair()
        self.seconds += time.process_time() - start
        self.pixels += truth.size
        self.wrong.append(float(100 * (labels != truth).mean()))
        self.invented += not set(np.unique(labels)) <= set(np.unique(truth))

    def __str__(self) -> str:
        rate = self.pixels / 1e6 / self.seconds
        return f"{np.mean(self.wrong):.2f} % wrong, invented classes in {self.invented} maps, {rate:.1f} MP/s"


def by_repair(packed: Packed, case: Case) -> Labels:
    """Return the classes found by segkit."""
    return CLASSES[borders.repair(packed, COLORS, solid=case.solid, outlined=case.outlined).indices]


def by_nearest(packed: Packed) -> Labels:
    """Return the classes of the nearest colours."""
    return CLASSES[nearest.nearest(packed, COLORS)]


def by_quantize(image: Image.Image) -> Labels:
    """Return the classes found by Pillow's quantize."""
    palette = Image.new("P", (1, 1))
    palette.putpalette(np.array(COLORS, np.uint8).tobytes())
    places = np.asarray(image.quantize(palette=palette, dither=Image.Dither.NONE))
    return np.asarray(CLASSES[np.minimum(places, len(CLASSES) - 1)])


def compare(case: Case, maps: int) -> None:
    """Repair maps of one kind with all methods."""
    scores = {"segkit": Score(), "nearest colour": Score(), "PIL quantize": Score()}
    for seed in range(maps):
        image, truth = case.apply(damage.regions(seed, case.regions, SIDE))
        packed = pixels.pack_image(image)
        scores["segkit"].add(partial(by_repair, packed, case), truth)
        scores["nearest colour"].add(partial(by_nearest, packed), truth)
        scores["PIL quantize"].add(partial(by_quantize, image), truth)
    target = f" (at most {case.target} %)" if case.target is not None else ""
    print(f"{case.name}{target}")
    for name, score in scores.items():
        print(f"  {name}: {score}")


def compare_lookup() -> None:
    """Compare the exact nearest colour on all cores with a plain copy of the same pixels."""
    noise = np.random.default_rng(0).integers(0, 1 << 24, (4096, 4096), np.uint32)
    flat = pixels.pack_image(damage.painted(damage.regions(0, 30, 4096)))
    nearest.table(COLORS)
    for name, packed in (("a map", flat), ("noise", noise)):
        times: dict[str, list[float]] = {"nearest": [], "copy": []}
        for _ in range(7):
            for operation, run in (("nearest", partial(nearest.nearest, packed, COLORS)), ("copy", packed.copy)):
                start = time.perf_counter()
                run()
                times[operation].append(time.perf_counter() - start)
        speed, limit = (packed.size / 1e6 / np.median(times[operation]) for operation in ("nearest", "copy"))
        share = f"{speed / limit:.2f} of a plain copy"
        print(f"nearest colour of {name}: {speed:.0f} MP/s on {os.cpu_count()} cores, {share}")


def main() -> None:
    """Run all cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--maps", type=int, default=20, help="maps of each kind")
    maps = parser.parse_args().maps
    nearest.nearest(np.zeros((1, 1), np.uint32), COLORS)  # builds the lookup table
    borders.repair(np.zeros((9, 9), np.uint32), COLORS)
    for case in CASES:
        compare(case, maps)
    compare_lookup()


if __name__ == "__main__":
    main()
