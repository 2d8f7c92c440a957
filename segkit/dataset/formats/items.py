"""What the readers of whole datasets share: photos, maps and prompts as contents of files, shards and tables."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Protocol

from segkit import maps
from segkit.dataset.formats.listing import Entry, Listing
from segkit.dataset.info import Info
from segkit.dataset.triple import Triple
from segkit.errors import DatasetError, MapError
from segkit.palette import Palette

MAX_BYTES = 2**30
"""A larger file cannot be a photo or a map."""


class Content(Protocol):
    """The bytes of a picture, wherever they are."""

    @property
    def name(self) -> str:
        """Where they are, for messages."""

    def read(self) -> bytes:
        """Return them.

        Raises:
            OSError: they cannot be read.
        """


@dataclass(frozen=True, slots=True)
class File:
    """A file, or a part of a shard.

    Attributes:
        path: the file, or the shard.
        start: first byte.
        size: number of bytes; -1 for all.
        member: name within the shard; "" for a file.
    """

    path: Path
    start: int = 0
    size: int = -1
    member: str = ""

    @property
    def name(self) -> str:
        """The path, and the name within a shard."""
        return f"{self.path}/{self.member}" if self.member else str(self.path)

    def read(self) -> bytes:
        """Return the bytes; see Content."""
        if not self.path.is_file():  # opening a named pipe would block
            raise OSError(2, "not a file" if self.path.exists() else "no such file")
        if self.size < 0 and self.path.stat().st_size > MAX_BYTES:
            raise OSError(27, "larger than 1 GiB")
        with self.path.open("rb") as file:
            file.seek(self.start)
            data = file.read(self.size)
        if 0 <= self.size != len(data):
            raise OSError(5, f"ends within {self.member}")
        return data


@dataclass(frozen=True, slots=True)
class Exact:
    """A map in RGB, in whose place the map is read that it was painted from.

    Attributes:
        shown: the map in RGB.
        stored: the indexed map, which tells classes of one colour apart.
    """

    shown: Content
    stored: File

    @property
    def name(self) -> str:
        """That of the map in RGB."""
        return self.shown.name

    def read(self) -> bytes:
        """Return the indexed map; the one in RGB if somebody changed a pixel of it. See Content."""
        shown, stored = self.shown.read(), self.stored.read()
        try:
            colors = [maps.decode(BytesIO(data)).convert("RGB") for data in (shown, stored)]
        except MapError:
            return shown
        is_alike = colors[0].size == colors[1].size and colors[0].tobytes() == colors[1].tobytes()
        return stored if is_alike else shown


@dataclass(frozen=True, slots=True)
class Segment:
    """An area of a COCO panoptic map.

    Attributes:
        number: value of its pixels, red + 256 * green + 65,536 * blue.
        category: number of its category.
    """

    number: int
    category: int


@dataclass(frozen=True, slots=True)
class Item:
    """A photo, its control map and its prompt, as a dataset lists them.

    Attributes:
        source: its name, unique within its collection: the photo's path, relative to the folder.
        photo: the photo; None for a map without one.
        control_map: the map; None if there is none.
        text: the prompt; "" if there is none.
        split: "train", "val" or "test"; "" if the dataset does not say.
        segments: the areas of a COCO panoptic map; None for other maps.
        record: returns the triple, if segkit wrote the data; None otherwise.
        key: of that triple; "" otherwise.
        fault: why its caption, or its row in a list, cannot be used, as a sentence; "" if it can.
    """

    source: str
    photo: Content | None
    control_map: Content | None
    text: str = ""
    split: str = ""
    segments: tuple[Segment, ...] | None = None
    record: Callable[[], Triple] | None = None
    key: str = ""
    fault: str = ""


@dataclass(frozen=True)
class Collection:
    """A dataset in one of the layouts that segkit imports.

    Attributes:
        layout: its name, recorded in Triple.origin.
        place: the folder or file.
        items: the content, in the order of the lists.
        notes: what a user should know about the reading, as sentences.
        by_person: whether persons drew the maps.
        first_id: value of the first class in maps of class indices, if the layout fixes it; None otherwise.
        categories: names of the categories of COCO panoptic maps, by number.
        palette: the classes of the maps, if the layout names them; None otherwise.
        info: what all triples share, if segkit wrote the data; None otherwise.
    """

    layout: str
    place: Path
    items: Sequence[Item]
    notes: tuple[str, ...] = ()
    by_person: bool = False
    first_id: int | None = None
    categories: tuple[tuple[int, str], ...] = ()
    palette: Palette | None = None
    info: Info | None = None


def of_listing(folder: Path, listing: Listing) -> Collection:
    """Return a list as a collection; rows that cannot be used are items, too."""
    items = [_of_entry(folder, entry) for entry in listing.entries]
    items += [Item(fault.source, None, None, fault=fault.reason) for fault in listing.faults]
    return Collection(listing.layout, folder, items, listing.notes)


def _of_entry(folder: Path, entry: Entry) -> Item:
    return Item(
        entry.photo.relative_to(folder).as_posix(),
        File(entry.photo),
        File(entry.control_map),
        entry.text,
        entry.split if entry.has_split else "",
    )


def require_items(collection: Collection) -> Collection:
    """Return a collection that is not empty.

    Raises:
        DatasetError: it is empty.
    """
    if not collection.items:
        raise DatasetError(f"{collection.place} (layout {collection.layout}) lists no pictures. Expected at least one.")
    return collection
