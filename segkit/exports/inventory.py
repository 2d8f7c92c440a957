"""What is left of the files that an earlier call exported: which are missing, or are no longer what they were."""

from collections.abc import Iterable
from functools import cached_property

from msgspec import DecodeError, Struct, ValidationError, json

from segkit.exports import record
from segkit.exports.target import Stamp, Target

_STAMPS = json.Decoder(Stamp)


class _Complete(Struct):
    files: list[Stamp]


class Inventory:
    """Compares the files of an export with what was written.

    Args:
        target: the export.
        reads: compare hashes, which takes reading every file, rather than sizes alone.
    """

    def __init__(self, target: Target, reads: bool) -> None:
        self._target, self._reads = target, reads

    def lost_of_piece(self, number: int) -> list[str] | None:
        """Return the names of those files of a piece that are missing or differ; None if it was never finished."""
        names = record.files(number), record.part(number)
        if not all(map(self._target.exists, names)):
            return None
        try:
            stamps = _STAMPS.decode_lines(self._target.read(names[0]))
        except (DecodeError, ValidationError):
            return None
        return self._lost(stamps)

    def lost_lists(self) -> list[str] | None:
        """Return the names of those lists of all triples that are missing or differ; None if they were never written.

        An export without them is unfinished.
        """
        if not self._target.exists(record.COMPLETE):
            return None
        try:
            return self._lost(json.decode(self._target.read(record.COMPLETE), type=_Complete).files)
        except (DecodeError, ValidationError):
            return None

    def _lost(self, stamps: Iterable[Stamp]) -> list[str]:
        return [stamp.name for stamp in stamps if not self._holds(stamp)]

    def _holds(self, stamp: Stamp) -> bool:
        if self._size(stamp.name) != stamp.size:
            return False
        return not self._reads or self._target.sha256(stamp.name, stamp.size) == stamp.sha256

    def _size(self, name: str) -> int | None:
        if self._target.folder is None:  # one listing rather than a request for each file
            return self._listing.get(name)
        entry = self._target.location.stat(name)
        return entry.size if entry else None

    @cached_property
    def _listing(self) -> dict[str, int]:
        return {entry.name: entry.size for entry in self._target.location.entries("**/*")}
