"""KID and FID against torchmetrics, and the resamples of KID."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from segkit.maps.bootstrap import Bootstrap
from trainer.evaluate.quality import distances

Features = NDArray[np.float32]


def drawn(maps: int, width: int, drawings: int = 1, shift: float = 0.0) -> tuple[Features, Features]:
    """Return features of photos (M, D) and of pictures (S, M, D) that are the shift of their means away."""
    rng = np.random.default_rng(maps + width)
    photos = rng.standard_normal((maps, width)).astype(np.float32)
    return photos, (rng.standard_normal((drawings, maps, width)) + shift).astype(np.float32)


def torchmetrics(metric: Any, photos: Features, pictures: Features) -> float:
    """Return what a metric of torchmetrics says of features."""
    metric.update(torch.from_numpy(photos), real=True)
    metric.update(torch.from_numpy(pictures), real=False)
    result = metric.compute()
    return float(result[0] if isinstance(result, tuple) else result)


def kid_of_torchmetrics(photos: Features, pictures: Features) -> float:
    """Return KID of one subset that holds everything."""
    with pytest.warns(UserWarning, match="buffer"):
        metric = KernelInceptionDistance(feature=torch.nn.Identity(), subsets=1, subset_size=len(photos))
    return torchmetrics(metric, photos, pictures)


@pytest.mark.parametrize(("maps", "width", "shift"), [(40, 16, 0.0), (7, 64, 0.3), (2, 8, 1.0)])
def test_kid_equals_torchmetrics(maps: int, width: int, shift: float) -> None:
    """The first value is KID of all pictures; of several drawings it is the mean."""
    photos, drawings = drawn(maps, width, 2, shift)

    values = distances.kid(photos, drawings, Bootstrap(maps))

    expected = [kid_of_torchmetrics(photos, drawing) for drawing in drawings]
    assert values[0] == pytest.approx(np.mean(expected), abs=2e-5)
    assert abs(expected[0] - expected[1]) > 5e-4


@pytest.mark.parametrize(("maps", "width", "rel"), [(400, 16, 1e-5), (40, 64, 1e-3)])
def test_fid_equals_torchmetrics(maps: int, width: int, rel: float) -> None:
    """Also with fewer pictures than features, where the covariances are singular."""

    class Identity(torch.nn.Identity):
        num_features = width

    photos, drawings = drawn(maps, width, 2, 0.5)

    value = distances.fid(photos, drawings)

    expected = [torchmetrics(FrechetInceptionDistance(feature=Identity()), photos, drawing) for drawing in drawings]
    assert value == pytest.approx(np.mean(expected), rel=rel)


def test_repeated_maps_do_not_raise_kid() -> None:
    """A resample holds maps twice; its KID stays where KID is, far below the bias of plain resamples."""
    photos, drawings = drawn(30, 8)
    bootstrap = Bootstrap(30)

    values = distances.kid(photos, drawings, bootstrap)

    indices = [np.repeat(np.arange(30), times.astype(int)) for times in bootstrap.times[:50]]
    plain = np.mean([distances.kid(photos[one], drawings[:, one], Bootstrap(30, 1))[0] for one in indices])
    assert abs(values[1:].mean() - values[0]) < 0.1 * (plain - values[0])


def test_a_resample_of_one_map_has_no_kid() -> None:
    """Of two maps, half of the resamples hold one of them twice; the interval is that of the others."""
    photos, drawings = drawn(2, 8)
    bootstrap = Bootstrap(2)

    values = distances.kid(photos, drawings, bootstrap)

    assert 0.3 < np.isnan(values[1:]).mean() < 0.7
    assert np.isfinite([bootstrap.estimate(values, -np.inf, np.inf).low])
