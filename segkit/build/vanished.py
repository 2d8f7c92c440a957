"""Photos that vanish while they are read: one that was deleted, or a whole folder whose disk was unmounted."""

import os
from collections.abc import Sequence
from pathlib import Path

from segkit.build.arrival import Place
from segkit.dataset import Rejection
from segkit.errors import LocationError
from segkit.photos import GONE

AROUND = 4
"""Photos before and after one that is gone, of which one at least must still be there."""


def is_gone(outcome: object) -> bool:
    """Return whether what became of a photo is that it is gone. Nothing is recorded about it."""
    return isinstance(outcome, Rejection) and outcome.reason == GONE


def require_rest(outcome: object, position: int, paths: Sequence[Place], folder: Path) -> None:
    """Require that a photo that could not be read is missing alone, and not with those around it.

    Neither the folder of photos nor that of the photo need be missing if a disk was unmounted: they may be empty, or
    hold other files.

    Args:
        outcome: what became of the photo.
        position: its place among the paths.
        paths: the photos of the run.
        folder: the photo folder.

    Raises:
        LocationError: the photos around it are gone as well, or the folder cannot be listed.
    """
    path = paths[position]
    if not isinstance(path, Path) or not isinstance(outcome, Rejection) or outcome.reason not in (GONE, "unreadable"):
        return
    places = range(max(0, position - AROUND), min(len(paths), position + AROUND + 1))
    around = [paths[place] for place in places if place != position]
    if _is_listed(folder) and (not is_gone(outcome) or not around or any(map(_is_there, around))):
        return
    raise LocationError(
        "missing",
        f"{path} is gone, and so are the photos beside it. Was a disk unmounted, or the folder moved? Finished triples "
        "are kept; once the photos are back, run the same command again.",
    )


def _is_there(place: Place) -> bool:
    try:
        return not isinstance(place, Path) or bool(place.lstat())
    except OSError as error:
        return isinstance(error, PermissionError)


def _is_listed(folder: Path) -> bool:
    try:
        os.scandir(folder).close()
    except OSError as error:
        return isinstance(error, PermissionError)
    return True
