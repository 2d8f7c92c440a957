"""Class indices become exact palette colours, and every other pixel is noticed."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from segkit.errors import MapError
from segkit.maps import codec
from segkit.palette import Palette
from trainer.data.paint import PalettePainter

ADE = Palette.load("ade20k")
COLORS = {(0, 0, 0), *(swatch.rgb for swatch in ADE)}


@given(st.integers(0, 999))
def test_painting_equals_the_codec(seed: int) -> None:
    """A batch is painted like the maps on disk, with unlabelled pixels black."""
    labels = np.random.default_rng(seed).choice([*range(150), 255], (2, 3, 5)).astype(np.uint8)

    painted = PalettePainter(ADE)(torch.from_numpy(labels))

    assert (painted.shape, painted.dtype, painted.is_contiguous()) == ((2, 3, 3, 5), torch.float32, True)
    levels = (painted * 255).round().byte().permute(0, 2, 3, 1).numpy()
    for one, picture in zip(labels, levels, strict=True):
        assert np.array_equal(np.asarray(codec.paint(one, ADE).convert("RGB")), picture)


def test_without_a_palette_every_colour_is_allowed() -> None:
    """Control pictures are scaled to 0 to 1, and none of their pixels is off a palette."""
    paint = PalettePainter(None)
    pixels = torch.tensor([[[[1, 2, 3], [255, 0, 51]]]], dtype=torch.uint8)

    painted = paint(pixels)

    assert torch.equal(painted, (pixels / 255).permute(0, 3, 1, 2))
    assert int(paint.count_off_palette(painted)) == 0
    paint.require_exact(torch.tensor(3))


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
