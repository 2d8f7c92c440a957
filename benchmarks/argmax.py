"""Per-pixel argmax at 2048x1536 with 150 classes: segkit against transformers. The results must be equal.

    python benchmarks/argmax.py

Times are medians of alternating runs; memory is the growth of the peak, each in a fresh process. Targets: at least 4
times the speed, at most a tenth of the memory, no differing pixel; channels_last and noise have only the last target.
One thread, which makes the result less sensitive to other load.
"""

import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from segkit.models import argmax

SIZE = (1536, 2048)
MASKS = (160, 216)
CLASSES, QUERIES = 150, 150
ROUNDS = 3
SPEED, MEMORY = 4.0, 0.1
TARGETED = ("scene", "queries")


def scene(objects: int = 60) -> Tensor:
    """Return class scores of a busy scene: soft-edged blobs with confident classes, other queries "no object"."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.linspace(0, 1, MASKS[0])[:, None]
    columns = torch.linspace(0, 1, MASKS[1])[None]
    y, x, height, width = torch.rand(4, QUERIES, 1, 1, generator=generator)
    distance = ((rows - y) / (0.05 + height / 4)) ** 2 + ((columns - x) / (0.05 + width / 4)) ** 2
    masks = (6 * (1 - distance)).clamp(-12, 12)
    masks[0] = 4.0  # a background behind all objects
    classes = torch.randn(QUERIES, CLASSES + 1, generator=generator)
    classes[torch.arange(objects), torch.randperm(CLASSES, generator=generator)[:objects]] += 8
    classes[objects:, -1] += 11  # no object
    return _scores(classes, masks)


def queries() -> Tensor:
    """Return class scores of smooth random masks with random classes: harder, because nothing is confident."""
    generator = torch.Generator().manual_seed(0)
    coarse = 4 * torch.randn(1, QUERIES, 10, 14, generator=generator)
    masks = functional.interpolate(coarse, size=MASKS, mode="bicubic", align_corners=False)[0]
    return _scores(3 * torch.randn(QUERIES, CLASSES + 1, generator=generator), masks)


def channels_last() -> Tensor:
    """Return `queries` in channels_last layout, like SegFormer's logits, which torch scales with another kernel."""
    return queries()[None].contiguous(memory_format=torch.channels_last)[0]


def noise() -> Tensor:
    """Return smooth random scores, the worst case: every class wins somewhere, so none can be ruled out."""
    coarse = torch.randn(1, CLASSES, 10, 14, generator=torch.Generator().manual_seed(0))
    return functional.interpolate(coarse, size=MASKS, mode="bicubic", align_corners=False)[0].sigmoid()


def _scores(classes: Tensor, masks: Tensor) -> Tensor:
    return torch.einsum("qc, qhw -> chw", classes.softmax(-1)[:, :-1], masks.sigmoid())


def theirs(scores: Tensor) -> Tensor:
    """Compute labels like transformers' post_process_semantic_segmentation."""
    scaled = functional.interpolate(scores[None], size=SIZE, mode="bilinear", align_corners=False)
    return scaled[0].argmax(0)


def ours(scores: Tensor) -> Tensor:
    """Compute labels like segkit."""
    return argmax.label(scores, SIZE)[0]


CASES: dict[str, Callable[[], Tensor]] = {
    "scene": scene,
    "queries": queries,
    "channels_last": channels_last,
    "noise": noise,
}
METHODS: dict[str, Callable[[Tensor], Tensor]] = {"transformers": theirs, "segkit": ours}


def measure(case: str) -> bool:
    """Print the figures of one case; return whether all targets are met."""
    scores = CASES[case]()
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in METHODS}
    for _ in range(ROUNDS):
        for name, method in METHODS.items():
            wall_start, cpu_start = time.perf_counter(), time.process_time()
            method(scores)
            seconds[name].append((time.perf_counter() - wall_start, time.process_time() - cpu_start))
    wall, cpu = ({name: statistics.median(pair[i] for pair in runs) for name, runs in seconds.items()} for i in (0, 1))
    memory = {name: peak(case, name) for name in METHODS}
    different = int((ours(scores) != theirs(scores)).sum())
    winners = int(ours(scores).flatten().bincount().count_nonzero())
    print(f"{case}: {len(argmax.candidates(scores))} of {CLASSES} classes can win, {winners} do")
    for name in METHODS:
        print(f"  {name:13s}{wall[name]:7.3f} s wall {cpu[name]:7.3f} s CPU {memory[name]:7.0f} MiB")
    speed, share = wall["transformers"] / wall["segkit"], memory["segkit"] / memory["transformers"]
    print(f"  speed  x{speed:.1f} wall, x{cpu['transformers'] / cpu['segkit']:.1f} CPU (target x{SPEED:g})")
    print(f"  memory 1/{1 / share:.0f} (target 1/{1 / MEMORY:.0f})")
    print(f"  pixels {different} of {SIZE[0] * SIZE[1]:,} differ (target 0)")
    return different == 0 and (case not in TARGETED or (speed >= SPEED and share <= MEMORY))


def peak(case: str, name: str) -> float:
    """Return by how much a method raises the peak memory of a fresh process, in MiB."""
    command = [sys.executable, __file__, case, name]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def grow(case: str, name: str) -> float:
    """Run a method once and return the growth of this process's peak memory, in MiB."""
    scores = CASES[case]()
    METHODS[name](scores[:1, :8, :8].contiguous())  # loads the kernels
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = high_water()
    METHODS[name](scores)
    return high_water() - before


def high_water() -> float:
    """Return this process's peak memory in MiB (Linux only). ru_maxrss would include the parent's peak if larger."""
    match = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert match
    return int(match[1]) / 1024


if __name__ == "__main__":
    torch.set_num_threads(1)
    if len(sys.argv) == 3:
        print(grow(sys.argv[1], sys.argv[2]))
    else:
        print(f"torch {torch.__version__}, one thread, {SIZE[1]}x{SIZE[0]}, {CLASSES} classes")
        sys.exit(0 if min([measure(case) for case in CASES]) else 1)
