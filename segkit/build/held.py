"""Decoded photos between the survey, which compares all of them, and the pass in which they are segmented."""

import pickle
import tempfile
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO

from PIL import Image

from segkit import storage
from segkit.build.arrival import Loaded
from segkit.photos import Photo

MEMORY = 128_000_000
"""Bytes of pixels that are held in memory."""

SHARE = 0.5
"""Share of the free disk space that further pixels may take until they are segmented."""

FILE_BYTES = 256_000_000
"""Least bytes of a file of pixels; each is deleted once its last photo was taken."""

FILES = 64
"""Most files, which are open at the same time."""


class Held:
    """Photos by position: the first ones in memory, others in files without names, which vanish with the process.

    All are added, in the order of their positions, before the first is taken.

    Args:
        folder: where files may be created; None for none.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._memory = MEMORY
        self._photos: dict[int, Loaded] = {}
        self._room = int(SHARE * storage.free_space(folder)) if folder else 0
        self._file_bytes = max(FILE_BYTES, self._room // FILES)
        self._files: list[IO[bytes]] = []
        self._firsts: list[int] = []  # of each file the number of its first photo
        self._positions, self._starts = array("q"), array("q")  # of the photos in files: where in the run and the file

    def add(self, position: int, loaded: Loaded) -> bool:
        """Hold a photo with its pixels; return False if there is no room for it."""
        assert isinstance(loaded.outcome, Photo)
        image = loaded.outcome.image
        size = image.width * image.height * 3
        if size <= self._memory:
            self._memory -= size
            self._photos[position] = loaded
            return True
        return image.mode == "RGB" and size <= self._room and self._write(position, loaded, loaded.outcome)

    def _write(self, position: int, loaded: Loaded, photo: Photo) -> bool:
        record = (
            replace(loaded, outcome=None),
            photo.geometry,
            photo.coarseness,
            photo.image.size,
            photo.image.tobytes(),
        )
        try:
            file = self._file()
            start = file.tell()
            pickle.dump(record, file, protocol=5)
            file.flush()
        except OSError:  # the disk is full: this photo and later ones are decoded twice
            self._room = 0
            return False
        self._positions.append(position)
        self._starts.append(start)
        self._room -= file.tell() - start
        return True

    def _file(self) -> IO[bytes]:
        """Return the file that the next photo goes to."""
        if not self._files or self._files[-1].tell() >= self._file_bytes:
            file = tempfile.TemporaryFile(dir=self._folder, prefix=storage.TEMPORARY)  # noqa: SIM115 - see close()
            self._files.append(file)
            self._firsts.append(len(self._positions))
        return self._files[-1]

    def take(self, position: int) -> Loaded | None:
        """Return a photo, which is held no longer, nor are earlier ones; None if it was not held."""
        loaded = self._photos.pop(position, None) or self._read(position)
        done = bisect_right(self._positions, position)
        for file, end in zip(self._files, [*self._firsts, len(self._positions)][1:], strict=True):
            if end <= done:
                file.close()
        return loaded

    def image(self, position: int) -> Image.Image | None:
        """Return the pixels of a photo that stays held; None if it is not held."""
        loaded = self._photos.get(position) or self._read(position)
        return loaded.outcome.image if loaded and isinstance(loaded.outcome, Photo) else None

    def _read(self, position: int) -> Loaded | None:
        number = bisect_left(self._positions, position)
        if number == len(self._positions) or self._positions[number] != position:
            return None
        file = self._files[bisect_right(self._firsts, number) - 1]
        if file.closed:
            return None
        file.seek(self._starts[number])
        loaded: Loaded
        loaded, geometry, coarseness, size, pixels = pickle.load(file)  # nobody else can write to the file
        return replace(loaded, outcome=Photo(Image.frombytes("RGB", size, pixels), geometry, coarseness))

    def close(self) -> None:
        """Hold nothing any more."""
        self._photos.clear()
        for file in self._files:
            with suppress(OSError):  # the disk is full, and the rest of a photo was still to be written
                file.close()


@contextmanager
def opened(folder: Path | None) -> Iterator[Held]:
    """Yield what holds photos; see Held."""
    held = Held(folder)
    try:
        yield held
    finally:
        held.close()
