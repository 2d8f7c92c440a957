"""What the writers of layouts share: a triple with the bytes of its files, as one layout or another needs them."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import PurePosixPath

import numpy as np
from PIL import Image

from segkit import maps, storage
from segkit.dataset.info import Info
from segkit.dataset.triple import Triple
from segkit.errors import DatasetError, MapError
from segkit.maps.codec import Labels
from segkit.palette import Palette
from segkit.words import quote

Chunks = Iterable[bytes]
"""The content of a file, in pieces."""

HF_SPLITS = {"train": "train", "val": "validation", "test": "test"}
"""Names of the splits in Hugging Face datasets."""


@dataclass(frozen=True)
class Item:
    """A triple on its way into another layout.

    Attributes:
        triple: its record.
        place: its place in the export, from 0.
        photo: bytes of the stored photo.
        stored_map: bytes of the stored control map.
        palette: of the dataset.
        rgb: whether `control_map` is RGB.
    """

    triple: Triple
    place: int
    photo: bytes
    stored_map: bytes
    palette: Palette
    rgb: bool = False

    @property
    def key(self) -> str:
        """The triple's key."""
        return self.triple.key

    @property
    def suffix(self) -> str:
        """Suffix of the photo: ".jpg" or ".png"."""
        return PurePosixPath(self.triple.file_name).suffix

    @property
    def shares_color(self) -> bool:
        """Whether two classes of the map have one colour, so that RGB cannot tell them apart."""
        return len({self.palette.find(share.name).rgb for share in self.triple.classes}) < len(self.triple.classes)

    @cached_property
    def labels(self) -> Labels:
        """The class of every pixel: (H, W) uint8 indices, 255 where unlabelled.

        Raises:
            DatasetError: the map is not an indexed picture of the dataset's palette.
        """
        from segkit.maps import codec

        try:
            image = maps.decode(BytesIO(self.stored_map))
        except MapError as error:
            raise _refused(self.triple, str(error)) from None
        if not codec.is_exact(image, self.palette):
            raise _refused(self.triple, "is not an indexed picture with the dataset's palette")
        labels, off = codec.read(image, self.palette)
        if off:
            raise _refused(self.triple, "has pixels without a class")
        return labels

    def require_exact(self) -> None:
        """Check every pixel of the map; see `labels` for what it raises."""
        _ = self.labels

    @cached_property
    def control_map(self) -> bytes:
        """The control map as a PNG: the stored bytes, or its exact colours as RGB."""
        if not self.rgb:
            return self.stored_map
        colors = np.frombuffer(self.palette.bytes, np.uint8).reshape(256, 3)
        return png(Image.fromarray(colors.take(self.labels, axis=0)))


def png(image: Image.Image) -> bytes:
    """Encode a picture as PNG, losslessly."""
    buffer = BytesIO()
    image.save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()


def _refused(triple: Triple, reason: str) -> DatasetError:
    return DatasetError(
        f"{triple.folder / triple.conditioning_image_file_name} {reason}. Run: segkit check {quote(triple.folder)}"
    )


def load(triple: Triple, place: int, palette: Palette, rgb: bool) -> Item:
    """Read the files of a triple, which must have the hashes of its record.

    Raises:
        DatasetError: a file is missing or was changed.
    """
    contents = []
    photo = triple.file_name, triple.photo_sha256
    for name, sha256 in (photo, (triple.conditioning_image_file_name, triple.map_sha256)):
        path = triple.folder / name
        try:
            data = path.read_bytes()
        except OSError as error:
            reason = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
            raise DatasetError(f"{path} {reason}. Run: segkit check {quote(triple.folder)}") from None
        if sha256 and storage.sha256(data) != sha256:
            raise DatasetError(f"{path} was changed after it was checked. Run: segkit check {quote(triple.folder)}")
        contents.append(data)
    item = Item(triple, place, contents[0], contents[1], palette, rgb)
    if not triple.map_sha256:  # of a dataset of an earlier version
        item.require_exact()
    return item


@dataclass(frozen=True)
class Content:
    """What the lists of an export are written from.

    Attributes:
        name: of the dataset.
        info: what all triples share.
        splits: those that occur, in the order train, val, test.
        split: the one that was asked for, or "all".
        sizes: width and height of the pictures, that occur.
        records: yields the exported triples, in order.
        annotations: yields what `annotate` returned for each, in order.
    """

    name: str
    info: Info
    splits: tuple[str, ...]
    split: str
    sizes: tuple[tuple[int, int], ...]
    records: Callable[[], Iterator[Triple]]
    annotations: Callable[[], Iterator[bytes]]

    def of_split(self, split: str) -> Iterator[Triple]:
        """Yield the exported triples of one split."""
        return (triple for triple in self.records() if triple.split == split)

    def folder(self, split: str) -> str:
        """Return the folder of a split in a layout without splits, with a slash; see `split_folder`."""
        return split_folder(split, self.split)


def split_folder(split: str, asked: str) -> str:
    """Return where the triples of a split lie in a layout that knows no splits, "" or a folder with a slash.

    Tools of these layouts train on everything that they find, so held-out triples lie in a folder of their own, in the
    same layout; the only split of an export is the export itself.
    """
    return "" if split in (asked, "train") else f"{split}/"
