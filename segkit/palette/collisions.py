"""Classes of one or more palettes that could be confused: by color, or by name."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from segkit.errors import PaletteError
from segkit.palette import perception
from segkit.palette.color import RGB, distance
from segkit.palette.palette import SHIPPED, UNLABELLED, Palette, simplify
from segkit.palette.tables import Swatch
from segkit.problem import Problem, Severity

MIN_DISTANCE = 10.0
"""RGB L2. About fifty pairs of ADE lie exactly 10 apart; nearer ones are confused by any lossy step."""

NO_CLASS = Swatch(UNLABELLED, "unlabelled", (), (0, 0, 0))
"""Black, which no class may have."""


@dataclass(frozen=True)
class Pair:
    """Two classes with like colours.

    Attributes:
        a: of the table.
        b: of the table too, or of another palette, or NO_CLASS.
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


class Collisions(NamedTuple):
    """Findings, and the pairs of like colours among them as values."""

    problems: list[Problem]
    pairs: list[Pair]


def check(
    swatches: Sequence[Swatch], name: str, others: Iterable[str] = SHIPPED, min_distance: float = MIN_DISTANCE
) -> Collisions:
    """Report equal and too near colours and unclear names in a table, and between it and other palettes.

    A table that holds one of those or a shipped one whole is an extension of it, whose new classes may have any name.

    Args:
        swatches: the classes, as tables.read gives them (they need not form a valid Palette).
        name: what to call the table.
        others: shipped palettes' names or tables.
        min_distance: RGB L2; pairs nearer than that are reported.

    Raises:
        PaletteError: one of the others is no palette.
    """
    tables = [Palette.load(other) for other in others]
    near = within(swatches, min_distance)
    for table in tables:
        near += between(swatches, table, min_distance)
    problems = [pair.problem(name, min_distance) for pair in near]
    problems += _repeated_names(swatches, name) + _ambiguous(swatches, name)
    own = {(simplify(swatch.name), swatch.rgb) for swatch in swatches}
    bases = [*tables, *(Palette.load(base) for base in SHIPPED)]
    if not any(own >= {(simplify(swatch.name), swatch.rgb) for swatch in base} for base in bases):
        for table in tables:
            problems += _elsewhere(swatches, name, table)
    return Collisions(problems, near)


def _elsewhere(swatches: Sequence[Swatch], name: str, other: Palette) -> list[Problem]:
    """Report classes that another palette has in another colour, under the same name or another."""
    differing = [(swatch, known) for swatch, known in _known(swatches, other) if swatch.rgb != known.rgb]
    swapped = [(swatch, known) for swatch, known in differing if swatch.rgb == known.rgb[::-1]]
    if len(swapped) > max(2, len(differing) // 2):
        swatch, known = swapped[0]
        message = (
            f"{name}: red and blue are swapped in {len(swapped)} of the {len(differing)} classes that {other.name} has "
            f"in another colour; {swatch.name} is {swatch.hex} here and {known.hex} there."
        )
        return [Problem("swapped-channels", "error", name, message, "Swap the columns r and b, or their headers.")]
    problems = []
    for swatch, known in differing:
        place = f"{name}: {swatch.name}"
        message = f"{swatch.name} ({swatch.index}) is {swatch.hex} here; in {other.name} it is {known.hex}"
        message += "." if simplify(known.name) == simplify(swatch.name) else f", called {known.name} ({known.index})."
        cure = f"Take {known.hex}, which networks trained on {other.name} know, or leave {other.name} out of --against."
        problems.append(Problem("known-class", "warning", place, message, cure))
    return problems


def _known(swatches: Sequence[Swatch], other: Palette) -> Iterator[tuple[Swatch, Swatch]]:
    """Yield the classes whose name means one class of another palette, and that class."""
    for swatch in swatches:
        with suppress(PaletteError):
            yield swatch, other.find(swatch.name)


def _repeated_names(swatches: Iterable[Swatch], name: str) -> list[Problem]:
    first: dict[str, Swatch] = {}
    problems = []
    for swatch in swatches:
        before = first.setdefault(simplify(swatch.name), swatch)
        if before is not swatch:
            message = f"{swatch.name} is the name of classes {before.index} and {swatch.index}."
            problems.append(Problem("repeated-name", "error", f"{name}: {swatch.name}", message, "Rename one of them."))
    return problems


def _ambiguous(swatches: Sequence[Swatch], name: str) -> list[Problem]:
    """Report synonyms that mean several classes, and names that are a synonym of another class."""
    meant: dict[str, list[Swatch]] = {}
    for swatch in swatches:
        for word in names_of(swatch):
            meant.setdefault(word, []).append(swatch)
    problems = []
    for word, several in sorted(meant.items()):
        if len(several) < 2 or sum(simplify(swatch.name) == word for swatch in several) > 1:  # told as repeated
            continue
        which = " and ".join(f"{swatch.name} ({swatch.index})" for swatch in several)
        severity: Severity = "known" if all_shipped(several) else "warning"
        cure = "" if severity == "known" else "Keep one of them, or take the word from the others."
        message = f"{word} means {which}."
        problems.append(Problem("ambiguous-name", severity, f"{name}: {several[-1].name}", message, cure))
    return problems


def within(swatches: Sequence[Swatch], min_distance: float) -> list[Pair]:
    """Return the pairs of a table that are nearer than min_distance (RGB L2) or equal; black counts as a class."""
    every = (*swatches, NO_CLASS)
    near = ((every[i], every[j]) for i, j in _near(every, every, min_distance) if i < j)
    return [Pair(a, b, "", _severity(a, b, b is NO_CLASS or _is_shipped(b))) for a, b in near]


def between(swatches: Sequence[Swatch], other: Palette, min_distance: float) -> list[Pair]:
    """Return the pairs of a table's class and another palette's that are nearer than min_distance or equal.

    A class that both know under one name and colour is the same class, no pair; how the table's other classes get on
    with it is told by `within`.
    """
    own = {(word, swatch.rgb) for swatch in swatches for word in names_of(swatch)}
    foreign = [swatch for swatch in other if not any((word, swatch.rgb) in own for word in names_of(swatch))]
    near = ((swatches[i], foreign[j]) for i, j in _near(swatches, foreign, min_distance))
    return [Pair(a, b, other.name, _severity(a, b, _is_shipped(b))) for a, b in near]


def names_of(swatch: Swatch) -> set[str]:
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
    tables = (Palette.load(name) for name in SHIPPED)
    return frozenset((simplify(swatch.name), swatch.rgb) for table in tables for swatch in table)


def _is_shipped(swatch: Swatch) -> bool:
    return (simplify(swatch.name), swatch.rgb) in _shipped()
