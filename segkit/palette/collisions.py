"""Classes of one or more palettes that are easily confused, by colour or by name."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from segkit.palette import counterparts, perception
from segkit.palette.color import distance
from segkit.palette.palette import SHIPPED, UNLABELLED, Palette, simplify
from segkit.palette.tables import Swatch
from segkit.problem import Problem, Severity

MIN_DISTANCE = 10.0
"""RGB L2. About fifty pairs of ADE20K are exactly 10 apart; any lossy step confuses closer ones."""

NO_CLASS = Swatch(UNLABELLED, "unlabelled", (), (0, 0, 0))
"""Black marks unlabelled pixels, so no class may use it."""


@dataclass(frozen=True)
class Pair:
    """Two classes with similar colours.

    Attributes:
        a: a class of the palette under test.
        b: another class of that palette, a class of another palette, or NO_CLASS.
        other: name of the palette that b belongs to; "" for the palette under test.
        severity: "known" for pairs that the shipped palettes came with.
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
        """Largest difference of any channel, 0 to 255."""
        return max(abs(one - other) for one, other in zip(self.a.rgb, self.b.rgb, strict=True))

    @property
    def ciede2000(self) -> float:
        """Perceived difference (CIEDE2000)."""
        return perception.ciede2000(perception.lab(self.a.rgb), perception.lab(self.b.rgb))

    @property
    def margin(self) -> float:
        """Half of l2, rounded down to hundredths: a pixel that drifts less (JPEG, scaling) keeps its nearest class."""
        return math.floor(self.l2 * 50) / 100

    def problem(self, name: str, min_distance: float) -> Problem:
        """Describe the pair as a finding.

        Args:
            name: display name of the palette under test.
            min_distance: required RGB L2.
        """
        known = self.severity == "known"
        movable = self.b if counterparts.is_shipped(self.a) and not (known or self.other) else self.a
        place = f"{name}: {movable.name}"
        cure = f"Choose another colour for {movable.name}, at least {max(min_distance, 1):g} from all others."
        both = f"{self.a.name} ({self.a.index}) and {self.b.name} ({self.b.index})"
        both += f" of {self.other}" if self.other else ""
        rule, message = "equal-colours", f"{both} share {self.a.hex}."
        if self.l2:
            details = f"{self.a.hex}, {self.b.hex}; L∞ {self.linf}, CIEDE2000 {self.ciede2000:.2f}"
            rule = "near-colours"
            message = f"{both} are {self.l2:.2f} apart ({details}; safe for a drift below {self.margin:.2f})."
        return Problem(rule, self.severity, place, message, "" if known else cure)

    def to_json(self) -> dict[str, Any]:
        """Return the pair as JSON values, distances rounded to hundredths."""
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
    """All findings, and the pairs of similar colours among them."""

    problems: list[Problem]
    pairs: list[Pair]


def check(
    swatches: Sequence[Swatch], name: str, others: Iterable[str] = SHIPPED, min_distance: float = MIN_DISTANCE
) -> Collisions:
    """Report equal or near colours and ambiguous names, within a palette and between it and other palettes.

    A table that is meant for a shipped palette (see `counterparts.protocol`) is compared by class names with that, and
    not with the other shipped ones. If it contains all classes of a shipped palette or of one of `others`, it counts as
    its extension: the names of its new classes are not compared.

    Args:
        swatches: classes as returned by tables.read; they need not form a valid Palette.
        name: display name of the palette.
        others: names of shipped palettes, or paths of palette tables.
        min_distance: RGB L2; closer pairs are reported.

    Raises:
        PaletteError: one of the other palettes does not load.
    """
    palettes = [Palette.load(other) for other in others]
    protocol = counterparts.protocol(swatches)
    classes = counterparts.identified(swatches, protocol) if protocol else swatches
    pairs = within(classes, min_distance)
    for palette in palettes:
        pairs += between(classes, palette, min_distance)
    problems = counterparts.problems(swatches, name, protocol) if protocol else []
    problems += [pair.problem(name, min_distance) for pair in pairs]
    problems += _repeated_names(swatches, name) + _ambiguous(swatches, name) + _other_forms(swatches, name)
    bases = [*palettes, *(Palette.load(base) for base in SHIPPED)]
    if not any(counterparts.contains(swatches, base) for base in bases):
        for palette in palettes:
            # Colours of COCO would be wrong advice for a table that is meant for ADE20K.
            if not protocol or palette.name not in SHIPPED or palette.name == protocol.name:
                problems += _recoloured(swatches, name, palette)
    return Collisions(problems, pairs)


def _recoloured(swatches: Sequence[Swatch], name: str, other: Palette) -> list[Problem]:
    """Report classes that another palette has in another colour, under the same name or a synonym."""
    pairs = ((swatch, counterparts.find(swatch, other)) for swatch in swatches)
    differing = [(swatch, known) for swatch, known in pairs if known and swatch.rgb != known.rgb]
    swapped = [(swatch, known) for swatch, known in differing if swatch.rgb == known.rgb[::-1]]
    # Swapped columns would give one finding per class; more than half of them mirrored is not a coincidence.
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
        cure = f"Use {known.hex}, which networks trained on {other.name} expect, or compare without {other.name}."
        problems.append(Problem("known-class", "warning", place, message, cure))
    return problems


def _repeated_names(swatches: Iterable[Swatch], name: str) -> list[Problem]:
    first: dict[str, Swatch] = {}
    problems = []
    for swatch in swatches:
        earlier = first.setdefault(simplify(swatch.name), swatch)
        if earlier is not swatch:
            message = f"{swatch.name} is the name of classes {earlier.index} and {swatch.index}."
            problems.append(Problem("repeated-name", "error", f"{name}: {swatch.name}", message, "Rename one of them."))
    return problems


def _ambiguous(swatches: Sequence[Swatch], name: str) -> list[Problem]:
    """Report synonyms of several classes, and names that are synonyms of other classes."""
    by_word: dict[str, list[Swatch]] = {}
    for swatch in swatches:
        for word in names_of(swatch):
            by_word.setdefault(word, []).append(swatch)
    problems = []
    for word, candidates in sorted(by_word.items()):
        repeated = sum(simplify(swatch.name) == word for swatch in candidates) > 1  # reported by _repeated_names
        if len(candidates) < 2 or repeated:
            continue
        classes = " and ".join(f"{swatch.name} ({swatch.index})" for swatch in candidates)
        severity: Severity = "known" if all_shipped(candidates) else "warning"
        cure = "" if severity == "known" else "Keep the word for one of them and remove it from the others."
        message = f"{word} means {classes}."
        problems.append(Problem("ambiguous-name", severity, f"{name}: {candidates[-1].name}", message, cure))
    return problems


def _other_forms(swatches: Sequence[Swatch], name: str) -> list[Problem]:
    """Report new classes whose name is another form of one that the table also has, such as its plural."""
    problems = []
    by_spelling: dict[str, Swatch] = {}
    for swatch in swatches:
        for word in names_of(swatch):
            by_spelling.setdefault(counterparts.spelling(word), swatch)
    for swatch in swatches:
        other = by_spelling[counterparts.spelling(swatch.name)]
        if other is swatch or simplify(swatch.name) in names_of(other) or counterparts.is_shipped(swatch):
            continue
        message = f"{swatch.name} ({swatch.index}) is another form of the name of {other.name} ({other.index})."
        cure = "Remove it if both mean the same; otherwise use a name that says how it differs."
        problems.append(Problem("ambiguous-name", "warning", f"{name}: {swatch.name}", message, cure))
    return problems


def within(swatches: Sequence[Swatch], min_distance: float) -> list[Pair]:
    """Return the pairs of classes that are equal or closer than min_distance (RGB L2); black counts as a class."""
    candidates = (*swatches, NO_CLASS)
    near = ((candidates[i], candidates[j]) for i, j in _near(candidates, candidates, min_distance) if i < j)
    return [Pair(a, b, "", _severity(a, b, b is NO_CLASS or counterparts.is_shipped(b))) for a, b in near]


def between(swatches: Sequence[Swatch], other: Palette, min_distance: float) -> list[Pair]:
    """Return the pairs across two palettes that are equal or closer than min_distance (RGB L2).

    A class that both palettes have under one name and in one colour is the same class, not a pair; `within` already
    compares it with the rest of the palette.
    """
    foreign = [known for known in other if not any(counterparts.are_same(known, swatch) for swatch in swatches)]
    near = ((swatches[i], foreign[j]) for i, j in _near(swatches, foreign, min_distance))
    return [Pair(a, b, other.name, _severity(a, b, counterparts.is_shipped(b))) for a, b in near]


def names_of(swatch: Swatch) -> set[str]:
    """Return the simplified name and synonyms of a class."""
    return {simplify(name) for name in (swatch.name, *swatch.synonyms)}


def all_shipped(swatches: Sequence[Swatch]) -> bool:
    """Report whether the shipped palettes contain all of these classes in these colours."""
    return all(map(counterparts.is_shipped, swatches))


def _near(lefts: Sequence[Swatch], rights: Sequence[Swatch], min_distance: float) -> Iterator[tuple[int, int]]:
    """Yield the positions (i, j), in order, of colours that are equal or closer than min_distance.

    Sorting by red limits the comparisons: colours whose reds differ by more than min_distance cannot be near.
    """
    order = sorted(range(len(rights)), key=lambda position: rights[position].rgb[0])
    reds = [rights[position].rgb[0] for position in order]
    for i, left in enumerate(lefts):
        red = left.rgb[0]
        candidates = order[bisect_left(reds, red - min_distance) : bisect_right(reds, red + min_distance)]
        for j in sorted(candidates):
            if left.rgb == rights[j].rgb or distance(left.rgb, rights[j].rgb) < min_distance:
                yield i, j


def _severity(a: Swatch, b: Swatch, b_is_shipped: bool) -> Severity:
    if counterparts.is_shipped(a) and b_is_shipped:
        return "known"
    return "error" if a.rgb == b.rgb else "warning"
