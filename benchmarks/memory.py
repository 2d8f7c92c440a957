"""Peak memory of build-dataset with 200 and with 2,000 photos: it must not grow with their number.

    python benchmarks/memory.py

Photos are rendered (a few scenes with different noise); the network is small with random weights.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from segkit.models import hub
from segkit.palette import Palette
from segkit.toy import world
from segkit.toy.learn import networks

NUMBERS = (200, 2000)


def main() -> None:
    """Render, build in separate processes, and print both peaks."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        with hub.quiet():
            model = networks.write(root / "oneformer", networks.oneformer(Palette.load("ade20k")))
        peaks = {}
        for number in NUMBERS:
            photos = root / f"photos-{number}"
            render(photos, number)
            peaks[number], outcome = build(photos, root / f"out-{number}", model)
            rate = outcome["made"] / outcome["seconds"]
            print(
                f"{number:5,} photos: peak {peaks[number]:7.1f} MiB, {rate:.1f} photos/s, {outcome['made']:,} triples"
            )
        growth = peaks[NUMBERS[1]] - peaks[NUMBERS[0]]
        print(f"growth: {growth:.1f} MiB, {growth * 1024 / (NUMBERS[1] - NUMBERS[0]):.1f} KiB per photo")


def render(folder: Path, number: int) -> None:
    """Render photos. Many are near-duplicates, which --keep-duplicates admits."""
    folder.mkdir()
    scenes = [np.asarray(world.scene(seed, (256, 192)).photo) for seed in range(50)]
    for index in range(number):
        noise = np.random.default_rng(index).integers(0, 6, (192, 256, 1), np.uint8)
        Image.fromarray(np.minimum(scenes[index % 50], 249) + noise).save(folder / f"{index:05}.jpg", quality=90)


def build(photos: Path, out: Path, model: Path) -> tuple[float, dict[str, float]]:
    """Run build-dataset in a separate process; return its peak memory in MiB and its outcome."""
    options = ["--segmenter", str(model), "--no-caption", "--keep-duplicates", "--min-size", "128", "--json"]
    program = (
        "import resource, runpy, sys\n"
        "try: runpy.run_module('segkit', run_name='__main__')\n"
        "finally: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
    )
    command = [sys.executable, "-c", program, "build-dataset", str(photos), "-o", str(out), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stderr.split()[-1]) / 1024, json.loads(done.stdout)


if __name__ == "__main__":
    main()
