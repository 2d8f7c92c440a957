"""What a build knows of each content of files: a row of arrays, because a million must fit in memory."""

from array import array

from segkit.build.compact import Names
from segkit.dataset.triple import Triple, key_of


class Contents:
    """Contents of files by SHA-256: first those of the dataset's triples, then those that are new in this run.

    Attributes:
        sources: of the dataset's triples, so of the first rows.
        positions: of each row: where among the paths of this run it was first met; -1: not yet.
        is_judged: of each row: whether this run judged the original of identical files.
    """

    def __init__(self) -> None:
        self._rows: dict[bytes, int] = {}
        self._digests: list[bytes] = []
        self._widths, self._heights = array("i"), array("i")  # of the dataset's sources
        self.sources = Names()
        self.positions = array("i")
        self.is_judged = bytearray()

    def record(self, triple: Triple) -> int:
        """Add the row of a triple of the dataset, before any other, and return it."""
        row = self.row(triple.sha256)
        if row == len(self.sources):  # else a damaged manifest has it twice
            self.sources.append(triple.source)
            self._widths.append(triple.geometry.source_width)
            self._heights.append(triple.geometry.source_height)
        return row

    def row(self, sha256: str) -> int:
        """Return the row of a content, which is added if it is new."""
        digest = bytes.fromhex(sha256)
        row = self._rows.setdefault(digest, len(self._digests))
        if row == len(self._digests):
            self._digests.append(digest)
            self.positions.append(-1)
            self.is_judged.append(False)
        return row

    def find(self, sha256: str) -> int:
        """Return the row of a content; -1 if there is none. Thread-safe."""
        return self._rows.get(bytes.fromhex(sha256), -1)

    def is_recorded(self, row: int) -> bool:
        """Return whether a row is one of the dataset's triples."""
        return 0 <= row < len(self.sources)

    def sha256(self, row: int) -> str:
        """Return the SHA-256 of a row, in hex."""
        return self._digests[row].hex()

    def key(self, row: int) -> str:
        """Return the key that a triple of this content has."""
        return key_of(self.sha256(row))

    def size(self, row: int) -> tuple[int, int] | None:
        """Return width and height of a triple's source in pixels; None for a row of this run."""
        return (self._widths[row], self._heights[row]) if self.is_recorded(row) else None
