"""Which colours of one or more palettes could be taken for one another."""

from collections.abc import Iterable, Sequence
from functools import cache
from itertools import combinations, product

from segkit import palette
from segkit.color import distance
from segkit.palette import Palette, simplify
from segkit.problem import Problem, Severity
from segkit.tables import Swatch

MIN_DISTANCE = 10.0
"""RGB L2. About fifty pairs of ADE lie exactly 10 apart; nearer ones are confused by any lossy step."""


def within(swatches: Sequence[Swatch], name: str, min_distance: float = MIN_DISTANCE) -> list[Problem]:
    """Report equal and too near colours and repeated names inside one table.

    Args:
        swatches: the classes, as tables.read gives them (they need not form a valid Palette).
        name: what to call the table.
        min_distance: RGB L2; pairs nearer than that are reported.
    """
    found = [_clash(a, b, name, name, min_distance) for a, b in combinations(swatches, 2)]
    return [problem for problem in found if problem] + _repeated_names(swatches, name)


def between(swatches: Sequence[Swatch], name: str, other: Palette, min_distance: float = MIN_DISTANCE) -> list[Problem]:
    """Report colours of a table that are equal or too near to those of another class in another palette.

    A class that both know under one name and colour is the same class, no clash.
    """
    pairs = product(swatches, other)
    found = [_clash(a, b, name, other.name, min_distance) for a, b in pairs if not _same_class(a, b)]
    return [problem for problem in found if problem]


def _clash(a: Swatch, b: Swatch, name_a: str, name_b: str, min_distance: float) -> Problem | None:
    gap = distance(a.rgb, b.rgb)
    if gap >= min_distance and a.rgb != b.rgb:
        return None
    severity: Severity = "error" if a.rgb == b.rgb else "warning"
    if _is_shipped(a) and _is_shipped(b):
        severity = "known"
    whose_b = "" if name_a == name_b else f" of {name_b}"
    pair = f"{a.name} ({a.index}) and {b.name} ({b.index}){whose_b}"
    if a.rgb == b.rgb:
        rule, message = "equal-colours", f"{pair} share {a.hex}."
    else:
        rule, message = "near-colours", f"{pair} are {gap:.2f} apart ({a.hex}, {b.hex})."
    cure = "" if severity == "known" else f"Give {a.name} a colour at least {min_distance:g} away."
    return Problem(rule, severity, f"{name_a}: {a.name}", message, cure)


def _same_class(a: Swatch, b: Swatch) -> bool:
    return a.rgb == b.rgb and bool(_names(a) & _names(b))


def _names(swatch: Swatch) -> set[str]:
    return {simplify(name) for name in (swatch.name, *swatch.synonyms)}


@cache
def _shipped() -> frozenset[tuple[str, tuple[int, int, int]]]:
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
