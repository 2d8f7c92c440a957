"""Which protocol a palette table is meant for, and which of its classes each row of the table stands for."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache, lru_cache

from segkit.palette.color import BLACK, RGB
from segkit.palette.palette import SHIPPED, Palette, simplify
from segkit.palette.tables import Swatch
from segkit.problem import Problem, Severity

_LIKE = 0.5
"""Least mean share of matching colours and names of a table that is meant for a protocol."""

_COMPLETE = 0.75
"""Share of a protocol's classes from which on the others count as missing; with fewer, the table is a selection."""

_SHOWN = 8
_PLURALS = {"people": "person", "shelves": "shelf"}


def parts(name: str) -> list[str]:
    """Return the names that one cell lists, as in "sofa, couch, lounge", "sofa/couch" or "sofa (couch)"."""
    return [part for part in map(str.strip, re.split(r"[,;/|()]", name)) if part]


@lru_cache(maxsize=2048)
def words(swatch: Swatch) -> frozenset[str]:
    """Return all names of a class, simplified and in the singular."""
    return frozenset(
        _singular(simplify(part)) for name in (swatch.name, *swatch.synonyms) for part in (name, *parts(name))
    )


def spelling(name: str) -> str:
    """Return what all spellings of a class name have in common: its words in the singular, in lower case, joined."""
    return "".join(_singular(word) for word in simplify(name).split())


def resembling(name: str, palette: Palette) -> Swatch | None:
    """Return the class of a palette that a name stands for in another form; None if there is none.

    Other forms are plurals and spellings such as "arm chair", and names that a shipped palette has for the class. A
    name itself takes precedence over synonyms, as in `Palette.find`.
    """
    meant = _by_spelling(palette).get(spelling(name))
    if meant is not None:
        return meant
    for known in (_by_spelling(Palette.load(shipped)).get(spelling(name)) for shipped in SHIPPED):
        if known is not None:
            return next((swatch for swatch in palette if not words(swatch).isdisjoint(words(known))), None)
    return None


@lru_cache(maxsize=8)
def _by_spelling(palette: Palette) -> dict[str, Swatch]:
    by_spelling: dict[str, Swatch] = {spelling(swatch.name): swatch for swatch in palette}
    for swatch in palette:
        for synonym in swatch.synonyms:
            by_spelling.setdefault(spelling(synonym), swatch)
    return by_spelling


def are_same(one: Swatch, other: Swatch) -> bool:
    """Report whether two classes have the same colour, and a name or synonym in common."""
    return one.rgb == other.rgb and not words(one).isdisjoint(words(other))


def is_shipped(swatch: Swatch) -> bool:
    """Report whether a shipped palette contains the class, under this name or a synonym, in this colour."""
    return any(are_same(swatch, known) for known in _shipped().get(swatch.rgb, ()))


def contains(swatches: Iterable[Swatch], palette: Palette) -> bool:
    """Report whether a table holds all classes of a palette in their colours, each under one of its names."""
    by_color: dict[RGB, list[Swatch]] = {}
    for swatch in swatches:
        by_color.setdefault(swatch.rgb, []).append(swatch)
    return all(any(are_same(swatch, known) for swatch in by_color.get(known.rgb, ())) for known in palette)


def protocol(swatches: Sequence[Swatch]) -> Palette | None:
    """Return the shipped palette that a table is meant for, judged by the shares of matching colours and names.

    Returns:
        The palette with the higher mean share; None if that is below one half, or equal for several palettes.
    """
    if not swatches:
        return None
    palettes = [Palette.load(name) for name in SHIPPED]
    shares = [_share(swatches, palette) for palette in palettes]
    best = max(shares)
    return palettes[shares.index(best)] if best >= _LIKE and shares.count(best) == 1 else None


def _share(swatches: Sequence[Swatch], palette: Palette) -> float:
    """Return the mean of the share of classes whose colour a palette has, and that of classes whose name it has."""
    names = frozenset().union(*map(words, palette))
    colors = sum(swatch.rgb in palette.by_color for swatch in swatches)
    return (colors + sum(not names.isdisjoint(words(swatch)) for swatch in swatches)) / (2 * len(swatches))


def identified(swatches: Sequence[Swatch], palette: Palette) -> list[Swatch]:
    """Return the classes of a table that is meant for a palette, with the names that they have there as synonyms.

    A class in the colour and with the index of a class of the palette stands for it, even under a name that the palette
    does not know, such as one in another language.
    """
    return [
        replace(swatch, synonyms=(*swatch.synonyms, palette[swatch.index].name))
        if _is_renamed(swatch, palette)
        else swatch
        for swatch in swatches
    ]


def find(swatch: Swatch, palette: Palette) -> Swatch | None:
    """Return the class of a palette that a class stands for: by colour and name, or by name alone; None if unknown."""
    for known in palette:
        if are_same(swatch, known):
            return known
    by_name = (palette.candidates(name) for name in (swatch.name, *parts(swatch.name)))
    return next((candidates[0] for candidates in by_name if len(candidates) == 1), None)


def problems(swatches: Sequence[Swatch], name: str, palette: Palette) -> list[Problem]:
    """Report what a table that is meant for a palette lacks, orders or names differently.

    Args:
        swatches: classes of the table, as returned by tables.read.
        name: display name of the table.
        palette: the shipped palette that it is meant for.
    """
    if len(swatches) == len(palette) + 1 and swatches[0].rgb == BLACK:  # it counts unlabelled as class 0; see tables
        return []
    renamed = [swatch for swatch in swatches if _is_renamed(swatch, palette)]
    present = _by_index(identified(swatches, palette), palette)
    return [*_incomplete(present, name, palette), *_renamed(renamed, name, palette)]


def _by_index(swatches: Sequence[Swatch], palette: Palette) -> dict[int, Swatch]:
    """Return the class that stands for each class of a palette, by index there, as far as there is one."""
    pairs = [(swatch, known) for swatch in swatches if (known := find(swatch, palette))]
    by_index: dict[int, Swatch] = {}
    # A new class couch in a colour of its own does not stand for sofa if sofa is there, too.
    for swatch, known in sorted(pairs, key=lambda pair: pair[0].rgb != pair[1].rgb):
        by_index.setdefault(known.index, swatch)
    return by_index


def _incomplete(present: dict[int, Swatch], name: str, palette: Palette) -> list[Problem]:
    if len(present) < _COMPLETE * len(palette):
        return []
    missing = [known for known in palette if known.index not in present]
    moved = [(present[known.index], known) for known in palette if present.get(known.index, known).index != known.index]
    order = ""
    if moved:
        first, known = moved[0]
        others = f", and {len(moved) - 1} more have other indices" if len(moved) > 1 else ""
        order = f"{first.name} is class {first.index} here and {known.index} there{others}"
    if missing:
        severity: Severity = "error" if moved else "warning"
        lack = f"{len(present)} of the {len(palette)} classes of {palette.name}; missing: {_listed(missing)}"
        message = f"{name}: {'; '.join(filter(None, (lack, order)))}."
        cure = f"Add what is missing where {palette.name} has it, so that the indices agree with its networks."
        return [Problem("missing-class", severity, name, message, cure)]
    if moved:
        message = f"{name}: the classes of {palette.name} are in another order: {order}."
        cure = f"Keep the order of {palette.name} and append new classes; its networks predict these indices."
        return [Problem("class-order", "warning", name, message, cure)]
    return []


def _renamed(swatches: Sequence[Swatch], name: str, palette: Palette) -> list[Problem]:
    if not swatches:
        return []
    examples = ", ".join(f"{swatch.name} ({swatch.index}) for {palette[swatch.index].name}" for swatch in swatches[:3])
    more = f" and {len(swatches) - 3} more" if len(swatches) > 3 else ""
    message = f"{name}: {palette.name} does not know these names of classes in its colours: {examples}{more}."
    cure = f"Use the names of {palette.name}; further names may stand in the column synonyms."
    return [Problem("unknown-name", "warning", name, message, cure)]


def _is_renamed(swatch: Swatch, palette: Palette) -> bool:
    """Report whether a class has index and colour of a class of a palette, and a name that no class there has."""
    if swatch.index >= len(palette) or palette[swatch.index].rgb != swatch.rgb:
        return False
    return find(swatch, palette) is None


def _listed(swatches: Sequence[Swatch]) -> str:
    more = f" and {len(swatches) - _SHOWN} more" if len(swatches) > _SHOWN else ""
    return ", ".join(f"{swatch.name} ({swatch.index})" for swatch in swatches[:_SHOWN]) + more


def _singular(name: str) -> str:
    """Return a simplified name with its last word in the singular; crude, since both sides are treated alike."""
    *first, last = name.split(" ")
    last = _PLURALS.get(last, last)
    for plural, singular in (("ies", "y"), ("sses", "ss"), ("shes", "sh"), ("ches", "ch"), ("xes", "x"), ("s", "")):
        if last.endswith(plural) and not last.endswith("ss"):
            last = last.removesuffix(plural) + singular
            break
    return " ".join([*first, last])


@cache
def _shipped() -> dict[RGB, list[Swatch]]:
    by_color: dict[RGB, list[Swatch]] = {}
    for swatch in (swatch for name in SHIPPED for swatch in Palette.load(name)):
        by_color.setdefault(swatch.rgb, []).append(swatch)
    return by_color
