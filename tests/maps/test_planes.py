"""The coefficients that a JPEG file stores, found from its decoded samples."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from segkit.maps import coded, planes
from segkit.maps.coded import Coded
from segkit.maps.layout import GREY, WAVES, layout
from segkit.toy.world import damage

PALETTE = np.array([(90, 120, 150), (140, 100, 60), (60, 150, 90), (170, 170, 120)], np.uint8)
"""Colours whose samples are far from 0 and 255, also where they ring."""


def stored(colors: np.ndarray, quality: int) -> Coded:
    """Return what a JPEG file of colours, (H, W, 3), stores."""
    buffer = BytesIO()
    Image.fromarray(colors).save(buffer, "JPEG", quality=quality)
    result = coded.read(buffer.getvalue())
    assert result is not None
    return result


def units(file: Coded) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows and columns of all units of a file."""
    rows, columns = np.nonzero(np.ones((len(file.luma) // 16, file.luma.shape[1] // 16), bool))
    return rows, columns


@pytest.mark.parametrize(("quality", "wrong"), [(30, 0), (50, 0), (75, 0), (90, 0.01)])
def test_the_coefficients_are_those_of_the_file(quality: int, wrong: float) -> None:
    """They are multiples of the steps, and decode to the samples of the file; small steps leave a few in doubt."""
    file = stored(PALETTE[damage.regions(1, 9, 128) % 4], quality)
    steps = layout(file.compression).luma_steps

    found = file.planes.luma.blocks(*units(file))

    assert not len(found.open)
    np.testing.assert_allclose(found.coefficients / steps, np.round(found.coefficients / steps), atol=1e-4)
    # The decoder computes with integers of 13 bits: exact cosines are 0.06 off at most.
    differs = np.abs(found.coefficients @ WAVES.T + GREY - found.samples).max(1) > 0.56
    assert differs.mean() <= wrong


@pytest.mark.parametrize("tone", range(64, 192, 9))
def test_flat_blocks_have_the_coefficient_that_was_rounded(tone: int) -> None:
    """The mean of a flat block that decodes to half a level is not mistaken for its neighbour in steps."""
    file = stored(np.full((16, 16, 3), tone, np.uint8), 75)
    step = layout(file.compression).luma_steps[0]

    found = file.planes.luma.blocks(np.array([0]), np.array([0]))

    assert found.coefficients[:, 0] == pytest.approx(np.round(8 * (tone - GREY) / step) * step)
    assert not found.coefficients[:, 1:].any()


def test_units_are_found_alone_as_together() -> None:
    """What has been asked for before changes nothing: neither order nor number of the units matters."""
    colors = PALETTE[damage.regions(2, 9, 96) % 4]
    together, alone = stored(colors, 75), stored(colors, 75)
    rows, columns = units(together)
    all_of_them = together.planes.chroma.blocks(rows, columns)

    for unit in np.random.default_rng(0).permutation(len(rows)):
        one = alone.planes.chroma.blocks(rows[unit : unit + 1], columns[unit : unit + 1])
        np.testing.assert_allclose(one.coefficients, all_of_them.coefficients[2 * unit : 2 * unit + 2], atol=1e-3)


def test_clipped_samples_and_those_beyond_the_picture_leave_blocks_open() -> None:
    """White reaches 255, which hides by how much it was exceeded, and the last blocks are not whole."""
    colors = np.full((24, 40, 3), 120, np.uint8)
    colors[:8, :8] = 255
    file = stored(colors, 75)

    found = file.planes.luma.blocks(*units(file))

    is_open = np.zeros(len(found.samples), bool)
    is_open[found.open] = True
    # Units of 2 x 2 blocks; the picture has 3 x 5 blocks.
    beyond = [unit * 4 + block for unit in range(6) for block in range(4) if unit >= 3 and block > 1]
    beyond += [unit * 4 + block for unit in (2, 5) for block in (1, 3)]
    assert is_open[0]
    assert np.flatnonzero(is_open).tolist() == sorted({0, *beyond})
    assert found.hidden[1:].all()
    assert not found.hidden[0].any()


def test_hidden_samples_are_no_difference() -> None:
    """Beyond the picture anything may be painted, and at 255 anything brighter."""
    samples = np.full((1, 64), 255, np.uint8)
    brighter = np.zeros((1, 64), np.float32)
    brighter[0, 0] = 8 * (300 - GREY)
    hidden = np.zeros((1, 64), bool)

    assert planes.difference(brighter, samples).min() == -45
    assert not planes.difference(brighter, samples, hidden).any()
    hidden[0, :32] = True
    darker = np.zeros((1, 64), np.float32)
    assert planes.difference(darker, samples, hidden).ravel().tolist() == [0] * 32 + [127] * 32
