"""Confidence maps that a build stored: .segkit/confidence/<kk>/<key>.png, which is no part of a triple."""

from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segkit import storage
from segkit.dataset import history
from segkit.dataset.triple import Triple
from segkit.maps import confidence
from segkit.palette import Palette


def path(folder: Path, key: str) -> Path:
    """Return where the confidence map of a triple is stored."""
    return folder / ".segkit" / "confidence" / key[:2] / f"{key}.png"


def store(folder: Path, key: str, data: bytes) -> None:
    """Store the confidence map of a triple, or delete that of an earlier build.

    Args:
        folder: of the dataset.
        key: of the triple.
        data: of maps.confidence.encode; b"" for none.

    Raises:
        StorageError: the disk is full.
    """
    file = path(folder, key)
    if data:
        storage.write(file, data)
    elif file.exists():
        storage.remove([file], file.parent)


def read(triple: Triple, palette: Palette) -> NDArray[np.uint8] | None:
    """Return how sure each part of a map is; None if it was not stored or is damaged.

    Returns:
        (H / CELL, W / CELL), 0 to 255: means of the segmenter's confidence, with 255 for pixels that a person set.
    """
    with suppress(OSError, SyntaxError):  # Pillow raises either for damaged files
        values = confidence.decode(path(triple.folder, triple.key).read_bytes())
        side = confidence.CELL
        if values.shape != (triple.height // side, triple.width // side):
            return None
        edited = history.read(triple)
        if edited and edited.applied:
            touched = edited.shown(palette).touched.reshape(values.shape[0], side, values.shape[1], side).mean((1, 3))
            values = np.rint(255 - (255.0 - values) * (1 - touched)).astype(np.uint8)
        return values
    return None
