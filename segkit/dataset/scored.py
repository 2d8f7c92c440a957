"""The scores of all triples that are listed, measured once and kept in .segkit/cache until a list changes."""

import json
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from io import BytesIO
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from segkit import storage
from segkit.dataset import contents
from segkit.dataset.contents import Contents
from segkit.dataset.dataset import Dataset
from segkit.dataset.index import State
from segkit.dataset.measures import Measurer, Scores, chunked
from segkit.dataset.triple import REVIEWS
from segkit.errors import StorageError
from segkit.palette import Palette
from segkit.progress import Progress, silent

_VERSION = 4
"""Grows whenever measures change their meaning."""

_CHUNK = 1 << 18
"""Bytes that are decoded and measured at once, while other threads wait."""


class _Share(Struct, gc=False):
    name: str
    share: float
    confidence: float


class _Row(Struct, gc=False):
    """The fields of a line that the order depends on: decoding only these takes half the time."""

    key: str
    text: str
    group: str
    review: str
    problems: str
    classes: tuple[_Share, ...]  # the garbage collector forgets tuples of such values, but never lists


_ROWS = msgspec.json.Decoder(_Row)

_CONTENTS = [field.name for field in fields(Contents)]
_COLUMNS = [field.name for field in fields(Scores) if field.name != "contents"]
"""What the cache holds."""


@dataclass(frozen=True)
class Scored:
    """Triples with their scores.

    Attributes:
        scores: see Scores.
        reviews: position of each triple's review in REVIEWS, (triples,).
    """

    scores: Scores
    reviews: NDArray[np.uint8]

    def without(self, keys: NDArray[np.uint64]) -> "Scored":
        """Return what is known of the triples that have none of these keys."""
        if not len(keys):
            return self
        return Scored(self.scores.without(keys), self.reviews[~np.isin(self.scores.keys, keys)])


def of_dataset(dataset: Dataset, measurer: Measurer, progress: Progress = silent) -> tuple[Scored, Scored]:
    """Return the scores of all triples: those that the lists have, and those of parts that are not folded in yet.

    Edits that are stored meanwhile are among them.

    Args:
        dataset: the dataset.
        measurer: for its palette.
        progress: called with the number of triples that were measured, and before it, if the lists were changed by
            hand, with the bytes that were validated. What it raises ends the work.

    Raises:
        DatasetError: a line is damaged.
    """
    while True:
        states = dataset.lists.state()
        in_lists = _of_lists(dataset, measurer, progress)
        newer = list(dataset.pending()[0].values())  # after the lists, which takes long: with all edits until now
        if dataset.lists.are_as(states):  # otherwise a fold may have moved edits to where they were not read
            break
    scores = measurer.scores(chunked(newer))
    pending = Scored(scores, np.array([REVIEWS.index(triple.review) for triple in newer], np.uint8))
    return in_lists.without(scores.keys), pending


def _of_lists(dataset: Dataset, measurer: Measurer, progress: Progress) -> Scored:
    """Return the scores of the triples in the lists, from the cache if that is up to date.

    Raises:
        DatasetError: a line is damaged.
    """
    dataset.lists.index(progress)  # validates lines that were changed by hand
    file = dataset.hidden / "cache" / "doubt"
    cached = _read(file, dataset)
    if cached:
        return cached
    states = dataset.lists.state()
    scored = _measured(dataset, measurer, progress)
    if dataset.lists.are_as(states):  # otherwise one was replaced meanwhile
        with suppress(StorageError):  # a read-only dataset is measured again each time
            storage.write(file, _encoded(scored, states, dataset.info.palette))
    return scored


def _measured(dataset: Dataset, measurer: Measurer, progress: Progress) -> Scored:
    reviews: list[NDArray[np.uint8]] = [np.empty(0, np.uint8)]
    numbers = {review: number for number, review in enumerate(REVIEWS)}
    done, total = 0, len(dataset.lists.index())

    def noted(path: Path) -> Iterator[Sequence[_Row]]:
        nonlocal done
        for chunk in _rows(path):
            progress("triples ranked", done, total)
            done += len(chunk)
            reviews.append(np.array([numbers[row.review] for row in chunk], np.uint8))
            yield chunk

    left_out = measurer.scores(noted(dataset.lists.left_out))
    between = len(reviews)
    listed = Scored(measurer.scores(noted(dataset.manifest)), np.concatenate(reviews[between:] or reviews[:1]))
    listed = listed.without(left_out.keys)  # during a fold, a triple may be in both
    joined = _joined(left_out, listed.scores)
    return Scored(joined, np.concatenate([*reviews[:between], listed.reviews]))


def _joined(first: Scores, second: Scores) -> Scores:
    return Scores(
        np.concatenate([first.keys, second.keys]),
        np.concatenate([first.doubts, second.doubts]),
        np.concatenate([first.tiny_rows, second.tiny_rows + len(first.keys)]),
        np.concatenate([first.tiny_ids, second.tiny_ids]),
        first.counts + second.counts,
        contents.joined([first.contents, second.contents]),
    )


def _rows(path: Path) -> Iterator[list[_Row]]:
    """Yield the rows of a list, which is known to be sound, many at a time."""
    with path.open("rb") if path.exists() else BytesIO() as file:
        while chunk := file.read(_CHUNK) + file.readline():
            try:
                yield _ROWS.decode_lines(chunk)
            except msgspec.DecodeError:  # blank lines and byte-order marks of an editor
                texts = [line.removeprefix(b"\xef\xbb\xbf") for line in chunk.splitlines()]
                yield [_ROWS.decode(line) for line in texts if line.strip()]


def _encoded(scored: Scored, states: Sequence[State], palette: Palette) -> bytes:
    buffer = BytesIO()
    columns = {name: getattr(scored.scores, name) for name in _COLUMNS}
    columns |= {name: getattr(scored.scores.contents, name) for name in _CONTENTS}
    np.savez(buffer, states=np.array(states, np.uint64), depends=_digest(palette), reviews=scored.reviews, **columns)
    return buffer.getvalue()


def _digest(palette: Palette) -> str:
    """Return what scores depend on beside the lists."""
    classes = [[swatch.name, *swatch.synonyms] for swatch in palette]
    return storage.sha256(json.dumps([_VERSION, classes]).encode())


def _read(file: Path, dataset: Dataset) -> Scored | None:
    """Return what the cache holds; None if it is missing, damaged, or describes another state."""
    try:
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as columns:
            states = [tuple(state) for state in columns["states"].tolist()]
            if str(columns["depends"]) == _digest(dataset.info.palette) and dataset.lists.are_as(states):
                known = Contents(**{name: columns[name] for name in _CONTENTS})
                return Scored(Scores(**{name: columns[name] for name in _COLUMNS}, contents=known), columns["reviews"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        pass
    return None
