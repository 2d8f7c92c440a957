"""Finds control maps in a file, a folder, a dataset, shards, or a folder in another tool's layout.

Shards are not unpacked: their maps are read in place, by byte range.
"""

import shlex
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Literal

from PIL import Image

from segkit import maps
from segkit.dataset import emptiness
from segkit.dataset.dataset import Dataset
from segkit.dataset.formats import layouts, shards, webdataset
from segkit.errors import DatasetError, MapError
from segkit.maps import MapFile
from segkit.palette import Palette

Kind = Literal["map", "folder", "dataset", "shard", "shards", "fill50k", "imagefolder", "kohya"]


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
            MapError: as `read_file`.
        """
        return maps.read(self.file) if self.span is None else self.read_file().image

    def read_file(self) -> MapFile:
        """Open the map, load its pixels, and keep its file.

        Raises:
            MapError: the map is missing or cannot be decoded. The message begins with a verb, to follow the name.
        """
        if self.span is None:
            return maps.read_file(self.file)
        start, size = self.span
        with self.file.open("rb") as shard:
            shard.seek(start)
            data = shard.read(size)
        return MapFile(maps.decode(BytesIO(data)), data)

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

    def folder_cure(self) -> str:
        """Return the shell command that repairs all maps of the folder, which are read alike; else that of the map."""
        depth = len(Path(self.name).parts)
        if self.span or depth > len(self.file.parts) or Path(*self.file.parts[-depth:]) != Path(self.name):
            return self.cure()
        return shlex.join(("segkit", "snap", str(self.file.parents[depth - 1]), "-o", "repaired"))


def find(path: Path, palette: Palette, expected: str) -> tuple[Kind, list[Source], Palette]:
    """Find the control maps at a path.

    Args:
        path: a map, a folder of maps, a dataset, a folder of exported shards, a shard (.tar) or a folder in another
            tool's layout.
        palette: palette of maps outside a dataset.
        expected: the accepted kinds of target, for error messages.

    Returns:
        The kind of target, its maps, and their palette: the recorded one of a dataset or of exported shards, else the
        one passed in.

    Raises:
        MapError: the path contains no control maps, or its metadata or shard is damaged.
        DatasetError: the path is a damaged dataset or one without triples, or its shards have a damaged index.
    """
    if (path / ".segkit").is_dir():
        dataset = Dataset.open(path)
        names = dict.fromkeys(triple.conditioning_image_file_name for triple in dataset.triples())
        if not names:
            emptiness.require_triples(dataset)
        return "dataset", [Source(name, path / name) for name in names], dataset.info.palette
    if path.suffix.lower() == ".tar" and path.is_file():
        members = webdataset.control_maps(path)
        return "shard", [Source(member.name, path, (member.offset, member.size)) for member in members], palette
    if (path / shards.INDEX).is_file():
        return "shards", *_of_shards(path)
    if layout := _detect(path):
        return layout, _listed(path), palette
    folder, files = maps.find(path, expected)
    sources = [Source(file.relative_to(folder).as_posix(), file) for file in files]
    return "folder" if path.is_dir() else "map", sources, palette


def _of_shards(folder: Path) -> tuple[list[Source], Palette]:
    """Return the maps of exported shards, which their index locates, and their palette."""
    index = shards.decode_index((folder / shards.INDEX).read_bytes(), str(folder / shards.INDEX))
    sources = []
    for shard in index.shards:
        file, listing = folder / shard.name, folder / shard.index_name
        if not (file.is_file() and listing.is_file()):
            raise DatasetError(f"{file} or {listing.name} is missing. Copy it again, or export the dataset again.")
        for sample in shards.decode_samples(listing.read_bytes(), shard, str(listing)):
            sources.append(Source(f"{sample.key}.{shards.MAP}", file, sample.members[shards.MAP]))
    return sources, index.info.palette


def _detect(path: Path) -> layouts.Layout | None:
    try:
        return layouts.detect_maps(path)
    except DatasetError as error:
        raise MapError(str(error)) from None


def _listed(path: Path) -> list[Source]:
    """Return the maps that the lists of a folder name, each once."""
    try:
        files = dict.fromkeys(entry.control_map for entry in layouts.read(path).entries)
    except DatasetError as error:
        raise MapError(str(error)) from None
    return [Source(file.relative_to(path).as_posix(), file) for file in files]
