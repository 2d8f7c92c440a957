"""Where control maps are kept: a file, a folder, a dataset, a WebDataset shard or an HF imagefolder.

Nothing is unpacked: a shard's maps are read from where they lie in it.
"""

import shlex
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Literal

from PIL import Image

from segkit import maps
from segkit.dataset.dataset import Dataset
from segkit.dataset.formats import imagefolder, webdataset
from segkit.errors import DatasetError, MapError
from segkit.palette import Palette

Kind = Literal["map", "folder", "dataset", "shard", "imagefolder"]


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
        members = webdataset.control_maps(path)
        return "shard", [Source(member.name, path, (member.offset, member.size)) for member in members], table
    if listed := _imagefolder(path):
        return "imagefolder", listed, table
    folder, files = maps.find(path, expected)
    sources = [Source(file.relative_to(folder).as_posix(), file) for file in files]
    return "folder" if path.is_dir() else "map", sources, table


def _imagefolder(path: Path) -> list[Source]:
    """Return the maps that the metadata of an imagefolder names; none if the path is not such a folder."""
    if not path.is_dir():
        return []
    try:
        return [Source(file.relative_to(path).as_posix(), file) for file in imagefolder.control_maps(path)]
    except DatasetError as error:
        raise MapError(str(error)) from None
