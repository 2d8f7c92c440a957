"""The order in which a person goes through a dataset: the most doubtful triples first."""

from collections import Counter
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Literal, overload

import msgspec
import numpy as np
from msgspec import Struct

from segkit.dataset import Dataset, lines
from segkit.dataset import where as conditions
from segkit.dataset.doubt import Scorer, by_key, scores
from segkit.dataset.triple import Triple
from segkit.problem import Problem

Order = Literal["doubt", "source"]


class Item(Struct, frozen=True):
    """One triple of the queue.

    Attributes:
        key, source, text, split, review, width, height: see Triple.
        by: who wrote the prompt: "person", "model" or "nobody".
        doubt: 0 to 1.
        reasons: short phrases, the weightiest first.
    """

    key: str
    source: str
    text: str
    split: str
    review: str
    by: str
    doubt: float
    reasons: tuple[str, ...]
    width: int
    height: int


class Ranking(Sequence[Item]):
    """Triples in the order of the queue. It holds one number a triple: an item is read when it is accessed.

    Attributes:
        counts: number of triples by review, also of those beyond the limit.
    """

    def __init__(self, dataset: Dataset, scorer: Scorer, keys: "Sequence[int]", counts: dict[str, int]) -> None:
        self._dataset, self._scorer, self._keys, self.counts = dataset, scorer, keys, counts

    @property
    def items(self) -> "Ranking":
        """The triples, as a sequence."""
        return self

    def __len__(self) -> int:
        return len(self._keys)

    @overload
    def __getitem__(self, place: int) -> Item: ...
    @overload
    def __getitem__(self, place: slice) -> list[Item]: ...
    def __getitem__(self, place: int | slice) -> Item | list[Item]:
        if not isinstance(place, slice):
            return self._items([self._keys[place]])[0]
        return self._items(self._keys[place])

    def keys(self) -> Iterator[str]:
        """Yield the keys in order, without reading anything."""
        return (f"{key:016x}" for key in self._keys)

    def _items(self, keys: Sequence[int]) -> list[Item]:
        return [self._item(triple) for triple in self._dataset.get([f"{key:016x}" for key in keys])]

    def _item(self, triple: Triple) -> Item:
        doubtful = self._scorer.doubtful(triple)
        return Item(
            triple.key, triple.source, triple.text, triple.split, triple.review,
            "person" if triple.by_person else triple.prompt.by,
            doubtful.doubt, doubtful.reasons, triple.width, triple.height,
        )  # fmt: skip


class _Share(Struct, gc=False):
    name: str
    share: float
    confidence: float


class _Row(Struct, gc=False):
    """The fields of a line that the order depends on."""

    key: str
    source: str
    text: str
    group: str
    review: str
    problems: str
    classes: list[_Share]


_CHUNK = 1 << 20
"""Bytes that are decoded at once."""

_ROWS = msgspec.json.Decoder(_Row)


def rank(
    dataset: Dataset,
    *,
    where: str = "",
    order: Order = "doubt",
    limit: int | None = None,
    problems: Sequence[Problem] = (),
) -> Ranking:
    """Rank the triples of a dataset.

    Args:
        dataset: the dataset; only its records are read.
        where: conditions, such as "review:open class:lamp"; see segkit.dataset.where. "" for all triples.
        order: the most doubtful first, or by source.
        limit: how many at most; None for all.
        problems: what check found, which counts as doubt.

    Raises:
        UsageError: a condition is malformed.
        PaletteError: there is no such class.
        DatasetError: a line of the manifest is damaged.
    """
    scorer = Scorer(dataset.info.palette, by_key(problems))
    counts: Counter[str] = Counter()
    sources: list[tuple[str, str]] = []

    def counted() -> Iterator[_Row]:
        for row in _matching(dataset, where):
            counts[row.review] += 1
            if order == "source":
                sources.append((row.source, row.key))
            yield row

    keys, doubts = scores(counted(), scorer)
    if order == "source":
        places = np.array(sorted(range(len(sources)), key=sources.__getitem__), np.intp)
    else:
        places = np.argsort(-doubts, kind="stable")
    ranked = np.frombuffer(keys, np.uint64)[places][:limit] if len(keys) else np.empty(0, np.uint64)
    return Ranking(dataset, scorer, ranked.tolist(), dict(counts))


def _matching(dataset: Dataset, where: str) -> Iterator[_Row]:
    if where:
        condition = conditions.parse(where, dataset.info.palette)
        return (_row(lines.encode(triple)) for triple in dataset.triples() if condition(triple))
    return _all(dataset)


def _all(dataset: Dataset) -> Iterator[_Row]:
    """Yield a row for each triple. Decoding only the fields that are needed takes half the time."""
    newer, _ = dataset.pending()
    dataset.lists.index()  # validates lines that were changed by hand
    seen = set(newer)
    for path in (dataset.lists.left_out, dataset.manifest):
        for row in _rows(path):
            if row.key not in seen:
                yield row
            if path == dataset.lists.left_out:
                seen.add(row.key)
    for triple in newer.values():
        yield _row(lines.encode(triple))


def _rows(path: Path) -> Iterator[_Row]:
    """Yield the rows of a list, which is known to be sound, many at a time."""
    with path.open("rb") if path.exists() else BytesIO() as file:
        while chunk := file.read(_CHUNK) + file.readline():
            try:
                yield from _ROWS.decode_lines(chunk)
            except msgspec.DecodeError:  # blank lines and byte-order marks of an editor
                yield from (_row(line) for line in chunk.splitlines() if line.strip())


def _row(line: bytes) -> _Row:
    return _ROWS.decode(line.removeprefix(b"\xef\xbb\xbf"))
