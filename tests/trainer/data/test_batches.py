"""Batches: random draws depend on the slot only, and processes share a batch."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from segkit.maps import codec
from segkit.palette import Palette
from trainer.data.batches import Batches
from trainer.data.examples import Example
from trainer.data.paint import PalettePainter
from trainer.settings import TrainSettings

ADE = Palette.load("ade20k")


def example(folder: Path, seed: int, size: tuple[int, int], times: int = 1) -> Example:
    """Write a map of large areas, and a photo that looks like it, `times` as large."""
    areas = np.random.default_rng(seed).integers(0, 150, (3, 4), np.uint8)
    labels = np.asarray(Image.fromarray(areas).resize(size, Image.Resampling.NEAREST))
    (folder / f"{seed}.png").write_bytes(codec.encode(labels, ADE))
    photo = codec.paint(labels, ADE).convert("RGB").resize((size[0] * times, size[1] * times), Image.Resampling.NEAREST)
    photo.save(folder / f"{seed}-photo.png")
    return Example(folder / f"{seed}-photo.png", folder / f"{seed}.png", f"photo {seed}", *photo.size)


def pictures(batch: Any) -> tuple[Any, Any]:
    """Return photos and painted control maps of a batch, (B, H, W, 3) uint8."""
    photos = ((batch.photos + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    return photos, (PalettePainter(ADE)(batch.controls) * 255).round().byte().permute(0, 2, 3, 1).numpy()


def test_photos_are_mirrored_at_random(tmp_path: Path) -> None:
    """Over the epochs a photo appears both ways, with --no-flip only one way; its crop never changes."""
    single = example(tmp_path, 3, (300, 200))
    flipping = TrainSettings(batch_size=1, resolution=64)
    fixed = TrainSettings(batch_size=1, resolution=64, flip=False)

    random = [pictures(Batches([single], ADE, flipping).batch(number))[1][0] for number in range(12)]
    plain = [pictures(Batches([single], ADE, fixed).batch(number))[1][0] for number in range(12)]
    mirrored = [(one != other).any() for one, other in zip(random, plain, strict=True)]

    assert {control_map.tobytes() for control_map in plain} == {plain[0].tobytes()}
    assert 0 < sum(mirrored) < 12
    for one, other in zip(random, plain, strict=True):
        assert np.array_equal(one, other) or np.array_equal(one[:, ::-1], other)


def test_processes_share_a_batch(tmp_path: Path) -> None:
    """Two processes with batches of one read what one process with batches of two reads, each with its own noise."""
    data = [example(tmp_path, seed, (160, 128)) for seed in range(4)]
    two = TrainSettings(batch_size=2, resolution=64, prompt_dropout=0.5)
    one = TrainSettings(batch_size=1, resolution=64, prompt_dropout=0.5)

    for number in range(4):
        whole = Batches(data, ADE, two).batch(number)
        parts = [Batches(data, ADE, one, share=(rank, 2)).batch(number) for rank in range(2)]
        assert torch.equal(whole.require_photos(), torch.cat([part.require_photos() for part in parts]))
        assert torch.equal(whole.controls, torch.cat([part.controls for part in parts]))
        assert whole.texts == [text for part in parts for text in part.texts]
        noise = [torch.randn(4, generator=generator) for part in parts for generator in part.generators]
        assert not torch.equal(noise[0], noise[1])
        assert all(
            torch.equal(torch.randn(4, generator=generator), expected)
            for generator, expected in zip(whole.generators, noise, strict=True)
        )


def test_prompt_dropout_is_drawn_for_each_batch(tmp_path: Path) -> None:
    """About the requested share of prompts is empty, and not the same ones in every epoch."""
    data = [example(tmp_path, seed, (64, 64)) for seed in range(2)]
    batches = Batches(data, ADE, TrainSettings(batch_size=2, resolution=64, prompt_dropout=0.5))
    dropped = [tuple(text == "" for text in sorted(batches.batch(number).texts)) for number in range(40)]
    assert 20 < sum(map(sum, dropped)) < 60
    assert len(set(dropped)) > 1
    never = Batches(data, ADE, TrainSettings(batch_size=2, resolution=64, prompt_dropout=0))
    assert sorted(never.batch(5).texts) == ["photo 0", "photo 1"]
