"""What decides between a photo and its near-duplicates: kept beside the triples of a slice, to be merged."""

import struct
import zlib
from pathlib import Path

import numpy as np

from segkit.errors import DatasetError
from segkit.photos import Photo, near_duplicates
from segkit.photos.near_duplicates import SIDE, Grey
from segkit.words import quote


def name_of(key: str) -> str:
    """Return the file, within a dataset, of what decides between a photo and its near-duplicates."""
    return f".segkit/slice/{key[:2]}/{key}"


def encode(photo: Photo) -> bytes:
    """Return what decides between a photo and its near-duplicates: how coarse it is, and its grey copy."""
    grey = near_duplicates.grey_copy(photo.image)
    return zlib.compress(struct.pack("<d", photo.coarseness) + grey.tobytes())


def read(folder: Path, key: str) -> tuple[float, Grey]:
    """Return a photo's coarseness and grey copy.

    Args:
        folder: of the slice.
        key: of the photo.

    Raises:
        DatasetError: the file is missing or damaged.
    """
    path = folder / name_of(key)
    try:
        data = zlib.decompress(path.read_bytes())
        [coarseness] = struct.unpack_from("<d", data)
        return coarseness, np.frombuffer(data, np.uint8, offset=8).reshape(SIDE, SIDE)
    except (OSError, ValueError, struct.error, zlib.error) as error:
        cure = f"Delete {quote(folder)}, and run the slice's build-dataset again"
        raise DatasetError(f"{path} cannot be read ({error}). {cure}.") from None
