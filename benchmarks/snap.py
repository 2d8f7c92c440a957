"""Accuracy and speed of map repair: segkit's, the nearest colour, and Pillow's quantize.

    python benchmarks/snap.py                                    # five draws of four new maps of each kind
    python benchmarks/snap.py --results snap.jsonl               # stored map by map; run it again to continue
    python benchmarks/snap.py --results snap.jsonl --only "file, q75" --maps 20    # more maps of some kinds
    python benchmarks/snap.py --results snap.jsonl --maps 0      # only the table of what is stored
    python benchmarks/snap.py --seed 123456789                   # repeats a run

Synthetic maps with irregular regions of random classes, some with poles, stripes, wires and letters, are damaged and
repaired, JPEG maps both from their files and from their colours alone. The table has the worst of the draws in percent
of all pixels, and of all maps the lost classes of 200 pixels or more (none of their pixels is right), the maps with
invented classes, and megapixels per CPU second of one thread. All methods repair a map before the next is drawn.

The whole takes about an hour of CPU time: 20 maps of each of 41 kinds. One map of each kind and draw is measured before
the next, so that an interrupted run has seen all kinds.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from functools import partial
from io import BytesIO
from itertools import product
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.Image import Resampling
from snap_table import Measured, Score, stored, table

from segkit.errors import MapError
from segkit.maps import MapFile, borders, coded, nearest, pixels, synthesis
from segkit.maps.codec import Labels
from segkit.maps.snap import snap
from segkit.maps.solid import SOFT
from segkit.palette import UNLABELLED
from segkit.toy.world import damage

SIDE = 1024
AIMS = ((90, 0.15), (75, 0.4), (50, 0.8))
"""Qualities of JPEG, and the most wrong pixels (%) of maps with thin shapes."""

DRAWS = 5
LARGE = 200
"""Pixels of a class that must not be lost."""

COLORS = tuple(dict.fromkeys(swatch.rgb for swatch in damage.ADE))
CLASSES = np.resize(np.array([damage.ADE.by_color[rgb] for rgb in COLORS], np.uint8), 256)
"""Class of the index of each colour, for pixels.translate."""

Picture = Image.Image | MapFile
"""A damaged control map, decoded or with its file."""

Draw = Callable[[int], Labels]
"""Draws a label map from a seed."""

Damage = Callable[[Labels], tuple[Picture, Labels]]
"""Damages a label map: returns the damaged control map and its ground truth."""

Method = Callable[[Picture], Labels]
"""Repairs a damaged control map."""


def solid(low: int, high: int, size: int = SIDE) -> Draw:
    """Return maps of irregular regions, their number drawn from low to high."""
    return lambda seed: damage.regions(seed, _number(seed, low, high), size)


def thin(low: int, high: int, size: int = SIDE) -> Draw:
    """Return the same with thin shapes."""
    return lambda seed: damage.thin(seed, _number(seed, low, high), size)


def _number(seed: int, low: int, high: int) -> int:
    return int(np.random.default_rng(seed).integers(low, high + 1))


def jpeg(quality: int) -> Damage:
    """Return damage by JPEG of a quality."""
    return lambda truth: (damage.jpeg(damage.painted(truth), quality), truth)


def jpeg_file(quality: int) -> Damage:
    """Return the same damage, with the file at hand."""

    def apply(truth: Labels) -> tuple[MapFile, Labels]:
        buffer = BytesIO()
        damage.painted(truth).save(buffer, "JPEG", quality=quality)
        return MapFile(Image.open(buffer).convert("RGB"), buffer.getvalue()), truth

    return apply


def halved(resampling: Resampling) -> Damage:
    """Return damage by halving the size; the ground truth is the label map halved with NEAREST."""
    return lambda truth: (damage.halved(damage.painted(truth), resampling), truth[1::2, 1::2])


def by_synthesis(picture: Picture) -> Labels:
    """Return the classes that segkit finds in a JPEG map; reading what its file stores is part of the time."""
    stored = coded.read(picture.data) if isinstance(picture, MapFile) else None
    return pixels.translate(synthesis.repair(pixels.pack_image(decoded(picture)), COLORS, stored).indices, CLASSES)


def decoded(picture: Picture) -> Image.Image:
    """Return the colours of a map."""
    return picture.image if isinstance(picture, MapFile) else picture


def by_borders(picture: Picture, *, outlined: bool = False) -> Labels:
    """Return the classes that segkit finds in a scaled or outlined map."""
    packed = pixels.pack_image(decoded(picture))
    return pixels.translate(borders.repair(packed, COLORS, side=SOFT, outlined=outlined).indices, CLASSES)


def by_snap(picture: Picture) -> Labels:
    """Return what `segkit snap` makes of a map; a refusal counts as unlabelled."""
    try:
        return snap(picture, damage.ADE).labels
    except MapError:
        return np.full(decoded(picture).size[::-1], UNLABELLED, np.uint8)


def by_nearest(picture: Picture) -> Labels:
    """Return the classes of the nearest colours."""
    return CLASSES[nearest.nearest(pixels.pack_image(decoded(picture)), COLORS)]


def by_quantize(picture: Picture) -> Labels:
    """Return the classes found by Pillow's quantize."""
    palette = Image.new("P", (1, 1))
    palette.putpalette(np.array(COLORS, np.uint8).tobytes())
    places = np.asarray(decoded(picture).quantize(palette=palette, dither=Image.Dither.NONE))
    return np.asarray(CLASSES[np.minimum(places, len(COLORS) - 1)])


@dataclass(frozen=True)
class Case:
    """A kind of map and damage: how maps are drawn, damaged and repaired, and the aim for wrong pixels (%)."""

    name: str
    draw: Draw
    apply: Damage
    repair: Method
    aim: float | None = None


def by_hand(truth: Labels) -> tuple[Image.Image, Labels]:
    """Return flat areas in colours up to 3 off those of their classes."""
    return damage.by_hand(int(truth.sum()), truth), truth


OUTLINED = partial(by_borders, outlined=True)
KINDS = ((".jpg file", jpeg_file), ("decoded JPEG", jpeg))
"""What is known of a JPEG map: its file, or only the colours, as of a PNG made from it."""


def jpeg_cases(kind: str, by: Callable[[int], Damage]) -> list[Case]:
    """Return the cases of JPEG maps of one kind."""
    cases: list[tuple[str, Draw, int, float | None]]
    cases = [(f"q{q}, 5 to 60 regions, thin shapes", thin(5, 60), q, aim) for q, aim in AIMS]
    cases += [(f"q{q}, thin shapes in 512 x 512", thin(5, 60, 512), q, None) for q, _ in AIMS]
    cases += [(f"q{q}, 5 to 60 regions in 512 x 512", solid(5, 60, 512), q, aim) for q, aim in AIMS]
    cases += [(f"q{q}, thin shapes in 256 x 256", thin(5, 60, 256), q, None) for q, _ in AIMS]
    cases += [(f"q{q}, 5 to 60 regions in 256 x 256", solid(5, 60, 256), q, None) for q, _ in AIMS]
    cases += [("q75, 5 to 300 regions", solid(5, 300), 75, None)]
    cases += [("q75, 30 regions", solid(30, 30), 75, 0.4), ("q75, 300 regions", solid(300, 300), 75, 4.5)]
    return [Case(f"{kind}, {name}", draw, by(quality), by_synthesis, aim) for name, draw, quality, aim in cases]


CASES = (
    *(case for kind, by in KINDS for case in jpeg_cases(kind, by)),
    Case("painted by hand, 5 to 60 regions, thin shapes", thin(5, 60), by_hand, by_snap, 0.0),
    Case("LANCZOS halved, 30 regions", solid(30, 30), halved(Resampling.LANCZOS), by_borders, 0.5),
    Case("BILINEAR halved, 30 regions", solid(30, 30), halved(Resampling.BILINEAR), by_borders, 0.5),
    Case(
        "soft white outlines, 30 regions", solid(30, 30), lambda truth: (damage.outlined(truth), truth), OUTLINED, 1.0
    ),
    Case("hard white outlines, 30 regions", solid(30, 30), lambda truth: (damage.ruled(truth), truth), OUTLINED, 1.0),
    Case("exact, 30 regions", solid(30, 30), lambda truth: (damage.painted(truth), truth), by_borders, 0.0),
)


def score(repair: Method, picture: Picture, truth: Labels) -> Score:
    """Repair one map."""
    start = time.process_time()
    labels = repair(picture)
    seconds = time.process_time() - start
    classes, counts = np.unique(truth, return_counts=True)
    right = np.bincount(truth[labels == truth], minlength=256)
    lost = int((right[classes[counts >= LARGE]] == 0).sum())
    invented = not set(np.unique(labels)) <= {*classes.tolist(), UNLABELLED}
    return Score(float(100 * (labels != truth).mean()), lost, invented, seconds, truth.size / 1e6)


def measure(cases: list[Case], run: int, maps: int, known: list[Measured]) -> Iterator[Measured]:
    """Repair maps of some cases with all methods, except those that are known."""
    seeds = np.random.default_rng(run).integers(1 << 30, size=(1000, DRAWS))[:maps].tolist()
    done = {(measured.case, measured.run, measured.seed) for measured in known}
    for draws, case in product(seeds, cases):
        for draw, seed in enumerate(draws):
            if (case.name, run, seed) in done:
                continue
            picture, truth = case.apply(case.draw(seed))
            methods = {"segkit": case.repair, "nearest colour": by_nearest, "PIL quantize": by_quantize}
            scores = {name: score(method, picture, truth) for name, method in methods.items()}
            yield Measured(case.name, run, draw, seed, scores)


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
    """Run cases, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--maps", type=int, default=4, help="maps of each kind and draw")
    parser.add_argument("--seed", type=int, help="repeat the run with this seed")
    parser.add_argument("--only", action="append", default=[], help="cases whose name contains this text; repeatable")
    parser.add_argument(
        "--results", type=Path, help="file that holds the results map by map, and gets those of this run"
    )
    options = parser.parse_args()
    measurements = stored(options.results)
    run = options.seed if options.seed is not None else int(np.random.default_rng().integers(1 << 30))
    if options.seed is None and measurements:
        run = measurements[-1].run
    print(f"seed {run}; the worst of {DRAWS} draws of {options.maps} maps; {date.today()}")
    by_nearest(Image.new("RGB", (9, 9)))  # builds the look-up tables
    by_borders(Image.new("RGB", (9, 9)))
    chosen = [case for case in CASES if any(text in case.name for text in options.only or [""])]
    for measured in measure(chosen, run, options.maps, measurements.copy()):
        measurements.append(measured)
        print(f"{measured.case}, {measured.seed}: {measured.scores['segkit']}", flush=True)
        if options.results:
            with options.results.open("a") as file:
                file.write(json.dumps(measured._asdict()) + "\n")
    print(*table(measurements, {case.name: case.aim for case in CASES}), sep="\n")
    if not options.only and options.maps:
        compare_lookup()


if __name__ == "__main__":
    main()
