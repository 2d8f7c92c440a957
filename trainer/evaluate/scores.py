"""Scores of an evaluation: each with its interval, paired differences, and a verdict in one sentence."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from segkit.maps import metrics
from segkit.maps.bootstrap import Bootstrap, Difference, Estimate
from segkit.maps.metrics import ClassCounts, Confusion, PairCounts
from segkit.palette import Palette
from segkit.words import count
from trainer.evaluate.plan import Kind
from trainer.evaluate.quality.results import Quality

METRICS = {
    "miou": "mIoU",
    "accuracy": "pixel accuracy",
    "fwiou": "frequency-weighted IoU",
    "boundary_iou": "boundary IoU",
}
"""The scores by key, in words. All are 0 to 1."""

MEASURABLE = 0.0005
"""Least difference in mIoU that a verdict speaks of: a smaller one is not in the digits that are printed."""

_STATISTICS: dict[str, Callable[[ClassCounts], NDArray[np.float64]]] = {
    "miou": metrics.mean_iou,
    "accuracy": metrics.pixel_accuracy,
    "fwiou": metrics.frequency_weighted_iou,
    "boundary_iou": metrics.mean_iou,
}

Values = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Sighting:
    """What the judge saw in all pictures of a contender, compared with the maps.

    Attributes:
        name: the contender's.
        kind: the contender's.
        areas: by drawing, then by map; photos have one drawing.
        boundaries: the same of boundary pixels.
    """

    name: str
    kind: Kind
    areas: Sequence[Sequence[PairCounts]]
    boundaries: Sequence[Sequence[PairCounts]]


@dataclass(frozen=True)
class Score:
    """How well one contender's pictures agree with the maps.

    Attributes:
        name: the contender's.
        kind: "controlnet", "base" (alone, without control) or "photos" (the ceiling).
        metrics: estimates by the keys of METRICS.
        classes: IoU by the name of each class in the maps.
        per_map: (M,) values of each map by the keys of METRICS, the mean over drawings.
        confusion: pixels by true and predicted class, of all drawings.
    """

    name: str
    kind: Kind
    metrics: dict[str, Estimate]
    classes: dict[str, Estimate]
    per_map: dict[str, NDArray[np.float64]]
    confusion: Confusion


@dataclass(frozen=True)
class Support:
    """How much of a class is in the maps: number of maps that show it, and share of the labelled pixels."""

    maps: int
    share: float


@dataclass(frozen=True)
class Results:
    """The scores of all contenders.

    Attributes:
        maps: number of maps.
        scores: the ControlNets, the bases alone, the photos.
        differences: of each two ControlNets, and of each ControlNet and each base.
        support: by the name of each class in the maps.
        quality: of the pictures, beside their agreement with the maps.
    """

    maps: int
    scores: tuple[Score, ...]
    differences: tuple[Difference, ...]
    support: dict[str, Support]
    quality: Quality = field(default_factory=Quality)

    def named(self, name: str) -> Score:
        """Return the score of a contender."""
        return next(score for score in self.scores if score.name == name)

    @property
    def ranked(self) -> list[Score]:
        """The ControlNets, that with the highest mIoU first."""
        controlnets = [score for score in self.scores if score.kind == "controlnet"]
        return sorted(controlnets, key=lambda score: -score.metrics["miou"].value)

    @cached_property
    def verdict(self) -> str:
        """What was measured, in one sentence: of several ControlNets the best and the second, else with and without."""
        ranked = self.ranked
        base, photos = (next(score for score in self.scores if score.kind == kind) for kind in ("base", "photos"))
        one, other = ranked[:2] if len(ranked) > 1 else (ranked[0], base)
        difference = self._difference(one.name, other.name)
        shown = f"{difference.value:+.3f} (95 % interval {difference.low:+.3f} to {difference.high:+.3f})"
        values = f"mIoU {one.metrics['miou'].value:.3f} against {other.metrics['miou'].value:.3f}"
        ceiling = f"the photos reach {photos.metrics['miou'].value:.3f}"
        facts = f"{values}, {shown}, {count(self.maps, 'map')}; {ceiling}."
        if difference.low <= 0 <= difference.high or abs(difference.value) < MEASURABLE:
            return f"No difference between {one.name} and {other.name} was measured: {facts}"
        better = "better" if difference.value > 0 else "worse"
        return f"{one.name} obeys its maps {better} than {other.name}: {facts}"

    def _difference(self, first: str, second: str) -> Estimate:
        for difference in self.differences:
            if (difference.first, difference.second) == (first, second):
                return difference.metrics["miou"]
        mirrored = self._difference(second, first)
        return Estimate(-mirrored.value, -mirrored.high, -mirrored.low)


def miou(counts: Sequence[PairCounts], palette: Palette) -> Estimate:
    """Return the mIoU of one picture of each map, as `compute` does.

    Args:
        counts: of each map.
        palette: of the maps.
    """
    bootstrap, drawing = Bootstrap(len(counts)), metrics.class_counts(counts, len(palette))
    return bootstrap.estimate(bootstrap.values(metrics.mean_iou, drawing[None]))


def compute(sightings: Sequence[Sighting], palette: Palette) -> Results:
    """Score all contenders on the same maps, with the same resamples.

    Args:
        sightings: of the ControlNets, the bases and the photos; at least one of each.
        palette: of the maps.
    """
    maps = len(sightings[0].areas[0])
    bootstrap = Bootstrap(maps)
    counts = [_Counts.of(sighting, palette) for sighting in sightings]
    values = {one.name: both.values(bootstrap) for one, both in zip(sightings, counts, strict=True)}
    scores = tuple(
        _score(one, both, values[one.name], bootstrap, palette) for one, both in zip(sightings, counts, strict=True)
    )
    differences = tuple(
        Difference(first, second, _differences(values[first], values[second], bootstrap))
        for first, second in _pairs(sightings)
    )
    return Results(maps, scores, differences, _support(counts[0].areas[0], palette))


def _pairs(sightings: Sequence[Sighting]) -> Iterator[tuple[str, str]]:
    names = {kind: [one.name for one in sightings if one.kind == kind] for kind in ("controlnet", "base")}
    yield from combinations(names["controlnet"], 2)
    yield from ((first, second) for first in names["controlnet"] for second in names["base"])


@dataclass(frozen=True)
class _Counts:
    """Pixels of each class, (S, M, 3, C), in areas and in boundaries."""

    areas: ClassCounts
    boundaries: ClassCounts

    @classmethod
    def of(cls, sighting: Sighting, palette: Palette) -> "_Counts":
        areas, boundaries = (
            np.stack([metrics.class_counts(drawing, len(palette)) for drawing in drawings])
            for drawings in (sighting.areas, sighting.boundaries)
        )
        return cls(areas, boundaries)

    def of_metric(self, key: str) -> ClassCounts:
        return self.boundaries if key == "boundary_iou" else self.areas

    def values(self, bootstrap: Bootstrap) -> dict[str, NDArray[np.float64]]:
        return {key: bootstrap.values(statistic, self.of_metric(key)) for key, statistic in _STATISTICS.items()}


def _score(sighting: Sighting, counts: _Counts, values: Values, bootstrap: Bootstrap, palette: Palette) -> Score:
    iou = bootstrap.values(metrics.class_iou, counts.areas)
    present = np.flatnonzero(counts.areas[0, :, 1].sum(0))
    per_map = {key: statistic(counts.of_metric(key)).mean(0) for key, statistic in _STATISTICS.items()}
    return Score(
        sighting.name,
        sighting.kind,
        {key: bootstrap.estimate(value) for key, value in values.items()},
        {palette[index].name: bootstrap.estimate(iou[:, index]) for index in present.tolist()},
        per_map,
        metrics.total([one for drawing in sighting.areas for one in drawing]),
    )


def _differences(first: Values, second: Values, bootstrap: Bootstrap) -> dict[str, Estimate]:
    return {key: bootstrap.estimate(first[key] - second[key], lowest=-1.0) for key in METRICS}


def _support(counts: ClassCounts, palette: Palette) -> dict[str, Support]:
    """Return the support of the classes in (M, 3, C) counts, those with the most pixels first."""
    true = counts[:, 1]
    pixels = true.sum(0)
    order = sorted(np.flatnonzero(pixels).tolist(), key=lambda index: (-pixels[index], index))
    return {
        palette[index].name: Support(int((true[:, index] > 0).sum()), float(pixels[index] / pixels.sum()))
        for index in order
    }
