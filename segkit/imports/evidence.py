"""What the maps of a source tell together, where one of them alone does not decide."""

from collections.abc import Callable, Iterator
from functools import cache
from io import BytesIO
from threading import Lock
from typing import TypeVar

from PIL import Image

from segkit import maps
from segkit.dataset.formats.items import Collection
from segkit.errors import MapError
from segkit.maps import codec, diagnose, label_ids, matching, pixels, schemes
from segkit.maps import shift as shifts
from segkit.palette import Palette

Result = TypeVar("Result")

SAMPLE = 50
"""Maps of a source that are consulted."""

_CERTAIN = 10.0
"""Evidence, in units of a decisive difference, from which on further maps are not consulted."""


def once(find_out: Callable[[], Result]) -> Callable[[], Result]:
    """Return a function that finds something out when it is first called, whichever thread does."""
    lock, known = Lock(), cache(find_out)

    def locked() -> Result:
        with lock:
            return known()

    return locked


def first_id(collection: Collection, palette: Palette, cause: str = "") -> int | None:
    """Return whether classes count from 0 or 1 in the maps of a source: one reading for all of them.

    Args:
        collection: the source.
        palette: of its maps.
        cause: "label-ids" if a person says that all maps hold indices, under whatever colours.
    """
    evidence = label_ids.Evidence()
    for image in _sample(collection):
        try:
            evidence += label_ids.evidence(label_ids.read(image, cause == "label-ids"), palette)
        except MapError:
            continue
        if evidence.highest == len(palette) or abs(evidence.gain) > _CERTAIN:
            break
    return evidence.first(palette)


def shift(collection: Collection, palette: Palette) -> shifts.Evidence:
    """Return what the maps of a source tell about the list that they were painted with."""
    evidence = shifts.Evidence()
    for image in _sample(collection):
        evidence += _shift(image, palette)
        if abs(evidence.gain) > _CERTAIN:
            break
    return evidence


def _shift(image: Image.Image, palette: Palette) -> shifts.Evidence:
    """Return the evidence of a map in colours; an indexed one with the palette itself tells nothing about others."""
    if codec.is_exact(image, palette):
        return shifts.Evidence()
    labels, off = codec.read(image, palette)
    if off:
        scheme = diagnose.identify(image, palette).scheme
        if scheme is None or scheme.name not in ("exact", "shifted") or scheme.palette.hash != palette.hash:
            return shifts.Evidence()
        labels, _ = matching.nearest(pixels.pack_image(image), schemes.known(palette)[0])
    return shifts.evidence(labels, palette)


def _sample(collection: Collection) -> Iterator[Image.Image]:
    for item in collection.items[:: max(1, len(collection.items) // SAMPLE)]:
        if item.control_map is None or item.record or item.segments is not None:
            continue
        try:
            yield maps.decode(BytesIO(item.control_map.read()))
        except (MapError, OSError):
            continue
