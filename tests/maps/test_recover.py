"""What a JPEG file stored, from its decoded colours."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from segkit.maps import coded, recover, spectrum
from segkit.maps.codec import Labels
from segkit.maps.coded import Coded
from segkit.maps.layout import BLOCK
from segkit.maps.scene import Scene
from segkit.toy.world import damage

COLORS = np.array([swatch.rgb for swatch in damage.ADE], np.uint8)


def saved(truth: Labels, quality: int, subsampling: int = 2) -> tuple[Scene, Coded]:
    """Return a scene of a map of which only the colours are known, some borders moved, and what its file held."""
    buffer = BytesIO()
    Image.fromarray(COLORS[truth]).save(buffer, "JPEG", quality=quality, subsampling=subsampling)
    stored = coded.read(buffer.getvalue())
    assert stored is not None
    beyond = [(0, -length % 16) for length in truth.shape]
    with Image.open(buffer) as image:
        observed = np.pad(np.asarray(image), [*beyond, (0, 0)], mode="edge")
    labels = truth.copy()
    labels[:, 20:60] = np.roll(truth, 1, 1)[:, 20:60]
    board = np.pad(np.pad(labels, beyond, mode="edge"), 1, mode="edge")
    return Scene(observed, board, np.zeros(observed.shape[:2], bool), COLORS, stored.compression), stored


def agree(first: Coded, second: Coded) -> np.ndarray:
    """Return the units, (H / 16, W / 16), of equal samples within the picture."""
    scale = first.scale
    height, width = first.luma.shape
    same = np.ones((height // 16, 16, width // 16, 16), bool)
    for channel in range(3):
        one, other = (
            part.luma if not channel else part.chroma[..., channel - 1].repeat(scale, 0).repeat(scale, 1)
            for part in (first, second)
        )
        different = one != other
        different[first.height :], different[:, first.width :] = False, False
        same &= ~different.reshape(same.shape)
    return np.asarray(same.all((1, 3)))


@pytest.mark.parametrize("subsampling", [0, 2])
@pytest.mark.parametrize("quality", [50, 75, 90])
def test_certain_units_hold_the_samples_of_the_file(quality: int, subsampling: int) -> None:
    """What is called certain is what the file stored, to the bit; only colours clipped at 0 and 255 may hide chroma."""
    scene, stored = saved(damage.thin(3, 12, 160), quality, subsampling)

    recovered = recover.recover(scene, 160, 160, 0.05)

    assert recovered is not None
    assert recovered.certain is not None
    assert recovered.certain.mean() > 0.95
    same = agree(recovered, stored)[recovered.certain]
    assert same.all() if subsampling else same.mean() >= 0.98
    mislabelled = coded.read(scene.encoded(scene.labels))
    assert mislabelled is not None
    assert agree(mislabelled, stored).mean() < 0.9


def test_edges_within_a_unit_are_recovered() -> None:
    """A picture whose sides are not multiples of 16 is compared as far as it extends."""
    scene, stored = saved(damage.thin(3, 12, 160)[:145, :150], 75)

    recovered = recover.recover(scene, 145, 150, 0.05)

    assert recovered is not None
    assert recovered.certain is not None
    assert recovered.certain.mean() > 0.95
    assert agree(recovered, stored)[recovered.certain].all()


def test_nothing_is_recovered_from_colors_that_were_changed() -> None:
    """Colours that differ by 1 here and there are not what a file decodes to."""
    scene, _ = saved(damage.thin(3, 12, 160), 75)
    change = np.random.default_rng(0).integers(-1, 2, scene.observed.shape)
    scene.observed = np.clip(scene.observed + change, 0, 255).astype(np.uint8)

    assert recover.recover(scene, 160, 160, 0.05) is None


def test_uncertain_units_are_compared_by_their_colors() -> None:
    """Samples that are not certain are no evidence: such a unit is measured as in a map without samples."""
    scene, stored = saved(damage.thin(3, 12, 160), 75)
    focus = np.ones((10, 10), bool)
    by_colors = spectrum.measure(scene, focus)
    certain = np.ones((10, 10), bool)
    certain[4, 5] = False
    scene.adopt(Coded(160, 160, stored.luma, stored.chroma, stored.compression))
    by_samples = spectrum.measure(scene, focus)
    scene.adopt(Coded(160, 160, stored.luma, stored.chroma, stored.compression, certain))

    mixed = spectrum.measure(scene, focus)

    assert mixed.luma.shape[2] == BLOCK**2
    for name in ("luma", "chroma", "luma_residual", "chroma_residual"):
        expected = getattr(by_samples, name).copy()
        expected[45] = getattr(by_colors, name)[45]
        np.testing.assert_allclose(getattr(mixed, name), expected, atol=1e-3)
