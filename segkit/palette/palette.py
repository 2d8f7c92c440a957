"""Palettes: the class of each colour, and the class that a name refers to."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache, cached_property
from os import PathLike
from pathlib import Path

from segkit.errors import PaletteError
from segkit.palette import tables
from segkit.palette.color import RGB
from segkit.palette.tables import Swatch
from segkit.words import quote

UNLABELLED = 255
"""Class index of unlabelled pixels, which are black in every control map."""

SHIPPED = ("ade20k", "coco_panoptic")
PROTOCOLS = {"ade20k": "ade20k", "coco": "coco_panoptic"}
"""Palettes that released networks were trained on, by the value of --protocol."""


@dataclass(frozen=True)
class Palette:
    """An ordered table of classes.

    Attributes:
        name: "ade20k", or the stem of a file.
        swatches: the classes in index order; at most 255, since index 255 means unlabelled.

    Raises:
        PaletteError: the numbering has gaps, there are no or too many classes, or two classes share a name.
    """

    name: str
    swatches: tuple[Swatch, ...]

    def __post_init__(self) -> None:
        indices = [swatch.index for swatch in self.swatches]
        if not 1 <= len(indices) <= UNLABELLED:
            raise PaletteError(f"{self.name}: {len(indices)} classes; expected 1 to {UNLABELLED}.")
        if indices != list(range(len(indices))):
            gap = next(position for position, index in enumerate(indices) if position != index)
            raise PaletteError(f"{self.name}: no class has index {gap}; expected 0 to {len(indices) - 1} without gaps.")
        names = Counter(simplify(swatch.name) for swatch in self.swatches)
        name, times = names.most_common(1)[0]
        if times > 1:
            raise PaletteError(f"{self.name}: {times} classes are called {name}; use a unique name for each.")

    @classmethod
    def load(cls, source: "str | PathLike[str]") -> "Palette":
        """Load a palette by name ("ade20k", "coco_panoptic") or from a table (see tables.read).

        Raises:
            PaletteError: the name is unknown, or the table has errors; the message is the first of them.
        """
        if str(source) in SHIPPED:
            return _shipped(str(source))
        path = Path(source)
        if not path.suffix and not path.exists():
            raise PaletteError(
                f"{str(source)!r} is not a palette. Expected {', '.join(SHIPPED)} or a table such as my.csv."
            )
        return _read(path)

    def __len__(self) -> int:
        return len(self.swatches)

    def __iter__(self) -> Iterator[Swatch]:
        return iter(self.swatches)

    def __getitem__(self, index: int) -> Swatch:
        return self.swatches[index]

    def find(self, name: str) -> Swatch:
        """Find a class by name or synonym, ignoring case, spaces, hyphens and underscores.

        Primary names take precedence over synonyms: in ADE20K "counter" is class 45, although it is also a synonym of
        buffet.

        Raises:
            PaletteError: no class has that name (the message suggests similar ones), or several classes share it as a
                synonym (ADE20K: ground; the message lists them).
        """
        candidates = self.candidates(name)
        if len(candidates) == 1:
            return candidates[0]
        if candidates:
            choices = " or ".join(f"{swatch.name} ({swatch.index})" for swatch in candidates)
            raise PaletteError(f"{name!r} means several classes of {self.name}: {choices}. Use one of those names.")
        raise PaletteError(f"{name!r} is not a class of {self.name}. {self._hint(simplify(name))}")

    def candidates(self, name: str) -> list[Swatch]:
        """Return the classes that a name may mean: none, one, or several that share it as a synonym; see `find`."""
        key = simplify(name)
        return self._primary.get(key) or self._synonyms.get(key, [])

    def _hint(self, key: str) -> str:
        from difflib import get_close_matches  # only needed to word an error

        near = get_close_matches(key, [*self._primary, *self._synonyms])
        if near:
            return f"Did you mean {' or '.join(near)}?"
        return f"Expected one of its {len(self)} classes, such as {self.swatches[0].name} or {self.swatches[-1].name}."

    @cached_property
    def bytes(self) -> bytes:
        """The embedded palette of a control map: 256 RGB entries, black beyond the last class."""
        colors = b"".join(bytes(swatch.rgb) for swatch in self.swatches)
        return colors + bytes(768 - len(colors))

    @cached_property
    def hash(self) -> str:
        """SHA-256 of index, name and colour of every class; synonyms and the palette's name do not count."""
        import hashlib  # imported here because check-palette starts faster without them
        import json

        rows = [[swatch.index, swatch.name, *swatch.rgb] for swatch in self.swatches]
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()

    @cached_property
    def by_color(self) -> dict[RGB, int]:
        """Class index by colour; the lowest index where classes share one (ADE20K: road, not skyscraper)."""
        return {swatch.rgb: swatch.index for swatch in reversed(self.swatches)}

    @cached_property
    def _primary(self) -> dict[str, list[Swatch]]:
        return {simplify(swatch.name): [swatch] for swatch in self.swatches}

    @cached_property
    def _synonyms(self) -> dict[str, list[Swatch]]:
        by_synonym: dict[str, list[Swatch]] = {}
        for swatch in self.swatches:
            for synonym in dict.fromkeys(map(simplify, swatch.synonyms)):
                by_synonym.setdefault(synonym, []).append(swatch)
        return by_synonym


def simplify(name: str) -> str:
    """Normalise a class name for comparison: lower case; runs of whitespace, `_` and `-` become one space."""
    return re.sub(r"[\s_-]+", " ", name).strip().lower()


def shipped_folder() -> Path:
    """Return the folder of the shipped tables: inside the installed package, or beside it in a source checkout."""
    package = Path(__file__).parent.parent
    installed = package / "palettes"
    return installed if installed.is_dir() else package.parent / "palettes"


@cache
def _shipped(name: str) -> Palette:
    return _read(shipped_folder() / f"{name}.csv")


def _read(path: Path) -> Palette:
    swatches, problems = tables.read(path)
    if problems:
        more = f" And {len(problems) - 1} more: segkit check-palette {quote(path)}" if len(problems) > 1 else ""
        raise PaletteError(f"{problems[0].message} {problems[0].cure}{more}")
    return Palette(path.stem, tuple(repair_joined_names(swatches)))


def repair_joined_names(swatches: Iterable[Swatch]) -> list[Swatch]:
    """Separate names that hold synonyms, too, of classes in the colour of an ADE20K class.

    Two ways occur: ADE20K's own list of names, "sofa, couch, lounge", and a widely copied sheet whose spaces and commas
    became `;`: "chest;of;drawers;bureau". In the latter, name and synonyms can no longer be distinguished: what begins
    with a name of the ADE20K class becomes that class; any other name keeps all its words, separated by spaces.
    """
    return [_repair_joined_name(swatch) if re.search("[;,]", swatch.name) else swatch for swatch in swatches]


@cache
def _ade() -> Palette:
    return Palette.load("ade20k")


def _repair_joined_name(swatch: Swatch) -> Swatch:
    words = simplify(swatch.name.replace(";", " "))
    listed = {simplify(name) for name in swatch.name.split(",")}
    for known in _ade():
        names = [simplify(name) for name in (known.name, *known.synonyms)]
        if known.rgb != swatch.rgb:
            continue
        if listed <= set(names) or (";" in swatch.name and any(f"{words} ".startswith(f"{name} ") for name in names)):
            return replace(swatch, name=known.name, synonyms=known.synonyms)
    return replace(swatch, name=words) if ";" in swatch.name else swatch
