"""Photo and map are cropped, scaled and mirrored identically, and maps stay exact."""

import os
from dataclasses import replace
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from segkit import storage
from segkit.errors import DatasetError, MapError
from segkit.palette import Palette
from segkit.photos import Geometry
from tests.trainer.data.test_batches import example, pictures
from tests.trainer.runs import path_of
from trainer.data import crops
from trainer.data.batches import Batches
from trainer.data.crops import View
from trainer.data.examples import Example
from trainer.settings import TrainSettings

ADE = Palette.load("ade20k")
COLORS = {(0, 0, 0), *(swatch.rgb for swatch in ADE)}


@given(st.integers(1, 6000), st.integers(1, 6000), st.integers(1, 20), st.integers(1, 20))
@hypothesis.example(38, 411, 1, 11)  # the top edge would be rounded to -3e-14
def test_a_crop_is_the_largest_centred_one(width: int, height: int, columns: int, rows: int) -> None:
    """It lies within the photo, touches two opposite edges, is centred and has the bucket's aspect ratio."""
    photo = Example(Path("a.jpg"), Path("a.png"), "", width, height)

    view = crops.center_crop(photo, (64 * columns, 64 * rows), True)
    left, top, right, bottom = view.box

    assert (view.size, view.mirrored) == ((64 * columns, 64 * rows), True)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    assert left == pytest.approx(width - right, abs=1e-6)
    assert top == pytest.approx(height - bottom, abs=1e-6)
    assert min(left, top) == pytest.approx(0, abs=1e-6)
    assert (right - left) * rows == pytest.approx((bottom - top) * columns)


@given(st.integers(64, 4000), st.integers(64, 4000), st.integers(0, 7), st.integers(0, 7), st.integers(4, 16))
def test_sizes_and_crops_are_those_of_the_source(width: int, height: int, left: int, top: int, columns: int) -> None:
    """Of a source scaled by a third and cropped, the view's edges lie where they are; those of its mirror image too."""
    geometry = Geometry(3 * (width + 7), 3 * (height + 7), 1, (), width + 7, height + 7, left, top)
    photo = Example(Path("a.jpg"), Path("a.png"), "", width, height, geometry=geometry)
    plain, mirrored = (crops.center_crop(photo, (64 * columns, 512), mirrored) for mirrored in (False, True))
    scale = 512 / (plain.box[3] - plain.box[1])

    source_height, source_width, crop_top, crop_left, *shown = crops.time_ids(photo, plain)
    right = crops.time_ids(photo, mirrored)[3]

    assert (source_width, source_height, shown) == (3 * (width + 7), 3 * (height + 7), [512, 64 * columns])
    assert crop_top == pytest.approx((top + plain.box[1]) * scale, abs=0.51)
    assert crop_left == pytest.approx((left + plain.box[0]) * scale, abs=0.51)
    assert crop_left + 64 * columns + right == pytest.approx((width + 7) * scale, abs=1.1)
    unknown = Example(Path("a.jpg"), Path("a.png"), "", width, height)
    assert crops.time_ids(unknown, View((0, 0, width, height), (width, height), True)) == (
        height, width, 0, 0, height, width
    )  # fmt: skip


def test_pixels_keep_their_values(tmp_path: Path) -> None:
    """Without scaling, a photo's levels map to -1 to 1 and a map's pixels to classes; mirroring only flips them."""
    single = example(tmp_path, 1, (64, 48))
    view = View((8, 4, 40, 36), (32, 32), mirrored=False)
    mirrored = replace(view, mirrored=True)

    photo, labels = crops.photo(single, view), crops.control_map(single, view, ADE)

    with Image.open(path_of(single.photo)) as image:
        levels = np.asarray(image)[4:36, 8:40]
    assert np.array_equal(((photo + 1) * 127.5).round().byte().permute(1, 2, 0).numpy(), levels)
    assert {tuple(color) for color in levels.reshape(-1, 3).tolist()} <= COLORS
    assert [ADE[int(label)].rgb for label in labels.ravel()] == [tuple(rgb) for rgb in levels.reshape(-1, 3).tolist()]
    assert np.array_equal(crops.photo(single, mirrored).numpy(), photo.numpy()[:, :, ::-1])
    assert np.array_equal(crops.control_map(single, mirrored, ADE), labels[:, ::-1])


def test_a_control_picture_without_a_palette_stays_rgb(tmp_path: Path) -> None:
    """Its colours are returned as they are, also where they are not a palette's; a palette refuses them."""
    single = example(tmp_path, 1, (64, 64))
    Image.new("RGB", (128, 128), (1, 2, 3)).save(path_of(single.control_map))
    view = crops.center_crop(single, (64, 64), False)

    pixels = crops.control_map(single, view, None)

    assert (pixels.shape, set(map(tuple, pixels.reshape(-1, 3).tolist()))) == ((64, 64, 3), {(1, 2, 3)})
    with pytest.raises(MapError, match=r"1\.png: 16,384 pixels are off the palette ade20k\."):
        crops.control_map(single, view, ADE)


def test_a_turned_photo_is_cropped_upright(tmp_path: Path) -> None:
    """A photo with an EXIF orientation is turned before it is cropped."""
    upright = Image.new("RGB", (64, 128), "black")
    upright.paste("white", (0, 0, 64, 64))
    exif = Image.Exif()
    exif[0x0112] = 6  # stored turned to the left; viewers turn it to the right
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "a.png", exif=exif)
    turned = Example(tmp_path / "a.png", tmp_path / "map.png", "", 64, 128)

    pixels = crops.photo(turned, crops.center_crop(turned, (64, 128), False))

    assert pixels.shape == (3, 128, 64)
    assert (float(pixels[:, :60].min()), float(pixels[:, 68:].max())) == (1, -1)


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


def test_a_map_that_changes_during_training_is_refused(tmp_path: Path) -> None:
    """One pixel off the palette or an unreadable file is an error."""
    single = example(tmp_path, 1, (64, 64))
    damaged = Image.open(path_of(single.control_map)).convert("RGB")
    damaged.putpixel((3, 3), (1, 2, 3))
    damaged.save(path_of(single.control_map))

    with pytest.raises(MapError, match="1 pixel is off the palette ade20k"):
        Batches([single], ADE, TrainSettings(batch_size=1, resolution=64)).batch(0)
    path_of(single.control_map).write_bytes(b"rubbish")
    with pytest.raises(MapError, match="does not open"):
        Batches([single], ADE, TrainSettings(batch_size=1, resolution=64)).batch(0)


def test_photos_that_change_during_training_are_refused(tmp_path: Path) -> None:
    """A photo of another size or an unreadable file is an error."""
    single = example(tmp_path, 1, (64, 64))
    batches = Batches([single], ADE, TrainSettings(batch_size=1, resolution=64))
    Image.new("RGB", (80, 64)).save(path_of(single.photo))
    with pytest.raises(DatasetError, match="its size changed during the training"):
        batches.batch(0)
    path_of(single.photo).write_bytes(b"rubbish")
    with pytest.raises(DatasetError, match="cannot be read"):
        batches.batch(0)


@pytest.mark.parametrize("name", ["control_map", "photo"])
def test_each_byte_that_is_used_is_the_recorded_one(tmp_path: Path, name: str) -> None:
    """A fast check does not read the files; a change that kept size and time is found when they are used."""
    single = example(tmp_path, 1, (64, 64))
    hashes = [storage.sha256(path.read_bytes()) for path in (single.photo, single.control_map)]
    single = replace(single, photo_hash=hashes[0], map_hash=hashes[1])
    options = TrainSettings(batch_size=1, resolution=64)
    Batches([single], ADE, options).batch(0)
    path: Path = getattr(single, name)
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    with pytest.raises((DatasetError, MapError), match=r"was changed after it was checked.* with check=full"):
        Batches([single], ADE, options).batch(0)


def test_a_map_that_vanished_is_named(tmp_path: Path) -> None:
    """A dataset may change while it is trained on: the message has the path, and what to do."""
    vanished = replace(example(tmp_path, 1, (64, 64)), control_map=tmp_path / "gone.png")
    view = View((0, 0, 64, 64), (64, 64), mirrored=False)

    with pytest.raises(MapError, match=r"gone\.png does not exist\. .* Run the same command again"):
        crops.control_map(vanished, view, ADE)
