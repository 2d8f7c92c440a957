"""A photo on its way into a dataset: loaded, and then a new one, one that is kept, or a rejection."""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

from PIL import Image

from segkit import photos
from segkit.build.remote_photos import RemotePhoto
from segkit.dataset import Rejection, stamps
from segkit.dataset.rejection import REASONS as OF_IMPORTS
from segkit.dataset.stamps import Status
from segkit.dataset.triple import Triple, key_of
from segkit.photos import Measured, Photo
from segkit.photos.near_duplicates import Grey

Place = Path | RemotePhoto
"""Where a photo is: a local file, or a remote one."""

RECONSIDERED = frozenset({"unreadable", "too-small", "too-large", "identical", *OF_IMPORTS})
"""Reasons that other settings, restored permissions, a deleted original or a corrected map can lift. Every run checks
such photos again, which costs little."""


@dataclass(frozen=True)
class Candidate:
    """A new photo, to be segmented.

    Attributes:
        source: its path relative to the photo folder.
        sha256: hash of the file's bytes, in hex.
        photo: its pixels, upright sRGB, fitted to the stored size; only its measures if a worker is to open it.
        phash: 64-bit perceptual hash.
        group: key of the first photo it resembles, or its own key. A group is never divided between splits.
        lost: the triple whose photo or map is missing in the dataset and is built again; None for a new photo.
        position: place among the photos of the run.
    """

    source: str
    sha256: str
    photo: Photo | Measured
    phash: int
    group: str
    lost: Triple | None = None
    position: int = -1

    @property
    def key(self) -> str:
        """The triple's key."""
        return key_of(self.sha256)

    @property
    def opened(self) -> Photo:
        """The photo with its pixels, which must be here."""
        assert isinstance(self.photo, Photo)
        return self.photo

    @property
    def image(self) -> Image.Image:
        """The pixels, which must be here."""
        return self.opened.image


@dataclass(frozen=True)
class Kept:
    """A photo that the dataset already has a triple for."""

    source: str


Arrival = Candidate | Kept | Rejection


@dataclass(frozen=True, slots=True)
class Loaded:
    """The result of a worker, not yet compared with other photos.

    Attributes:
        source: the photo's path relative to the photo folder.
        sha256: hash of the file's bytes, in hex; "" if it could not be read.
        outcome: the decoded photo, or its measures if its pixels are elsewhere; its rejection; or None if the dataset
            already has its triple.
        phash: perceptual hash of the photo.
        grey: grey copy of the photo; None if it was not decoded.
        position: place among the paths of the run.
        worked_on: whether its triple, in a slice of a build, holds a person's work, which near-duplicates must not
            displace.
    """

    source: str
    sha256: str
    outcome: Photo | Measured | Rejection | None
    phash: int = 0
    grey: Grey | None = None
    position: int = 0
    worked_on: bool = False


@dataclass(frozen=True, slots=True)
class Likeness:
    """A known photo that shows the same picture as a new one.

    Attributes:
        group: its group.
        size: width and height of its source in pixels; None if this run added it.
    """

    group: str
    size: tuple[int, int] | None = None


def source_name(path: Place | PurePath, folder: Path) -> str:
    r"""Return a photo's path relative to the photo folder, with "/" as separator, or the name of a remote photo.

    Bytes that are not UTF-8 become escapes such as "\xe9". Two file names can therefore yield the same source.
    """
    return printable(path.name if isinstance(path, RemotePhoto) else path.relative_to(folder).as_posix())


def read(path: Place, max_bytes: float = math.inf) -> bytes:
    """Read the bytes of a photo; see photos.read and RemotePhoto.read."""
    return path.read(max_bytes) if isinstance(path, RemotePhoto) else photos.read(path, max_bytes)


def status(path: Place) -> Status:
    """Return the status of a photo, as stamps compare it; None for one that is missing or unreadable."""
    return path.status() if isinstance(path, RemotePhoto) else stamps.status(str(path))


def printable(name: str) -> str:
    """Return a text that may hold file names, with bytes that are not UTF-8 as escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def is_lost(triple: Triple, imports: bool) -> bool:
    """Return whether the files of a triple are missing, and this kind of run makes them again; see History."""
    if triple.review == "rejected" or (triple.origin.layout and not imports):
        return False  # `segkit remove` may have deleted its files; only an import has those of an imported one
    return not triple.has_files


def parents(source: str) -> Iterator[str]:
    """Yield the folders that a photo lies in, as names relative to the photo folder."""
    while source := source.rpartition("/")[0]:
        yield source
