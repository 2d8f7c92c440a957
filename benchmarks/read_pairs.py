"""Reading speed of training pairs: indexed maps with cached latents compared with two RGB pictures.

    python benchmarks/read_pairs.py

512 x 512 pixels, CPU time of one thread, alternating runs. Usual: photo and map as RGB PNGs are decoded, converted to
floats and normalised like in the transforms of diffusers' train_controlnet.py. Ours: trainer.data.batches.
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
    """An encoder that returns zeros in the shapes of Stable Diffusion 1.5."""

    def __init__(self) -> None:
        self.dtype = torch.float32

    def photo(self, photo: torch.Tensor) -> torch.Tensor:
        """Return zeros."""
        return torch.zeros(2, 4, SIDE // 8, SIDE // 8)

    def prompt(self, text: str) -> torch.Tensor:
        """Return zeros."""
        return torch.zeros(77, 768)

    def sizes(self, pixels: int) -> tuple[int, int]:
        """Return the sizes of a photo's latents and of a prompt's embedding in bytes."""
        return 2 * 4 * pixels // 64 * 4, 77 * 768 * 4

    def folders(self) -> tuple[str, str]:
        """Return the names of the cache folders."""
        return "latents", "words"


def main() -> None:
    """Write pairs in both layouts, and read them alternately."""
    with tempfile.TemporaryDirectory() as folder:
        examples = write(Path(folder))
        settings = TrainSettings(batch_size=BATCH, resolution=SIDE)
        cache = LatentCache(Path(folder) / "cache", Blank())
        cache.fill(*cache.missing(examples, settings), Blank(), silent)
        batches = Batches(examples.train, examples.palette, settings, cache)

        def ours() -> None:
            for number in range(PAIRS // BATCH):
                batches.batch(number)

        def usual() -> None:
            for first in range(0, PAIRS, BATCH):
                read_usually(examples.train[first : first + BATCH])

        rates: dict[str, list[float]] = {"ours": [], "usual": []}
        for _ in range(ROUNDS):
            for name, read in (("ours", ours), ("usual", usual)):
                start = time.process_time()
                read()
                rates[name].append(PAIRS / (time.process_time() - start))
        medians = {name: median(values) for name, values in rates.items()}
        for name, rate in medians.items():
            print(f"{name:6} {rate:7,.0f} pairs per CPU second")
        print(f"ratio  {medians['ours'] / medians['usual']:7.1f}")


def write(folder: Path) -> Examples:
    """Write photos, maps as RGB PNGs, and maps in segkit's format."""
    palette, examples = Palette.load("ade20k"), []
    for seed in range(PAIRS):
        scene, photo = world.scene(seed, (SIDE, SIDE)), folder / f"{seed}.png"
        scene.photo.save(photo)
        codec.paint(scene.labels, palette).convert("RGB").save(folder / f"{seed}-rgb.png")
        (folder / f"{seed}-map.png").write_bytes(codec.encode(scene.labels, palette))
        examples.append(Example(photo, folder / f"{seed}-map.png", scene.sentence, SIDE, SIDE, str(seed)))
    return Examples("imagefolder", examples, [], palette)


def read_usually(examples: list[Example]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return photos (-1 to 1) and control maps (0 to 1), both (B, 3, H, W) float32."""
    photos: list[torch.Tensor] = []
    controls: list[torch.Tensor] = []
    for example in examples:
        photo = Path(str(example.photo))
        control_map = photo.with_name(f"{photo.stem}-rgb.png")
        for path, tensors in ((photo, photos), (control_map, controls)):
            with Image.open(path) as image:
                pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).contiguous()
            tensors.append(pixels.float().div(255))
    return (torch.stack(photos) - 0.5) / 0.5, torch.stack(controls)


if __name__ == "__main__":
    main()
