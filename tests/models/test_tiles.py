"""models.tiles: tiles cover a photo, their weights add up to 1, and bands give what the whole average would give."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from PIL import Image

from segkit.models import argmax, tiles
from segkit.models.tiles import Axis, Tiling


@pytest.mark.parametrize(("total", "length"), [(160, 160), (161, 160), (250, 160), (1000, 160), (17, 5), (3, 160)])
def test_weights_add_up_to_one(total: int, length: int) -> None:
    """At each cell the weights of all tiles add up to 1, and neighbours overlap by a quarter or more."""
    axis = Axis.of(total, length)

    sums = np.zeros(total)
    for start, weights in zip(axis.starts, axis.weights, strict=True):
        sums[start : start + axis.length] += weights
    assert np.allclose(sums, 1)
    assert (axis.starts[0], axis.starts[-1] + axis.length) == (0, total)
    assert all(start < following for start, following in zip(axis.starts, axis.starts[1:], strict=False))
    steps = np.diff(axis.starts)
    assert not len(steps) or steps.max() <= axis.length - int(tiles.OVERLAP * axis.length)


def test_weights_fade_where_another_tile_takes_over() -> None:
    """At the edge of a tile inside the photo its weight is near 0, at the photo's edge it is 1."""
    axis = Axis.of(250, 160)

    assert axis.weights[0, 0] == 1
    assert axis.weights[0, -1] < 0.03
    assert np.abs(np.diff(axis.weights[0])).max() < 0.05


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_tiles_are_counted_along_the_short_side(count: int) -> None:
    """A photo of 12 megapixels gets as many tiles as requested, each of which is scaled down less than the photo."""
    tiling = Tiling.of(3000, count, 640)

    assert tiling is not None
    assert len(Axis.of(3000 // tiling.cell, -(-tiling.side // tiling.cell)).starts) == min(count, 6)
    assert tiling.side >= 640
    assert tiling.side / tiling.cell <= 2 * 640 / tiles.STRIDE


def test_tiles_are_no_smaller_than_the_input() -> None:
    """Tiles are not enlarged for the network, and a photo of its size or smaller has none."""
    assert Tiling.of(800, 16, 640) == Tiling(640, tiles.STRIDE)
    assert Tiling.of(640, 2, 640) is None
    assert Tiling.of(800, 2, 0) is None


@pytest.mark.parametrize("size", [(331, 203), (203, 331), (640, 97)])
@pytest.mark.parametrize("side", [48, 96])
def test_bands_give_what_the_whole_average_gives(size: tuple[int, int], side: int) -> None:
    """If tiles see exactly what the whole photo shows, the result is that of argmax over the whole photo's average."""
    noise = np.random.default_rng(0).integers(0, 256, (9, 11, 3), np.uint8)
    photo = Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)

    def score(pictures: Sequence[Image.Image]) -> list[torch.Tensor]:
        # Three classes, as likely as red, green and blue are bright
        cells = [np.asarray(picture, np.float32).reshape(picture.height // 4, 4, picture.width // 4, 4, 3) + 1
                 for picture in pictures]  # fmt: skip
        means = [torch.from_numpy(cell.mean((1, 3))).permute(2, 0, 1) for cell in cells]
        return [mean / mean.sum(0) for mean in means]

    extended = Image.fromarray(tiles._whole_cells(photo, 4))
    (whole,) = score([extended])
    expected, expected_probabilities = argmax.label(whole, extended.size[::-1])

    labels, probabilities = tiles.label(photo, Tiling(side, 4), whole, score)

    height, width = photo.size[::-1]
    assert labels.shape == probabilities.shape == (height, width)
    assert torch.allclose(probabilities, expected_probabilities[:height, :width], atol=1e-5)
    assert (labels != expected[:height, :width]).float().mean() < 1e-3
    assert set(labels.flatten().tolist()) == {0, 1, 2}


@pytest.mark.parametrize("size", [(30, 50), (7, 9), (12, 40)])
def test_rows_of_the_whole_photo_are_scaled_alone(size: tuple[int, int]) -> None:
    """Rows that are scaled without the others, up or down, are those of the whole picture scaled at once."""
    whole = torch.from_numpy(np.random.default_rng(0).random((3, 12, 16), np.float32))

    rows = tiles._rows(whole, size, 2, 6)

    assert torch.allclose(rows, tiles.resized(whole, size)[:, 2:6], atol=1e-5)
    if size[0] > 12:  # where it is scaled up, that is plain bilinear interpolation
        plain = torch.nn.functional.interpolate(whole[None], size, mode="bilinear")[0]
        assert torch.allclose(rows, plain[:, 2:6], atol=1e-5)


def test_a_small_thing_of_a_tile_appears() -> None:
    """A class that only tiles see wins where they are surer of it than the whole photo is of another."""
    photo = Image.new("RGB", (128, 96))
    photo.paste((255, 255, 255), (60, 40, 68, 48))
    whole = torch.tensor([0.7, 0.3])[:, None, None].expand(2, 6, 8)

    def score(pictures: Sequence[Image.Image]) -> list[torch.Tensor]:
        seen = [torch.from_numpy(np.asarray(picture.convert("L"))[::4, ::4] / 255).float() for picture in pictures]
        return [torch.stack([1 - thing, thing]) for thing in seen]

    labels, _ = tiles.label(photo, Tiling(64, 4), whole, score)

    assert labels.nonzero().float().mean(0).round().tolist() == [44, 64]
    assert 25 <= int(labels.sum()) <= 64  # of its 64 pixels, those where 0.5 * tile + 0.15 is above one half
