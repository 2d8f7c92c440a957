"""Speed of exports, compared with tar and cp of the same folder.

    python benchmarks/export.py --triples 2000
    python benchmarks/export.py --triples 1000 --side 1024 --kinds webdataset parquet

Toy rooms with their true maps; each is rendered once and stored with changes, so that no two files
are equal. Exports and tar run in turn, each to a new place on the same disk; all files are in the page cache. tar
and cp flush nothing, so their output is flushed with `sync`, and timed with it.
"""

import argparse
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import get_args

import numpy as np
from msgspec.structs import replace
from PIL import Image

from segkit.dataset import Dataset
from segkit.dataset.info import Info
from segkit.dataset.triple import NOBODY, Triple, key_of, map_name, photo_name
from segkit.exports import pipeline
from segkit.maps import codec
from segkit.palette import Palette
from segkit.photos.geometry import Geometry
from segkit.settings import DatasetExportSettings, Kind
from segkit.storage import sha256
from segkit.toy import world

ROOMS, ROUNDS = 40, 3


def main() -> None:
    """Write a dataset, then export it and tar it alternately."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--triples", type=int, default=2000)
    parser.add_argument("--folder", type=Path, help="Where to write; by default a temporary folder.")
    parser.add_argument("--side", type=int, default=512, help="Width and height of the pictures.")
    parser.add_argument("--kinds", nargs="+", choices=get_args(Kind), default=get_args(Kind))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        dataset = write(folder / "rooms", options.triples, options.side)
        size = sum(path.stat().st_size for path in dataset.folder.rglob("*") if path.is_file())
        print(f"{len(dataset):,} triples, {size / 1e6:,.0f} MB")
        works: dict[str, Callable[[Path], None]] = {
            "tar": lambda out: tar(dataset.folder, out),
            "cp": lambda out: copy(dataset.folder, out),
        }
        works |= {kind: lambda out, kind=kind: export(dataset, out, kind) for kind in options.kinds}
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
        for _ in range(ROUNDS):
            for name, work in works.items():
                times[name].append(timed(work, folder / "out"))
        for name, measured in times.items():
            wall, cpu = (median(values) for values in zip(*measured, strict=True))
            rates = f"{size / 1e6 / wall:6.0f} MB/s {len(dataset) / wall:7,.0f} triples/s"
            print(f"{name:15} {wall:6.2f} s, CPU {cpu:6.2f} s, {rates}")
        tar_time = median(wall for wall, _ in times["tar"])
        print(json.dumps({name: median(wall for wall, _ in measured) / tar_time for name, measured in times.items()}))


def timed(work: Callable[[Path], None], out: Path) -> tuple[float, float]:
    """Return the seconds of wall clock and of CPU that a work takes, its child processes included."""
    before, began = os.times(), time.perf_counter()
    work(out)
    wall, after = time.perf_counter() - began, os.times()
    shutil.rmtree(out)
    os.sync()
    return wall, sum(after[:4]) - sum(before[:4])


def tar(folder: Path, out: Path) -> None:
    """Write one tar file and flush it."""
    out.mkdir()
    subprocess.run(["tar", "-cf", out / "all.tar", "-C", folder, "."], check=True)
    subprocess.run(["sync", out / "all.tar"], check=True)


def copy(folder: Path, out: Path) -> None:
    """Copy a folder and flush it."""
    subprocess.run(["cp", "-r", folder, out], check=True)
    subprocess.run(["sync", "-f", out], check=True)


def export(dataset: Dataset, out: Path, kind: Kind) -> None:
    """Export a dataset."""
    pipeline.export(Dataset.open(dataset.folder), out, DatasetExportSettings(to=kind))


def write(folder: Path, number: int, side: int) -> Dataset:
    """Write a dataset of toy rooms."""
    palette = Palette.load("ade20k")
    info = Info(palette, {"segmenter": {"name": "toy", "revision": "1"}}, {"protocol": "ade20k"})
    dataset = Dataset.create(folder, info)
    with dataset.writing():
        dataset.commit(triples(folder, number, side, palette))
        dataset.fold()
    return Dataset.open(folder)


def triples(folder: Path, number: int, side: int, palette: Palette) -> Iterator[Triple]:
    """Yield the records of triples whose files are written."""
    scenes = [world.scene(seed, (side, side)) for seed in range(ROOMS)]
    for place in range(number):
        scene = scenes[place % ROOMS]
        pixels = np.array(scene.photo)
        pixels[place // side, place % side] = 255
        photo, control_map = world.jpeg(Image.fromarray(pixels)), codec.encode(np.roll(scene.labels, place, 1), palette)
        digest = sha256(photo)
        key = key_of(digest)
        for name, data in ((photo_name(key, ".jpg"), photo), (map_name(key), control_map)):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        _, classes = codec.summarize(scene.labels, np.ones((side, side), np.float32), palette)
        yield replace(
            Triple(
                photo_name(key, ".jpg"), map_name(key), scene.sentence, key, f"{place:06}.jpg", digest, "0" * 16, side,
                side, Geometry(side, side, 1, (), side, side, 0, 0), classes, 20, NOBODY, "train", key, "open", (),
            ),
            photo_sha256=digest,
            map_sha256=sha256(control_map),
        )  # fmt: skip


if __name__ == "__main__":
    main()
