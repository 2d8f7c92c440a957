"""Distances between the features of pictures and of photos: KID and FID.

KID (Binkowski et al. 2018, arXiv 1801.01401) is unbiased, also from few pictures. FID (Heusel et al. 2017, arXiv
1706.08500) falls as pictures are added: only values from the same number of pictures compare. Both equal torchmetrics',
KID that of one subset with all pictures.
"""

import numpy as np
from numpy.typing import NDArray

from segkit.maps.bootstrap import Bootstrap

Features = NDArray[np.float32]
Values = NDArray[np.float64]


def kid(photos: Features, drawings: Features, bootstrap: Bootstrap) -> Values:
    """Return KID between the photos and the pictures of the same maps, of all maps and of each resample, (1 + R,).

    A photo and the pictures of its map are resampled together. Pairs within a resample that are the same map twice are
    left out: their kernel is that of a picture with itself, which the estimate leaves out, too.

    Args:
        photos: (M, D), M at least 2.
        drawings: (S, M, D); the result is the mean over drawings.
        bootstrap: the resamples of the maps.
    """
    maps = len(photos)
    real = photos.astype(np.float64)
    pairs = _kernel(real, real)
    same = np.zeros(maps)  # kernels of a picture and the photo of its own map, which the cross term contains
    for drawing in drawings.astype(np.float64):
        cross = _kernel(real, drawing)
        same += np.diagonal(cross) / len(drawings)
        pairs += (_kernel(drawing, drawing) - 2 * (maps - 1) / maps * cross) / len(drawings)
    np.fill_diagonal(pairs, 0)
    times = np.concatenate([np.ones((1, maps)), bootstrap.times])
    distinct = maps**2 - (times**2).sum(1)  # ordered pairs of different maps in a resample
    with np.errstate(invalid="ignore"):  # a resample of one map alone has no pairs, and no KID
        values: Values = ((times @ pairs) * times).sum(1) / distinct - 2 * times @ same / maps**2
    return values


def _kernel(one: Values, other: Values) -> Values:
    """Return the polynomial kernel of KID for each pair, (N, N)."""
    kernel: Values = (one @ other.T / one.shape[1] + 1) ** 3
    return kernel


def fid(photos: Features, drawings: Features) -> float:
    """Return FID between the photos and the pictures of the same maps, the mean over drawings.

    Args:
        photos: (M, D), M at least 2.
        drawings: (S, M, D).
    """
    return float(np.mean([_frechet(photos.astype(np.float64), drawing.astype(np.float64)) for drawing in drawings]))


def _frechet(one: Values, other: Values) -> float:
    """Return the squared Frechet distance of two normal distributions that are fitted to features.

    The trace of the root of the product of the covariances is the sum of the singular values of the product of their
    roots, here of the centred features themselves: no eigenvalue is negative by rounding, nor complex.
    """
    centred = [features - features.mean(0) for features in (one, other)]
    factors = [_triangle(features / np.sqrt(len(features) - 1)) for features in centred]
    root = np.linalg.svdvals(factors[0] @ factors[1].T).sum()
    means = one.mean(0) - other.mean(0)
    return float(means @ means + sum((factor**2).sum() for factor in factors) - 2 * root)


def _triangle(features: Values) -> Values:
    """Return a triangular matrix with the covariance of features: R of their QR decomposition."""
    return np.asarray(np.linalg.qr(features, mode="r"))
