"""What all triples of a dataset have in common: .segkit/dataset.toml."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segkit.errors import DatasetError, PaletteError
from segkit.palette import Palette
from segkit.palette.color import parse, to_hex
from segkit.palette.tables import Swatch

FORMAT = 1
"""Version of the layout; a higher one was written by a later segkit."""


@dataclass(frozen=True)
class Info:
    """What .segkit/dataset.toml holds: all that every triple of the dataset has in common.

    Attributes:
        palette: the classes; stored whole, with its hash.
        models: name and revision by role ("segmenter", "captioner", "tokenizer").
        settings: the settings that shaped the triples; a second build must agree with them.
    """

    palette: Palette
    models: dict[str, dict[str, str]]
    settings: dict[str, Any]


def read(path: Path) -> Info:
    """Read dataset.toml.

    Raises:
        FileNotFoundError, NotADirectoryError: it is not there.
        DatasetError: it is damaged, or was written by a later segkit.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        if table["format"] > FORMAT:
            folder = path.parent.parent
            raise DatasetError(f"{folder} has format {table['format']}; this segkit knows {FORMAT}. Update segkit.")
        return _info(table)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, PaletteError) as error:
        found = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        cure = "Put a copy of it back, or build into a new folder."
        raise DatasetError(f"{path} is damaged: {found}. {cure}") from None


def to_toml(info: Info) -> bytes:
    """Return dataset.toml."""
    import tomli_w

    from segkit import __version__

    classes = [{"name": s.name, "synonyms": list(s.synonyms), "color": to_hex(s.rgb)} for s in info.palette]
    table = {
        "format": FORMAT,
        "segkit": __version__,
        "settings": info.settings,
        "models": info.models,
        "palette": {"name": info.palette.name, "hash": info.palette.hash, "classes": classes},
    }
    return tomli_w.dumps(table).encode()


def _info(table: dict[str, Any]) -> Info:
    if not isinstance(table["settings"], dict) or not all(isinstance(each, dict) for each in table["models"].values()):
        raise TypeError("settings or models are no tables")
    if not {"name", "revision"} <= table["models"]["segmenter"].keys():
        raise TypeError("the segmenter has no name and revision")
    rows = enumerate(table["palette"]["classes"])
    swatches = (Swatch(index, row["name"], tuple(row["synonyms"]), parse(row["color"])) for index, row in rows)
    palette = Palette(table["palette"]["name"], tuple(swatches))
    if palette.hash != table["palette"]["hash"]:
        raise ValueError("the palette was changed by hand: its hash does not match")
    return Info(palette, table["models"], table["settings"])
