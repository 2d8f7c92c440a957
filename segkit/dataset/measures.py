"""How much each kind of doubt applies to triples, measured for many at once from their records."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from segkit.dataset import contents
from segkit.dataset.contents import Contents
from segkit.dataset.vocabulary import Vocabulary
from segkit.palette import Palette

FEW = 100
"""Triples of a dataset below which no class counts as rare."""

TINY = 0.005
"""Share of a map, 0 to 1, below which a class may be a mistake rather than a thing."""

RARE_DOUBT = 0.15
"""Measure of a tiny class that is rare."""

_RARE = 0.01
"""Share of all triples, 0 to 1, below which a class is rare."""

_WEAK = 0.001
"""Share of a map, 0 to 1, from which on the confidence of a class counts by itself."""

_SIZEABLE = 0.05
"""Share of a map, 0 to 1, from which on the confidence of a class counts in full."""

_BIG = 0.4
"""Share of a map, 0 to 1, from which on a class should be named in the prompt."""

UNCERTAIN, WEAKEST, UNLABELLED, FLAGGED, DUPLICATE, ABSENT, UNNAMED, RARE, PROBLEM = range(9)
"""Kinds of doubt. The last two, which depend on more than a record, are no columns of `Measurer.measure`."""

_WEIGHTS = (6.0, 0.15, 1.0, 1.0, 1.0, 0.1, 0.25, 1.0, 1.0)
"""How often each kind counts, as independent chances would; chosen on nine datasets of 160 rendered photos."""

_AGREED = 0.25
"""Factor of the expected errors of a class that the prompt names: captioner and segmenter rarely err alike."""

_CHUNK = 2_000
"""Triples that are measured at once."""


class ShareLike(Protocol):
    """One class of a map; see codec.ClassShare."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def share(self) -> float: ...  # noqa: D102
    @property
    def confidence(self) -> float: ...  # noqa: D102


class Row(Protocol):
    """What doubt depends on; see Triple."""

    @property
    def key(self) -> str: ...  # noqa: D102
    @property
    def text(self) -> str: ...  # noqa: D102
    @property
    def group(self) -> str: ...  # noqa: D102
    @property
    def classes(self) -> Sequence[ShareLike]: ...  # noqa: D102
    @property
    def problems(self) -> Sequence[str]: ...  # noqa: D102


@dataclass(frozen=True)
class Measured:
    """The measures of some triples.

    Attributes:
        keys: of the triples, as numbers, (triples,).
        measures: (triples, kinds), 0 to 1.
        tiny_rows: places of triples with tiny classes, one for each such class.
        tiny_ids: the classes, in the order of tiny_rows: palette indices, or the palette's length for a class of
            another palette.
        counts: number of triples by class.
        contents: what conditions look at.
    """

    keys: NDArray[np.uint64]
    measures: NDArray[np.float32]
    tiny_rows: NDArray[np.intp]
    tiny_ids: NDArray[np.int32]
    counts: NDArray[np.intp]
    contents: Contents


@dataclass(frozen=True)
class Scores:
    """The doubt of many triples, except for classes that are rare, which depends on all of them.

    Attributes:
        keys, tiny_rows, tiny_ids, counts, contents: see Measured.
        doubts: 0 to 1, (triples,).
    """

    keys: NDArray[np.uint64]
    doubts: NDArray[np.float32]
    tiny_rows: NDArray[np.intp]
    tiny_ids: NDArray[np.int32]
    counts: NDArray[np.intp]
    contents: Contents

    def with_rare(self, is_rare: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Return the doubt of each triple, 0 to 1.

        Args:
            is_rare: whether each class is rare; see `rare`.
        """
        doubts, rows = self.doubts.copy(), np.unique(self.tiny_rows[is_rare[self.tiny_ids]])
        doubts[rows] = 1 - (1 - doubts[rows]) * np.float32(1 - RARE_DOUBT)
        return doubts

    def without(self, keys: NDArray[np.uint64]) -> "Scores":
        """Return the scores of the triples that have none of these keys; counts stay."""
        kept = ~np.isin(self.keys, keys)
        places, tiny = np.cumsum(kept) - 1, kept[self.tiny_rows]
        rows = places[self.tiny_rows[tiny]]
        contents = self.contents.only(kept)
        return Scores(self.keys[kept], self.doubts[kept], rows, self.tiny_ids[tiny], self.counts, contents)


class _Ids(dict[str, int]):
    """Palette indices by name; a name of another palette has the number `others`."""

    def __init__(self, others: int) -> None:
        super().__init__()
        self._others = others

    def __missing__(self, name: str) -> int:
        return self._others


class Measurer:
    """Measures what can be told from records.

    Args:
        palette: the classes, by whose names prompts are compared with maps.
    """

    def __init__(self, palette: Palette) -> None:
        self._vocabulary = Vocabulary(palette)
        self._ids = _Ids(len(palette))
        self._ids.update({swatch.name: swatch.index for swatch in palette})
        self.named = self._vocabulary.named

    def measure(self, rows: Sequence[Row]) -> Measured:
        """Measure each kind of doubt but RARE and PROBLEM, for triples that fit into memory."""
        lengths = np.array([len(row.classes) for row in rows], np.intp)
        entries = list(itertools.chain.from_iterable([row.classes for row in rows]))
        number = len(entries)
        ids = np.fromiter(map(self._ids.__getitem__, [entry.name for entry in entries]), np.int32, number)
        exact_share = np.fromiter([entry.share for entry in entries], np.float64, number)
        exact_confidence = np.fromiter([entry.confidence for entry in entries], np.float64, number)
        share, confidence = exact_share.astype(np.float32), exact_confidence.astype(np.float32)
        absent, unnamed, agreed = self._of_prompts(rows, ids, share, lengths)
        expected = share * (1 - confidence)
        expected[agreed] *= np.float32(_AGREED)
        columns = [
            *_of_maps(share, confidence, expected, lengths),
            [0.15 if row.problems else 0.0 for row in rows],
            [0.05 if row.group != row.key else 0.0 for row in rows],
            absent,
            unnamed,
        ]
        tiny, places = np.flatnonzero(share < TINY), np.repeat(np.arange(len(rows)), lengths)
        return Measured(
            np.array([int(row.key, 16) for row in rows], np.uint64),
            np.clip(np.array(columns, np.float32).T, 0, 1),
            places[tiny],
            ids[tiny],
            np.bincount(ids, minlength=len(self._ids) + 1),
            contents.of(lengths, ids, exact_share, exact_confidence, [row.text for row in rows]),
        )

    def _of_prompts(
        self, rows: Sequence[Row], ids: NDArray[np.int32], share: NDArray[np.float32], lengths: NDArray[np.intp]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.intp]]:
        """Compare prompts with maps.

        Args:
            rows: the triples.
            ids: of their classes, one triple's after the other's.
            share: likewise.
            lengths: numbers of classes of each triple.

        Returns:
            ABSENT and UNNAMED of each triple, and the places of the classes that the prompt of their triple names.
        """
        phrases = [self._vocabulary.phrases(row.text) for row in rows]
        mentions = np.fromiter(itertools.chain.from_iterable(phrases), np.intp)
        of_mention = np.repeat(np.arange(len(rows)), [len(numbers) for numbers in phrases])
        places = np.full((len(rows), len(self._ids) + 1), -1, np.intp)  # of each class of each triple; -1: not there
        places[np.repeat(np.arange(len(rows)), lengths), ids] = np.arange(len(ids))
        meant, classes = self._vocabulary.meanings(mentions)
        present = places[of_mention[meant], classes]
        is_missing = np.ones(len(mentions), bool)
        is_missing[meant[present >= 0]] = False
        missing = np.bincount(of_mention[is_missing], minlength=len(rows))
        absent = np.minimum(np.float32(0.2) * missing, 0.4)
        first = np.cumsum(lengths) - lengths
        is_large = np.array([bool(row.text) for row in rows], bool) & (lengths > 0)
        is_large[is_large] = share[first[is_large]] >= _BIG
        is_large[of_mention[meant[present == first[of_mention[meant]]]]] = False
        return absent.astype(np.float32), 0.03 * is_large.astype(np.float32), np.unique(present[present >= 0])

    def scores(self, chunks: Iterable[Sequence[Row]]) -> Scores:
        """Measure many triples, a chunk at a time; see `chunked`."""
        empty = self.measure([])
        parts, doubts, number = [empty], [combined(empty.measures)], 0
        for chunk in chunks:
            measured = self.measure(chunk)
            doubts.append(combined(measured.measures))
            parts.append(replace(measured, measures=empty.measures, tiny_rows=measured.tiny_rows + number))
            number += len(chunk)
        counts = np.sum([part.counts for part in parts], 0)
        columns = {
            name: np.concatenate([getattr(part, name) for part in parts]) for name in ("keys", "tiny_rows", "tiny_ids")
        }
        joined = contents.joined([part.contents for part in parts])
        return Scores(doubts=np.concatenate(doubts), counts=counts, contents=joined, **columns)


def chunked(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Yield rows in lists of the length that is measured fastest."""
    remaining = iter(rows)
    while chunk := list(itertools.islice(remaining, _CHUNK)):
        yield chunk


def rare(scores: Iterable[Scores]) -> NDArray[np.bool_]:
    """Return which classes few triples of a dataset have, by their ids."""
    parts = list(scores)
    counts, total = np.sum([part.counts for part in parts], 0), sum(len(part.keys) for part in parts)
    is_rare = np.asarray(counts < (_RARE * total if total >= FEW else 0), bool)
    is_rare[-1] = False
    return is_rare


def loss(share: Any, confidence: Any) -> Any:
    """Return how much a class counts by its own confidence, 0 to 1; for numbers and arrays."""
    return (share >= _WEAK) * (1 - confidence) * np.sqrt(np.minimum(share / _SIZEABLE, 1))


def _of_maps(
    share: NDArray[np.float32],
    confidence: NDArray[np.float32],
    expected: NDArray[np.float32],
    lengths: NDArray[np.intp],
) -> Iterator[NDArray[Any]]:
    """Yield the measures UNCERTAIN, WEAKEST and UNLABELLED of each triple, (triples,).

    Args:
        share: of each class, one triple's after the other's.
        confidence: likewise.
        expected: likewise, the share of the map that is expected to be wrong.
        lengths: numbers of classes of each triple.
    """
    rows = np.repeat(np.arange(len(lengths)), lengths)
    yield np.bincount(rows, expected, len(lengths))
    weakest = np.zeros(len(lengths), np.float32)
    starts = (np.cumsum(lengths) - lengths)[lengths > 0]
    weakest[lengths > 0] = np.maximum.reduceat(loss(share, confidence), starts) if len(starts) else 0
    yield weakest / 2
    yield np.maximum(1 - np.bincount(rows, share, len(lengths)), 0) / 2


def combined(measures: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the doubt of triples, 0 to 1, from their measures in the last axis, as of independent chances."""
    weights = np.array(_WEIGHTS[: measures.shape[-1]], np.float32)
    return np.asarray(1 - np.prod((1 - measures) ** weights, axis=-1), np.float32)
