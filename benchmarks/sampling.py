"""Time per picture by batch size, and what guidance_end saves, on the toy base: pictures are compared bit by bit.

    python benchmarks/sampling.py [--side 64] [--steps 10] [--rounds 2]

The ways take turns, and the median of each is printed, in CPU seconds of one thread: other work on the machine changes
them least.
"""

import argparse
import os
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")

from segkit.maps import codec
from segkit.palette import Palette
from segkit.toy import world
from trainer.checkpoints import export, find, load, quiet
from trainer.sample import networks, sources
from trainer.sample.requests import DrawRequest, Subject
from trainer.settings import GenerateSettings

PICTURES = 8
SIZES = (1, 2, 4, 8)


def main() -> None:
    """Print a line for each way."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    palette = Palette.load("ade20k")
    with tempfile.TemporaryDirectory() as name, quiet.diffusers():
        folder = Path(name)
        subjects = [_subject(folder / f"{seed}.png", seed, arguments.side, palette) for seed in range(PICTURES)]
        settings = GenerateSettings(
            base="toy", controlnet=str(_controlnet(folder / "controlnet")), steps=arguments.steps, guidance=3.0,
            device="cpu",
        )  # fmt: skip
        for end in (1.0, 0.5, 0.0):
            _measure(replace(settings, guidance_end=end), subjects, palette, arguments.rounds)


def _measure(settings: GenerateSettings, subjects: list[Subject], palette: Palette, rounds: int) -> None:
    weights = find.find_controlnet(settings.controlnet)
    drawers = {size: networks.Networks(sources.sources(settings), settings, palette, weights) for size in SIZES}
    seconds: dict[int, list[float]] = {size: [] for size in SIZES}
    pixels: dict[int, list[bytes]] = {}
    for _ in range(rounds + 1):
        for size, drawer in drawers.items():
            start = time.process_time()
            images = [
                image for first in range(0, PICTURES, size) for image in drawer.draw(subjects[first : first + size])
            ]
            seconds[size].append((time.process_time() - start) / PICTURES)
            pixels[size] = [image.tobytes() for image in images]
    for size, (first, *others) in seconds.items():
        equal = "equal" if pixels[size] == pixels[1] else "DIFFERENT"
        print(
            f"guidance_end {settings.guidance_end}, batch of {size}: {statistics.median(others):.3f} CPU s a picture "
            f"(first round {first:.3f}), pixels {equal}",
            flush=True,
        )


def _controlnet(folder: Path) -> Path:
    """Write a ControlNet whose zero convolutions are not zero."""
    import torch

    model = load.load_controlnet("fresh", load.load_base("toy"))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator) * 0.02)
    export.write_folder(folder, model)
    return folder


def _subject(path: Path, seed: int, side: int, palette: Palette) -> Subject:
    scene = world.scene(seed)
    path.write_bytes(codec.encode(scene.labels, palette))
    return Subject(DrawRequest(path.stem, path, scene.sentence), seed, 1.0, (side, side))


if __name__ == "__main__":
    main()
