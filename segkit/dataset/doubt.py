"""How doubtful each triple is, from its record alone: what a person should look at first, and why."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segkit.dataset import measures, prompts, scored
from segkit.dataset.dataset import Dataset
from segkit.dataset.measures import Measurer, Row, Scores
from segkit.dataset.triple import REVIEWS, Triple
from segkit.palette import Palette
from segkit.problem import Problem

LITTLE = 0.1
"""Doubt, 0 to 1, below which nobody is asked to look."""

_WORTH = 0.03
"""Measure, 0 to 1, from which on a reason is named."""


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
    """Tells how doubtful triples are.

    Args:
        palette: the classes, by whose names prompts are compared with maps.
        findings: problems of check by the key of their triple.

    Attributes:
        measurer: measures many triples; `doubts` needs its scores of all triples of a dataset.
    """

    def __init__(self, palette: Palette, findings: Mapping[str, Sequence[Problem]] | None = None) -> None:
        self.measurer = Measurer(palette)
        self._palette, self._findings = palette, findings or {}
        self._is_rare = np.zeros(len(palette) + 1, bool)
        self.named = self.measurer.named

    def doubts(self, *parts: Scores) -> list[NDArray[np.float32]]:
        """Return the doubt of each triple of a dataset, 0 to 1, and note which classes are rare in it.

        Args:
            parts: scores of all triples; one array is returned for each.
        """
        self._is_rare = measures.rare(parts)
        return [self._with_findings(part.keys, part.with_rare(self._is_rare)) for part in parts]

    def _with_findings(self, keys: NDArray[np.uint64], doubts: NDArray[np.float32]) -> NDArray[np.float32]:
        if self._findings:
            severities = {int(key, 16): self._severity(key) for key in self._findings if is_key(key)}
            for place in np.flatnonzero(np.isin(keys, np.fromiter(severities, np.uint64, len(severities)))).tolist():
                doubts[place] = 1 - (1 - doubts[place]) * np.float32(1 - severities[int(keys[place])])
        return doubts

    def _severity(self, key: str) -> float:
        """Return the measure PROBLEM."""
        problems = self._findings.get(key, ())
        return 0.5 if any(problem.severity == "error" for problem in problems) else 0.1 * bool(problems)

    def doubtful(self, triple: Triple) -> Doubtful:
        """Return a triple with its doubt and the reasons."""
        measured = self.measurer.measure([triple])
        tiny_and_rare = measures.RARE_DOUBT * bool(self._is_rare[measured.tiny_ids].any())
        row = np.array([*measured.measures[0], tiny_and_rare, self._severity(triple.key)], np.float32)
        kinds = [kind for kind in np.argsort(-row, kind="stable").tolist() if row[kind] >= _WORTH]
        reasons = tuple(self._reason(kind, triple, float(row[kind])) for kind in kinds)
        return Doubtful(triple, round(float(measures.combined(row)), 4), reasons)

    def _reason(self, kind: int, triple: Triple, measure: float) -> str:
        if kind == measures.UNCERTAIN:
            return f"{measure:.0%} of the map expected to be wrong"
        if kind == measures.WEAKEST:
            weakest = max(triple.classes, key=lambda share: measures.loss(share.share, share.confidence))
            return f"{weakest.name}: confidence {weakest.confidence:.2f} on {weakest.share:.1%} of the map"
        if kind == measures.RARE:
            return f"{', '.join(self._tiny_and_rare(triple))}: tiny, and rare in the dataset"
        if kind == measures.ABSENT:
            present = {share.name for share in triple.classes}
            absent = [sorted(names)[0] for names in self.named(triple.text) if names.isdisjoint(present)]
            return f"named in the prompt, not in the map: {', '.join(dict.fromkeys(absent))}"
        return {
            measures.UNLABELLED: f"{1 - sum(share.share for share in triple.classes):.0%} unlabelled",
            measures.UNNAMED: f"{triple.classes[0].name if triple.classes else ''}: large, but not in the prompt",
            measures.FLAGGED: "; ".join(prompts.FLAGS.get(flag, flag) for flag in triple.problems),
            measures.DUPLICATE: "a near-duplicate of another photo",
            measures.PROBLEM: ", ".join(dict.fromkeys(problem.rule for problem in self._findings.get(triple.key, ()))),
        }[kind]

    def _tiny_and_rare(self, triple: Triple) -> list[str]:
        tiny = [share.name for share in triple.classes if share.share < measures.TINY]
        rare = {swatch.name for swatch in self._palette if self._is_rare[swatch.index]}
        return [name for name in tiny if name in rare]


def is_key(place: str) -> bool:
    """Return whether the place of a problem is a triple's key."""
    return len(place) == 16 and not set(place) - set("0123456789abcdef")


def scores(rows: Iterable[Row], scorer: Scorer) -> tuple[NDArray[np.uint64], NDArray[np.float32]]:
    """Measure all triples of a dataset.

    Returns:
        The keys as numbers and the doubt of each, 0 to 1, in the order of the rows.
    """
    collected = scorer.measurer.scores(measures.chunked(rows))
    return collected.keys, scorer.doubts(collected)[0]


def by_key(problems: Iterable[Problem]) -> dict[str, list[Problem]]:
    """Return the problems of each triple."""
    result: dict[str, list[Problem]] = {}
    for problem in problems:
        result.setdefault(problem.place, []).append(problem)
    return result


def of_dataset(dataset: Dataset, number: int) -> list[Doubtful]:
    """Return the most doubtful triples of a dataset that no person has decided about, the worst first.

    Args:
        dataset: only its records are read.
        number: how many are returned at most.

    Raises:
        DatasetError: a line of the manifest is damaged.
    """
    scorer = Scorer(dataset.info.palette)
    parts = scored.of_dataset(dataset, scorer.measurer)
    doubts = np.concatenate(scorer.doubts(*(part.scores for part in parts)))
    keys = np.concatenate([part.scores.keys for part in parts])
    still_open = np.flatnonzero(np.concatenate([part.reviews for part in parts]) == REVIEWS.index("open"))
    worst = keys[still_open[np.argsort(-doubts[still_open], kind="stable")[:number]]]
    ranked = [scorer.doubtful(triple) for triple in dataset.get([f"{key:016x}" for key in worst.tolist()])]
    return [doubtful for doubtful in ranked if doubtful.doubt >= LITTLE]
