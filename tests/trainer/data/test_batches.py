"""Batches: photo and map are cropped identically, maps stay exact, and random draws depend on the slot only."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from segkit.errors import DatasetError, MapError
from segkit.maps import codec
from segkit.palette import Palette
from trainer.data import buckets
from trainer.data.batches import Batches
from trainer.data.examples import Example
from trainer.data.paint import PalettePainter
from trainer.settings import TrainSettings

ADE = Palette.load("ade20k")
COLORS = {(0, 0, 0), *(swatch.rgb for swatch in ADE)}


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


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(100, 400), st.integers(100, 400), st.integers(1, 2), st.sampled_from([64, 128, 192]),
    st.integers(0, 1000),
)  # fmt: skip
def test_photo_and_map_are_cropped_alike(
    tmp_path: Path, width: int, height: int, times: int, resolution: int, seed: int
) -> None:
    """For any size, crop and mirroring the photo matches its map, and every map pixel has a palette colour."""
    single = example(tmp_path, 7, (width, height), times)
    batches = Batches([single], ADE, TrainSettings(batch_size=1, resolution=resolution, seed=seed))
    for number in range(2):
        photos, controls = pictures(batches.batch(number))
        assert controls.shape == photos.shape
        assert {tuple(pixel) for pixel in controls.reshape(-1, 3).tolist()} <= COLORS
        matching = (np.abs(photos.astype(int) - controls.astype(int)).max(-1) < 8).mean()
        assert matching > 0.75  # the rest is at borders, where the photo was smoothed


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


def test_a_map_that_changes_during_training_is_refused(tmp_path: Path) -> None:
    """One pixel off the palette or an unreadable file is an error."""
    single = example(tmp_path, 1, (64, 64))
    damaged = Image.open(single.control_map).convert("RGB")
    damaged.putpixel((3, 3), (1, 2, 3))
    damaged.save(single.control_map)

    with pytest.raises(MapError, match="1 pixels are off the palette ade20k"):
        Batches([single], ADE, TrainSettings(batch_size=1, resolution=64)).batch(0)
    (single.control_map).write_bytes(b"rubbish")
    with pytest.raises(MapError, match="does not open"):
        Batches([single], ADE, TrainSettings(batch_size=1, resolution=64)).batch(0)


def test_painted_pixels_are_verified() -> None:
    """Class colours and black are accepted, and deviations of 0.001 are not, unless the tolerance is that for bf16."""
    paint = PalettePainter(ADE)
    painted = paint(torch.tensor([[[*range(150), 255]]], dtype=torch.uint8))
    assert {tuple(color) for color in (painted[0, :, 0].T * 255).round().int().tolist()} == COLORS
    assert int(paint.count_off_palette(painted)) == 0
    assert int(paint.count_off_palette(painted.bfloat16())) > 0
    assert int(paint.count_off_palette(painted.bfloat16(), 0.5)) == 0
    for broken, count in ((painted + 0.001, 151), (painted.flip(1), None), (painted - 1, None), (painted * 2, None)):
        off = paint.count_off_palette(broken)
        assert int(off) == count if count else int(off) > 0
        with pytest.raises(MapError, match="pixels that the network sees are off the palette ade20k"):
            paint.require_exact(off)
    blank = painted.clone()
    blank[0, 1, 0, 7] = float("nan")
    assert int(paint.count_off_palette(blank)) == 1


def test_photos_that_change_during_training_are_refused(tmp_path: Path) -> None:
    """A photo of another size or an unreadable file is an error."""
    single = example(tmp_path, 1, (64, 64))
    batches = Batches([single], ADE, TrainSettings(batch_size=1, resolution=64))
    Image.new("RGB", (80, 64)).save(single.photo)
    with pytest.raises(DatasetError, match="its size changed during the training"):
        batches.batch(0)
    single.photo.write_bytes(b"rubbish")
    with pytest.raises(DatasetError, match="cannot be read"):
        batches.batch(0)


@given(st.integers(1, 6000), st.integers(1, 6000), st.integers(1, 16).map(lambda steps: steps * 64))
def test_buckets_are_multiples_of_64_and_near_in_shape(width: int, height: int, resolution: int) -> None:
    """A bucket has at most resolution^2 pixels, and no other is nearer to the photo's aspect ratio."""
    fitted = buckets.fit(width, height, resolution)
    assert fitted[0] % 64 == fitted[1] % 64 == 0
    assert fitted[0] * fitted[1] <= resolution**2

    def distance(size: tuple[int, int]) -> float:
        return float(abs(np.log(size[0] / size[1]) - np.log(width / height)))

    assert distance(fitted) <= min(map(distance, buckets.sizes(resolution))) + 1e-12


@given(st.lists(st.sampled_from([(64, 64), (64, 128), (128, 64)]), min_size=1, max_size=30), st.integers(1, 5))
def test_every_photo_is_in_every_epoch(photo_sizes: list[tuple[int, int]], batch: int) -> None:
    """Batches have one size, every epoch contains every photo, and an epoch's order does not depend on earlier ones."""
    order = buckets.BatchOrder(photo_sizes, batch, seed=1)
    epochs = [[order[epoch * order.batches + index] for index in range(order.batches)] for epoch in range(2)]
    fresh = buckets.BatchOrder(photo_sizes, batch, seed=1)
    for epoch in epochs:
        assert all(len(photos) == batch and len({photo_sizes[photo] for photo in photos}) == 1 for photos in epoch)
        assert {photo for photos in epoch for photo in photos} == set(range(len(photo_sizes)))
    assert fresh[order.batches] == epochs[1][0]  # without shuffling the first epoch
