"""Repeat factors: show photos with rare classes more often."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from segkit.errors import UsageError
from segkit.maps import codec
from segkit.palette import Palette
from trainer.data import ahead, crops
from trainer.data.examples import Example

COMMON = 0.1
"""Classes in at least this share of the photos are not repeated (the threshold t of LVIS)."""

SPECK = 0.005
"""A class counts as present above this share of a map's pixels."""


def weights(examples: Sequence[Example], palette: Palette | None) -> NDArray[np.float64]:
    """Return the repeat factor of each photo, at least 1 (Gupta, Dollar, Girshick 2019, LVIS, arXiv 1908.03195).

    A class that is present in a share f of the photos has the factor max(1, sqrt(COMMON / f)); a photo has the largest
    factor of its classes.

    Raises:
        UsageError: there is no palette, so there are no classes.
    """
    if palette is None:
        raise UsageError("balance=True needs segmentation maps; do not combine it with allow_any_control=True.")
    present = np.zeros((len(examples), len(palette)), bool)
    with ahead.fetching([example.control_map for example in examples]) as reached:
        for place, example in enumerate(examples):
            reached(place)
            labels, _ = codec.read(crops.open_map(example), palette)
            present[place] = np.bincount(labels.ravel(), minlength=256)[: len(palette)] > SPECK * labels.size
    shares = np.maximum(present.mean(0), 1 / len(examples))  # an absent class would divide by zero
    factors = np.maximum(1, np.sqrt(COMMON / shares))
    repeat: NDArray[np.float64] = np.where(present, factors, 1.0).max(1)
    return repeat
