"""Whether exact colours stand for the class before: maps painted with a list that starts with black.

One map rarely tells; the maps of a source were painted by one program, and tell together.
"""

from dataclasses import astuple, dataclass
from math import log

from segkit.maps import plausibility
from segkit.maps.codec import Labels
from segkit.palette import UNLABELLED, Palette

_HINT, _NO_HINT = log((140 / 147) / (19 / 705)), log((7 / 147) / (686 / 705))
"""Log likelihood ratio of a shifted list for a map with much black, with and without the hint; see `hints_at_shift`."""

_RARE = -3.0
"""Log likelihood ratio from which on downwards the hints of a source are what chance gives."""


_MIXED = 0.05
"""Share of the maps that decide by themselves, from which on a minority of them shows that the source is mixed."""


@dataclass(frozen=True)
class Evidence:
    """What the classes of maps tell about the list that they were painted with.

    Attributes:
        gain: by how much a shifted list is likelier, in units of a decisive difference.
        black: maps with so much black that they may give a hint.
        hints: those that make more sense if black is the first class.
        exact: maps that are exact with certainty; the colour of the last class, too, is in no shifted list.
        shifted: maps that are shifted with certainty.
    """

    gain: float = 0.0
    black: int = 0
    hints: int = 0
    exact: int = 0
    shifted: int = 0

    def __add__(self, other: "Evidence") -> "Evidence":
        return Evidence(*(one + another for one, another in zip(astuple(self), astuple(other), strict=True)))

    @property
    def ratio(self) -> float:
        """Log likelihood ratio of a shifted list by the hints alone."""
        return self.hints * _HINT + (self.black - self.hints) * _NO_HINT

    @property
    def is_mixed(self) -> bool:
        """Whether some maps are certainly exact, and others certainly shifted."""
        return min(self.exact, self.shifted) > _MIXED * (self.exact + self.shifted)

    @property
    def verdict(self) -> str:
        """Whether the colours are "exact" or "shifted"; "" if that is open."""
        if self.is_mixed:
            return ""
        if self.exact > self.shifted or self.gain <= -1:
            return "exact"
        if self.shifted or self.gain >= 1:
            return "shifted"
        return "" if self.hints and self.ratio > _RARE else "exact"


def evidence(labels: Labels, palette: Palette) -> Evidence:
    """Weigh one map, whose colours were read as those of their classes.

    Args:
        labels: (H, W) classes, 255 where the map is black.
        palette: the classes.
    """
    areas = plausibility.measure(labels)
    right, shifted = plausibility.readings(areas, palette)
    gain = plausibility.gain(right, shifted)
    black = sum(area.share for area in areas if area.value == UNLABELLED) >= plausibility.BLACK
    hint = black and shifted.likelihood - right.likelihood >= plausibility.HINT
    has_last = any(area.value == len(palette) - 1 for area in areas)
    return Evidence(gain, int(black), int(hint), int(has_last or gain <= -1), int(gain >= 1 and not has_last))


def doubt(labels: Labels, one: Evidence, palette: Palette, source: Evidence) -> str:
    """Return why a map of a source whose list is open cannot be read with certainty, as text; "" if it can.

    Args:
        labels: as in `evidence`.
        one: of the map.
        palette: the classes.
        source: evidence of all maps of the source.
    """
    if one.exact or not (one.hints or source.is_mixed or source.ratio > 0):
        return ""
    first = palette[0].name
    if not one.hints:
        return f"other maps of its source make more sense if black is the first class, {first}, and this one may too"
    black = float((labels == UNLABELLED).mean())
    return f"{black:.0%} of its pixels are black, and its classes make more sense if black is the first class, {first}"
