"""Measured picture quality: values with intervals, paired differences, and what they mean in words."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segkit.maps.bootstrap import Difference, Estimate
from trainer.evaluate.quality.networks import INCEPTION

Value = Estimate | float
"""A measured value; FID has no interval."""


@dataclass(frozen=True)
class Measure:
    """A measure of quality.

    Attributes:
        title: in tables.
        lowest, highest: its range.
    """

    title: str
    lowest: float = 0.0
    highest: float = inf


MEASURES = {
    "kid": Measure("KID", -inf),
    "fid": Measure("FID"),
    "clip_score": Measure("CLIP score", 0, 100),
    "feature_diversity": Measure("diversity of features", 0, 2),
    "color_diversity": Measure("diversity of colours", 0, 259),  # the largest CIELAB distance in sRGB
}
"""The measures by key."""


@dataclass(frozen=True)
class QualityScore:
    """The quality of one contender's pictures.

    Attributes:
        name: the contender's.
        values: by the keys of MEASURES; photos have a CLIP score only.
        per_map: (M,) values of each map, of the measures that single maps have.
    """

    name: str
    values: Mapping[str, Value]
    per_map: Mapping[str, NDArray[np.float64]]

    def cell(self, key: str) -> str:
        """Return a value for a table; a dash if there is none."""
        return text(self.values[key]) if key in self.values else "-"


@dataclass(frozen=True)
class Quality:
    """The quality of all pictures; empty if nothing could be measured.

    Attributes:
        networks: identities of the networks by role, "features" and "clip".
        scores: of the contenders in their order, last of the photos.
        differences: of the same pairs as those of the scores.
    """

    networks: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    scores: tuple[QualityScore, ...] = ()
    differences: tuple[Difference, ...] = ()

    @property
    def titles(self) -> dict[str, str]:
        """The title of each measure that was taken, by key. Distances of other features than FID's name these."""
        features = self.networks.get("features", {}).get("name", INCEPTION)
        measured = [key for key in MEASURES if any(key in score.values for score in self.scores)]
        named = {key: MEASURES[key].title for key in measured}
        if features != INCEPTION:
            named |= {key: f"{named[key]} of {features} features" for key in ("kid", "fid") if key in named}
        return named

    @property
    def intervals(self) -> dict[str, str]:
        """The titles of the measures that have intervals."""
        return {key: title for key, title in self.titles.items() if key != "fid"}

    def shown(self, value: Value) -> str:
        """Return a value for a table; see `text`."""
        return text(value)

    @property
    def explanations(self) -> list[str]:
        """What the measures mean, as sentences."""
        return list(self._explanations())

    def _explanations(self) -> Iterator[str]:
        titles = self.titles
        names = {role: identity["name"] for role, identity in self.networks.items()}
        if {"kid", "fid"} & titles.keys():
            measure = " and ".join(key.upper() for key in ("kid", "fid") if key in titles)
            yield (
                f"{measure}: distance of {names['features']} features from those of the photos of the same maps, in "
                "the pictures' size; less is better."
            )
            if names["features"] != INCEPTION:
                yield f"Features of {names['features']} are not those of Inception: published figures do not compare."
        if "fid" in titles:
            yield "FID has no interval, and falls with the number of maps."
        if "clip_score" in titles:
            yield f"CLIP score: 100 x cosine between picture and prompt in {names['clip']}; more is better."
        if "color_diversity" in titles:
            yield "Diversity: mean distance between the pictures of a map; of features: 1 - cosine, of colours: CIELAB."
        if self.intervals:
            yield "Intervals of quality, too, are 95 % bootstrap intervals over maps."

    def to_json(self) -> dict[str, Any]:
        """Return the quality as JSON values, without single maps."""
        return {
            "networks": {role: dict(identity) for role, identity in self.networks.items()},
            "scores": [{"name": score.name, "values": _plain(score.values)} for score in self.scores],
            "differences": [
                {"first": one.first, "second": one.second, "values": _plain(one.metrics)} for one in self.differences
            ],
        }


def _plain(values: Mapping[str, Value]) -> dict[str, dict[str, float]]:
    return {
        key: asdict(value) if isinstance(value, Estimate) else {"value": value} for key, value in values.items()
    }  # fmt: skip


def text(value: Value) -> str:
    """Return a value with its interval, to four digits."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value.value:.4g} ({value.low:.4g} to {value.high:.4g})"
