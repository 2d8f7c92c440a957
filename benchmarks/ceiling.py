"""How many photos a second build-dataset prepares if the networks cost nothing: what a GPU can be given by its host.

    python benchmarks/ceiling.py --photos FOLDER [--number 48] [--cores 1 2] [--rounds 3] [--seed N]

Photos are JPEGs of 4000x3000 pixels and about 3 MB. Those in the folder that have at least that many are used as they
are. Of the others, and of rendered scenes without a folder, windows are enlarged and given grain: stand-ins, whose
decoding costs what bytes and pixels cost. Networks return prepared maps.

Every build is a process of its own, held to a number of cores, in turns. The CPU time a photo, the kernel's included,
is hardly changed by other work on the machine; the time by the clock is. Whatever the load, no number of cores makes a
build faster than its busiest thread, nor the choice among near-duplicates, between reading photos and storing them, in
which nothing else happens: both are printed, too. Stages are timed in one thread.
"""

import argparse
import json
import os
import resource
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from segkit import photos, storage
from segkit.build import pipeline, survey
from segkit.build.settings import BuildSettings
from segkit.build.tools import Networks
from segkit.maps import codec
from segkit.models.segment import Segmentation
from segkit.palette import Palette
from segkit.photos import Limits, files, near_duplicates
from segkit.photos.stored import encode_photo
from segkit.toy import world

SIZE = (4000, 3000)
GRAIN = 3.8
"""Standard deviation of the grain, in levels of 255: a file then has about 3 MB."""

SAMPLED = 0.05
"""Seconds between two looks at the threads' CPU time."""

MODES = {"near-duplicates rejected": False, "near-duplicates kept": True}


def main() -> None:
    """Prepare photos, and print the time of stages and of builds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, help="a folder of photos")
    parser.add_argument("--number", type=int, default=48)
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**31))
    parser.add_argument("--build", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.build:
        print(json.dumps(build(*options.build)))
        return
    with tempfile.TemporaryDirectory() as folder:
        sources = Path(folder) / "photos"
        prepare(sources, options.photos, options.number, np.random.default_rng(options.seed))
        paths = sorted(sources.iterdir())
        size = statistics.mean(path.stat().st_size for path in paths) / 1e6
        print(f"seed {options.seed}: {len(paths)} photos of {size:.2f} MB", flush=True)
        print_stages(paths)
        for mode in MODES:
            print_builds(sources, Path(folder), mode, options)


def prepare(folder: Path, source: Path | None, number: int, rng: np.random.Generator) -> None:
    """Link large JPEGs, and make stand-ins until there are enough."""
    folder.mkdir()
    pictures = []
    for path in photos.find(source) if source else ():
        with Image.open(path) as image:
            large = image.format == "JPEG" and min(image.size) >= SIZE[1] and max(image.size) >= SIZE[0]
        if large and len(list(folder.iterdir())) < number:
            shutil.copyfile(path, folder / f"{len(list(folder.iterdir())):05}.jpg")
        else:
            pictures.append(photos.open_upright(path.read_bytes()))
    real = len(list(folder.iterdir()))
    for place in range(real, number):
        whole = (
            pictures[place % len(pictures)] if pictures else world.scene(int(rng.integers(2**30)), (1024, 768)).photo
        )
        stand_in(whole, rng).save(folder / f"{place:05}.jpg", quality=92)
    print(f"{real} photos as they are, {number - real} stand-ins, enlarged from {'photos' if pictures else 'scenes'}")


def stand_in(whole: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return a window of a picture, half to four fifths of its sides, enlarged to SIZE, with grain."""
    share = rng.uniform(0.5, 0.8)
    width, height = int(whole.width * share), int(whole.height * share)
    left, top = int(rng.integers(whole.width - width)), int(rng.integers(whole.height - height))
    window = whole.crop((left, top, left + width, top + height))
    pixels = np.asarray(ImageOps.fit(window, SIZE, Image.Resampling.BICUBIC), np.float32)
    grain = rng.normal(0, GRAIN, (*pixels.shape[:2], 1)).astype(np.float32)
    return Image.fromarray((pixels + grain).round().clip(0, 255).astype(np.uint8))


def print_stages(paths: Sequence[Path]) -> None:
    """Print the CPU time of each stage a photo, in one thread: medians over the photos."""
    times: dict[str, list[float]] = defaultdict(list)

    def timed(name: str, call: Callable[..., Any], *arguments: Any) -> Any:
        started = time.thread_time()
        result = call(*arguments)
        times[name].append(1e3 * (time.thread_time() - started))
        return result

    limits, palette = Limits(), Palette.load("ade20k")
    for path in [paths[0], *paths]:
        data = timed("reading", photos.read, path, limits.max_bytes)
        timed("SHA-256", storage.sha256, data)
        decoded = timed("decoding", files.decode, data, limits)
        photo = timed("fitting", photos.fit, decoded, limits.size)
        timed("hash and grey copy", hashes, photo.image)
        drawn = segmentation(photo.image.size)
        labels, _ = timed("classes of the map", codec.summarize, drawn.labels, drawn.confidence, palette)
        timed("photo as JPEG", encode_photo, photo.image, "jpg")
        timed("map as PNG", codec.encode, labels, palette)
    print("CPU ms a photo, by stage: median (worst)")
    for name, values in times.items():
        print(f"  {name:20} {statistics.median(values[1:]):7.2f} ({max(values[1:]):.2f})")  # the first one warms up
    print(f"  {'all':20} {sum(statistics.median(values[1:]) for values in times.values()):7.2f}", flush=True)


def hashes(image: Image.Image) -> None:
    """Compute what near-duplicates are found by."""
    near_duplicates.perceptual_hash(image)
    near_duplicates.grey_copy(image)


@cache
def segmentation(size: tuple[int, int]) -> Segmentation:
    """Return what the network returns for every photo of a size: the map of a rendered scene."""
    scene = world.scene(1, (768, 576)).labels
    labels = np.asarray(Image.fromarray(scene).resize(size, Image.Resampling.NEAREST))
    return Segmentation(labels, np.full(labels.shape, 0.9, np.float32))


def print_builds(sources: Path, folder: Path, mode: str, options: argparse.Namespace) -> None:
    """Build with each number of cores in turn, and print what a photo takes."""
    results: dict[int, list[dict[str, float]]] = defaultdict(list)
    for number in range(options.rounds):
        for cores in options.cores:
            output = folder / f"{mode}-{cores}-{number}".replace(" ", "-")
            command = [sys.executable, __file__, "--build", str(sources), str(output), f"{cores} {mode}"]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            results[cores].append(json.loads(done.stdout))
            shutil.rmtree(output)
    print(f"{mode}: worst of {options.rounds} rounds")
    for cores, runs in results.items():
        worst = {name: max(run[name] for run in runs) for name in runs[0]}
        fewest = min(run["made"] for run in runs)
        print(
            f"  {cores} cores: {worst['cpu']:6.1f} CPU ms a photo, {1e3 / worst['cpu']:.2f} photos a CPU second, "
            f"busiest thread {worst['busiest']:.1f} ms, choosing {worst['choosing']:.1f} ms, "
            f"{1e3 / worst['clock']:.2f} photos a second by the clock; "
            f"{worst['decoded']:.2f} decoded for one, {fewest:.0f} made",
            flush=True,
        )
    if len(options.cores) > 1:
        first, last = results[options.cores[0]], results[options.cores[-1]]
        gains = [one["clock"] / more["clock"] for one, more in zip(first, last, strict=True)]
        bound = min(run["cpu"] / least(run, options.cores[-1]) for run in last)
        print(
            f"  {options.cores[-1]} cores: {statistics.median(gains):.2f} times as fast by the clock "
            f"({min(gains):.2f} to {max(gains):.2f}); {bound:.2f} times if nothing waited for anything but its threads"
        )


def least(run: dict[str, float], cores: int) -> float:
    """Return the milliseconds a photo that a build takes at least on some cores, by its CPU time."""
    alone = run["choosing"]
    return alone + max((run["cpu"] - alone) / cores, run["busiest"] - alone)


def build(sources: str, output: str, how: str) -> dict[str, float]:
    """Build a dataset on some cores; return milliseconds a photo, how many were made, and decoded for each."""
    cores, mode = how.split(" ", 1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(cores)])
    palette, decoded = Palette.load("ade20k"), 0
    networks = Networks(palette, lambda images: [segmentation(image.size) for image in images], model="none", batch=8)
    networks([Image.new("RGB", (680, 512))])  # imports torch
    near_duplicates.perceptual_hash(Image.new("RGB", (64, 64)))  # imports SciPy
    open_photo = photos.open_photo

    def counted(*arguments: Any) -> Any:
        nonlocal decoded
        decoded += 1
        return open_photo(*arguments)

    photos.open_photo = counted  # type: ignore[assignment]
    outdone, choosing = survey.outdone, 0.0

    def timed(*arguments: Any) -> Any:
        nonlocal choosing
        started = time.thread_time()
        result = outdone(*arguments)
        choosing += time.thread_time() - started
        return result

    survey.outdone = timed  # type: ignore[assignment]
    settings = BuildSettings(caption=False, keep_duplicates=MODES[mode])
    before, started = cpu_seconds(), time.perf_counter()
    with Threads() as threads:
        outcome = pipeline.build_dataset(Path(sources), Path(output), settings, load=lambda _: networks)
    seconds = {"clock": time.perf_counter() - started, "cpu": cpu_seconds() - before, "choosing": choosing}
    seconds["busiest"] = max(threads.values())
    each = {name: 1e3 * value / outcome.found for name, value in seconds.items()}
    return {**each, "made": outcome.made, "decoded": decoded / outcome.found}


def cpu_seconds() -> float:
    """Return the CPU time of this process, the kernel's included."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


class Threads:
    """Samples the CPU time of every thread within the context; yields seconds by thread. Linux only."""

    def __enter__(self) -> dict[str, float]:
        self._seconds: dict[str, float] = {}
        self._before = dict(thread_seconds())
        self._stop = threading.Event()
        self._sampler = threading.Thread(target=self._sample)
        self._sampler.start()
        return self._seconds

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._sampler.join()

    def _sample(self) -> None:
        while True:
            stopping = self._stop.wait(SAMPLED)
            for name, seconds in thread_seconds():
                self._seconds[name] = seconds - self._before.get(name, 0.0)
            if stopping:
                return


def thread_seconds() -> Iterator[tuple[str, float]]:
    """Yield the CPU seconds of each living thread of this process."""
    for folder in Path("/proc/self/task").glob("*"):
        try:
            yield folder.name, int((folder / "schedstat").read_text().split()[0]) / 1e9
        except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            continue


if __name__ == "__main__":
    main()
