"""The order in which a person goes through a dataset: the most doubtful triples first."""

import shlex
from collections.abc import Iterator, Sequence
from typing import Literal, overload

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from segkit.dataset import Dataset, checks, scored
from segkit.dataset import where as conditions
from segkit.dataset.doubt import Scorer, by_key, is_key
from segkit.dataset.prompts import FLAGS
from segkit.dataset.triple import REVIEWS, Triple
from segkit.problem import Problem

Order = Literal["doubt", "source"]

ANY = "check"
"""The flag of a triple about which check found anything."""


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
        numbers: the keys as numbers, (triples,).
        counts: number of triples by review, also of those beyond the limit.
    """

    def __init__(self, dataset: Dataset, scorer: Scorer, numbers: NDArray[np.uint64], counts: dict[str, int]) -> None:
        self._dataset, self._scorer, self.numbers, self.counts = dataset, scorer, numbers, counts

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, place: int) -> Item: ...
    @overload
    def __getitem__(self, place: slice) -> list[Item]: ...
    def __getitem__(self, place: int | slice) -> Item | list[Item]:
        if not isinstance(place, slice):
            return self._items([int(self.numbers[place])])[0]
        return self._items(self.numbers[place].tolist())

    def keys(self) -> Iterator[str]:
        """Yield the keys in order, without reading anything."""
        return (f"{key:016x}" for key in map(int, self.numbers))

    def _items(self, keys: Sequence[int]) -> list[Item]:
        return [self._item(triple) for triple in self._dataset.get([f"{key:016x}" for key in keys])]

    def _item(self, triple: Triple) -> Item:
        doubtful = self._scorer.doubtful(triple)
        return Item(
            triple.key, triple.source, triple.text, triple.split, triple.review,
            "person" if triple.by_person else triple.prompt.by,
            doubtful.doubt, doubtful.reasons, triple.width, triple.height,
        )  # fmt: skip


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
        where: conditions, such as "review:open class:lamp"; see segkit.dataset.where. "" for all triples. A rule of
            check is a flag, too, for those of `problems`: "flag:file-changed", "flag:check" for any.
        order: the most doubtful first, or by source.
        limit: how many at most; None for all.
        problems: what check found, which counts as doubt.

    Raises:
        UsageError: a condition is malformed.
        PaletteError: there is no such class.
        DatasetError: a line of the manifest is damaged.
    """
    where, rules = _rules(where)
    scorer = Scorer(dataset.info.palette, by_key(problems))
    parts = scored.of_dataset(dataset, scorer.measurer)
    doubts = np.concatenate(scorer.doubts(*(part.scores for part in parts)))
    keys = np.concatenate([part.scores.keys for part in parts])
    reviews = np.concatenate([part.reviews for part in parts])
    if where or order == "source":
        places = _places(keys, _chosen(dataset, where, order))
    if order == "doubt":
        among = places if where else np.arange(len(keys))
        places = among[np.argsort(-doubts[among], kind="stable")]
    for rule in rules:
        found = {
            int(problem.place, 16) for problem in problems if is_key(problem.place) and rule in (problem.rule, ANY)
        }
        places = places[np.isin(keys[places], np.fromiter(found, np.uint64, len(found)))]
    numbers = np.bincount(reviews[places], minlength=len(REVIEWS)).tolist()
    counts = {review: number for review, number in zip(REVIEWS, numbers, strict=True) if number}
    return Ranking(dataset, scorer, keys[places][:limit], counts)


def _rules(where: str) -> tuple[str, list[str]]:
    """Divide conditions into those on records, and the rules of check that were broken: "flag:file-changed"."""
    try:
        terms = shlex.split(where)
    except ValueError:  # conditions.parse words it
        return where, []
    rules = {f"flag:{rule}": rule for rule in (*checks.RULES, ANY) if rule not in FLAGS}
    rest = [term for term in terms if term not in rules]
    return shlex.join(rest), [rules[term] for term in terms if term in rules]


def _chosen(dataset: Dataset, where: str, order: Order) -> NDArray[np.uint64]:
    """Return the keys of the triples that meet conditions, sorted by source if that is the order."""
    condition = conditions.parse(where, dataset.info.palette) if where else None
    chosen = (triple for triple in dataset.triples() if condition is None or condition(triple))
    if order == "doubt":
        return np.fromiter((int(triple.key, 16) for triple in chosen), np.uint64)
    by_source = sorted((triple.source, int(triple.key, 16)) for triple in chosen)
    return np.fromiter((key for _, key in by_source), np.uint64, len(by_source))


def _places(keys: NDArray[np.uint64], chosen: NDArray[np.uint64]) -> NDArray[np.intp]:
    """Return where chosen keys are among all; those that were added meanwhile are left out."""
    if not len(keys):
        return np.empty(0, np.intp)
    order = np.argsort(keys)
    places = order[np.minimum(np.searchsorted(keys, chosen, sorter=order), len(keys) - 1)]
    return np.asarray(places[keys[places] == chosen], np.intp)
