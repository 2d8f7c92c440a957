"""Where control maps are kept: a file, a folder, a dataset, a WebDataset shard or an HF imagefolder.

Nothing is unpacked: a shard's maps are read from where they lie in it.
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
_LARGEST = 256 * 2**20  # bytes of one map in a shard; beyond, it is none


@dataclass(frozen=True)
class Source:
    """One control map of a target.

    Attributes:
        name: what it is called there.
        file: the file it stands in: a picture, or a shard.
        span: where it lies in a shard: the first byte and the number of bytes. None if the file is the picture.
    """

    name: str
    file: Path
    span: tuple[int, int] | None = None

    def read(self) -> Image.Image:
        """Open the map and load its pixels.

        Raises:
            MapError: it is not there, or no picture that opens; the text begins with a verb.
        """
        if self.span is None:
            return maps.read(self.file)
        start, size = self.span
        with self.file.open("rb") as shard:
            shard.seek(start)
            return maps.decode(BytesIO(shard.read(size)))

    def cure(self, options: tuple[str, ...] = ()) -> str:
        """Return the command that mends the map; one of a shard is taken out of it first."""
        mended = str(Path("mended") / Path(self.name if self.span else self.file.name).with_suffix(".png"))
        if self.span is None:
            return shlex.join(("segkit", "snap", str(self.file), "-o", mended, *options))
        unpack = shlex.join(("tar", "-xf", str(self.file), "--", self.name))
        unpacked = f"./{self.name}" if self.name.startswith("-") else self.name  # no option
        return f"{unpack} && {shlex.join(('segkit', 'snap', unpacked, '-o', mended, *options))}"


def find(path: Path, table: Palette, expected: str) -> tuple[Kind, list[Source], Palette]:
    """Return what a path is, its maps, and the palette that they are painted with.

    Args:
        path: a map, a folder of maps, a dataset, a shard (.tar) or an imagefolder.
        table: the palette of maps; a dataset has its own.
        expected: what an error says a target may be.

    Raises:
        MapError: it is none of these, or a list or shard that is damaged.
        DatasetError: it is a damaged dataset.
    """
    if (path / ".segkit").is_dir():
        dataset = Dataset.open(path)
        names = dict.fromkeys(triple.conditioning_image_file_name for triple in dataset.triples())
        return "dataset", [Source(name, path / name) for name in names], dataset.info.palette
    if path.suffix.lower() == ".tar" and path.is_file():
        return "shard", _shard(path), table
    if listed := _imagefolder(path):
        return "imagefolder", listed, table
    folder, files = maps.find(path, expected)
    sources = [Source(file.relative_to(folder).as_posix(), file) for file in files]
    return "folder" if path.is_dir() else "map", sources, table


def _shard(path: Path) -> list[Source]:
    samples: dict[str, list[tuple[str, Source]]] = {}
    for name, source in _members(path):
        stem, _, ending = PurePosixPath(name).name.partition(".")
        samples.setdefault(str(PurePosixPath(name).parent / stem), []).append((ending.lower(), source))
    found = [source for members in samples.values() for source in _maps_among(members)]
    if not found:
        endings = sorted({ending for members in samples.values() for ending, _ in members})
        raise MapError(
            f"{path} holds no control maps: its members end in {', '.join(endings[:8]) or 'nothing'}; "
            "expected names such as KEY.hint.png, KEY.seg.png or KEY.png."
        )
    return found


def _members(path: Path) -> Iterator[tuple[str, Source]]:
    """Yield the name and place of every regular member of a shard."""
    try:
        with tarfile.open(path, "r:") as shard:
            for member in shard:
                if not member.isreg():
                    continue
                if leaves_folder(member.name) or not member.name.isprintable() or member.size > _LARGEST:
                    raise MapError(f"{path}: the member {member.name[:80]!r} is unsafe or far too large. Make it anew.")
                yield member.name, Source(member.name, path, (member.offset_data, member.size))
    except (tarfile.TarError, OSError, ValueError) as error:
        raise MapError(f"{path}: no whole tar ({error}). Make the shard anew; a compressed one unpack first.") from None


def _maps_among(sample: list[tuple[str, Source]]) -> list[Source]:
    """Return the maps of one sample: those whose endings say so, else its only lossless picture."""
    pictures = [(ending, source) for ending, source in sample if f".{ending}".endswith(tuple(photos.SUFFIXES))]
    named = [source for ending, source in pictures if _MAP_WORDS & set(re.split(r"[._-]", ending))]
    lossless = [source for ending, source in pictures if ending.endswith("png")]
    return named or (lossless if len(lossless) == 1 else [])


def _imagefolder(path: Path) -> list[Source]:
    """Return the maps that the metadata of an imagefolder names; none if it is no imagefolder with maps."""
    if not path.is_dir():
        return []
    folders = [path, *sorted(below for below in path.iterdir() if below.is_dir() and not below.name.startswith("."))]
    lists = [folder / name for folder in folders for name in _METADATA if (folder / name).is_file()]
    found = [source for metadata in lists for source in _listed(path, metadata)]
    return list(dict.fromkeys(found))


def _listed(path: Path, metadata: Path) -> Iterator[Source]:
    for line, row in _rows(metadata):
        columns = [name for name in row if name.endswith("_file_name")]
        likely = [name for name in columns if _MAP_WORDS & set(name.split("_"))] or columns
        if len(likely) > 1:
            raise MapError(f"{metadata}, line {line}: which is the map? {' or '.join(likely)}. Keep one such column.")
        for name in (row[column] for column in likely):
            if not isinstance(name, str) or not name or leaves_folder(name) or "\0" in name:
                raise MapError(f"{metadata}, line {line}: {str(name)[:80]!r} is no name of a file in this folder.")
            file = metadata.parent / name
            yield Source(file.relative_to(path).as_posix(), file)


def _rows(metadata: Path) -> Iterator[tuple[int, dict[str, object]]]:
    """Yield the line and the cells of each row of a metadata.jsonl or metadata.csv."""
    try:
        with metadata.open(encoding="utf-8-sig", newline="") as lines:
            if metadata.suffix == ".csv":
                table = csv.DictReader(lines)
                yield from ((table.line_num, {key: row[key] for key in row if key}) for row in table)
                return
            for number, line in enumerate(lines, 1):
                row = json.loads(line) if line.strip() else {}
                if not isinstance(row, dict):
                    raise ValueError(f"line {number} is no object")
                yield number, row
    except (OSError, ValueError, RecursionError, csv.Error) as error:
        raise MapError(f"{metadata}: cannot be read ({error}).") from None


def leaves_folder(name: str) -> bool:
    """Tell whether a name leads out of the folder that it is relative to."""
    return bool(re.match(r"[A-Za-z]:|[/\\]", name)) or ".." in re.split(r"[/\\]", name)
