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
from segkit.dataset.matching import matching
from segkit.dataset.prompts import FLAGS
from segkit.dataset.scored import Scored
from segkit.dataset.triple import REVIEWS, Triple
from segkit.dataset.where import Conditions, OfClass, OfPrompt
from segkit.palette import Palette
from segkit.problem import Problem
from segkit.progress import Progress, silent

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
        reviews: position of each triple's review in REVIEWS, (triples,).
        counts: number of triples by review, also of those beyond the limit.
    """

    def __init__(
        self, dataset: Dataset, scorer: Scorer, numbers: NDArray[np.uint64], reviews: NDArray[np.uint8],
        limit: int | None = None,
    ) -> None:  # fmt: skip
        self._dataset, self._scorer = dataset, scorer
        self.numbers, self.reviews = numbers[:limit], reviews[:limit]
        counts = np.bincount(reviews, minlength=len(REVIEWS)).tolist()
        self.counts = {review: number for review, number in zip(REVIEWS, counts, strict=True) if number}

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
    progress: Progress = silent,
) -> Ranking:
    """Rank the triples of a dataset.

    Args:
        dataset: the dataset; only its records are read.
        where: conditions, such as "review:open class:lamp"; see segkit.dataset.where. "" for all triples. A rule of
            check is a flag, too, for those of `problems`: "flag:file-changed", "flag:check" for any.
        order: the most doubtful first, or by source.
        limit: how many at most; None for all.
        problems: what check found, which counts as doubt.
        progress: called with the number of triples; see scored.of_dataset. What it raises ends the work.

    Raises:
        UsageError: a condition is malformed.
        PaletteError: there is no such class.
        DatasetError: a line of the manifest is damaged.
    """
    where, rules, among = _divided(where)
    condition = conditions.parse(where, dataset.info.palette) if where else None  # refused before the long work
    scorer = Scorer(dataset.info.palette, by_key(problems))
    parts = scored.of_dataset(dataset, scorer.measurer, progress)
    doubts = np.concatenate(scorer.doubts(*(part.scores for part in parts)))
    keys = np.concatenate([part.scores.keys for part in parts])
    reviews = np.concatenate([part.reviews for part in parts])
    places = np.arange(len(keys))
    is_decided = not condition
    if condition and all(part.scores.contents.are_exact[0] for part in parts):
        places = np.flatnonzero(_meeting(condition.measured, parts, dataset.info.palette))
        is_decided = condition.are_measured
    if order == "source" or not is_decided:
        places = _places(keys, _chosen(dataset, condition, keys[places], progress))
    if order == "doubt":
        places = places[np.argsort(-doubts[places], kind="stable")]
    places = places[among[reviews[places]]]
    for rule in rules:
        flagged = {
            int(problem.place, 16) for problem in problems if is_key(problem.place) and rule in (problem.rule, ANY)
        }
        places = places[np.isin(keys[places], np.fromiter(flagged, np.uint64, len(flagged)))]
    return Ranking(dataset, scorer, keys[places], reviews[places], limit)


def unranked(dataset: Dataset) -> Ranking:
    """Return the triples of a dataset in the order of its lists, until they are ranked. All count as open."""
    return _as_listed(dataset, dataset.lists.index().in_order())


def first(dataset: Dataset) -> Ranking | None:
    """Return the first triples of `unranked`, for which no index is needed; None if a line of theirs is damaged."""
    head = dataset.lists.head()
    return _as_listed(dataset, np.array([int(key, 16) for key in head.keys], np.uint64)) if head else None


def _as_listed(dataset: Dataset, numbers: NDArray[np.uint64]) -> Ranking:
    return Ranking(dataset, Scorer(dataset.info.palette), numbers, np.zeros(len(numbers), np.uint8))


def _divided(where: str) -> tuple[str, list[str], NDArray[np.bool_]]:
    """Divide conditions by what they need.

    Returns:
        Those on records; the rules of check that were broken, as in "flag:file-changed"; and whether each of REVIEWS
        counts, as in "review:open", for which no record is read.
    """
    among = np.ones(len(REVIEWS), bool)
    try:
        terms = shlex.split(where)
    except ValueError:  # conditions.parse words it
        return where, [], among
    by_rule = {f"flag:{rule}": rule for rule in (*checks.RULES, ANY) if rule not in FLAGS}
    by_review = {f"review:{review}": np.array(REVIEWS) == review for review in REVIEWS}
    by_review |= {f"-{term}": ~chosen for term, chosen in by_review.items()}
    for term in terms:
        among &= by_review.get(term, True)
    rest = [term for term in terms if term not in by_rule and term not in by_review]
    return shlex.join(rest), [by_rule[term] for term in terms if term in by_rule], among


def _meeting(measured: Sequence[OfClass | OfPrompt], parts: Sequence[Scored], palette: Palette) -> NDArray[np.bool_]:
    """Return whether each triple meets conditions on what was measured."""
    chosen = np.ones(sum(len(part.reviews) for part in parts), bool)
    for one in measured:
        columns = [part.scores.contents for part in parts]
        if isinstance(one, OfPrompt):
            holds = [part.mentioning(one.words) for part in columns]
        else:
            label = palette.find(one.name).index
            holds = [part.having(label, one.field, one.compare) for part in columns]
        chosen &= np.concatenate(holds) == one.is_wanted
    return chosen


def _chosen(
    dataset: Dataset, condition: Conditions | None, candidates: NDArray[np.uint64], progress: Progress
) -> NDArray[np.uint64]:
    """Return the keys of the triples among candidates that meet conditions, sorted by source."""
    by_source = sorted(set(matching(dataset, condition, progress, candidates)))
    if condition is not None:
        condition.require_columns()
    return np.fromiter((key for _, key in by_source), np.uint64, len(by_source))


def _places(keys: NDArray[np.uint64], chosen: NDArray[np.uint64]) -> NDArray[np.intp]:
    """Return where chosen keys are among all; those that were added meanwhile are left out."""
    if not len(keys):
        return np.empty(0, np.intp)
    order = np.argsort(keys)
    places = order[np.minimum(np.searchsorted(keys, chosen, sorter=order), len(keys) - 1)]
    return np.asarray(places[keys[places] == chosen], np.intp)
