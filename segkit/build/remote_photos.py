"""Photos behind URLs, in tar files and in lists: found, read by range, and recognised when they have not changed."""

import os
import stat
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import overload
from urllib.parse import urlsplit

from segkit import remote, threads
from segkit.build.compact import Names
from segkit.dataset.stamps import Status, hash64
from segkit.errors import LocationError, PhotoError, UsageError
from segkit.photos import PassedOver
from segkit.photos.search import SUFFIXES, passed_by_name
from segkit.remote import Location, lists, tars
from segkit.remote.faults import shown
from segkit.remote.locations import is_name

WORKERS = 16
"""Threads that read photos from stores, whose answers take long."""

PATIENCE_WITH_LISTS = {"attempts": 3, "silence": 20.0}
"""Of the many servers of a list, some are gone for good."""

STOPPING = ("forbidden", "no-credentials", "no-bucket", "wrong-region", "unreachable", "failing", "package")
"""Faults of a whole store, which end a build, rather than reject all of its photos."""


@dataclass(frozen=True, slots=True)
class RemotePhoto:
    """A photo that is not a file of the local file system.

    Attributes:
        name: what the dataset records as its source.
        place: the file that holds it.
        start: its first byte there.
        size: its bytes; -1 if they are not known.
        version: what changes with the content; see segkit.remote.Entry.
    """

    name: str
    place: Location
    start: int = 0
    size: int = -1
    version: str = ""

    def read(self, max_bytes: float) -> bytes:
        """Read its bytes.

        Raises:
            PhotoError: "unreadable", "too-large" or "empty".
            LocationError: the store as a whole cannot be read; see STOPPING.
        """
        try:
            size = self.size if self.size >= 0 else self.place.size()
            if size > max_bytes:
                raise PhotoError("too-large", f"{size / 1e6:,.0f} MB; at most {max_bytes / 1e6:,.0f} MB")
            if not size:
                raise PhotoError("empty", "0 bytes")
            return self.place.read_range("", self.start, size)
        except LocationError as error:
            if error.reason in STOPPING and urlsplit(self.place.root).scheme not in ("http", "https"):
                raise
            raise PhotoError("unreadable", str(error)) from None

    def status(self) -> Status:
        """Return what a stamp compares, as for a local file; None if the store tells too little."""
        size, version = self.size, self.version
        if size < 0:
            try:
                entry = self.place.stat()
            except LocationError:
                return None
            size, version = (entry.size, entry.version) if entry else (-1, "")
        if not version:
            return None
        number = hash64(f"{version} {self.start}".encode())
        return os.stat_result((stat.S_IFREG, number, 0, 1, 0, 0, size, 0, 0, 0), {"st_mtime_ns": 0})


class RemotePhotos(Sequence[RemotePhoto]):
    """Many photos in little memory: each is created when it is asked for."""

    def __init__(self, items: Iterable[RemotePhoto]) -> None:
        self._names, self._versions, self._members = Names(), Names(), Names()
        self._starts, self._sizes, self._roots = array("q"), array("q"), array("i")
        self._places: list[Location] = []
        places: dict[Location, int] = {}
        for item in items:
            place, member = _split(item.place)
            self._roots.append(places.setdefault(place, len(places)))
            self._members.append(member)
            self._names.append(item.name)
            self._versions.append(item.version)
            self._starts.append(item.start)
            self._sizes.append(item.size)
        self._places = list(places)

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, position: int) -> RemotePhoto: ...
    @overload
    def __getitem__(self, position: slice) -> list[RemotePhoto]: ...
    def __getitem__(self, position: int | slice) -> RemotePhoto | list[RemotePhoto]:
        if isinstance(position, slice):
            return [self[place] for place in range(*position.indices(len(self)))]
        folder, member = self._places[self._roots[position]], self._members[position]
        return RemotePhoto(
            self._names[position], replace(folder, root=folder.root + member), self._starts[position],
            self._sizes[position], self._versions[position],
        )  # fmt: skip


def _split(place: Location) -> tuple[Location, str]:
    """Return a file's folder and the rest of its URL, which are joined again without a look at either."""
    folder, slash, name = place.root.rpartition("/")
    return replace(place, root=folder + slash), name


def is_remote(source: Path | str) -> bool:
    """Return whether photos are behind a URL, in tar files, or in a list, and not in a local folder."""
    return remote.is_url(source) or (Path(source).suffix.lower() in (".tar", ".txt") and not Path(source).is_dir())


def search(source: str) -> tuple[list[RemotePhoto], list[PassedOver]]:
    """Find the photos of a URL, of tar files or of a list, and what is passed over, each sorted by name.

    Args:
        source: a URL of a folder; tar files, local or not, with braces such as photos-{000..009}.tar; or a list, .txt.

    Raises:
        UsageError: the text is malformed.
        LocationError: the store cannot be read.
    """
    kind = PurePosixPath(urlsplit(source).path if remote.is_url(source) else source).suffix.lower()
    if kind == ".txt":
        patience = remote.Patience(**PATIENCE_WITH_LISTS)  # type: ignore[arg-type]
        return _named_apart(lists.read_list(remote.location(source, patience))), []
    if kind == ".tar":
        listing = list(_in_tars([remote.location(text) for text in lists.expanded(source)]))
    else:
        place = remote.location(source)
        listing = [_photo(place, entry) for entry in _files(place)]
    kept, passed = [], []
    for photo in sorted(listing, key=lambda photo: photo.name):
        if reason := _passed_over(photo.name):
            passed.append(PassedOver(PurePosixPath(photo.name), *reason))
        else:
            kept.append(photo)
    return kept, passed


def _photo(place: Location, entry: remote.Entry) -> RemotePhoto:
    file = place / entry.name if is_name(entry.name) else place  # else it is passed over, and never read
    return RemotePhoto(entry.name, file, 0, entry.size, entry.version)


def _files(place: Location) -> list[remote.Entry]:
    entries = place.entries("**/*")
    if any(entry.name == ".segkit/dataset.toml" for entry in entries):
        raise UsageError(f"{place} is a segkit dataset. Expected photos.")
    return entries


def _in_tars(files: Sequence[Location]) -> Iterator[RemotePhoto]:
    """Yield the regular members of tar files, whose headers threads read."""

    def contents(file: Location) -> list[RemotePhoto]:
        entry = file.stat()
        version = f"{entry.size} {entry.version}" if entry and entry.version else ""
        return [
            RemotePhoto(f"{file.name}/{member.name}", file, member.start, member.size, version)
            for member in tars.members(file)
        ]

    with threads.pool(WORKERS) as pool:
        yield from chain.from_iterable(pool.map(contents, files))


def _passed_over(name: str) -> tuple[str, str] | None:
    """Return reason and message for a file that is not examined."""
    if reason := passed_by_name(name):
        return reason
    if not is_name(name):
        return "other-file", "its name has empty parts, '..' or a backslash, which no folder could hold"
    if PurePosixPath(name).suffix.lower() not in SUFFIXES:
        return "other-file", "its name does not end like that of a photo"
    return None


def _named_apart(files: Sequence[Location]) -> list[RemotePhoto]:
    """Return the photos of a list. Names have no query, which may hold a signature, unless nothing else differs."""
    names = [_source(file) for file in files]
    numbers = Counter(names)
    for place, (name, file) in enumerate(zip(names, files, strict=True)):
        if numbers[name] > 1 and (query := urlsplit(file.root).query):
            names[place] = f"{name}?{hash64(query.encode()):016x}"
    return [RemotePhoto(name, file) for name, file in sorted(zip(names, files, strict=True), key=lambda pair: pair[0])]


def _source(file: Location) -> str:
    return shown(file.root).partition("://")[2] if not file.is_local else file.root
