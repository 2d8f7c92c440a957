"""What classes of one or more palettes could be taken for one another: by colour, or by name."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from segkit import pairs, palette
from segkit.errors import PaletteError
from segkit.pairs import Pair
from segkit.palette import Palette, simplify
from segkit.problem import Problem, Severity
from segkit.tables import Swatch

MIN_DISTANCE = 10.0
"""RGB L2. About fifty pairs of ADE lie exactly 10 apart; nearer ones are confused by any lossy step."""


class Found(NamedTuple):
    """Findings, and the pairs of like colours among them as values."""

    problems: list[Problem]
    pairs: list[Pair]


def found(
    swatches: Sequence[Swatch], name: str, others: Iterable[str] = palette.SHIPPED, min_distance: float = MIN_DISTANCE
) -> Found:
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
    tables = [palette.load(other) for other in others]
    near = pairs.within(swatches, min_distance)
    for table in tables:
        near += pairs.between(swatches, table, min_distance)
    problems = [pair.problem(name, min_distance) for pair in near]
    problems += _repeated_names(swatches, name) + _ambiguous(swatches, name)
    own = {(simplify(swatch.name), swatch.rgb) for swatch in swatches}
    bases = [*tables, *(palette.load(base) for base in palette.SHIPPED)]
    if not any(own >= {(simplify(swatch.name), swatch.rgb) for swatch in base} for base in bases):
        for table in tables:
            problems += _elsewhere(swatches, name, table)
    return Found(problems, near)


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
        for word in pairs.names(swatch):
            meant.setdefault(word, []).append(swatch)
    problems = []
    for word, several in sorted(meant.items()):
        if len(several) < 2 or sum(simplify(swatch.name) == word for swatch in several) > 1:  # told as repeated
            continue
        which = " and ".join(f"{swatch.name} ({swatch.index})" for swatch in several)
        severity: Severity = "known" if pairs.all_shipped(several) else "warning"
        cure = "" if severity == "known" else "Keep one of them, or take the word from the others."
        message = f"{word} means {which}."
        problems.append(Problem("ambiguous-name", severity, f"{name}: {several[-1].name}", message, cure))
    return problems
