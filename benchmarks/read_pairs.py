"""Training pairs read a second: an indexed map and cached latents, beside the usual two pictures.

    python benchmarks/read_pairs.py

512 x 512 pixels, CPU seconds of one thread, in turn. The usual way: photo and map as RGB PNGs, decoded, brought to
floats and normalised, as the transforms of diffusers' train_controlnet.py do it. Ours: trainer.data.batches.
"""

import os
import tempfile
import time
from pathlib import Path
from statistics import median

os.environ["OMP_NUM_THREADS"] = "1"  # before numpy and torch

import numpy as np
import torch
from PIL import Image

from segkit.maps import codec
from segkit.palette import Palette
from segkit.progress import silent
from segkit.toy import world
from trainer.data.batches import Batches
from trainer.data.examples import Example, Examples
from trainer.data.latents import Encoder, LatentCache
from trainer.settings import TrainSettings

SIDE, PAIRS, BATCH, ROUNDS = 512, 64, 4, 9


class Blank(Encoder):
    """An encoder with nothing to say, of Stable Diffusion 1.5's shapes."""

    def __init__(self) -> None:
        self.dtype = torch.float32

    def photo(self, photo: torch.Tensor) -> torch.Tensor:
        """Return zeros."""
        return torch.zeros(2, 4, SIDE // 8, SIDE // 8)

    def prompt(self, text: str) -> torch.Tensor:
        """Return zeros."""
        return torch.zeros(77, 768)

    def sizes(self, pixels: int) -> tuple[int, int]:
        """Return the bytes of a photo's latents and of a prompt."""
        return 2 * 4 * pixels // 64 * 4, 77 * 768 * 4

    def folders(self) -> tuple[str, str]:
        """Return the caches' names."""
        return "latents", "words"


def main() -> None:
    """Write pairs both ways, and read them in turn."""
    with tempfile.TemporaryDirectory() as folder:
        found = write(Path(folder))
        settings = TrainSettings(batch_size=BATCH, resolution=SIDE)
        kept = LatentCache(Path(folder) / "cache", Blank())
        kept.fill(*kept.missing(found, settings), Blank(), silent)
        batches = Batches(found.train, found.palette, settings, kept)

        def ours() -> None:
            for number in range(PAIRS // BATCH):
                batches.batch(number)

        def usual() -> None:
            for first in range(0, PAIRS, BATCH):
                read_usually(found.train[first : first + BATCH])

        rates: dict[str, list[float]] = {"ours": [], "usual": []}
        for _ in range(ROUNDS):
            for name, way in (("ours", ours), ("usual", usual)):
                began = time.process_time()
                way()
                rates[name].append(PAIRS / (time.process_time() - began))
        found_rates = {name: median(seen) for name, seen in rates.items()}
        for name, rate in found_rates.items():
            print(f"{name:6} {rate:7,.0f} pairs a CPU second")
        print(f"ratio  {found_rates['ours'] / found_rates['usual']:7.1f}")


def write(folder: Path) -> Examples:
    """Write photos and maps as RGB PNGs, and maps as segkit has them."""
    table, examples = Palette.load("ade20k"), []
    for seed in range(PAIRS):
        scene, photo = world.scene(seed, (SIDE, SIDE)), folder / f"{seed}.png"
        scene.photo.save(photo)
        codec.paint(scene.labels, table).convert("RGB").save(folder / f"{seed}-rgb.png")
        (folder / f"{seed}-map.png").write_bytes(codec.encode(scene.labels, table))
        examples.append(Example(photo, folder / f"{seed}-map.png", scene.sentence, SIDE, SIDE, str(seed)))
    return Examples("imagefolder", examples, [], table, "")


def read_usually(examples: list[Example]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return photos, -1 to 1, and controls, 0 to 1, both (B, 3, H, W) float32."""
    photos: list[torch.Tensor] = []
    controls: list[torch.Tensor] = []
    for each in examples:
        for path, found in ((each.photo, photos), (each.photo.with_name(f"{each.photo.stem}-rgb.png"), controls)):
            with Image.open(path) as image:
                pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).contiguous()
            found.append(pixels.float().div(255))
    return (torch.stack(photos) - 0.5) / 0.5, torch.stack(controls)


if __name__ == "__main__":
    main()
