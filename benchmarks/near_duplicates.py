"""Near-duplicates among a million photos: time and memory by number, copies found, unique photos rejected.

    python benchmarks/near_duplicates.py [--photos FOLDER] [--seed N]

Seeds are drawn freshly. With a folder of photos, windows of them are used beside rendered scenes: parts of a few real
photos stand for many. Figures that need a million photos are extrapolated from the pairs of a few thousand.
"""

import argparse
import hashlib
import math
import resource
import secrets
import subprocess
import sys
import time
from array import array
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from scipy import fft

from segkit import photos
from segkit.build.arrival import Loaded
from segkit.build.compact import Paths
from segkit.build.history import History
from segkit.build.survey import NewPhotos, outdone
from segkit.dataset import Dataset
from segkit.dataset.triple import NOBODY, Triple, map_name, photo_name
from segkit.photos import Geometry, Limits, Photo, near_duplicates, same_picture
from segkit.photos.hash_index import HashIndex
from segkit.photos.near_duplicates import Grey
from segkit.toy import world

SIZES = (10_000, 100_000, 1_000_000)
MILLION = 1_200_000
POOL = 3_000
Picture = tuple[int, Image.Image]
"""Number of the photo that a picture shows, or is a window of, and the picture."""


def main() -> None:
    """Print every figure; with --memory only that of one number of photos, for a process of its own."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**31))
    parser.add_argument("--memory", nargs=2)
    arguments = parser.parse_args()
    if arguments.memory:
        return measure_memory(int(arguments.memory[1]), arguments.memory[0])
    rng = np.random.default_rng(arguments.seed)
    print(f"seed {arguments.seed}")
    pools: dict[str, Callable[[int, tuple[int, int]], Iterator[Picture]]] = {
        "rendered scenes": lambda number, size: scenes(number, size, rng)
    }
    if arguments.photos:
        pools["windows of real photos"] = lambda number, size: windows(arguments.photos, number, size, rng)
    print_index(rng)
    for kind in ("paths", "new", "unchanged"):
        for number in SIZES:
            command = [sys.executable, __file__, "--memory", kind, str(number)]
            print(subprocess.run(command, capture_output=True, text=True, check=True).stdout, end="")
    for name, pool in pools.items():
        print_copies(name, [picture for _, picture in pool(100, (512, 384))])
    for name, pool in pools.items():
        print_unique(name, list(pool(POOL, (256, 192))), rng)
    return None


def scenes(number: int, size: tuple[int, int], rng: np.random.Generator) -> Iterator[Picture]:
    """Yield rendered photos."""
    first = int(rng.integers(2**30))
    return ((place, world.scene(first + place, size).photo) for place in range(number))


def windows(folder: Path, number: int, size: tuple[int, int], rng: np.random.Generator) -> Iterator[Picture]:
    """Yield random windows, 20 to 80 % of the sides, of the photos in a folder."""
    whole = [photos.open_upright(path.read_bytes()) for path in photos.find(folder)]
    for place in range(number):
        image = whole[place % len(whole)]
        share = rng.uniform(0.2, 0.8)
        width, height = int(image.width * share), int(image.height * share)
        left, top = int(rng.integers(image.width - width)), int(rng.integers(image.height - height))
        window = image.crop((left, top, left + width, top + height))
        yield place % len(whole), window.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)


def print_index(rng: np.random.Generator) -> None:
    """Print the CPU time per photo of hashing, of a search, and of adding."""
    picture = world.scene(0, (680, 512)).photo
    started = time.process_time()
    for _ in range(50):
        near_duplicates.perceptual_hash(picture)
        near_duplicates.grey_copy(picture)
    print(f"hash and grey copy of 680x512: {(time.process_time() - started) * 20:.2f} ms a photo, in threads")
    index, adding = HashIndex(), 0.0
    for number in SIZES:
        values = balanced(number - len(index), rng).tolist()
        started = time.process_time()
        for value in values:
            index.add(value)
        adding += time.process_time() - started
        greys = [pink(rng) for _ in range(300)]
        times, candidates = [], 0
        for grey in greys:
            started = time.process_time()
            candidates += len(index.search(near_duplicates.coefficients(grey)))
            times.append(time.process_time() - started)
        print(
            f"index of {number:9,}: search {1e3 * sum(times) / len(times):.2f} ms (worst {1e3 * max(times):.2f}), "
            f"add {1e3 * adding / number:.3f} ms, {candidates / len(greys):.3f} candidates a photo"
        )


def balanced(number: int, rng: np.random.Generator) -> NDArray[np.uint64]:
    """Return hashes with 32 random bits set, as thresholds at a median give."""
    bits = np.concatenate([np.argsort(rng.random((len(part), 64)), axis=1) < 32 for part in
                           np.array_split(np.empty(number), math.ceil(number / 20_000))])  # fmt: skip
    return np.packbits(bits, axis=1).view(">u8").ravel().astype(np.uint64)


def pink(rng: np.random.Generator) -> Grey:
    """Return noise with the spectrum of photos: amplitudes fall with frequency."""
    down, across = np.meshgrid(np.arange(64), np.arange(64), indexing="ij")
    noise = fft.idctn(rng.standard_normal((64, 64)) / np.maximum(np.hypot(down, across), 1), norm="ortho")
    return np.asarray(np.clip(128 + 60 * noise / noise.std(), 0, 255), np.uint8)


def measure_memory(number: int, kind: str) -> None:
    """Print what the structures of a build take, in a process that does nothing else."""
    folder = Path("/photos")
    names = (folder / f"2024/{place // 1000:05}/IMG_{place:08}.jpg" for place in range(number))
    constant = memory()
    if kind == "paths":
        listed = list(names)
        assert all(str(path) for path in listed)  # which a Path remembers
        print(f"{number:9,} paths in a list: {(memory() - constant) / number:.0f} bytes each")
        return
    hashes = np.random.default_rng(number).integers(0, 2**64, number, np.uint64)
    before = memory()
    paths = Paths(folder, names)
    of_paths = memory() - before
    (unchanged if kind == "unchanged" else fresh)(folder, paths, hashes)
    print(
        f"{number:9,} photos, {kind}: {(peak() - constant) / number:.0f} bytes each at the peak, of which paths "
        f"{of_paths / number:.0f}, and {34e6 / number:.0f} for tables of 34 MB in all"
    )


def unchanged(folder: Path, paths: Paths, hashes: NDArray[np.uint64]) -> None:
    """Judge photos that a dataset has already."""
    history = History(cast(Dataset, Recorded(hashes, paths)))
    history.expect(folder, paths, Limits())
    for place in range(len(paths)):
        history.judge(Loaded(history.source(place), f"{place:064x}", None, position=place))
    assert not history.gone()


def fresh(folder: Path, paths: Paths, hashes: NDArray[np.uint64]) -> None:
    """Survey and judge new photos, none of which is like another."""
    history, new = History(None), NewPhotos()
    history.expect(folder, paths, Limits())
    photo = Photo(Image.new("RGB", (8, 8)), Geometry(640, 480, 1, (), 8, 8, 0, 0))
    for place, value in enumerate(hashes.tolist()):
        loaded = Loaded("", hashlib.sha256(place.to_bytes(8)).hexdigest(), photo, value, None, place)
        new.add(loaded, photo, history.meet(loaded), history.lookalikes.add(value), array("i"))
    assert not outdone(new, history)
    for place in range(len(paths)):
        loaded = Loaded(history.source(place), history.contents.sha256(place), photo, 0, None, place)
        history.judge(loaded, compared=True)


class Recorded:
    """A dataset of triples without files, which are generated when they are read."""

    def __init__(self, hashes: NDArray[np.uint64], paths: Paths) -> None:
        self.folder, self._hashes, self._paths = Path("/dataset"), hashes, paths
        self.info = SimpleNamespace(settings={})
        Triple.has_files = True  # type: ignore[assignment, method-assign]

    def triples(self) -> Iterator[Triple]:
        """Yield the triples."""
        for place, value in enumerate(self._hashes.tolist()):
            sha256 = f"{place:064x}"
            key, geometry = f"{place:016x}", Geometry(640, 480, 1, (), 640, 480, 0, 0)
            source = self._paths[place].relative_to("/photos").as_posix()
            yield Triple(
                photo_name(key, ".jpg"), map_name(key), "", key, source, sha256, f"{value:016x}", 640, 480, geometry,
                (), 0, NOBODY, "train", sha256[:16], "open", ()
            )  # fmt: skip

    def rejections(self) -> Iterator[object]:
        """Yield nothing."""
        return iter(())


def memory() -> int:
    """Return the resident memory of this process in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def peak() -> int:
    """Return the highest resident memory of this process in bytes; getrusage would include that of its parent."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def compressed(image: Image.Image, quality: int) -> Image.Image:
    """Return a picture after JPEG compression."""
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def scaled(image: Image.Image, factor: float) -> Image.Image:
    """Return a picture at a fraction of its size."""
    return image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.LANCZOS)


def cropped(image: Image.Image, left: float, top: float, right: float, bottom: float) -> Image.Image:
    """Return a picture without shares of its sides."""
    width, height = image.size
    return image.crop(
        (round(left * width), round(top * height), round((1 - right) * width), round((1 - bottom) * height))
    )


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "scaled to 50 %": lambda image: scaled(image, 0.5),
    "JPEG q30": lambda image: compressed(image, 30),
    "scaled to a third, JPEG q30": lambda image: compressed(scaled(image, 1 / 3), 30),
    "mirrored": ImageOps.mirror,
    "cropped by 5 % at one side": lambda image: cropped(image, 0.05, 0, 0, 0),
    "cropped by 5 % at two sides": lambda image: cropped(image, 0, 0.05, 0.05, 0),
    "cropped by 5 % at all sides": lambda image: cropped(image, 0.05, 0.05, 0.05, 0.05),
    "cropped unevenly (3, 2, 1, 0 %)": lambda image: cropped(image, 0.03, 0.02, 0.01, 0),
    "all: 5 % at all sides, mirrored, 50 %, q50": lambda image: ImageOps.mirror(
        compressed(scaled(cropped(image, 0.05, 0.05, 0.05, 0.05), 0.5), 50)
    ),
    "cropped by 7.5 % at one side": lambda image: cropped(image, 0, 0, 0, 0.075),
}


def print_copies(name: str, pictures: list[Image.Image]) -> None:
    """Print which share of copies is found, with the copy or the original known, and the least agreements."""
    print(f"copies of {len(pictures)} {name}: found by hash, and found the same picture")
    for change, alter in CHANGES.items():
        hits, same, agreements = 0, 0, []
        for image in pictures:
            pair = [photos.fit(photos.Decoded(either), 512).image for either in (image, alter(image))]
            for known, new in (pair, pair[::-1]):
                index = HashIndex([near_duplicates.perceptual_hash(known)])
                grey = near_duplicates.grey_copy(new)
                coefficients = near_duplicates.coefficients(grey)
                if index.search(coefficients):
                    stored = near_duplicates.grey_copy(compressed(known, 95))
                    agreement = same_picture.agreement(stored, grey, index.views(coefficients, 0))
                    hits, same = hits + 1, same + (agreement >= same_picture.AGREEMENT)
                    agreements.append(agreement)
        total = 2 * len(pictures)
        least = np.percentile(agreements, [0, 1, 50]).round(2).tolist()
        print(f"  {change:44} {100 * hits / total:5.1f} %  {100 * same / total:5.1f} %  min, 1 %, median {least}")


def print_unique(name: str, pool: list[Picture], rng: np.random.Generator) -> None:
    """Print how many of MILLION unique photos would be rejected wrongly.

    The rate of candidates is measured on all pairs of the pool: hashes of photos of a kind cluster. How many of them
    would be accepted as the same picture is extrapolated from the agreements of these candidates, and of pairs that are
    given one hash: the lowest frequencies of one, the details of the other. See `beyond`.
    """
    greys = [near_duplicates.grey_copy(image) for _, image in pool]
    origins = np.array([origin for origin, _ in pool])
    index = HashIndex([near_duplicates.perceptual_hash(image) for _, image in pool])
    agreements, started = [], time.process_time()
    for place, grey in enumerate(greys):
        coefficients = near_duplicates.coefficients(grey)
        for number in index.search(coefficients):
            others = [other for other in index.photos(number) if other < place and origins[other] != origins[place]]
            views = index.views(coefficients, number)
            agreements += [same_picture.agreement(greys[other], grey, views) for other in others]
    seconds = time.process_time() - started
    pairs = sum(int((origins[:place] != origins[place]).sum()) for place in range(len(pool)))
    rate = max(len(agreements), 3) / pairs  # none among n means, with 95 % confidence, less than 3 / n
    candidates = rate * MILLION**2 / 2
    print(
        f"{len(pool):,} unique {name}, {pairs:,} pairs: {len(agreements)} candidates, "
        f"{seconds / len(pool) * 1e3:.1f} ms a photo; "
        f"at {MILLION:,} {'' if agreements else 'at most '}{candidates:,.0f}"
    )
    forced = [agreement_of_lookalike(greys, origins, rng) for _ in range(3000)]
    for kind, values in (("candidates", agreements), ("3,000 pairs with one hash", forced)):
        if len(values) >= 50:
            share = beyond(np.array(values), same_picture.AGREEMENT)
            wrong = sum(value >= same_picture.AGREEMENT for value in values)
            spread = np.percentile(values, [50, 99, 100]).round(2).tolist()
            print(
                f"  agreement of {kind}: median, 99 %, highest {spread}; {wrong} accepted, "
                f"extrapolated {share:.1e}, so {candidates * share:.2g} of {MILLION:,} photos rejected wrongly"
            )


def beyond(values: NDArray[np.float64], threshold: float) -> float:
    """Return which share of values lies above a threshold that none of them reaches.

    The highest tenth is fitted by an exponential tail; that of a correlation falls faster, so this is an upper bound.
    """
    start = float(np.percentile(values, 90))
    return 0.1 * math.exp(-(threshold - start) / float((values[values > start] - start).mean()))


def agreement_of_lookalike(greys: list[Grey], origins: NDArray[np.int64], rng: np.random.Generator) -> float:
    """Return the agreement of a photo with another one that was given its hash."""
    one, other = rng.integers(0, len(greys), 2)
    while origins[one] == origins[other]:
        other = rng.integers(0, len(greys))
    coarse, fine = (fft.dctn(greys[place].astype(np.float64)) for place in (one, other))
    fine[:8, :8] = coarse[:8, :8]
    new = np.asarray(np.clip(fft.idctn(fine), 0, 255), np.uint8)
    return same_picture.agreement(greys[one], new, [0])


if __name__ == "__main__":
    main()
