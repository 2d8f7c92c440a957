"""Reading and training from shards, compared with the dataset that they were exported from.

    python benchmarks/read_shards.py [--seed 8000000]

Pairs of 512 x 512 pixels that were never measured before, in a random order. Reading: bytes of photo and map, verified
by their hashes, and whole batches as training decodes them; also after the page cache was emptied, where that is
permitted. Training: a very small base from files, and from S3 on loopback (moto's server, a process of its own) with a
warm cache. Runs alternate. Targets: local shards at least as fast as files, training from S3 at most 5 % slower.
"""

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from hashlib import sha256
from pathlib import Path
from statistics import median

os.environ |= {"OMP_NUM_THREADS": "1", "MKL_CBWR": "AUTO,STRICT"}  # before numpy and torch

import numpy as np

from segkit import remote, storage
from segkit.dataset import Dataset, lines
from segkit.dataset.info import Info
from segkit.dataset.triple import Prompt, Triple, digest, map_name, photo_name
from segkit.exports import pipeline
from segkit.maps import codec
from segkit.palette import Palette
from segkit.photos.geometry import Geometry
from segkit.settings import DatasetExportSettings
from segkit.toy import world
from segkit.toy.learn import networks
from tests import s3
from tests.trainer.conftest import base_folder
from trainer import loop
from trainer.data import examples
from trainer.data.batches import Batches
from trainer.data.examples import Examples
from trainer.data.members import Member, read_photo
from trainer.settings import TrainSettings

SIDE, PAIRS, BATCH, ROUNDS, RUNS = 512, 200, 4, 9, 5
STEPS = 40
SERVER = (
    "import sys; from tests.s3 import serving\n"
    "with serving() as (address, app): print(address, flush=True); sys.stdin.read()"
)

Times = dict[str, list[tuple[float, float]]]
"""CPU and wall seconds of each round, by what was measured."""


def make(folder: Path, seed: int) -> Path:
    """Write a dataset of rendered scenes with their true maps."""
    palette, random = Palette.load("ade20k"), np.random.default_rng(seed)
    info = Info(palette, {"segmenter": {"name": "none", "revision": "1"}}, {"protocol": "ade20k"})
    dataset, records = Dataset.create(folder, info), []
    for number in range(seed, seed + PAIRS):
        scene = world.scene(number, (SIDE, SIDE))
        sha = sha256(f"photo {number}".encode()).hexdigest()
        key, photo, control_map = sha[:16], folder / photo_name(sha[:16], ".jpg"), folder / map_name(sha[:16])
        photo.parent.mkdir(parents=True, exist_ok=True)
        scene.photo.save(photo, quality=95, subsampling=0)
        storage.write(control_map, codec.encode(scene.labels, palette))
        classes = codec.summarize(scene.labels, random.random(scene.labels.shape, np.float32), palette)[1]
        text = scene.sentence
        hashes = [storage.sha256(path.read_bytes()) for path in (photo, control_map)]
        record = Triple(
            photo_name(key, ".jpg"), map_name(key), text, key, f"{number}.jpg", sha, sha[16:32], SIDE, SIDE,
            Geometry(SIDE, SIDE, 1, (), SIDE, SIDE, 0, 0), classes, len(text.split()) + 2,
            Prompt("model", "none", "1", False, digest(text), text), "train", key, "open", (), hashes[0], hashes[1],
            "train",
        )  # fmt: skip
        records.append(record)
    dataset.manifest.write_bytes(b"".join(lines.encode(record) for record in records))
    return folder


def read(data: Examples, order: list[int]) -> None:
    """Read and verify the bytes of all pairs."""
    for place in order:
        example = data.train[place]
        read_photo(example.photo, example.photo_hash)
        control_map = example.control_map.read_bytes()
        if not isinstance(example.control_map, Member) and storage.sha256(control_map) != example.map_hash:
            raise SystemExit(f"{example.control_map} differs")


def decode(data: Examples) -> None:
    """Read all pairs as batches, without the memory of control maps that training keeps."""
    batches = Batches(data.train, data.palette, TrainSettings(batch_size=BATCH, resolution=SIDE))
    for number in range(PAIRS // BATCH):
        batches.batch(number)


def alternate(
    ways: Mapping[str, Callable[[], None]], rounds: int, before: Callable[[], object] = lambda: None
) -> Times:
    """Measure each way in each round."""
    times: Times = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            before()
            cpu, wall = time.process_time(), time.perf_counter()
            way()
            times[name].append((time.process_time() - cpu, time.perf_counter() - wall))
    return times


def show(what: str, times: Times, unit: str, number: int) -> None:
    """Print the rates, and by how much the second way takes longer than the first."""
    first, second = times
    for place, clock in enumerate(("CPU", "wall")):
        columns = [[seconds[place] for seconds in rounds] for rounds in times.values()]
        base, other = map(median, columns)
        ratios = sorted(b / a for a, b in zip(*columns, strict=True))
        print(
            f"{what:28} {clock:4}  {first} {number / base:8,.1f} {unit}, {second} {number / other:8,.1f}; ratio of the "
            f"medians {other / base:.3f}, of the fastest rounds {min(columns[1]) / min(columns[0]):.3f}, median of the "
            f"ratios {median(ratios):.3f}, worst {ratios[-1]:.3f}",
            flush=True,
        )


def reading(files: Examples, shards: Examples) -> None:
    """Compare reading."""
    order = np.random.default_rng(0).permutation(PAIRS).tolist()
    ways: dict[str, Callable[[], None]] = {"files": lambda: read(files, order), "shards": lambda: read(shards, order)}
    alternate(ways, 2)
    show("bytes", alternate(ways, ROUNDS), "pairs/s", PAIRS)
    batches: dict[str, Callable[[], None]] = {"files": lambda: decode(files), "shards": lambda: decode(shards)}
    show("batches", alternate(batches, 5), "pairs/s", PAIRS)
    drop = Path("/proc/sys/vm/drop_caches")

    def empty() -> None:
        os.sync()
        drop.write_text("3")

    try:
        show("bytes, cold page cache", alternate(ways, RUNS, empty), "pairs/s", PAIRS)
    except OSError as error:
        print(f"cold page cache not measured: {error}")


def training(dataset: Path, url: str, folder: Path) -> None:
    """Compare training, with latents computed at each step and with cached ones."""
    base = base_folder(folder / "base", networks.write_clip_tokenizer(folder / "clip"))
    for cache, name in ((False, "no latent cache"), (True, "cached latents")):
        run = partial(train, folder, base, itertools.count(), cache)
        start = time.process_time()
        run(url)
        print(f"first run from S3, {name}: {time.process_time() - start:.1f} s of CPU time", flush=True)
        run(dataset)
        ways = {"files": partial(run, dataset), "S3": partial(run, url)}
        show(f"training, {name}", alternate(ways, RUNS), "steps/s", STEPS)


def train(folder: Path, base: Path, numbers: Iterator[int], cache: bool, data: Path | str) -> None:
    """Train a very small base for some steps, in a new run, so that reading is as large a part as it can be."""
    settings = TrainSettings(
        base=str(base), controlnet="fresh", resolution=64, steps=STEPS, batch_size=BATCH, cache=cache, device="cpu",
        evaluate_every=0, preview_every=0, check="none", cache_dir=str(folder / "caches"), checkpoint_every=STEPS,
    )  # fmt: skip
    loop.train(data, folder / f"run-{cache}-{next(numbers)}", settings)


def main() -> None:
    """Make the data, and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=8_000_000, help="seed of the first scene")
    parser.add_argument("--only", choices=("reading", "training"), help="one part")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        dataset, shards = make(folder / "dataset", options.seed), folder / "shards"
        pipeline.export(Dataset.open(dataset), shards, DatasetExportSettings(to="webdataset", shard_size="5MB"))
        sizes = [path.stat().st_size for path in shards.glob("*.tar")]
        print(f"{PAIRS} pairs, seeds from {options.seed:,}; {len(sizes)} shards, {sum(sizes) / 1e6:.1f} MB")
        if options.only != "training":
            reading(examples.find(dataset, check="none"), examples.find(shards, check="none"))
        if options.only != "reading":
            with subprocess.Popen(
                [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            ) as server:
                assert server.stdout is not None
                assert server.stdin is not None
                os.environ.update(s3.environment(server.stdout.readline().strip()))
                import boto3

                boto3.client("s3").create_bucket(Bucket="rooms")
                location = remote.location("s3://rooms/shards")
                for path in shards.iterdir():
                    if path.is_file():
                        location.upload(path, path.name)
                training(dataset, location.root, folder)
                server.stdin.close()


if __name__ == "__main__":
    main()
