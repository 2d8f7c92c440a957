"""What all triples of a dataset share: .segkit/dataset.toml."""

from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, Struct

from segkit import schema, toml
from segkit.errors import DatasetError, PaletteError
from segkit.palette import Palette
from segkit.palette.color import parse, to_hex
from segkit.palette.tables import Swatch

FORMAT = 1
"""Version of the layout. A higher one was written by a newer segkit."""


FIXED = ("protocol", "size", "min_confidence", "photo_format", "tiles", "flip_average")
"""Settings that must be the same for all triples of a dataset."""


class Info(Struct, frozen=True):
    """The contents of .segkit/dataset.toml.

    Attributes:
        palette: the classes; stored whole, with its hash.
        models: by role ("segmenter", "captioner", "tokenizer") the name and, of networks, the revision, the hash of the
            weights and the precision; datasets of earlier versions have only name and revision.
        settings: the settings of the last build; later builds must agree with some of them.
        versions: of segkit and the libraries that the last photos were processed with; empty in datasets of earlier
            versions.
        added: number of classes at the end of the palette that a person added to the dataset.
    """

    palette: Palette
    models: dict[str, dict[str, str]]
    settings: dict[str, Any]
    versions: dict[str, str] = {}
    added: int = 0

    @property
    def built_with(self) -> Palette:
        """The palette without the classes that a person added to the dataset."""
        return Palette(self.palette.name, self.palette.swatches[: len(self.palette) - self.added])


class _Class(Struct):
    name: str
    synonyms: tuple[str, ...]
    color: str


class _Palette(Struct):
    name: str
    hash: str
    classes: list[_Class]
    added: Annotated[int, Meta(ge=0)] = 0


class _File(Struct):
    format: int
    settings: dict[str, Any]
    models: dict[str, dict[str, str]]
    palette: _Palette
    versions: dict[str, str] = {}


def read(path: Path) -> Info:
    """Read dataset.toml.

    Raises:
        FileNotFoundError, NotADirectoryError: there is no such file.
        DatasetError: it is damaged, or was written by a newer segkit.
    """
    try:
        content = toml.read(path).values
        version = content.get("format")
        if isinstance(version, int) and version > FORMAT:
            folder = path.parent.parent
            raise DatasetError(f"{folder} has format {version}; this segkit reads up to {FORMAT}. Update segkit.")
        return from_dict(content)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except (OSError, ValueError, PaletteError) as error:
        cure = "Restore a copy of the file, or build into a new folder."
        raise DatasetError(f"{path} is damaged: {error}. {cure}") from None


def to_toml(info: Info) -> bytes:
    """Return dataset.toml."""
    import tomli_w

    from segkit import __version__

    content = to_dict(info)
    return tomli_w.dumps({"format": content.pop("format"), "segkit": __version__, **content}).encode()


def to_dict(info: Info) -> dict[str, Any]:
    """Return the content of dataset.toml as plain values, without the version of segkit that writes it."""
    classes = [{"name": s.name, "synonyms": list(s.synonyms), "color": to_hex(s.rgb)} for s in info.palette]
    return {
        "format": FORMAT,
        "settings": info.settings,
        "versions": info.versions,
        "models": info.models,
        "palette": {"name": info.palette.name, "hash": info.palette.hash, "added": info.added, "classes": classes},
    }


def from_dict(content: Any) -> Info:
    """Validate and read what `to_dict` returns.

    Raises:
        ValueError, PaletteError: a key is missing, a value has the wrong type, or the palette's hash does not match.
    """
    file = schema.convert(content, _File)
    if not {"name", "revision"} <= file.models.get("segmenter", {}).keys():
        raise ValueError("the segmenter has no name and revision")
    swatches = (
        Swatch(index, row.name, row.synonyms, parse(row.color)) for index, row in enumerate(file.palette.classes)
    )
    palette = Palette(file.palette.name, tuple(swatches))
    if palette.hash != file.palette.hash:
        raise ValueError("the palette was edited: its hash does not match")
    return Info(palette, file.models, file.settings, file.versions, file.palette.added)
