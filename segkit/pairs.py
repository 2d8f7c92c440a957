"""Pairs of classes whose colours are equal or nearer than asked, inside a palette and between two."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from segkit import palette, perception
from segkit.color import RGB, distance
from segkit.palette import Palette, simplify
from segkit.problem import Problem, Severity
from segkit.tables import Swatch

UNLABELLED = Swatch(palette.UNLABELLED, "unlabelled", (), (0, 0, 0))
"""Black, which no class may have."""


@dataclass(frozen=True)
class Pair:
    """Two classes with like colours.

    Attributes:
        a: of the table.
        b: of the table too, or of another palette, or UNLABELLED.
        other: the other palette's name; "" within the table.
        severity: "known" for those that the shipped palettes came with.
    """

    a: Swatch
    b: Swatch
    other: str
    severity: Severity

    @property
    def l2(self) -> float:
        """Euclidean distance in RGB, 0 to 441.67."""
        return distance(self.a.rgb, self.b.rgb)

    @property
    def linf(self) -> int:
        """The largest difference of a channel, 0 to 255."""
        return max(abs(one - other) for one, other in zip(self.a.rgb, self.b.rgb, strict=True))

    @property
    def ciede2000(self) -> float:
        """How different they look."""
        return perception.ciede2000(perception.lab(self.a.rgb), perception.lab(self.b.rgb))

    @property
    def margin(self) -> float:
        """Half of l2, cut to hundredths: a pixel that drifted less (by JPEG, by scaling) is still nearest its own."""
        return math.floor(self.l2 * 50) / 100

    def problem(self, table: str, min_distance: float) -> Problem:
        """Word the pair as a finding.

        Args:
            table: what to call the table.
            min_distance: RGB L2 that was asked for.
        """
        known = self.severity == "known"
        movable = self.b if _is_shipped(self.a) and not (known or self.other) else self.a
        place = f"{table}: {movable.name}"
        cure = f"Give {movable.name} another colour, at least {max(min_distance, 1):g} from all others."
        both = f"{self.a.name} ({self.a.index}) and {self.b.name} ({self.b.index})"
        both += f" of {self.other}" if self.other else ""
        rule, message = "equal-colours", f"{both} share {self.a.hex}."
        if self.l2:
            told = f"{self.a.hex}, {self.b.hex}; L∞ {self.linf}, CIEDE2000 {self.ciede2000:.2f}"
            rule = "near-colours"
            message = f"{both} are {self.l2:.2f} apart ({told}; safe for a drift below {self.margin:.2f})."
        return Problem(rule, self.severity, place, message, "" if known else cure)

    def to_json(self) -> dict[str, Any]:
        """Return the pair as plain values; distances to hundredths."""
        return {
            "a": {"index": self.a.index, "name": self.a.name, "hex": self.a.hex},
            "b": {"index": self.b.index, "name": self.b.name, "hex": self.b.hex, "palette": self.other},
            "severity": self.severity,
            "l2": round(self.l2, 2),
            "linf": self.linf,
            "ciede2000": round(self.ciede2000, 2),
            "margin": self.margin,
        }


def within(swatches: Sequence[Swatch], min_distance: float) -> list[Pair]:
    """Return the pairs of a table that are nearer than min_distance (RGB L2) or equal; black counts as a class."""
    every = (*swatches, UNLABELLED)
    near = ((every[i], every[j]) for i, j in _near(every, every, min_distance) if i < j)
    return [Pair(a, b, "", _severity(a, b, b is UNLABELLED or _is_shipped(b))) for a, b in near]


def between(swatches: Sequence[Swatch], other: Palette, min_distance: float) -> list[Pair]:
    """Return the pairs of a table's class and another palette's that are nearer than min_distance or equal.

    A class that both know under one name and colour is the same class, no pair; how the table's other classes get on
    with it is told by `within`.
    """
    own = {(word, swatch.rgb) for swatch in swatches for word in names(swatch)}
    foreign = [swatch for swatch in other if not any((word, swatch.rgb) in own for word in names(swatch))]
    near = ((swatches[i], foreign[j]) for i, j in _near(swatches, foreign, min_distance))
    return [Pair(a, b, other.name, _severity(a, b, _is_shipped(b))) for a, b in near]


def names(swatch: Swatch) -> set[str]:
    """Return all names of a class, simplified."""
    return {simplify(name) for name in (swatch.name, *swatch.synonyms)}


def all_shipped(swatches: Sequence[Swatch]) -> bool:
    """Tell whether the shipped palettes came with all of these classes in these colours."""
    return all(map(_is_shipped, swatches))


def _near(ones: Sequence[Swatch], others: Sequence[Swatch], min_distance: float) -> Iterator[tuple[int, int]]:
    """Yield the places, in order, of colours nearer than min_distance or equal; only those of like red are compared."""
    order = sorted(range(len(others)), key=lambda place: others[place].rgb[0])
    reds = [others[place].rgb[0] for place in order]
    for i, one in enumerate(ones):
        red = one.rgb[0]
        like = order[bisect_left(reds, red - min_distance) : bisect_right(reds, red + min_distance)]
        for j in sorted(like):
            if one.rgb == others[j].rgb or distance(one.rgb, others[j].rgb) < min_distance:
                yield i, j


def _severity(a: Swatch, b: Swatch, b_is_shipped: bool) -> Severity:
    if _is_shipped(a) and b_is_shipped:
        return "known"
    return "error" if a.rgb == b.rgb else "warning"


@cache
def _shipped() -> frozenset[tuple[str, RGB]]:
    tables = (palette.load(name) for name in palette.SHIPPED)
    return frozenset((simplify(swatch.name), swatch.rgb) for table in tables for swatch in table)


def _is_shipped(swatch: Swatch) -> bool:
    return (simplify(swatch.name), swatch.rgb) in _shipped()
