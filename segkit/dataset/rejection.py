"""Photos that did not become triples: lines of rejected.jsonl."""

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress

import msgspec
from msgspec import Struct

from segkit import rows, schema
from segkit.dataset.index import Index
from segkit.dataset.triple import Triple, key_of
from segkit.errors import DatasetError
from segkit.photos import SKIPPED

REASONS = {
    "photo-missing": "a control map without a photo",
    "map-missing": "a photo without a control map (segment_missing draws one)",
    "map-unreadable": "its control map cannot be read",
    "map-size": "its control map has other proportions than the photo",
    "map-unsure": "its control map cannot be read or repaired with certainty",
    "map-not-exact": "its control map is not exact, and repair does not allow more",
    "map-empty": "no pixel of its control map has a class",
    "record-damaged": "a photo or map of a segkit dataset that is not what its record says",
}
"""Reasons for which imported data is left out, beside those of photos.REASONS: together the closed list."""


class Rejection(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """A photo that was left out.

    Attributes:
        source: its path within the folder of photos.
        sha256: of its bytes; "" if it could not be read.
        reason: a key of photos.REASONS, or of REASONS for imported data.
        message: the details.
    """

    source: str
    sha256: str
    reason: str
    message: str


Rejections = dict[tuple[str, str], Rejection]
"""By source and hash."""

_DECODER = msgspec.json.Decoder(Rejection)


def decode(line: bytes) -> Rejection:
    """Validate and read a line.

    Raises:
        DatasetError: it is damaged; the message says how.
    """
    with suppress(msgspec.DecodeError, RecursionError):
        return _DECODER.decode(line)
    try:
        return schema.convert(rows.json_object(line), Rejection)
    except ValueError as error:
        raise DatasetError(str(error)) from None


def by_place(rejections: Iterable[Rejection]) -> Rejections:
    """Return rejections by source and hash; later ones replace earlier ones."""
    return {(rejection.source, rejection.sha256): rejection for rejection in rejections}


def valid(rejections: Mapping[tuple[str, str], Rejection], newer: Collection[Triple], index: Index) -> list[Rejection]:
    """Return the rejections that are still valid, sorted: not of photos that have become triples or readable since.

    A file that is skipped now, such as a thumbnail, may have been read by an earlier build.

    Args:
        rejections: all of them.
        newer: triples that the index does not know yet.
        index: of the triples.
    """
    done = {(triple.source, triple.sha256) for triple in newer}
    readable = {source for source, sha256 in rejections.keys() | done if sha256}

    def is_valid(rejection: Rejection) -> bool:
        keys = index.keys_of_source(rejection.source)
        if rejection.sha256:
            return key_of(rejection.sha256) not in keys
        return rejection.reason in SKIPPED or not (keys or rejection.source in readable)

    return [rejections[place] for place in sorted(rejections.keys() - done) if is_valid(rejections[place])]
