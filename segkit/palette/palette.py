"""Palettes: which class has which colour, and which name means which class."""

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

UNLABELLED = 255
"""The class index of pixels that no class may claim. Black in every control map."""

SHIPPED = ("ade20k", "coco_panoptic")
PROTOCOLS = {"ade20k": "ade20k", "coco": "coco_panoptic"}
"""The palettes that released networks were trained on, by the name that --protocol takes."""


@dataclass(frozen=True)
class Palette:
    """An ordered table of classes.

    Attributes:
        name: "ade20k", or a file's stem.
        swatches: class i at place i; at most 255, since index 255 means unlabelled.

    Raises:
        PaletteError: gaps in the numbering, no class, too many classes, or two classes of one name.
    """

    name: str
    swatches: tuple[Swatch, ...]

    def __post_init__(self) -> None:
        indices = [swatch.index for swatch in self.swatches]
        if not 1 <= len(indices) <= UNLABELLED:
            raise PaletteError(f"{self.name}: {len(indices)} classes; expected 1 to {UNLABELLED}.")
        if indices != list(range(len(indices))):
            gap = next(place for place, index in enumerate(indices) if place != index)
            raise PaletteError(f"{self.name}: no class has index {gap}; expected 0 to {len(indices) - 1} without gaps.")
        names = Counter(simplify(swatch.name) for swatch in self.swatches)
        name, times = names.most_common(1)[0]
        if times > 1:
            raise PaletteError(f"{self.name}: {times} classes are called {name}; give each a name of its own.")

    @classmethod
    def load(cls, source: "str | PathLike[str]") -> "Palette":
        """Load a palette by name ("ade20k", "coco_panoptic") or from a table (see tables.read).

        Raises:
            PaletteError: an unknown name, or a table with anything wrong in it; the message is the first finding.
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
        """Look a class up by name or synonym, whatever its case, blanks, hyphens and underscores.

        A primary name wins over synonyms: in ADE "counter" is class 45, although buffet is called so too.

        Raises:
            PaletteError: no class has that name (the text offers near ones), or several share it as a synonym (ADE:
                ground; the text says which).
        """
        wanted = simplify(name)
        candidates = self._primary.get(wanted) or self._synonyms.get(wanted, [])
        if len(candidates) == 1:
            return candidates[0]
        if candidates:
            which = " or ".join(f"{swatch.name} ({swatch.index})" for swatch in candidates)
            raise PaletteError(f"{name!r} means several classes of {self.name}: {which}. Use one of those names.")
        raise PaletteError(f"{name!r} is no class of {self.name}. {self._nearest(wanted)}")

    def _nearest(self, wanted: str) -> str:
        from difflib import get_close_matches  # only needed to word an error

        near = get_close_matches(wanted, [*self._primary, *self._synonyms])
        if near:
            return f"Did you mean {' or '.join(near)}?"
        return f"Expected one of its {len(self)} classes, such as {self.swatches[0].name} or {self.swatches[-1].name}."

    @cached_property
    def bytes(self) -> bytes:
        """The embedded palette of a control map: 256 RGB entries, black where there is no class."""
        colors = b"".join(bytes(swatch.rgb) for swatch in self.swatches)
        return colors + bytes(768 - len(colors))

    @cached_property
    def hash(self) -> str:
        """SHA-256 over index, name and colour of every class: equal hashes, equal meaning."""
        import hashlib  # only here: check-palette starts faster without them
        import json

        rows = [[swatch.index, swatch.name, *swatch.rgb] for swatch in self.swatches]
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()

    @cached_property
    def by_color(self) -> dict[RGB, int]:
        """Class index by colour; the lowest index where classes share one (ADE: road, not skyscraper)."""
        return {swatch.rgb: swatch.index for swatch in reversed(self.swatches)}

    @cached_property
    def _primary(self) -> dict[str, list[Swatch]]:
        return {simplify(swatch.name): [swatch] for swatch in self.swatches}

    @cached_property
    def _synonyms(self) -> dict[str, list[Swatch]]:
        found: dict[str, list[Swatch]] = {}
        for swatch in self.swatches:
            for synonym in dict.fromkeys(map(simplify, swatch.synonyms)):
                found.setdefault(synonym, []).append(swatch)
        return found


def simplify(name: str) -> str:
    """Reduce a class name to what matters in a comparison: lower case, one blank for blanks, `_` and `-`."""
    return re.sub(r"[\s_-]+", " ", name).strip().lower()


def shipped_folder() -> Path:
    """Return the folder of the shipped tables: inside the installed package, or beside it in a checkout."""
    here = Path(__file__).parent.parent
    installed = here / "palettes"
    return installed if installed.is_dir() else here.parent / "palettes"


@cache
def _shipped(name: str) -> Palette:
    return _read(shipped_folder() / f"{name}.csv")


def _read(path: Path) -> Palette:
    swatches, problems = tables.read(path)
    if problems:
        more = f" And {len(problems) - 1} more: segkit check-palette {path}" if len(problems) > 1 else ""
        raise PaletteError(f"{problems[0].message} {problems[0].cure}{more}")
    return Palette(path.stem, tuple(repair_joined_names(swatches)))


def repair_joined_names(swatches: Iterable[Swatch]) -> list[Swatch]:
    """Mend names whose blanks and commas became `;`, as in the sheet that many copied ("chest;of;drawers;bureau").

    Where one name ends and the next begins cannot be told from them; a class of ADE's that has the colour and begins
    with a name of that class is that class. Others keep all words, with blanks.
    """
    return [_unjoined(swatch) if ";" in swatch.name else swatch for swatch in swatches]


@cache
def _ade() -> Palette:
    return Palette.load("ade20k")


def _unjoined(swatch: Swatch) -> Swatch:
    words = simplify(swatch.name.replace(";", " "))
    for own in _ade():
        names = [simplify(name) for name in (own.name, *own.synonyms)]
        if own.rgb == swatch.rgb and any(f"{words} ".startswith(f"{name} ") for name in names):
            return replace(swatch, name=own.name, synonyms=own.synonyms)
    return replace(swatch, name=words)
