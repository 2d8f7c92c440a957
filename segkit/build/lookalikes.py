"""Find the photos that show the same picture as a new one: candidates by hash, then a comparison of grey copies."""

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from segkit import photos
from segkit.build import arrival
from segkit.build.arrival import Place, source_name
from segkit.dataset import Dataset
from segkit.dataset.triple import photo_name
from segkit.errors import PhotoError
from segkit.photos import Limits, Photo, near_duplicates, same_picture
from segkit.photos.hash_index import HashIndex
from segkit.photos.near_duplicates import Grey
from segkit.photos.stored import decode_grey, encode_photo, read_grey

BLIND = 4
"""Bits in which the hash of a photo that is unavailable may differ from that of a copy."""

CACHED = 4096
"""Grey copies of known photos that are kept for the next comparison, of 4 KB each."""


class Lookalikes:
    """Known photos by number, searchable by a new one. Nothing of their pictures is held.

    Args:
        picture: returns the grey copy of a known photo, as it is or will be stored; None if it is unavailable.
        phashes: perceptual hashes of the first photos, numbered from 0.
    """

    def __init__(self, picture: Callable[[int], Grey | None], phashes: "array[int]") -> None:
        self._read = picture
        self._picture = lru_cache(CACHED)(self._available)
        self._index = HashIndex(np.array(phashes, np.uint64))
        self.add, self.photos, self.phash = self._index.add, self._index.photos, self._index.value

    def search(self, grey: Grey, phash: int) -> "array[int]":
        """Return the numbers of the hashes that resemble those of a new photo."""
        numbers = array("i", self._index.search(near_duplicates.coefficients(grey)))
        equal = self._index.number(phash)
        if equal is not None and equal not in numbers:  # on pictures without details rounding may hide it
            numbers.append(equal)
        return numbers

    def is_same(self, photo: int, number: int, grey: Grey) -> bool:
        """Return whether a known photo shows the same picture as a new one.

        If its picture is unavailable, a hash that is almost equal decides, which finds no crops.

        Args:
            photo: the known photo.
            number: that of its hash.
            grey: copy of the new photo.
        """
        coefficients = near_duplicates.coefficients(grey)
        try:
            known = self._picture(photo)
        except LookupError:
            return self._index.distance(coefficients[near_duplicates.WHOLE], number) <= BLIND
        return same_picture.is_same(known, grey, self._index.views(coefficients, number))

    def _available(self, photo: int) -> Grey:
        grey = self._read(photo)
        if grey is None:
            raise LookupError(photo)  # unlike None this is not cached: the photo may be stored later
        return grey


class Pictures:
    """Grey copies of photos, read when they are needed.

    The earlier of two photos is always compared as its dataset stores it, whether or not it is stored already: else a
    build that was interrupted between them could decide differently.

    Args:
        dataset: where photos are stored; None if there is no dataset yet.
    """

    def __init__(self, dataset: Dataset | None) -> None:
        self._folder = dataset.folder if dataset is not None else None
        self._format = str(dataset.info.settings.get("photo_format", "jpg")) if dataset is not None else "jpg"
        self.limits = Limits()

    def stored(self, key: str) -> Grey | None:
        """Return that of a photo in the dataset; None if it is missing or damaged."""
        if self._folder is None:
            return None
        grey = read_grey(self._folder / photo_name(key, f".{self._format}"))
        # an imported photo keeps the format that it had
        other = "png" if self._format == "jpg" else "jpg"
        return grey if grey is not None else read_grey(self._folder / photo_name(key, f".{other}"))

    def to_be_stored(self, path: Place) -> Grey | None:
        """Return that of a source as it will be read from the dataset; None if it cannot be read any more."""
        photo = self._open(path)
        return self.stored_later(photo.image) if photo else None

    def stored_later(self, image: Image.Image) -> Grey:
        """Return that of a fitted photo as it will be read from the dataset."""
        return decode_grey(encode_photo(image, self._format))

    def new(self, path: Place) -> Grey | None:
        """Return that of a source as it is compared with stored ones; None if it cannot be read any more."""
        photo = self._open(path)
        return near_duplicates.grey_copy(photo.image) if photo else None

    def _open(self, path: Place) -> Photo | None:
        try:
            return photos.open_photo(arrival.read(path, self.limits.max_bytes), self.limits)
        except PhotoError:
            return None


class Sources(Protocol):
    """The photos of a run, by position."""

    def __len__(self) -> int: ...

    def name(self, position: int) -> str:
        """Return the name that the photo's triple records."""

    def new(self, position: int) -> Grey | None:
        """Return the photo's grey copy as it is compared with stored ones; None if it cannot be read."""

    def to_be_stored(self, position: int) -> Grey | None:
        """Return the grey copy as it will be read from the dataset; None if the photo cannot be read."""


@dataclass(frozen=True)
class Files:
    """Photos in a folder.

    Attributes:
        folder: the photo folder.
        paths: the photos in it.
        pictures: reads them.
    """

    folder: Path
    paths: Sequence[Place]
    pictures: Pictures

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, position: int) -> str:
        """Return the path relative to the folder; see arrival.source_name."""
        return source_name(self.paths[position], self.folder)

    def new(self, position: int) -> Grey | None:
        """Return the grey copy of a photo as it is."""
        return self.pictures.new(self.paths[position])

    def to_be_stored(self, position: int) -> Grey | None:
        """Return the grey copy of a photo as it will be stored."""
        return self.pictures.to_be_stored(self.paths[position])
