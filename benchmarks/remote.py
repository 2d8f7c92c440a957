"""What a location costs: local files against open(), and S3 on loopback against s3fs itself.

    python benchmarks/remote.py --photos 500

Photos of 250 kB, all in the page cache, read in turn. The S3 server is moto's, in a process of its own on the same
machine, so that the server takes most of the time: what is compared is the client's share. CPU seconds are the
client's, which other work on the machine changes little.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from segkit import photos, remote
from tests.s3 import environment

SERVER = """
import sys
from tests.s3 import serving
with serving() as (address, app):
    print(address, flush=True)
    sys.stdin.read()
"""
SIZE, LARGE, ROUNDS = 250_000, 128_000_000, 5


def main() -> None:
    """Print medians."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--photos", type=int, default=500)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        names = [f"{number:05}.jpg" for number in range(options.photos)]
        for number in names:
            (folder / number).write_bytes(os.urandom(SIZE))
        local(folder, names)
        with server():
            stored(folder, names[:100])


def local(folder: Path, names: list[str]) -> None:
    """Compare ways to read local photos."""
    place = remote.location(folder)
    works: dict[str, Callable[[str], Any]] = {
        "open().read()": lambda name: _plain(f"{folder}/{name}"),
        "photos.read (what a build calls)": lambda name: photos.read(folder / name),
        "Location.read": place.read,
        "Location.read_range": lambda name: place.read_range(name, 0, SIZE),
    }
    report("local photo", works, names, 1)


def stored(folder: Path, names: list[str]) -> None:
    """Compare ways to read and write what is in the store."""
    import s3fs

    store = s3fs.S3FileSystem(skip_instance_cache=True)
    store.mkdir("rooms")
    place = remote.location("s3://rooms/photos")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: place.upload(folder / name, name), names))
    works: dict[str, Callable[[str], Any]] = {
        "s3fs cat_file": lambda name: store.cat_file(f"rooms/photos/{name}"),
        "Location.read": place.read,
        "Location.read, size known": lambda name: place.read(name, SIZE),
    }
    report("S3 photo", works, names, 1)
    report("S3 photo, 16 threads", works, names, 16)
    (folder / "large").write_bytes(os.urandom(LARGE))
    transfers: dict[str, Callable[[str], Any]] = {
        "s3fs put_file": lambda name: store.put_file(str(folder / "large"), f"rooms/a{name}"),
        "Location.upload, verified": lambda name: place.upload(folder / "large", f"b{name}"),
        "s3fs get_file": lambda name: store.get_file("rooms/a0", str(folder / "copy")),
        "Location.download, hashed": lambda name: place.download("b0", folder / "copy"),
    }
    for label, work in transfers.items():
        times = [timed(partial(work, str(turn))) for turn in range(3)]
        show("large file", label, times, LARGE, 1)


def report(title: str, works: dict[str, Callable[[str], Any]], names: list[str], workers: int) -> None:
    """Run each way over all names, in turn, and print the medians."""
    times: dict[str, list[tuple[float, float]]] = {label: [] for label in works}
    for _ in range(ROUNDS):
        for label, work in works.items():
            with ThreadPoolExecutor(workers) as pool:
                times[label].append(timed(partial(_all, pool.map if workers > 1 else map, work, names)))
    for label, measured in times.items():
        show(title, label, measured, SIZE, len(names))


def show(title: str, label: str, times: list[tuple[float, float]], size: int, number: int) -> None:
    """Print the median wall and CPU time of each item."""
    wall, cpu = (median(values) / number for values in zip(*times, strict=True))
    rates = f"{size / wall / 1e6:7.0f} MB/s, {size / cpu / 1e6:7.0f} MB per CPU second"
    print(f"{title:22} {label:34} {wall * 1e6:10.1f} us, CPU {cpu * 1e6:10.1f} us, {rates}", flush=True)


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Return the wall and CPU seconds that a call takes."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def _all(apply: Callable[..., Any], work: Callable[[str], Any], names: list[str]) -> None:
    for _ in apply(work, names):
        pass


def _plain(path: str) -> bytes:
    with open(path, "rb") as file:  # noqa: PTH123 - the fastest way
        return file.read()


@contextmanager
def server() -> Iterator[None]:
    """Run the S3 server, and lead this process to it."""
    process = subprocess.Popen([sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    os.environ.update(environment(process.stdout.readline().strip()))
    try:
        yield
    finally:
        process.communicate()


if __name__ == "__main__":
    main()
