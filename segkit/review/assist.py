"""Masks from clicks, by a network: each photo is embedded once, ahead of its clicks where there is time."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segkit.dataset.triple import Triple
from segkit.maps import strokes

KEPT = 4
"""Embeddings that are kept, each up to 25 MB: the present triple's, its neighbours', and another tab's."""

Point = tuple[float, float, bool]
"""x and y in pixels, and whether the point is inside of the thing."""


class Network(Protocol):
    """What computes masks; see segkit.models.assist.Assistant."""

    name: str

    def embed(self, photo: Image.Image) -> Any:
        """Return the embedding of an RGB photo."""

    def mask(self, embedding: Any, size: tuple[int, int], points: Sequence[Point]) -> NDArray[np.bool_]:
        """Return the thing that points describe: (H, W) bool."""


class Assist:
    """A network and the embeddings of the last photos. Requests wait for each other."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._embeddings: OrderedDict[str, Any] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """The network's name."""
        return self._network.name

    def prepare(self, triple: Triple) -> None:
        """Embed a triple's photo ahead of its clicks."""
        with self._lock:
            self._embedding(triple)

    def runs(self, triple: Triple, points: Sequence[Point]) -> list[int]:
        """Return the thing that points describe as start, length, start, length, ... of pixels in row-major order."""
        with self._lock:
            mask = self._network.mask(self._embedding(triple), (triple.width, triple.height), points)
        return [number for run in strokes.runs(mask) for number in run]

    def _embedding(self, triple: Triple) -> Any:
        if triple.key not in self._embeddings:
            self._embeddings[triple.key] = self._network.embed(triple.photo)
        self._embeddings.move_to_end(triple.key)
        while len(self._embeddings) > KEPT:
            self._embeddings.popitem(last=False)
        return self._embeddings[triple.key]
