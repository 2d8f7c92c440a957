"""How doubtful each triple is, from its record alone: what a person should look at first, and why."""

import itertools
import re
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from segkit.dataset import prompts
from segkit.dataset.dataset import Dataset
from segkit.dataset.triple import Triple
from segkit.palette import Palette, simplify
from segkit.problem import Problem

FEW = 100
"""Triples of a dataset below which no class counts as rare."""

LITTLE = 0.1
"""Doubt, 0 to 1, below which nobody is asked to look."""

_TINY = 0.005
"""Share of a map, 0 to 1, below which a class may be a mistake rather than a thing."""

_RARE = 0.01
"""Share of all triples, 0 to 1, below which a class is rare."""

_WEAK = 0.001
"""Share of a map, 0 to 1, from which on the confidence of a class counts by itself."""

_SIZEABLE = 0.05
"""Share of a map, 0 to 1, from which on the confidence of a class counts in full."""

_BIG = 0.4
"""Share of a map, 0 to 1, from which on a class should be named in the prompt."""

_RARE_DOUBT = 0.15

UNCERTAIN, WEAKEST, UNLABELLED, RARE, ABSENT, UNNAMED, FLAGGED, DUPLICATE, PROBLEM = range(9)
"""Columns of the measures of triples: how much each kind of doubt applies, 0 to 1."""

_CHUNK = 20_000
"""Triples that are measured at once."""

_WORTH = 0.03
"""Measure, 0 to 1, from which on a reason is named."""

_WORDS = re.compile(r"[^\W_]+")


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
class Doubtful:
    """A triple that a person should look at.

    Attributes:
        triple: the triple.
        doubt: 0 to 1.
        reasons: short phrases, the weightiest first.
    """

    triple: Triple
    doubt: float
    reasons: tuple[str, ...]

    @property
    def why(self) -> str:
        """The two weightiest reasons."""
        return "; ".join(self.reasons[:2])

    def to_json(self) -> dict[str, object]:
        """Return key, source, doubt and reasons."""
        return {
            "key": self.triple.key, "source": self.triple.source, "doubt": self.doubt, "reasons": list(self.reasons)
        }  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """The measures of some triples.

    Attributes:
        keys: of the triples, as numbers.
        measures: (triples, kinds), 0 to 1; RARE is 0.
        tiny_rows: places of triples with tiny classes, one for each such class.
        tiny_ids: the classes, in the order of tiny_rows.
        counts: number of triples by class.
    """

    keys: "array[int]"
    measures: NDArray[np.float32]
    tiny_rows: NDArray[np.intp]
    tiny_ids: NDArray[np.int32]
    counts: NDArray[np.intp]


class Scorer:
    """Measures doubt.

    Args:
        palette: the classes, by whose names prompts are compared with maps.
        findings: problems of check by the key of their triple.
    """

    def __init__(self, palette: Palette, findings: Mapping[str, Sequence[Problem]] | None = None) -> None:
        self._findings = findings or {}
        self.rare: frozenset[str] = frozenset()
        self._ids: dict[str, int] = defaultdict(itertools.count(1).__next__)
        self._ids[""] = 0
        self._phrases: dict[str, list[tuple[tuple[str, ...], frozenset[str]]]] = {}
        meanings: dict[tuple[str, ...], set[str]] = {}
        for swatch in palette:
            for name in (swatch.name, *swatch.synonyms):
                words = tuple(_WORDS.findall(simplify(name)))
                for form in (words, (*words[:-1], f"{words[-1]}s")) if words else ():
                    meanings.setdefault(form, set()).add(swatch.name)
        for words, names in sorted(meanings.items(), key=lambda pair: -len(pair[0])):
            self._phrases.setdefault(words[0], []).append((words, frozenset(names)))

    def named(self, text: str) -> list[frozenset[str]]:
        """Return, for each class that a text names, the classes that the word may mean."""
        words = _WORDS.findall(text.lower())
        if self._phrases.keys().isdisjoint(words):
            return []
        result, beyond = [], 0
        for place in [place for place, word in enumerate(words) if word in self._phrases]:
            for phrase, names in self._phrases[words[place]] if place >= beyond else ():
                if len(phrase) == 1 or tuple(words[place : place + len(phrase)]) == phrase:
                    result.append(names)
                    beyond = place + len(phrase)
                    break
        return result

    def measure(self, rows: Iterable[Row]) -> "Measured":
        """Measure each kind of doubt, for triples that fit into memory; RARE is left at 0."""
        keys, starts, ids = array("Q"), array("q"), array("i")
        shares, confidences, others = array("f"), array("f"), array("f")
        for row in rows:
            classes = row.classes
            names = [share.name for share in classes]
            keys.append(int(row.key, 16))
            starts.append(len(ids))
            ids.append(0)  # so that a map without a class has an entry, too
            ids.extend(map(self._ids.__getitem__, names))
            shares.append(1.0)
            shares.extend([share.share for share in classes])
            confidences.append(1.0)
            confidences.extend([share.confidence for share in classes])
            others.extend(self._others(row, names))
        share, confidence = np.frombuffer(shares, np.float32), np.frombuffer(confidences, np.float32)
        first, classes_of = np.frombuffer(starts, np.int64), np.frombuffer(ids, np.int32)
        tiny = np.flatnonzero(share < _TINY)
        of_maps = _of_maps(share, confidence, first)
        measures = np.hstack([of_maps, np.frombuffer(others, np.float32).reshape(-1, 5)])
        rows_of = np.searchsorted(first, tiny, side="right") - 1
        return Measured(keys, measures, rows_of, classes_of[tiny], np.bincount(classes_of, minlength=len(self._ids)))

    def learn(self, counts: NDArray[np.intp], total: int) -> None:
        """Note which classes are rare.

        Args:
            counts: number of triples by class, from Measured.
            total: number of triples.
        """
        least = _RARE * total if total >= FEW else 0
        known = zip(self._ids.items(), counts.tolist(), strict=False)
        self.rare = frozenset(name for (name, _), number in known if number < least)

    def is_rare(self, ids: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Return which of some classes, from Measured, are rare."""
        return np.array([name in self.rare for name in self._ids], bool)[ids]

    def _others(self, row: Row, names: list[str]) -> tuple[float, float, float, float, float]:
        """Return the measures that do not depend on the map alone, from ABSENT on."""
        absent = unnamed = problem = 0.0
        if row.text:
            named = self.named(row.text)
            if named:
                absent = min(0.2 * sum(meant.isdisjoint(names) for meant in named), 0.4)
            if names and row.classes[0].share >= _BIG and not any(names[0] in meant for meant in named):
                unnamed = 0.03
        if self._findings and row.key in self._findings:
            problem = 0.5 if any(problem.severity == "error" for problem in self._findings[row.key]) else 0.1
        return absent, unnamed, 0.15 if row.problems else 0.0, 0.05 if row.group != row.key else 0.0, problem

    def doubtful(self, triple: Triple) -> Doubtful:
        """Return a triple with its doubt and the reasons."""
        measured = self.measure([triple])
        measures = measured.measures[0]
        measures[RARE] = _RARE_DOUBT * self.is_rare(measured.tiny_ids).any()
        kinds = [kind for kind in np.argsort(-measures, kind="stable").tolist() if measures[kind] >= _WORTH]
        reasons = tuple(self._reason(kind, triple, float(measures[kind])) for kind in kinds)
        return Doubtful(triple, round(float(_combined(measures)), 4), reasons)

    def _reason(self, kind: int, triple: Triple, measure: float) -> str:
        if kind == UNCERTAIN:
            return f"{measure:.0%} of the map expected to be wrong"
        if kind == WEAKEST:
            weakest = max(triple.classes, key=lambda share: _loss(share.share, share.confidence))
            return f"{weakest.name}: confidence {weakest.confidence:.2f} on {weakest.share:.1%} of the map"
        if kind == RARE:
            names = [share.name for share in triple.classes if share.share < _TINY and share.name in self.rare]
            return f"{', '.join(names)}: tiny, and rare in the dataset"
        if kind == ABSENT:
            present = {share.name for share in triple.classes}
            absent = [sorted(names)[0] for names in self.named(triple.text) if names.isdisjoint(present)]
            return f"named in the prompt, not in the map: {', '.join(dict.fromkeys(absent))}"
        return {
            UNLABELLED: f"{1 - sum(share.share for share in triple.classes):.0%} unlabelled",
            UNNAMED: f"{triple.classes[0].name if triple.classes else ''}: large, but not in the prompt",
            FLAGGED: "; ".join(prompts.FLAGS.get(flag, flag) for flag in triple.problems),
            DUPLICATE: "a near-duplicate of another photo",
            PROBLEM: ", ".join(dict.fromkeys(problem.rule for problem in self._findings.get(triple.key, ()))),
        }[kind]


def _loss(share: Any, confidence: Any) -> Any:
    """Return how much a class counts by its own confidence, 0 to 1; for numbers and arrays."""
    return (share >= _WEAK) * (1 - confidence) * np.sqrt(np.minimum(share / _SIZEABLE, 1))


def _of_maps(
    share: NDArray[np.float32], confidence: NDArray[np.float32], starts: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return the measures that depend on the map alone, (triples, 4).

    Args:
        share: 1 in front of each triple's classes, and then the share of each, (entries,).
        confidence: likewise.
        starts: the first entry of each triple, (triples,).
    """
    columns = [
        np.add.reduceat(share * (1 - confidence), starts),
        np.maximum.reduceat(_loss(share, confidence), starts) / 2,
        np.maximum(2 - np.add.reduceat(share, starts), 0) / 2,
        np.zeros(len(starts), np.float32),
    ]
    return np.asarray(np.clip(np.stack(columns, 1), 0, 1), np.float32)


def _combined(measures: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the doubt of triples, from their measures in the last axis, as of independent chances."""
    return np.asarray(1 - np.prod(1 - measures, axis=-1), np.float32)


def scores(rows: Iterable[Row], scorer: Scorer) -> tuple["array[int]", NDArray[np.float32]]:
    """Measure many triples, and note which classes are rare among them in `scorer.rare`.

    Returns:
        The keys as numbers and the doubt of each, 0 to 1, in the order of the rows.
    """
    remaining, keys = iter(rows), array("Q")
    doubts, tiny_rows, tiny_ids = [np.empty(0, np.float32)], [np.empty(0, np.intp)], [np.empty(0, np.int32)]
    counts = np.zeros(0, np.intp)
    while (measured := scorer.measure(itertools.islice(remaining, _CHUNK))).keys:
        doubts.append(_combined(measured.measures))
        tiny_rows.append(measured.tiny_rows + len(keys))
        tiny_ids.append(measured.tiny_ids)
        counts = measured.counts + np.pad(counts, (0, len(measured.counts) - len(counts)))
        keys.extend(measured.keys)
    scorer.learn(counts, len(keys))
    doubt = np.concatenate(doubts)
    rare = np.unique(np.concatenate(tiny_rows)[scorer.is_rare(np.concatenate(tiny_ids))])
    doubt[rare] = 1 - (1 - doubt[rare]) * np.float32(1 - _RARE_DOUBT)
    return keys, doubt


def by_key(problems: Iterable[Problem]) -> dict[str, list[Problem]]:
    """Return the problems of each triple."""
    result: dict[str, list[Problem]] = {}
    for problem in problems:
        result.setdefault(problem.place, []).append(problem)
    return result


def of_dataset(dataset: Dataset, number: int) -> list[Doubtful]:
    """Return the most doubtful triples of a dataset; see `worst`.

    Raises:
        DatasetError: a line of the manifest is damaged.
    """
    return worst(dataset.triples(), dataset.info.palette, number, dataset.get)


def worst(
    triples: Iterable[Triple], palette: Palette, number: int, get: Callable[[list[str]], Iterable[Triple]]
) -> list[Doubtful]:
    """Return the most doubtful triples that no person has decided about, the worst first.

    Args:
        triples: all triples of a dataset, read once and not kept.
        palette: the classes.
        number: how many are returned at most.
        get: returns the triples with some keys, in their order.
    """
    scorer = Scorer(palette)
    keys, doubts = scores((triple for triple in triples if triple.review == "open"), scorer)
    places = np.argsort(-doubts, kind="stable")[:number].tolist()
    ranked = [scorer.doubtful(triple) for triple in get([f"{keys[place]:016x}" for place in places])]
    return [doubtful for doubtful in ranked if doubtful.doubt >= LITTLE]
