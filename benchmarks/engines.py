"""The same build in one process, and in 1, 2, ... workers on a Ray cluster of this machine: time, CPU and bytes.

    python benchmarks/engines.py --photos 96 --workers 1 2
    python benchmarks/engines.py --photos 8 --full-size FOLDER

CPU seconds are those of all processes, Ray's own included, without starting the cluster. On an idle machine the ratio
of the wall-clock times is the speed-up; on a busy one only CPU seconds mean anything: no build is faster than its
busiest process, so the ratio of the CPU seconds of the build in one process to those of that one bounds the speed-up.
"""

import argparse
import hashlib
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import full_size

import segkit
from segkit.build.engines import cluster
from segkit.toy import world


def render(folder: Path, number: int) -> Path:
    """Render photos of 0.8 megapixels as JPEG."""
    folder.mkdir()
    for seed in range(number):
        (folder / f"{seed:04}.jpg").write_bytes(world.jpeg(world.scene(seed, (1024, 768)).photo))
    return folder


def family(pid: int) -> Iterator[int]:
    """Yield a process and all its descendants."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has just ended
            parents.setdefault(int(path.read_text().rsplit(")", 1)[1].split()[1]), []).append(int(path.parent.name))
    waiting = [pid]
    while waiting:
        yield (now := waiting.pop())
        waiting += parents.get(now, [])


class Meter(threading.Thread):
    """Adds up the CPU seconds of this process and its descendants, looking every SECONDS, because some die."""

    SECONDS = 1.0

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._first: dict[int, int] = {}
        self._last: dict[int, int] = {}
        self._ended = threading.Event()
        self._looking = 0.0  # seconds that the looking itself took

    def run(self) -> None:
        """Look at all processes until `stop`; what one used before it was first seen at the start does not count."""
        self._first = self._look()
        while not self._ended.wait(self.SECONDS):
            self._last |= self._look()
            self._looking = time.thread_time()

    def stop(self) -> tuple[float, float]:
        """Return the CPU seconds since the start, and those of the process that took most."""
        self._ended.set()
        self.join()
        self._last |= self._look()
        seconds = [(ticks - self._first.get(pid, 0)) / os.sysconf("SC_CLK_TCK") for pid, ticks in self._last.items()]
        return sum(seconds) - self._looking, max(seconds)

    @staticmethod
    def _look() -> dict[int, int]:
        used = {}
        for pid in family(os.getpid()):
            with suppress(OSError):  # it has just ended
                fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
                used[pid] = int(fields[11]) + int(fields[12])  # user and system
        return used


def measure(photos: Path, out: Path, **options: Any) -> tuple[float, float, float, str]:
    """Return wall-clock and CPU seconds of a build, those of its busiest process, and a hash of what it made."""
    meter, began = Meter(), time.monotonic()
    meter.start()
    segkit.build_dataset(photos, out, split="val=0.1", **options)
    spent = time.monotonic() - began, *meter.stop()
    files = sorted([*out.glob("images/*/*"), *out.glob("maps/*/*"), out / "metadata.jsonl"])
    return *spent, hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]


def networks(folder: Path | None) -> dict[str, str]:
    """Return the networks: the toy ones, or those of full size with random weights, which are written to a folder."""
    if folder is None:
        return {"segmenter": "toy", "captioner": "toy"}
    full_size.write(folder)
    return {"segmenter": str(folder / "oneformer"), "captioner": str(folder / "blip")}


def main() -> None:
    """Print one line for each engine, with ratios to the build in one process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=96)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--full-size", type=Path, help="folder for networks of real sizes; without it the toy networks")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, cluster.connected(""):
        photos = render(Path(folder) / "photos", options.photos)
        common: dict[str, Any] = {"size": options.size, **networks(options.full_size)}
        measure(photos, Path(folder) / "warm", **common, limit=1)  # torch is imported, the networks' files read
        base = measure(photos, Path(folder) / "inline", **common)
        print(f"{options.photos} photos, {os.cpu_count()} cores")
        print("engine            wall s   CPU s   busiest   wall ratio   CPU ratio   bound   bytes", flush=True)
        show("inline", base, base)
        for workers in options.workers:
            result = measure(photos, Path(folder) / str(workers), **common, engine="ray", workers=str(workers))
            show(f"ray, {workers} workers", result, base)


def show(engine: str, result: tuple[float, float, float, str], base: tuple[float, float, float, str]) -> None:
    """Print the line of an engine."""
    wall, cpu, busiest, digest = result
    ratios = f"{base[0] / wall:13.2f}{cpu / base[1]:12.2f}{base[1] / busiest:8.2f}"
    print(
        f"{engine:<16}{wall:8.1f}{cpu:8.1f}{busiest:10.1f}{ratios}   {digest}   load {os.getloadavg()[0]:.1f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
