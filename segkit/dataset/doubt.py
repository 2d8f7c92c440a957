"""How doubtful each triple is, from its record alone: what a person should look at first, and why."""

import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from segkit.dataset import prompts
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

_KINDS = 8
UNCERTAIN, WEAKEST, UNLABELLED, ABSENT, UNNAMED, FLAGGED, DUPLICATE, PROBLEM = range(_KINDS)
"""Places in the measures of a triple."""

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


class Scorer:
    """Measures doubt.

    Args:
        palette: the classes, by whose names prompts are compared with maps.
        findings: problems of check by the key of their triple.
    """

    def __init__(self, palette: Palette, findings: Mapping[str, Sequence[Problem]] | None = None) -> None:
        self._findings = findings or {}
        self.rare: frozenset[str] = frozenset()
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
        result, place = [], 0
        while place < len(words):
            length = 1
            for phrase, names in self._phrases.get(words[place], ()):
                if len(phrase) == 1 or tuple(words[place : place + len(phrase)]) == phrase:
                    result.append(names)
                    length = len(phrase)
                    break
            place += length
        return result

    def measures(self, row: Row) -> list[float]:
        """Return how much each kind of doubt applies to a triple: 0 to 1, in the order of the constants above."""
        uncertain = weakest = labelled = 0.0
        for share in row.classes:
            labelled += share.share
            loss = 1 - share.confidence
            uncertain += share.share * loss
            if share.share >= _WEAK:
                loss *= sqrt(min(share.share / _SIZEABLE, 1))
                weakest = max(weakest, loss)
        result = [uncertain, weakest / 2, max(1 - labelled, 0) / 2, 0.0, 0.0, 0.0, 0.0, 0.0]
        if row.text:
            self._compare(row, result)
        if row.problems:
            result[FLAGGED] = 0.15
        if row.group != row.key:
            result[DUPLICATE] = 0.05
        if row.key in self._findings:
            result[PROBLEM] = 0.5 if any(found.severity == "error" for found in self._findings[row.key]) else 0.1
        return result

    def _compare(self, row: Row, result: list[float]) -> None:
        named, present = self.named(row.text), {share.name for share in row.classes}
        absent = sum(names.isdisjoint(present) for names in named)
        result[ABSENT] = min(0.2 * absent, 0.4)
        if row.classes and row.classes[0].share >= _BIG and not any(row.classes[0].name in names for names in named):
            result[UNNAMED] = 0.03

    def doubt(self, row: Row) -> float:
        """Return the doubt of a triple, 0 to 1."""
        tiny = any(share.share < _TINY and share.name in self.rare for share in row.classes)
        return 1 - _certainty(self.measures(row)) * (1 - _RARE_DOUBT * tiny)

    def doubtful(self, triple: Triple) -> Doubtful:
        """Return a triple with its doubt and the reasons."""
        measures = self.measures(triple)
        reasons = [(measure, self._reason(kind, triple)) for kind, measure in enumerate(measures) if measure >= 0.03]
        rare = [share.name for share in triple.classes if share.share < _TINY and share.name in self.rare]
        reasons += [(_RARE_DOUBT, f"{', '.join(rare)}: tiny, and rare in the dataset")] if rare else []
        reasons.sort(key=lambda pair: -pair[0])
        return Doubtful(triple, round(self.doubt(triple), 4), tuple(reason for _, reason in reasons if reason))

    def _reason(self, kind: int, triple: Triple) -> str:
        if kind == UNCERTAIN:
            return f"{self.measures(triple)[UNCERTAIN]:.0%} of the map expected to be wrong"
        if kind == WEAKEST:
            loss = {
                share: (1 - share.confidence) * sqrt(min(share.share / _SIZEABLE, 1))
                for share in triple.classes
                if share.share >= _WEAK
            }
            weakest = max(loss, key=lambda share: loss[share])
            return f"{weakest.name}: confidence {weakest.confidence:.2f} on {weakest.share:.1%} of the map"
        if kind == ABSENT:
            present = {share.name for share in triple.classes}
            absent = [sorted(names)[0] for names in self.named(triple.text) if names.isdisjoint(present)]
            return f"named in the prompt, not in the map: {', '.join(dict.fromkeys(absent))}"
        return {
            UNLABELLED: f"{1 - sum(share.share for share in triple.classes):.0%} unlabelled",
            UNNAMED: f"{triple.classes[0].name if triple.classes else ''}: large, but not in the prompt",
            FLAGGED: "; ".join(prompts.FLAGS.get(flag, flag) for flag in triple.problems),
            DUPLICATE: "a near-duplicate of another photo",
            PROBLEM: ", ".join(dict.fromkeys(found.rule for found in self._findings.get(triple.key, ()))),
        }[kind]


_RARE_DOUBT = 0.15


def _certainty(measures: Iterable[float]) -> float:
    certainty = 1.0
    for measure in measures:
        certainty *= 1 - measure
    return certainty


def scores(rows: Iterable[Row], scorer: Scorer) -> tuple["array[int]", NDArray[np.float32]]:
    """Measure many triples, and note which classes are rare among them in `scorer.rare`.

    Returns:
        The keys as numbers and the doubt of each, 0 to 1, in the order of the rows: 12 bytes a triple.
    """
    keys, certainties = array("Q"), array("f")
    counts: Counter[str] = Counter()
    tiny: list[tuple[str, ...]] = []
    for row in rows:
        keys.append(int(row.key, 16))
        certainties.append(_certainty(scorer.measures(row)))
        counts.update([share.name for share in row.classes])
        small = [share.name for share in row.classes if share.share < _TINY]
        tiny.append(tuple(small) if small else ())
    least = _RARE * len(keys) if len(keys) >= FEW else 0
    scorer.rare = frozenset(name for name, number in counts.items() if number < least)
    result = 1 - np.frombuffer(certainties, np.float32) if keys else np.empty(0, np.float32)
    rare = np.fromiter((not scorer.rare.isdisjoint(names) for names in tiny), bool, len(tiny))
    result = np.where(rare, 1 - (1 - result) * np.float32(1 - _RARE_DOUBT), result).astype(np.float32)
    return keys, result


def by_key(problems: Iterable[Problem]) -> dict[str, list[Problem]]:
    """Return the problems of each triple."""
    result: dict[str, list[Problem]] = {}
    for problem in problems:
        result.setdefault(problem.place, []).append(problem)
    return result


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
