"""What does not have to be read again: a check, the start of a training, and a build in which nothing is new.

    python benchmarks/reruns.py --triples 20000 --photos 8000 --megabytes 3

Records are real and drawn from a seed. A few pictures are hard-linked, so that a dataset of any size fits on the disk;
photos are small JPEG files with bytes of their own, lengthened by a hole to the size of a camera's. Each figure is CPU
time, the kernel's included, of one call; wall clock in brackets.
"""

import argparse
import hashlib
import os
import random
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from msgspec.structs import replace

import segkit
from segkit import photos, storage
from segkit.build import history, intake, pipeline, repainted
from segkit.build.settings import BuildSettings
from segkit.dataset import Dataset, checked, checks, stamps
from segkit.dataset.triple import Triple, key_of, map_name, photo_name
from segkit.toy import world
from trainer.data import examples
from trainer.data.batches import Batches
from trainer.run import run_folder
from trainer.settings import TrainSettings

SEED = 0
PICTURES = 8
OLD = 1_700_000_000
"""Modification time of all files: stamps are not kept of files that were just written."""


def main() -> None:
    """Create both datasets, and print one line a measurement."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--triples", type=int, default=20_000)
    parser.add_argument("--photos", type=int, default=8_000)
    parser.add_argument("--megabytes", type=float, default=3.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        root = Path(folder)
        few = root / "few"
        few.mkdir()
        for seed in range(PICTURES):
            world.scene(seed, (640, 512)).photo.save(few / f"{seed}.jpg", quality=90)
        base = segkit.build_dataset(few, root / "base", segmenter="toy", caption=False)
        checking(grow(base, root / "large", [digest(number) for number in range(options.triples)]))
        rerunning(few, base, root, options.photos, int(options.megabytes * 1e6))


def checking(dataset: Dataset) -> None:
    """Measure checks and the start of a training, which is a check and more."""
    number = len(list(dataset.triples()))
    settings = TrainSettings(batch_size=1)
    size = sum(path.stat().st_size for path in dataset.folder.rglob("*.*"))
    print(f"{number:,} triples, {size / 1e9:.1f} GB of pictures")
    triples = list(dataset.triples())

    def files(check: Any) -> None:
        wrong = checked.problems(
            dataset, triples, number, partial(checks.in_threads, dataset), check, segkit.progress.silent
        )
        assert not list(wrong)

    def start(check: Any) -> None:
        data = examples.find(dataset.folder, check=check)
        run_folder.facts(settings, dataset.folder, data, 1)
        Batches(data.train, data.palette, settings)

    for name, call in (("photos and maps", files), ("start of a training", start)):
        for check in ("full", "fast", "none"):
            measure(f"{name}, {check}", partial(call, check), number)
    measure("manifest alone: read", lambda: list(dataset.triples()), number)
    size = (dataset.hidden / "cache" / "pictures.stamps").stat().st_size
    print(f"stamps: {size / number:.0f} bytes a triple")


def rerunning(few: Path, base: Dataset, root: Path, number: int, size: int) -> None:
    """Measure a build without new photos, and its parts, against reading all photos."""
    sources, digests = root / "photos", []
    sources.mkdir()
    pictures = [path.read_bytes() for path in sorted(few.iterdir())]
    for place in range(number):
        path = sources / f"{place:06}.jpg"
        path.write_bytes(pictures[place % PICTURES] + b"%06d" % place)
        os.truncate(path, size)
        os.utime(path, (OLD, OLD))
        digests.append(storage.sha256(path.read_bytes()))
    dataset = grow(base, root / "kept", digests)
    paths = sorted(sources.iterdir())
    print(f"{number:,} photos, {number * size / 1e9:.1f} GB")
    measure("reading and hashing all photos", lambda: [storage.sha256(path.read_bytes()) for path in paths], number)
    measure("build, nothing new, no stamps yet", lambda: build(sources, dataset), number)
    measure("build, nothing new", lambda: build(sources, dataset), number)
    known = history.History(dataset)

    def intake_alone() -> None:
        with stamps.of_sources(dataset.hidden) as sources_known:
            for _ in intake.load_all(intake.Intake(sources, paths, photos.Limits(), sources_known), known):
                pass

    measure("of that: which photos are unchanged", intake_alone, number)
    measure("of that: which maps are unchanged", lambda: repainted.adopt(dataset), number)
    measure("of that: the manifest read once", lambda: list(dataset.triples()), number)
    measure("build --rehash", lambda: build(sources, dataset, rehash=True), number)


def build(sources: Path, dataset: Dataset, **settings: Any) -> None:
    """Build again; nothing may be new."""
    outcome = pipeline.build_dataset(sources, dataset.folder, BuildSettings(segmenter="toy", caption=False, **settings))
    assert (outcome.kept, outcome.made) == (len(list(sources.iterdir())), 0), outcome


def digest(number: int) -> str:
    """Return a made-up hash of a photo."""
    return hashlib.sha256(f"{SEED} {number}".encode()).hexdigest()


def grow(base: Dataset, folder: Path, digests: list[str]) -> Dataset:
    """Create a dataset with one triple for each hash of a photo, with the pictures of another as hard links."""
    originals, bits = list(base.triples()), random.Random(SEED)
    for place in ("images", "maps"):
        for number in range(256):
            (folder / place / f"{number:02x}").mkdir(parents=True)
    (folder / ".segkit").mkdir()
    dataset = Dataset.create(folder, base.info)
    for original in originals:
        for name in (original.file_name, original.conditioning_image_file_name):
            os.utime(base.folder / name, (OLD, OLD))
    linked = (link(base, originals[place % len(originals)], dataset, sha256) for place, sha256 in enumerate(digests))
    dataset.replace_all(
        replace(triple, source=f"{place:06}.jpg", phash=f"{bits.getrandbits(64):016x}", drawn="train", split="train")
        for place, triple in enumerate(linked)
    )
    return dataset


def link(base: Dataset, original: Triple, dataset: Dataset, sha256: str) -> Triple:
    """Link the pictures of a triple under the names of another photo, and return its triple."""
    key = key_of(sha256)
    names = photo_name(key, ".jpg"), map_name(key)
    for old, new in zip((original.file_name, original.conditioning_image_file_name), names, strict=True):
        os.link(base.folder / old, dataset.folder / new)
    return replace(
        original, key=key, sha256=sha256, group=key, file_name=names[0], conditioning_image_file_name=names[1],
        text="a room with a bed", tokens=7,
    )  # fmt: skip


def measure(name: str, call: Callable[[], object], number: int) -> None:
    """Print the time of a call, in all and for each of a number of things."""
    wall, cpu = time.perf_counter(), sum(os.times()[:2])
    call()
    wall, cpu = time.perf_counter() - wall, sum(os.times()[:2]) - cpu
    print(f"{name:36} {cpu:8.2f} s {1e6 * cpu / number:9.1f} us each ({wall:.2f} s)", flush=True)


if __name__ == "__main__":
    main()
