"""Reading and training from shards, compared with the dataset that they were exported from.

    python benchmarks/read_shards.py [--seed 8000000]

Pairs of 512 x 512 pixels that were never measured before, in a random order. Reading: bytes of photo and map, verified by
their hashes, and whole batches as training decodes them; also after the page cache was emptied, where that is permitted.
Training: the toy base from files, and from S3 on loopback (moto's server, in a process of its own) with a warm cache.
Runs alternate; CPU time of this process, the worst of all rounds counts. Targets: local shards at least as fast as files,
training from S3 at most 5 % slower.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

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
from trainer import loop
from trainer.data import examples
from trainer.data.batches import Batches
from trainer.data.examples import Example, Examples
from trainer.data.members import Member, read_photo
from trainer.settings import TrainSettings

SIDE, PAIRS, BATCH, ROUNDS, RUNS = 512, 200, 4, 9, 5
STEPS = 40
SERVER = (
    "import sys; from tests.s3 import serving\n"
    "with serving() as (address, app): print(address, flush=True); sys.stdin.read()"
)

Times = dict[str, list[float]]


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
        hashes = (storage.sha256(path.read_bytes()) for path in (photo, control_map))
        records.append(
            Triple(
                photo_name(key, ".jpg"),
                map_name(key),
                text,
                key,
                f"{number}.jpg",
                sha,
                sha[16:32],
                SIDE,
                SIDE,
                Geometry(SIDE, SIDE, 1, (), SIDE, SIDE, 0, 0),
                classes,
                len(text.split()) + 2,
                Prompt("model", "none", "1", False, digest(text), text),
                "train",
                key,
                "open",
                (),
                *hashes,
                "train",
            )  # fmt: skip
        )
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


def alternate(ways: dict[str, Callable[[], None]], rounds: int, clock: Callable[[], float]) -> Times:
    """Return the seconds of each way in each round."""
    times: Times = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            start = clock()
            way()
            times[name].append(clock() - start)
    return times


def show(what: str, times: Times, unit: str, number: int) -> None:
    """Print the medians, and the ratio of the second way to the first: median and worst."""
    base, other = (sorted(seconds) for seconds in times.values())
    ratios = sorted(b / a for a, b in zip(*times.values(), strict=True))
    middle = len(base) // 2
    first, second = times
    print(
        f"{what:32} {first} {number / base[middle]:8,.1f} {unit}, {second} {number / other[middle]:8,.1f}; time ratio "
        f"{ratios[middle]:.3f}, worst {ratios[-1]:.3f}, of the best rounds {other[0] / base[0]:.3f}",
        flush=True,
    )


def reading(files: Examples, shards: Examples) -> None:
    """Compare reading."""
    order = np.random.default_rng(0).permutation(PAIRS).tolist()
    ways: dict[str, Callable[[], None]] = {"files": lambda: read(files, order), "shards": lambda: read(shards, order)}
    alternate(ways, 2, time.process_time)
    show("bytes, CPU", alternate(ways, ROUNDS, time.process_time), "pairs/s", PAIRS)
    show("bytes, wall", alternate(ways, ROUNDS, time.perf_counter), "pairs/s", PAIRS)
    batches: dict[str, Callable[[], None]] = {"files": lambda: decode(files), "shards": lambda: decode(shards)}
    show("batches, CPU", alternate(batches, 5, time.process_time), "pairs/s", PAIRS)
    drop = Path("/proc/sys/vm/drop_caches")
    try:
        drop.write_text("3")
    except OSError as error:
        print(f"cold page cache not measured: {error}")
        return
    cold: Times = {name: [] for name in ways}
    for _ in range(RUNS):
        for name, way in ways.items():
            os.sync()
            drop.write_text("3")
            start = time.perf_counter()
            way()
            cold[name].append(time.perf_counter() - start)
    show("bytes, cold page cache, wall", cold, "pairs/s", PAIRS)


def training(dataset: Path, url: str, folder: Path) -> None:
    """Compare training, with latents computed at each step and with cached ones."""
    for cache in (False, True):
        numbers = iter(range(1000))

        def run(data: Path | str, cache: bool = cache, numbers: "iter[int]" = numbers) -> None:  # type: ignore[valid-type]
            settings = TrainSettings(
                base="toy", controlnet="fresh", resolution=128, steps=STEPS, batch_size=BATCH, cache=cache, device="cpu",
                evaluate_every=0, preview_every=0, check="none", cache_dir=str(folder / "caches"),
            )  # fmt: skip
            loop.train(data, folder / f"run-{cache}-{next(numbers)}", settings)

        start = time.process_time()
        run(url)
        print(
            f"first run from S3, {'cached latents' if cache else 'no latent cache'}: {time.process_time() - start:.1f} s"
        )
        run(dataset)
        ways: dict[str, Callable[[], None]] = {"files": lambda: run(dataset), "S3": lambda: run(url)}  # noqa: B023
        name = "cached latents" if cache else "no latent cache"
        show(f"training, {name}, CPU", alternate(ways, RUNS, time.process_time), "steps/s", STEPS)
        show(f"training, {name}, wall", alternate(ways, RUNS, time.perf_counter), "steps/s", STEPS)


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
                from tests import s3

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
