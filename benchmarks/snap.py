"""How right and how fast maps are mended: segkit's spatial repair, the nearest colour, and PIL's quantize.

    python benchmarks/snap.py            # 20 maps of each kind; --maps 100 for the share of maps with invented classes

Maps of known truth, 1024 x 1024 pixels, of irregular regions in classes drawn by lot, are damaged and mended. Wrong
pixels are a share of all, in percent. Times are CPU seconds of one thread; the ways take turns.
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
"""Takes the truth, gives the damaged map and its truth."""


def jpeg(quality: int) -> Damage:
    """Return what JPEG of a quality does."""
    return lambda truth: (damage.jpeg(damage.painted(truth), quality), truth)


def halved(how: Resampling) -> Damage:
    """Return what halving does; the truth is what NEAREST makes of the label map."""
    return lambda truth: (damage.halved(damage.painted(truth), how), truth[1::2, 1::2])


@dataclass(frozen=True)
class Case:
    """A kind of damaged map: regions, the damage, the share of wrong pixels allowed (%), and how repair is called."""

    name: str
    regions: int
    spoil: Damage
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
    """What one way of mending gets wrong, and how long it takes."""

    wrong: list[float] = field(default_factory=list)
    invented: int = 0
    seconds: float = 0.0
    pixels: int = 0

    def add(self, snap_files: Callable[[], Labels], truth: Labels) -> None:
        """Mend one map."""
        started = time.process_time()
        found = snap_files()
        self.seconds += time.process_time() - started
        self.pixels += truth.size
        self.wrong.append(float(100 * (found != truth).mean()))
        self.invented += not set(np.unique(found)) <= set(np.unique(truth))

    def __str__(self) -> str:
        rate = self.pixels / 1e6 / self.seconds
        return f"{np.mean(self.wrong):.2f} % wrong, classes invented in {self.invented} maps, {rate:.1f} MP/s"


def by_repair(packed: Packed, case: Case) -> Labels:
    """Return the classes that segkit finds."""
    return CLASSES[borders.repair(packed, COLORS, solid=case.solid, outlined=case.outlined).indices]


def by_nearest(packed: Packed) -> Labels:
    """Return the classes of the nearest colours."""
    return CLASSES[nearest.nearest(packed, COLORS)]


def by_quantize(image: Image.Image) -> Labels:
    """Return the classes that Pillow's quantize to the palette finds."""
    table = Image.new("P", (1, 1))
    table.putpalette(np.array(COLORS, np.uint8).tobytes())
    places = np.asarray(image.quantize(palette=table, dither=Image.Dither.NONE))
    return np.asarray(CLASSES[np.minimum(places, len(CLASSES) - 1)])


def compare(case: Case, maps: int) -> None:
    """Mend maps of one kind in all ways."""
    ways = {"segkit": Score(), "nearest colour": Score(), "PIL quantize": Score()}
    for seed in range(maps):
        image, truth = case.spoil(damage.regions(seed, case.regions, SIDE))
        packed = pixels.pack_image(image)
        ways["segkit"].add(partial(by_repair, packed, case), truth)
        ways["nearest colour"].add(partial(by_nearest, packed), truth)
        ways["PIL quantize"].add(partial(by_quantize, image), truth)
    aim = f" (at most {case.target} %)" if case.target is not None else ""
    print(f"{case.name}{aim}")
    for name, score in ways.items():
        print(f"  {name}: {score}")


def look_up() -> None:
    """Measure the exact nearest colour on all cores beside a plain copy of the same pixels."""
    noise = np.random.default_rng(0).integers(0, 1 << 24, (4096, 4096), np.uint32)
    flat = pixels.pack_image(damage.painted(damage.regions(0, 30, 4096)))
    nearest.table(COLORS)
    for name, packed in (("a map", flat), ("noise", noise)):
        times: dict[str, list[float]] = {"nearest": [], "copy": []}
        for _ in range(7):
            for way, run in (("nearest", partial(nearest.nearest, packed, COLORS)), ("copy", packed.copy)):
                started = time.perf_counter()
                run()
                times[way].append(time.perf_counter() - started)
        fast, limit = (packed.size / 1e6 / np.median(times[way]) for way in ("nearest", "copy"))
        share = f"{fast / limit:.2f} of a plain copy"
        print(f"nearest colour of {name}: {fast:.0f} MP/s on {os.cpu_count()} cores, {share}")


def main() -> None:
    """Run all cases."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--maps", type=int, default=20)
    maps = options.parse_args().maps
    nearest.nearest(np.zeros((1, 1), np.uint32), COLORS)  # makes the table
    borders.repair(np.zeros((9, 9), np.uint32), COLORS)
    for case in CASES:
        compare(case, maps)
    look_up()


if __name__ == "__main__":
    main()
