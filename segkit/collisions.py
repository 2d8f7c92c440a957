"""Which colours of one or more palettes could be taken for one another."""

import math
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import combinations, product

from segkit import palette, perception
from segkit.color import RGB, distance
from segkit.errors import PaletteError
from segkit.palette import Palette, simplify
from segkit.problem import Problem, Severity
from segkit.tables import Swatch

MIN_DISTANCE = 10.0
"""RGB L2. About fifty pairs of ADE lie exactly 10 apart; nearer ones are confused by any lossy step."""

_UNLABELLED = Swatch(palette.UNLABELLED, "unlabelled", (), (0, 0, 0))


def within(swatches: Sequence[Swatch], name: str, min_distance: float = MIN_DISTANCE) -> list[Problem]:
    """Report equal and too near colours and unclear names inside one table; black is taken, for unlabelled pixels.

    Args:
        swatches: the classes, as tables.read gives them (they need not form a valid Palette).
        name: what to call the table.
        min_distance: RGB L2; pairs nearer than that are reported.
    """
    found = [_clash(a, b, name, "", min_distance) for a, b in combinations((*swatches, _UNLABELLED), 2)]
    return [problem for problem in found if problem] + _repeated_names(swatches, name) + _ambiguous(swatches, name)


def between(swatches: Sequence[Swatch], name: str, other: Palette, min_distance: float = MIN_DISTANCE) -> list[Problem]:
    """Report colours of a table that are equal or too near to those of another class in another palette.

    A class that both know under one name and colour is the same class, no clash; how the table's other classes get
    on with it is told by `within`.
    """
    own = {(word, swatch.rgb) for swatch in swatches for word in _names(swatch)}
    foreign = [swatch for swatch in other if not any((word, swatch.rgb) in own for word in _names(swatch))]
    found = [_clash(a, b, name, f" of {other.name}", min_distance) for a, b in product(swatches, foreign)]
    return [problem for problem in found if problem]


def found(
    swatches: Sequence[Swatch], name: str, others: Iterable[str] = palette.SHIPPED, min_distance: float = MIN_DISTANCE
) -> list[Problem]:
    """Report what `within` finds in a table, and `between` and `elsewhere` in it and other palettes.

    A table that holds one of those or a shipped one whole is an extension of it, whose new classes may have any name.

    Args:
        swatches: the classes.
        name: what to call the table.
        others: shipped palettes' names or tables.
        min_distance: RGB L2; pairs nearer than that are reported.

    Raises:
        PaletteError: one of the others is no palette.
    """
    problems = within(swatches, name, min_distance)
    own = {(simplify(swatch.name), swatch.rgb) for swatch in swatches}
    tables = [palette.load(other) for other in others]
    bases = [*tables, *map(palette.load, palette.SHIPPED)]
    extended = any(own >= {(simplify(swatch.name), swatch.rgb) for swatch in base} for base in bases)
    for table in tables:
        problems += between(swatches, name, table, min_distance)
        problems += [] if extended else elsewhere(swatches, name, table)
    return problems


def elsewhere(swatches: Sequence[Swatch], name: str, other: Palette) -> list[Problem]:
    """Report classes that another palette has in another colour, under the same name or another."""
    problems = []
    for swatch in swatches:
        try:
            known = other.find(swatch.name)
        except PaletteError:
            continue
        if known.rgb == swatch.rgb:
            continue
        place = f"{name}: {swatch.name}"
        message = f"{swatch.name} ({swatch.index}) is {swatch.hex} here; in {other.name} it is {known.hex}"
        message += "." if simplify(known.name) == simplify(swatch.name) else f", called {known.name} ({known.index})."
        cure = f"Take {known.hex}, which networks trained on {other.name} know, or leave {other.name} out of --against."
        problems.append(Problem("known-class", "warning", place, message, cure))
    return problems


def _clash(a: Swatch, b: Swatch, name: str, whose_b: str, min_distance: float) -> Problem | None:
    gap = distance(a.rgb, b.rgb)
    if gap >= min_distance and gap:
        return None
    known = _is_shipped(a) and (b is _UNLABELLED or _is_shipped(b))
    movable = b if _is_shipped(a) and not (known or whose_b) else a
    place = f"{name}: {movable.name}"
    cure = "" if known else f"Give {movable.name} another colour, at least {max(min_distance, 1):g} from all others."
    severity: Severity = "known" if known else "warning" if gap else "error"
    pair = f"{a.name} ({a.index}) and {b.name} ({b.index}){whose_b}"
    if gap:
        return Problem("near-colours", severity, place, f"{pair} are {gap:.2f} apart ({_told(a, b, gap)}).", cure)
    return Problem("equal-colours", severity, place, f"{pair} share {a.hex}.", cure)


def _told(a: Swatch, b: Swatch, gap: float) -> str:
    """Word how alike two colours are; beyond half of their distance a pixel is nearer to the other."""
    most = max(abs(one - other) for one, other in zip(a.rgb, b.rgb, strict=True))
    seen = perception.ciede2000(perception.lab(a.rgb), perception.lab(b.rgb))
    return f"{a.hex}, {b.hex}; L∞ {most}, CIEDE2000 {seen:.2f}; safe for a drift below {math.floor(gap * 50) / 100:.2f}"


def _names(swatch: Swatch) -> set[str]:
    return {simplify(name) for name in (swatch.name, *swatch.synonyms)}


@cache
def _shipped() -> frozenset[tuple[str, RGB]]:
    tables = (palette.load(name) for name in palette.SHIPPED)
    return frozenset((simplify(swatch.name), swatch.rgb) for table in tables for swatch in table)


def _is_shipped(swatch: Swatch) -> bool:
    return (simplify(swatch.name), swatch.rgb) in _shipped()


def _repeated_names(swatches: Iterable[Swatch], name: str) -> list[Problem]:
    first: dict[str, Swatch] = {}
    found = []
    for swatch in swatches:
        before = first.setdefault(simplify(swatch.name), swatch)
        if before is not swatch:
            message = f"{swatch.name} is the name of classes {before.index} and {swatch.index}."
            found.append(Problem("repeated-name", "error", f"{name}: {swatch.name}", message, "Rename one of them."))
    return found


def _ambiguous(swatches: Sequence[Swatch], name: str) -> list[Problem]:
    """Report synonyms that mean several classes, and names that are a synonym of another class."""
    meant: dict[str, list[Swatch]] = {}
    for swatch in swatches:
        for word in _names(swatch):
            meant.setdefault(word, []).append(swatch)
    found = []
    for word, several in sorted(meant.items()):
        if len(several) < 2 or sum(simplify(swatch.name) == word for swatch in several) > 1:  # told as repeated
            continue
        which = " and ".join(f"{swatch.name} ({swatch.index})" for swatch in several)
        severity: Severity = "known" if all(map(_is_shipped, several)) else "warning"
        cure = "" if severity == "known" else "Keep one of them, or take the word from the others."
        message = f"{word} means {which}."
        found.append(Problem("ambiguous-name", severity, f"{name}: {several[-1].name}", message, cure))
    return found
