"""How often to see each photo so that rare classes are learnt too."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from segkit import maps
from segkit.errors import UsageError
from segkit.maps import codec
from segkit.palette import Palette
from trainer.data.examples import Example

COMMON = 0.1
"""Share of the photos from which a class is common enough."""

SPECK = 0.005
"""Share of a map's pixels below which a class is not counted as being there."""


def weights(examples: Sequence[Example], table: Palette | None) -> NDArray[np.float64]:
    """Return repeat factors (Gupta, Dollar, Girshick 2019, LVIS, arXiv 1908.03195), one for each photo, from 1 up.

    A class in a share f of the photos has sqrt(COMMON / f), at least 1; a photo has that of its rarest class.

    Raises:
        UsageError: there are no classes.
    """
    if table is None:
        raise UsageError("--balance needs segmentation maps; leave it out with --allow-any-control.")
    there = np.zeros((len(examples), len(table)), bool)
    for row, example in zip(there, examples, strict=True):
        labels, _ = codec.read(maps.read(example.control_map), table)
        row[:] = np.bincount(labels.ravel(), minlength=256)[: len(table)] > SPECK * labels.size
    shares = np.maximum(there.mean(0), 1 / len(examples))
    factors = np.maximum(1, np.sqrt(COMMON / shares))
    found: NDArray[np.float64] = np.where(there, factors, 1.0).max(1)
    return found
