"""What conditions look at, of many triples as columns: classes with share and confidence, and the words of prompts.

A condition is then decided for a million triples in a few hundredths of a second, and no record is read.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

STEPS = 10_000
"""Shares and confidences are stored as whole numbers of this fraction, to which segkit rounds them in records."""

_END = b"\xff"
"""Ends each prompt: no byte of UTF-8, so that words are never found across two prompts."""


@dataclass(frozen=True)
class Contents:
    """The classes and prompts of many triples, 5 bytes a class and the bytes of each prompt.

    Attributes:
        lengths: number of classes of each triple, (triples,).
        ids: of the classes, one triple's after the other's; see Measured.
        share, confidence: likewise, in STEPS.
        are_exact: whether each share and confidence is a whole number of STEPS, as in records that segkit wrote, (1,).
        prompts: case-folded, in UTF-8, each with _END.
        ends: where each prompt ends, (triples,).
    """

    lengths: NDArray[np.uint16]
    ids: NDArray[np.uint8]
    share: NDArray[np.uint16]
    confidence: NDArray[np.uint16]
    are_exact: NDArray[np.bool_]
    prompts: NDArray[np.uint8]
    ends: NDArray[np.int64]

    def having(self, label: int, field: str, compare: Callable[[Any], Any]) -> NDArray[np.bool_]:
        """Return whether each triple has a class, and its field fulfils something.

        Args:
            label: palette index of the class.
            field: "share" or "confidence"; "" if having the class is enough.
            compare: called with an array of the field; see where.OfClass.
        """
        entries = np.flatnonzero(self.ids == label)
        if field:
            entries = entries[compare(getattr(self, field)[entries] / STEPS)]
        return self._marked(np.cumsum(self.lengths, dtype=np.int64), entries)

    def mentioning(self, words: str) -> NDArray[np.bool_]:
        """Return whether each prompt contains words, which are case-folded."""
        pattern = re.compile(re.escape(words.encode(errors="surrogatepass")))
        hits = np.fromiter((match.start() for match in pattern.finditer(self.prompts.data)), np.int64)
        return self._marked(self.ends, hits)

    def _marked(self, ends: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which triples have one of some places, in columns where each triple's part ends somewhere."""
        marked = np.zeros(len(self.lengths), bool)
        marked[np.searchsorted(ends, places, side="right")] = True
        return marked

    def only(self, kept: NDArray[np.bool_]) -> "Contents":
        """Return the contents of some triples.

        Args:
            kept: whether each triple is one of them.
        """
        entries, sizes = np.repeat(kept, self.lengths), np.diff(self.ends, prepend=0)
        return Contents(
            self.lengths[kept], self.ids[entries], self.share[entries], self.confidence[entries], self.are_exact,
            self.prompts[np.repeat(kept, sizes)], np.cumsum(sizes[kept]),
        )  # fmt: skip


def of(
    lengths: NDArray[np.intp],
    ids: NDArray[np.int32],
    share: NDArray[np.float64],
    confidence: NDArray[np.float64],
    texts: Sequence[str],
) -> Contents:
    """Return the contents of some triples; see Contents."""
    shares, confidences = np.rint(share * STEPS), np.rint(confidence * STEPS)
    are_exact = bool((shares / STEPS == share).all() and (confidences / STEPS == confidence).all())
    prompts = [text.casefold().encode() + _END for text in texts]
    return Contents(
        lengths.astype(np.uint16), ids.astype(np.uint8), shares.astype(np.uint16), confidences.astype(np.uint16),
        np.array([are_exact]), np.frombuffer(b"".join(prompts), np.uint8),
        np.cumsum([len(prompt) for prompt in prompts], dtype=np.int64),
    )  # fmt: skip


def joined(parts: Sequence[Contents]) -> Contents:
    """Return the contents of all parts, one after the other."""
    columns: dict[str, NDArray[Any]] = {
        field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Contents)
    }
    columns["are_exact"] = np.array([columns["are_exact"].all()])
    columns["ends"] = np.cumsum(np.concatenate([np.diff(part.ends, prepend=0) for part in parts]))
    return Contents(**columns)
