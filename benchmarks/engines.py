"""The same build in one process, and in 1, 2, ... workers on a Ray cluster of this machine: time, CPU and bytes.

    python benchmarks/engines.py --photos 96 --workers 1 2

CPU seconds are those of all processes, Ray's own included, without starting the cluster. On an idle machine the ratio
of the wall-clock times is the speed-up; on a busy one only CPU seconds mean anything.
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

    def stop(self) -> float:
        """Return the CPU seconds since the start."""
        self._ended.set()
        self.join()
        self._last |= self._look()
        ticks = sum(ticks - self._first.get(pid, 0) for pid, ticks in self._last.items())
        return ticks / os.sysconf("SC_CLK_TCK") - self._looking

    @staticmethod
    def _look() -> dict[int, int]:
        used = {}
        for pid in family(os.getpid()):
            with suppress(OSError):  # it has just ended
                fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
                used[pid] = int(fields[11]) + int(fields[12])  # user and system
        return used


def measure(photos: Path, out: Path, **options: Any) -> tuple[float, float, str]:
    """Return wall-clock and CPU seconds of a build, and a hash of its photos, maps and records."""
    meter, began = Meter(), time.monotonic()
    meter.start()
    segkit.build_dataset(photos, out, segmenter="toy", captioner="toy", split="val=0.1", **options)
    spent = time.monotonic() - began, meter.stop()
    files = sorted([*out.glob("images/*/*"), *out.glob("maps/*/*"), out / "metadata.jsonl"])
    return *spent, hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]


def main() -> None:
    """Print one line for each engine, with ratios to the build in one process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=96)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--size", type=int, default=512)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, cluster.connected(""):
        photos = render(Path(folder) / "photos", options.photos)
        measure(photos, Path(folder) / "warm", size=options.size, limit=2)  # torch is imported, the toy networks read
        base = measure(photos, Path(folder) / "inline", size=options.size)
        print(f"{options.photos} photos, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
        print("engine            wall s   CPU s   wall ratio   CPU ratio   bytes")
        print(f"{'inline':<16}{base[0]:8.1f}{base[1]:8.1f}{1:13.2f}{1:12.2f}   {base[2]}")
        for workers in options.workers:
            out = Path(folder) / str(workers)
            wall, cpu, digest = measure(photos, out, size=options.size, engine="ray", workers=str(workers))
            ratios = f"{base[0] / wall:13.2f}{cpu / base[1]:12.2f}"
            print(f"{f'ray, {workers} workers':<16}{wall:8.1f}{cpu:8.1f}{ratios}   {digest}")
            print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
