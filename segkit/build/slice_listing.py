"""The photos of a slice: chosen among those of a build, and listed when they are finished, to be merged."""

import hashlib
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from segkit import photos, rows, storage
from segkit.build.arrival import Loaded, Place, printable, source_name
from segkit.build.compact import Picked
from segkit.build.engines import Opening, Read
from segkit.build.outcome import Outcome
from segkit.build.slices import Slice, parse
from segkit.dataset import Dataset
from segkit.errors import DatasetError
from segkit.photos import PassedOver

T = TypeVar("T")

LISTING = ".segkit/slice/photos.jsonl"


class Header(Struct, frozen=True):
    """The first line of a slice's list.

    Attributes:
        shard: which slice it is, such as "2/8".
        total: photos of the whole build.
        names: SHA-256 of their names, by which slices of different builds are told apart.
    """

    shard: str
    total: int
    names: str


class Entry(Struct, frozen=True, omit_defaults=True):
    """A file of a slice.

    Attributes:
        source: its name.
        position: among the photos of the whole build; -1 for a file that was passed over.
        sha256: of its bytes; "" if it could not be read.
        reason, message: why it was passed over.
    """

    source: str
    position: int = -1
    sha256: str = ""
    reason: str = ""
    message: str = ""


@dataclass
class Share:
    """The photos of a slice, and what becomes known of them while it is built.

    Attributes:
        shard: which slice it is.
        folder: that sources are named relative to.
        paths: the photos.
        passed: files of the slice that were passed over.
        total, names: see Header.
    """

    shard: Slice
    folder: Path
    paths: "Picked[Place]"
    passed: list[PassedOver]
    total: int
    names: str
    _digests: list[str] = field(default_factory=list)

    def reading(self, read: Read) -> Read:
        """Return a reader that notes the hash of each photo."""

        def noting(places: Iterable[Place | Loaded], opening: Opening) -> Iterator[Loaded]:
            self._digests.clear()
            for loaded in read(places, opening):
                self._digests.append(loaded.sha256)
                yield loaded

        return noting

    def record(self, target: Dataset) -> None:
        """Write the list of a slice that is complete. The caller must hold the dataset's lock."""
        encoder = msgspec.json.Encoder()
        with storage.writing(target.folder / LISTING) as file:
            file.write(encoder.encode(Header(str(self.shard), self.total, self.names)) + b"\n")
            for place, position, digest in zip(self.paths, self.paths.positions, self._digests, strict=True):
                file.write(encoder.encode(Entry(source_name(place, self.folder), position, digest)) + b"\n")
            for item in self.passed:
                entry = Entry(source_name(item.path, self.folder), reason=item.reason, message=printable(item.message))
                file.write(encoder.encode(entry) + b"\n")


def share(
    shard: str, folder: Path, paths: Sequence[Place], passed: Sequence[PassedOver], outcome: Outcome
) -> tuple[Share, Outcome]:
    """Return the photos of a slice, and counts of its files.

    Args:
        shard: such as "2/8".
        folder: that sources are named relative to.
        paths: all photos of the build.
        passed: all files that were passed over.
        outcome: its notes are kept.
    """
    wanted, names, positions = parse(shard), hashlib.sha256(), []
    for position, place in enumerate(paths):
        source = source_name(place, folder)
        names.update(source.encode() + b"\n")
        if wanted.holds(source):
            positions.append(position)
    mine = [item for item in passed if wanted.holds(source_name(item.path, folder))]
    counts = Outcome(found=len(positions) + len(mine), notes=outcome.notes)
    counts.skipped.update(item.reason for item in mine if item.reason in photos.SKIPPED)
    return Share(wanted, folder, Picked(paths, positions), mine, len(paths), names.hexdigest()), counts


def header(dataset: Dataset) -> Header:
    """Read which slice of which build a dataset is.

    Raises:
        DatasetError: its build has not ended, or the list is damaged.
    """
    shard = dataset.info.settings["shard"]
    with closing(_lines(dataset)) as lines:
        first = next(lines, None)
    if first is None:
        raise DatasetError(
            f"{dataset.folder}, slice {shard}, is not finished. Run its build-dataset again, without a limit."
        )
    return _decoded(dataset, first, Header)


def entries(dataset: Dataset) -> Iterator[Entry]:
    """Yield the files of a slice.

    Raises:
        DatasetError: the list is damaged.
    """
    for line in islice(_lines(dataset), 1, None):
        yield _decoded(dataset, line, Entry)


def _lines(dataset: Dataset) -> Generator[bytes, None, None]:
    return (data for _, _, data in rows.numbered(dataset.folder / LISTING))


def _decoded(dataset: Dataset, line: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(line, type=kind)
    except msgspec.DecodeError as error:
        path = dataset.folder / LISTING
        raise DatasetError(f"{path} is damaged ({error}). Run the slice's build-dataset again.") from None
