"""Filling the latent cache: CPU time and bytes a triple, and what batches would change.

    python benchmarks/latent_cache.py [--resolution 64] [--photos 24] [--batch 4] [--seed N]
    python benchmarks/latent_cache.py --vae full --resolution 256 --photos 2 --batch 2

`--vae full` has the size of Stable Diffusion's VAE, with random weights, which cost the same time. Photos are rendered,
as build-dataset stores them. The cache is filled with both mirrorings of each, one photo at a time as segkit does; then
the VAE alone encodes the same photos in batches, whose results are compared bit by bit with those of single photos.
"""

import argparse
import platform
import secrets
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from diffusers import AutoencoderKL

from segkit import storage
from segkit.palette import Palette
from segkit.photos.stored import encode_photo
from segkit.progress import silent
from segkit.toy import world
from trainer.checkpoints import load
from trainer.checkpoints.load import Base
from trainer.data import crops, latents
from trainer.data.examples import Example, Examples
from trainer.data.latents import CacheDtype, Encoder, LatentCache
from trainer.settings import TrainSettings

CPU = torch.device("cpu")
DTYPES: tuple[CacheDtype, ...] = ("fp32", "fp16", "bf16")


def main() -> None:
    """Fill caches of each dtype, encode in batches, and print what each photo took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vae", choices=("toy", "full"), default="toy")
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--photos", type=int, default=24)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**30))
    options = parser.parse_args()
    settings = TrainSettings(base="toy", resolution=options.resolution)
    print(f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, seed {options.seed}")
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        data = Examples("fill50k", examples(Path(folder), options), [], Palette.load("ade20k"))
        for dtype in DTYPES:
            print_filling(Path(folder) / dtype, data, replace(settings, cache_dtype=dtype), options.vae)
        print_batches(data, options)


def examples(folder: Path, options: argparse.Namespace) -> list[Example]:
    """Render photos whose short side is the resolution."""
    rendered = []
    size = options.resolution * 4 // 3 // 8 * 8, options.resolution
    for number in range(options.photos):
        photo = world.scene(options.seed + number, (512, 384)).photo.resize(size)
        path = folder / f"{number}.jpg"
        path.write_bytes(encode_photo(photo, "jpg"))
        rendered.append(Example(path, path, f"photo {number}", *size, storage.sha256(path.read_bytes())))
    return rendered


def base(vae: str) -> Base:
    """Load the toy base, with a VAE of full size if it is asked for."""
    loaded = load.load_base("toy")
    if vae == "toy":
        return loaded
    torch.manual_seed(0)
    full = AutoencoderKL(
        block_out_channels=[128, 256, 512, 512], down_block_types=["DownEncoderBlock2D"] * 4, layers_per_block=2,
        up_block_types=["UpDecoderBlock2D"] * 4, latent_channels=4,
    )  # fmt: skip
    return replace(loaded, vae=full.eval())


def print_filling(folder: Path, data: Examples, settings: TrainSettings, vae: str) -> None:
    """Fill a cache, and print what a photo takes."""
    encoder = Encoder(base(vae), CPU, torch.float32, settings.cache_dtype)
    cache = LatentCache(folder, encoder)
    photos, prompts = cache.missing(data, settings)
    cache.fill([], prompts, encoder, silent)
    started = time.process_time()
    cache.fill(photos, [], encoder, silent)
    seconds = time.process_time() - started
    size = sum(path.stat().st_size for path in folder.rglob("*.bin"))
    predicted = latents.size(photos, prompts, encoder)
    print(
        f"{settings.cache_dtype}: {len(photos) / seconds:.2f} photos a CPU second with mirror images, "
        f"{size / len(data.train) / 1e3:.1f} kB a triple, {size - predicted} bytes more than predicted",
        flush=True,
    )


def print_batches(data: Examples, options: argparse.Namespace) -> None:
    """Encode photos alone and in batches with the VAE, and print the time and how many results differ."""
    network = base(options.vae).vae
    side = options.resolution
    pixels = torch.stack([crops.photo(one, crops.center_crop(one, (side, side), False)) for one in data.train])
    results = {}
    for size in (1, options.batch):
        network.encode(pixels[:size])  # warms up
        started = time.process_time()
        parts = [pixels[first : first + size] for first in range(0, len(pixels), size)]
        results[size] = torch.cat([network.encode(part).latent_dist.mean for part in parts])
        seconds = time.process_time() - started
        print(f"VAE alone, batches of {size}: {len(pixels) / seconds:.2f} photos a CPU second", flush=True)
    pairs = zip(results[1], results[options.batch], strict=True)
    differing = sum(not torch.equal(one, other) for one, other in pairs)
    print(f"photos whose latents differ in a batch of {options.batch}: {differing} of {len(pixels)}")


if __name__ == "__main__":
    main()
