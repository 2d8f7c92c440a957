"""Which triples of a dataset meet conditions: only the fields that conditions look at are decoded."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any, BinaryIO, ClassVar

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from segkit.dataset import lines
from segkit.dataset.dataset import Dataset
from segkit.dataset.triple import written_by_person
from segkit.dataset.where import Conditions
from segkit.progress import Progress, silent

_CHUNK = 1 << 16
"""Bytes that are decoded at once. The rows of more do not fit into a processor's cache, which takes twice as long."""

_FEW = 4
"""Times as many lines are read in order in the time that it takes to find one by its key."""

_TOGETHER = 500
"""Lines that are found at once."""


class _Share(Struct, gc=False):
    name: str
    share: float
    confidence: float


class _Prompt(Struct, gc=False):
    by: str
    human: bool
    digest: str


class _Row(Struct, gc=False):
    """What conditions look at, with the names of Triple; without columns that somebody added."""

    key: str
    source: str
    text: str
    split: str
    review: str
    group: str
    tokens: int
    width: int
    height: int
    prompt: _Prompt
    classes: tuple[_Share, ...]
    flags: str = msgspec.field(name="problems")

    extra: ClassVar[str] = ""

    @property
    def problems(self) -> tuple[str, ...]:
        return tuple(self.flags.split())

    @property
    def by_person(self) -> bool:
        return written_by_person(self.prompt, self.text)


_ROWS = msgspec.json.Decoder(_Row)


def matching(
    dataset: Dataset,
    condition: Conditions | None,
    progress: Progress = silent,
    candidates: NDArray[np.uint64] | None = None,
) -> Iterator[tuple[str, int]]:
    """Yield source and key of the triples that meet conditions, in no particular order.

    Args:
        dataset: only its records are read.
        condition: see segkit.dataset.where; None for all triples.
        progress: called with the number of triples looked at. What it raises ends the work.
        candidates: keys, as numbers, of the triples that may meet them; if they are few, only these lines are read.
            None for all.

    Raises:
        DatasetError: a line is damaged.
    """
    total, done = len(dataset.lists.index()), 0  # validates lines that were changed by hand
    whole = condition is not None and bool(condition.columns)  # at first: those that a triple has are removed
    newer = dataset.known(dataset.pending()[0])
    for triple in newer.values():
        if condition is None or condition(triple):
            yield triple.source, int(triple.key, 16)
    if candidates is not None and not whole and _FEW * len(candidates) < total:
        parts, total = _find(dataset, candidates), len(candidates)
    else:
        parts = _read_all(dataset, whole)
    for rows in parts:
        progress("triples filtered", done, total)
        done += len(rows)
        for row in rows:
            if (condition is None or condition(row)) and row.key not in newer:
                yield row.source, int(row.key, 16)


def _find(dataset: Dataset, keys: NDArray[np.uint64]) -> Iterator[Sequence[Any]]:
    """Yield the rows of some keys, many at a time."""
    for start in range(0, len(keys), _TOGETHER):
        data = dataset.lists.find(f"{int(key):016x}" for key in keys[start : start + _TOGETHER])
        yield [_ROWS.decode(line.removeprefix(b"\xef\xbb\xbf")) for line in data.values()]


def _read_all(dataset: Dataset, whole: bool) -> Iterator[Sequence[Any]]:
    """Yield the rows of both lists, which are opened at first: a fold moves triples from one to the other."""
    with ExitStack() as stack:
        paths = [path for path in (dataset.manifest, dataset.lists.left_out) if path.exists()]
        for file in [stack.enter_context(path.open("rb")) for path in paths]:
            yield from _read(file, whole)


def _read(file: BinaryIO, whole: bool) -> Iterator[Sequence[Any]]:
    """Yield the rows of a list many at a time: triples if they are wanted as a whole."""
    while chunk := file.read(_CHUNK) + file.readline():
        if not whole:
            try:
                yield _ROWS.decode_lines(chunk)
                continue
            except msgspec.DecodeError:  # blank lines and byte-order marks of an editor
                pass
        texts = [line.removeprefix(b"\xef\xbb\xbf") for line in chunk.splitlines()]
        yield [lines.decode(line) for line in texts if line.strip()]
