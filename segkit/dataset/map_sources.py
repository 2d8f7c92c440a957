"""Finds control maps in a file, a folder, a dataset, a WebDataset shard or an HF imagefolder.

Shards are not unpacked: their maps are read in place, by byte range.
"""

import csv
import json
import re
import shlex
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Literal

from PIL import Image

from segkit import maps, photos
from segkit.dataset.dataset import Dataset
from segkit.errors import MapError
from segkit.palette import Palette

Kind = Literal["map", "folder", "dataset", "shard", "imagefolder"]

_MAP_WORDS = frozenset(
    "hint seg segmentation segmap cond conditioning control map mask label labels annotation".split()
)
_METADATA = ("metadata.jsonl", "metadata.csv")
_PICTURE_SUFFIXES = tuple(photos.SUFFIXES)
_MAX_BYTES = 256 * 2**20  # a larger member of a shard cannot be a control map


@dataclass(frozen=True)
class Source:
    """The location of one control map.

    Attributes:
        name: path relative to the target, or member name within the shard.
        file: the picture, or the shard that contains it.
        span: offset and length in bytes within a shard; None if the file is the picture itself.
    """

    name: str
    file: Path
    span: tuple[int, int] | None = None

    def read(self) -> Image.Image:
        """Open the map and load its pixels.

        Raises:
            MapError: the map is missing or cannot be decoded. The message begins with a verb, to follow the name.
        """
        if self.span is None:
            return maps.read(self.file)
        start, size = self.span
        with self.file.open("rb") as shard:
            shard.seek(start)
            return maps.decode(BytesIO(shard.read(size)))

    def cure(self, options: tuple[str, ...] = ()) -> str:
        """Return the shell command that repairs the map; a shard's map is unpacked first.

        Args:
            options: further options of `segkit snap`.
        """
        repaired = str(Path("repaired") / Path(self.name if self.span else self.file.name).with_suffix(".png"))
        if self.span is None:
            return shlex.join(("segkit", "snap", str(self.file), "-o", repaired, *options))
        unpack = shlex.join(("tar", "-xf", str(self.file), "--", self.name))
        unpacked = f"./{self.name}" if self.name.startswith("-") else self.name  # else it would parse as an option
        return f"{unpack} && {shlex.join(('segkit', 'snap', unpacked, '-o', repaired, *options))}"


def find(path: Path, palette: Palette, expected: str) -> tuple[Kind, list[Source], Palette]:
    """Find the control maps at a path.

    Args:
        path: a map, a folder of maps, a dataset, a shard (.tar) or an imagefolder.
        palette: palette of maps outside a dataset.
        expected: the accepted kinds of target, for error messages.

    Returns:
        The kind of target, its maps, and their palette: a dataset's recorded one, else the one passed in.

    Raises:
        MapError: the path contains no control maps, or its metadata or shard is damaged.
        DatasetError: the path is a damaged dataset.
    """
    if (path / ".segkit").is_dir():
        dataset = Dataset.open(path)
        names = dict.fromkeys(triple.conditioning_image_file_name for triple in dataset.triples())
        return "dataset", [Source(name, path / name) for name in names], dataset.info.palette
    if path.suffix.lower() == ".tar" and path.is_file():
        return "shard", _shard(path), palette
    if sources := _imagefolder(path):
        return "imagefolder", sources, palette
    folder, files = maps.find(path, expected)
    sources = [Source(file.relative_to(folder).as_posix(), file) for file in files]
    return "folder" if path.is_dir() else "map", sources, palette


def _shard(path: Path) -> list[Source]:
    # WebDataset groups members into samples by the name up to the first dot; the rest is the member's extension.
    samples: dict[str, list[tuple[str, Source]]] = {}
    for name, source in _members(path):
        stem, _, extension = PurePosixPath(name).name.partition(".")
        samples.setdefault(str(PurePosixPath(name).parent / stem), []).append((extension.lower(), source))
    sources = [source for sample in samples.values() for source in _maps_of_sample(sample)]
    if not sources:
        extensions = sorted({extension for sample in samples.values() for extension, _ in sample})
        raise MapError(
            f"{path} contains no control maps: its members have the extensions {', '.join(extensions[:8]) or 'none'}. "
            "Expected names such as KEY.hint.png, KEY.seg.png or KEY.png."
        )
    return sources


def _members(path: Path) -> Iterator[tuple[str, Source]]:
    """Yield the name and location of every regular file in a shard."""
    try:
        with tarfile.open(path, "r:") as shard:
            for member in shard:
                if not member.isreg():
                    continue
                if leaves_folder(member.name) or not member.name.isprintable() or member.size > _MAX_BYTES:
                    message = f"{path}: the member {member.name[:80]!r} has an unsafe name or is over 256 MiB."
                    raise MapError(f"{message} Create the shard again without it.")
                yield member.name, Source(member.name, path, (member.offset_data, member.size))
    except (tarfile.TarError, OSError, ValueError) as error:
        message = f"{path} is not a complete uncompressed tar file ({error})."
        raise MapError(f"{message} Decompress it or create it again.") from None


def _maps_of_sample(sample: list[tuple[str, Source]]) -> list[Source]:
    """Return the pictures whose extension names a map, such as "seg.png", else the only PNG."""
    pictures = [(extension, source) for extension, source in sample if f".{extension}".endswith(_PICTURE_SUFFIXES)]
    named = [source for extension, source in pictures if _MAP_WORDS & set(re.split(r"[._-]", extension))]
    lossless = [source for extension, source in pictures if extension.endswith("png")]
    return named or (lossless if len(lossless) == 1 else [])


def _imagefolder(path: Path) -> list[Source]:
    """Return the maps named by the metadata of a folder and its subfolders; empty for any other folder."""
    if not path.is_dir():
        return []
    subfolders = sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    files = [folder / name for folder in (path, *subfolders) for name in _METADATA if (folder / name).is_file()]
    sources = [source for metadata in files for source in _listed(path, metadata)]
    return list(dict.fromkeys(sources))


def _listed(path: Path, metadata: Path) -> Iterator[Source]:
    for line, row in _rows(metadata):
        columns = [name for name in row if name.endswith("_file_name")]
        map_columns = [name for name in columns if _MAP_WORDS & set(name.split("_"))] or columns
        if len(map_columns) > 1:
            names = " or ".join(map_columns)
            raise MapError(f"{metadata}, line {line}: the map could be {names}. Keep only one of these columns.")
        for name in (row[column] for column in map_columns):
            if not isinstance(name, str) or not name or leaves_folder(name) or "\0" in name:
                message = f"{metadata}, line {line}: {str(name)[:80]!r} does not name a file in this folder."
                raise MapError(f"{message} Correct the line.")
            file = metadata.parent / name
            yield Source(file.relative_to(path).as_posix(), file)


def _rows(metadata: Path) -> Iterator[tuple[int, dict[str, object]]]:
    """Yield line number and cells of each row of a metadata.jsonl or metadata.csv."""
    try:
        with metadata.open(encoding="utf-8-sig", newline="") as lines:
            if metadata.suffix == ".csv":
                reader = csv.DictReader(lines)
                yield from ((reader.line_num, {key: row[key] for key in row if key}) for row in reader)
                return
            for number, line in enumerate(lines, 1):
                row = json.loads(line) if line.strip() else {}
                if not isinstance(row, dict):
                    raise ValueError(f"line {number} is not a JSON object")
                yield number, row
    except (OSError, ValueError, RecursionError, csv.Error) as error:
        raise MapError(f"{metadata}: cannot be read ({error}). Correct or remove the file.") from None


def leaves_folder(name: str) -> bool:
    """Return whether a relative name points outside its folder, with POSIX or Windows separators."""
    return bool(re.match(r"[A-Za-z]:|[/\\]", name)) or ".." in re.split(r"[/\\]", name)
