"""Batches: photo and map cropped alike, every control pixel a palette colour, every draw a function of its place."""

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
    """Write a map of large areas, and a photo that looks just like it, as many times larger."""
    areas = np.random.default_rng(seed).integers(0, 150, (3, 4), np.uint8)
    labels = np.asarray(Image.fromarray(areas).resize(size, Image.Resampling.NEAREST))
    (folder / f"{seed}.png").write_bytes(codec.encode(labels, ADE))
    photo = codec.paint(labels, ADE).convert("RGB").resize((size[0] * times, size[1] * times), Image.Resampling.NEAREST)
    photo.save(folder / f"{seed}-photo.png")
    return Example(folder / f"{seed}-photo.png", folder / f"{seed}.png", f"photo {seed}", *photo.size)


def pictures(batch: Any) -> tuple[Any, Any]:
    """Return photos and controls of a batch as bytes, (B, H, W, 3)."""
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
    """Whatever the size, crop and mirroring: the photo looks like its map, each pixel of which is a palette colour."""
    one = example(tmp_path, 7, (width, height), times)
    batches = Batches([one], ADE, TrainSettings(batch_size=1, resolution=resolution, seed=seed))
    for number in range(2):
        photos, controls = pictures(batches.batch(number))
        assert controls.shape == photos.shape
        assert {tuple(pixel) for pixel in controls.reshape(-1, 3).tolist()} <= COLORS
        like = (np.abs(photos.astype(int) - controls.astype(int)).max(-1) < 8).mean()
        assert like > 0.75  # the rest lies at borders, where the photo was smoothed


def test_mirroring_really_happens(tmp_path: Path) -> None:
    """Over the epochs a photo is seen both ways; never with --no-flip. Its crop is always the same."""
    one = example(tmp_path, 3, (300, 200))
    square = TrainSettings(batch_size=1, resolution=64)
    still = TrainSettings(batch_size=1, resolution=64, flip=False)

    seen = [pictures(Batches([one], ADE, square).batch(number))[1][0] for number in range(12)]
    plain = [pictures(Batches([one], ADE, still).batch(number))[1][0] for number in range(12)]
    mirrored = [(each != other).any() for each, other in zip(seen, plain, strict=True)]

    assert {each.tobytes() for each in plain} == {plain[0].tobytes()}
    assert 0 < sum(mirrored) < 12
    for each, other in zip(seen, plain, strict=True):
        assert np.array_equal(each, other) or np.array_equal(each[:, ::-1], other)


def test_processes_share_a_batch(tmp_path: Path) -> None:
    """Two processes of one photo see what one of two sees, each with noise of its own."""
    found = [example(tmp_path, seed, (160, 128)) for seed in range(4)]
    two = TrainSettings(batch_size=2, resolution=64, prompt_dropout=0.5)
    one = TrainSettings(batch_size=1, resolution=64, prompt_dropout=0.5)

    for number in range(4):
        whole = Batches(found, ADE, two).batch(number)
        parts = [Batches(found, ADE, one, share=(rank, 2)).batch(number) for rank in range(2)]
        assert torch.equal(whole.require_photos(), torch.cat([part.require_photos() for part in parts]))
        assert torch.equal(whole.controls, torch.cat([part.controls for part in parts]))
        assert whole.texts == [text for part in parts for text in part.texts]
        noise = [torch.randn(4, generator=draw) for part in parts for draw in part.generators]
        assert not torch.equal(noise[0], noise[1])
        assert all(
            torch.equal(torch.randn(4, generator=draw), own) for draw, own in zip(whole.generators, noise, strict=True)
        )


def test_prompts_are_dropped_anew_each_time(tmp_path: Path) -> None:
    """About the share that was asked for, and not the same ones in each epoch."""
    found = [example(tmp_path, seed, (64, 64)) for seed in range(2)]
    batches = Batches(found, ADE, TrainSettings(batch_size=2, resolution=64, prompt_dropout=0.5))
    dropped = [tuple(text == "" for text in sorted(batches.batch(number).texts)) for number in range(40)]
    assert 20 < sum(map(sum, dropped)) < 60
    assert len(set(dropped)) > 1
    never = Batches(found, ADE, TrainSettings(batch_size=2, resolution=64, prompt_dropout=0))
    assert sorted(never.batch(5).texts) == ["photo 0", "photo 1"]


def test_a_map_that_is_spoilt_while_training_stops_it(tmp_path: Path) -> None:
    """One pixel off the palette is enough; and a label that is no class."""
    one = example(tmp_path, 1, (64, 64))
    spoilt = Image.open(one.control_map).convert("RGB")
    spoilt.putpixel((3, 3), (1, 2, 3))
    spoilt.save(one.control_map)

    with pytest.raises(MapError, match="1 pixels are off the palette ade20k"):
        Batches([one], ADE, TrainSettings(batch_size=1, resolution=64)).batch(0)
    (one.control_map).write_bytes(b"rubbish")
    with pytest.raises(MapError, match="does not open"):
        Batches([one], ADE, TrainSettings(batch_size=1, resolution=64)).batch(0)


def test_what_was_painted_is_looked_at_again() -> None:
    """Each class and black is known; a channel a thousandth off is not; of bf16's rounding, half a level is."""
    paint = PalettePainter(ADE)
    painted = paint(torch.tensor([[[*range(150), 255]]], dtype=torch.uint8))
    assert {tuple(each) for each in (painted[0, :, 0].T * 255).round().int().tolist()} == COLORS
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


def test_photos_that_change_or_break_while_training_are_told(tmp_path: Path) -> None:
    """Another size means another photo."""
    one = example(tmp_path, 1, (64, 64))
    batches = Batches([one], ADE, TrainSettings(batch_size=1, resolution=64))
    Image.new("RGB", (80, 64)).save(one.photo)
    with pytest.raises(DatasetError, match="changed while it was trained on"):
        batches.batch(0)
    one.photo.write_bytes(b"rubbish")
    with pytest.raises(DatasetError, match="cannot be read"):
        batches.batch(0)


@given(st.integers(1, 6000), st.integers(1, 6000), st.integers(1, 16).map(lambda steps: steps * 64))
def test_buckets_are_multiples_of_64_and_near_in_shape(width: int, height: int, resolution: int) -> None:
    """No more pixels than a square of the resolution; no other bucket is nearer to the photo's shape."""
    across, down = buckets.fit(width, height, resolution)
    assert across % 64 == down % 64 == 0
    assert across * down <= resolution**2

    def distance(size: tuple[int, int]) -> float:
        return float(abs(np.log(size[0] / size[1]) - np.log(width / height)))

    assert distance((across, down)) <= min(map(distance, buckets.sizes(resolution))) + 1e-12


@given(st.lists(st.sampled_from([(64, 64), (64, 128), (128, 64)]), min_size=1, max_size=30), st.integers(1, 5))
def test_every_photo_is_seen_in_every_epoch(found: list[tuple[int, int]], batch: int) -> None:
    """Once, or twice where a bucket's last batch is filled up; a batch is of one size; the order is drawn anew."""
    order = buckets.BatchOrder(found, batch, seed=1)
    epochs = [[order[epoch * order.batches + place] for place in range(order.batches)] for epoch in range(2)]
    again = buckets.BatchOrder(found, batch, seed=1)
    for epoch in epochs:
        assert all(len(places) == batch and len({found[place] for place in places}) == 1 for places in epoch)
        assert {place for places in epoch for place in places} == set(range(len(found)))
    assert again[order.batches] == epochs[1][0]  # without the epoch before
