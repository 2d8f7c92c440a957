"""How fast data is imported, and how right repaired maps are: `python -m benchmarks.imports [SCENES]`.

Scenes of the toy world, 683 x 512, whose classes are known at every pixel, are written as ADE20K's release is, and in
kohya's layout with maps that other tools damaged. Figures are CPU seconds of the process, and shares of pixels.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

import segkit
from segkit.imports.outcome import Outcome
from segkit.maps import codec
from segkit.maps.codec import Labels
from segkit.palette import UNLABELLED, Palette
from segkit.toy import world

SIZE = (683, 512)
FIRST = 52_000
"""Seed of the first scene, which no network saw and no other measurement used."""

ADE = Palette.load("ade20k")


DAMAGE = {
    "RGB, exact": (".png", 0, 1.0), "JPEG q90": (".jpg", 90, 1.0), "JPEG q75": (".jpg", 75, 1.0),
    "scaled by 3/4, Lanczos": (".png", 0, 0.75),
}  # fmt: skip
"""Suffix, JPEG quality and scale of the maps."""


def save(path: Path, data: bytes | Image.Image, quality: int = 0) -> None:
    """Write a picture, with its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(data, bytes):
        path.write_bytes(data)
    else:
        data.save(path, quality=quality)  # PNG ignores it


def measure(name: str, source: Path, output: Path, truth: dict[str, Labels]) -> Outcome:
    """Import a folder twice, and print speed and accuracy."""
    started = time.process_time()
    outcome = segkit.import_data(source, output)
    first = time.process_time() - started
    started = time.process_time()
    again = segkit.import_data(source, output)
    second = time.process_time() - started
    assert not again.changed
    wrong = unlabelled = pixels = 0
    for triple in outcome.dataset.triples():
        labels, right = triple.labels, truth[Path(triple.source).stem]
        known = labels != UNLABELLED
        wrong += int((labels != right)[known].sum())
        unlabelled += int((~known).sum())
        pixels += labels.size
    number = len(truth)
    print(
        f"{name:24} {outcome.imported:4} of {number} imported, {first / number:.3f} CPU s each, again "
        f"{second / number:.4f}; wrong {wrong / max(pixels, 1):.3%}, unlabelled {unlabelled / max(pixels, 1):.2%}"
    )
    return outcome


def main(number: int) -> None:
    """Write the scenes, and import them in each form."""
    with tempfile.TemporaryDirectory() as place:
        folder, truth = Path(place), {}
        for seed in range(FIRST, FIRST + number):
            scene = world.scene(seed, SIZE)
            crop = np.asarray(Image.fromarray(scene.labels).crop((1, 0, 681, 512)))  # what geometry.fit keeps
            truth[f"{seed}"] = crop
            photo = world.jpeg(scene.photo)
            save(folder / "ADE" / "images" / "training" / f"{seed}.jpg", photo)
            ids = np.where(scene.labels == UNLABELLED, 0, scene.labels.astype(int) + 1).astype(np.uint8)
            save(folder / "ADE" / "annotations" / "training" / f"{seed}.png", Image.fromarray(ids))
            exact = codec.paint(scene.labels, ADE).convert("RGB")
            for name, (suffix, quality, scale) in DAMAGE.items():
                size = round(SIZE[0] * scale), round(SIZE[1] * scale)
                damaged = exact if scale == 1 else exact.resize(size, Image.Resampling.LANCZOS)
                save(folder / name / "img" / f"{seed}.jpg", photo)
                save(folder / name / "cond" / f"{seed}{suffix}", damaged, quality)
        measure("ADE20K's release", folder / "ADE", folder / "out-ade", truth)
        for name in DAMAGE:
            measure(name, folder / name, folder / f"out-{name}", truth)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 60)
