"""Cost of every operation on a dataset by its size: CPU seconds and peak memory.

    python benchmarks/scale.py                          # 1,000, 10,000 and 100,000 triples
    python benchmarks/scale.py 1000000 --folder /data   # one size; the dataset stays in that folder for the next run
    python benchmarks/scale.py --only edit,list

Records are like real ones (6 to 18 classes, 1.8 kB a line), pictures are hard links to a few small ones. Each operation
runs three times in a process of its own, on a warm disk cache; the worst is reported.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from pathlib import Path

import numpy as np

from segkit import storage
from segkit.dataset import Dataset, lines
from segkit.dataset.info import Info
from segkit.dataset.triple import Prompt, Triple, digest, map_name, photo_name
from segkit.maps import codec
from segkit.maps.codec import ClassShare
from segkit.palette import Palette
from segkit.photos.geometry import Geometry
from segkit.toy import world

SIZES = 1_000, 10_000, 100_000
PICTURES = 64
"""Different pictures: at most 65,000 hard links to one file are allowed."""

RUNS = 3
SIDE = 96

OPERATIONS = {
    "edit": "import sys; sys.argv[1:] = ['caption', folder, '--edit', key, 'a bed']\nimport segkit.cli as c; c.main()",
    "open": "from segkit.dataset import Dataset; d = Dataset.open(folder); len(d), d[0], d[key], d[-1]",
    "list": "from segkit.dataset import Dataset\nfor triple in Dataset.open(folder): triple.text",
    "fold": (
        "from segkit.dataset import Dataset; d = Dataset.open(folder)\nwith d.writing(): d.commit(d[:32]); d.fold()"
    ),
    "report": "from segkit.dataset import Dataset; from segkit.reports import dataset_page as p\n"
    "p.write(Dataset.open(folder))",
    "rules": "from segkit.dataset import Dataset, checks; checks.check(Dataset.open(folder), files='none')",
    "remove": "from segkit.dataset import Dataset, remove as r; d = Dataset.open(folder)\n"
    "r.remove(d, [key], None); r.restore(d, [key], None); len(d)",
    "first start": "from pathlib import Path; from trainer.data import examples; folder = Path(folder)\n"
    "(folder / '.segkit/cache/pictures.stamps').unlink(missing_ok=True); examples.find(folder, check='fast')",
    "start": "from pathlib import Path; from trainer.data import examples; examples.find(Path(folder), check='fast')",
    "split": "from segkit.dataset import Dataset, splits; import random; d = Dataset.open(folder)\n"
    "with d.writing(): d.fold(); splits.apply(d, f'val={random.random() / 4:.4f}')",
}
"""Name to what is run, with the dataset's `folder` and the `key` of one of its triples."""


@dataclass(frozen=True)
class Pictures:
    """A photo and a control map of SIDE x SIDE pixels, with the classes of the map."""

    photo: Path
    control_map: Path
    classes: tuple[ClassShare, ...]


def pictures(folder: Path) -> Iterator[Pictures]:
    """Write the pictures that all triples share."""
    palette = Palette.load("ade20k")
    for seed in range(PICTURES):
        rng = np.random.default_rng(seed)
        classes = rng.choice(len(palette), rng.integers(6, 19), replace=False).astype(np.uint8)
        labels = np.sort(rng.choice(classes, (SIDE, SIDE)), axis=None).reshape(SIDE, SIDE)
        photo, control_map = folder / f"{seed}.jpg", folder / f"{seed}.png"
        storage.write(control_map, codec.encode(labels, palette))
        world.scene(seed, (SIDE, SIDE)).photo.save(photo, quality=95, subsampling=0)
        confidence = rng.random(labels.shape, np.float32)
        yield Pictures(photo, control_map, codec.summarize(labels, confidence, palette)[1])


def triple(number: int, shared: Pictures, hashes: tuple[str, str]) -> Triple:
    """Return the record of a photo that never existed."""
    sha = sha256(f"photo {number}".encode()).hexdigest()
    key, text = sha[:16], f"a photo of a room with a {shared.classes[0].name} and a {shared.classes[1].name}"
    author = Prompt("model", "Salesforce/blip-image-captioning-base", sha[:40], False, digest(text), text)
    return Triple(
        photo_name(key, ".jpg"), map_name(key), text, key, f"{number // 1000:04}/photo {number:07}.jpg", sha,
        sha[16:32], SIDE, SIDE, Geometry(2048, 2048, 1, (), SIDE, SIDE, 0, 0), shared.classes, 24, author,
        "train", key, "open", (), *hashes, "train",
    )  # fmt: skip


def make(folder: Path, size: int) -> str:
    """Make a dataset, unless there is one already, and return a key in its middle."""
    middle = sha256(f"photo {size // 2}".encode()).hexdigest()[:16]
    if (folder / "metadata.jsonl").exists():
        return middle
    shared_folder = folder.parent / "shared"
    shared_folder.mkdir(parents=True, exist_ok=True)
    shared = list(pictures(shared_folder))
    hashes = [(_hash(one.photo), _hash(one.control_map)) for one in shared]
    for name in ("images", "maps"):
        for number in range(256):
            (folder / name / f"{number:02x}").mkdir(parents=True)
    info = Info(Palette.load("ade20k"), {"segmenter": {"name": "none", "revision": "1"}}, {"protocol": "ade20k"})
    Dataset.create(folder, info)
    with (folder / "metadata.jsonl").open("wb") as file:
        for number in range(size):
            place = number % PICTURES
            record = triple(number, shared[place], hashes[place])
            os.link(shared[place].photo, folder / record.file_name)
            os.link(shared[place].control_map, folder / record.conditioning_image_file_name)
            file.write(lines.encode(record))
    return middle


def _hash(path: Path) -> str:
    return storage.sha256(path.read_bytes())


def measure(code: str, folder: Path, key: str) -> tuple[float, float]:
    """Run code in a process of its own, and return its CPU seconds and peak memory in MB."""
    whole = f"folder, key = {str(folder)!r}, {key!r}\n{code}"
    process = subprocess.Popen(
        [sys.executable, "-c", whole], stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"failed: {code}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", type=int, nargs="*", default=SIZES, help="numbers of triples")
    parser.add_argument("--folder", type=Path, help="where datasets are made, and kept; default: a temporary folder")
    parser.add_argument("--only", default=",".join(OPERATIONS), help="operations, separated by commas")
    parser.add_argument("--runs", type=int, default=RUNS, help="runs of each operation; the worst counts")
    options = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {date.today()}")
    print("CPU s and peak MB of one process, the worst of", options.runs)
    with tempfile.TemporaryDirectory() as temporary:
        for size in options.sizes:
            folder = (options.folder or Path(temporary)) / str(size)
            started = time.process_time()
            key = make(folder, size)
            print(f"{size:,} triples (made in {time.process_time() - started:.0f} CPU s)", flush=True)
            for name in options.only.split(","):
                results = [measure(OPERATIONS[name], folder, key) for _ in range(options.runs)]
                seconds, megabytes = (max(column) for column in zip(*results, strict=True))
                print(f"  {name:12} {seconds:8.2f} s {megabytes:8.0f} MB", flush=True)


if __name__ == "__main__":
    main()
