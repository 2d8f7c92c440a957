"""Location: a local folder or a URL, read and written the same way. Transfers are repeated, complete and verified."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from segkit import storage
from segkit.errors import LocationError, SegkitError, UsageError
from segkit.remote.digest import Digest, digest_of
from segkit.remote.faults import Fault, IncompleteError, fault_of, shown
from segkit.remote.files import Files
from segkit.remote.retry import Patience, retried
from segkit.remote.store import Entry, Store
from segkit.remote.stores import PROTOCOLS, protocol_of, store_of

Result = TypeVar("Result")

CHUNK = 16 << 20
"""Bytes of a file that are asked for at once: what a cut connection costs, and the memory that a transfer takes."""

_FILES = Files()


def is_url(text: object) -> bool:
    """Return whether a text is a URL such as s3://bucket/photos, as opposed to a local path."""
    return bool(re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", str(text)))


def is_name(name: str) -> bool:
    """Return whether a text is a relative name that leads out of no folder, on any system."""
    return not ("\\" in name or "\0" in name or not {"", ".", ".."}.isdisjoint(name.split("/")))


def location(text: "str | Path | Location", patience: Patience | None = None) -> "Location":
    """Return the location of a local path or URL. Nothing is looked up.

    Args:
        text: a path, or a URL: s3://, gs://, az://, https://, hf:// or memory://.
        patience: how long to bear a store that fails.

    Raises:
        UsageError: a URL of another kind.
    """
    if isinstance(text, Location):
        return text
    patience = patience or Patience()
    if not is_url(text):
        return Location(str(text), patience)
    if protocol_of(str(text)) not in PROTOCOLS:
        known = ", ".join(f"{name}://" for name in PROTOCOLS)
        raise UsageError(f"{shown(str(text))}: unknown kind of URL. Expected a local path or one of {known}.")
    return Location(str(text), patience)


@dataclass(frozen=True)
class Location:
    """A folder, or a file, on the local file system or in a remote store.

    The empty name stands for the location itself, if that is a file. All methods raise LocationError if a file is
    missing, access is denied, the store is unreachable or a package is missing, and UsageError for a name that leads
    out of the location.

    Attributes:
        root: the path or URL.
        patience: how long to bear a store that fails.
    """

    root: str
    patience: Patience = field(default=Patience(), repr=False)

    def __str__(self) -> str:
        return shown(self.root)

    def __truediv__(self, name: str) -> "Location":
        return Location(self._path(name), self.patience)

    @cached_property
    def is_local(self) -> bool:
        """Whether this is a path of the local file system."""
        return not is_url(self.root)

    @property
    def name(self) -> str:
        """The last part of the path."""
        return str(self).rstrip("/").rpartition("/")[2]

    def entries(self, pattern: str = "*") -> list[Entry]:
        """Return the files whose names match a pattern, sorted by name; [] if there are none, or no such folder.

        Args:
            pattern: "*" and "?" match within one folder, "**/" any folders, so that "**/*" are all files below.
        """
        below = "/" in pattern
        fits = re.compile(_regex(pattern)).fullmatch
        listing = self._repeated(lambda: self._store.find(self.root, below))
        return sorted((entry for entry in listing if fits(entry.name)), key=lambda entry: entry.name)

    def names(self, pattern: str = "*") -> list[str]:
        """Return the names of the files that match a pattern, sorted; see `entries`."""
        return [entry.name for entry in self.entries(pattern)]

    def stat(self, name: str = "") -> Entry | None:
        """Return size and version of a file; None if there is none."""
        path = self._path(name)
        return self._repeated(lambda: self._store.stat(path), name)

    def exists(self, name: str = "") -> bool:
        """Return whether there is such a file."""
        return self.stat(name) is not None

    def size(self, name: str = "") -> int:
        """Return the bytes of a file."""
        return self._known(name).size

    def read(self, name: str = "", size: int = -1) -> bytes:
        """Return the content of a file.

        Args:
            name: of the file.
            size: its bytes, if they are known from a listing; asking for them takes a request.
        """
        if self.is_local:
            return _FILES.read(self._path(name), 0, -1)
        return self.read_range(name, 0, self.size(name) if size < 0 else size)

    def read_range(self, name: str, start: int, size: int) -> bytes:
        """Return `size` bytes of a file from an offset, never fewer."""
        path = self._path(name)

        def read() -> bytes:
            data = self._store.read(path, start, size)
            if len(data) != size:
                raise IncompleteError(f"{len(data):,} of {size:,} bytes")
            return data

        return self._repeated(read, name)

    def download(self, name: str, path: Path, sha256: str = "") -> str:
        """Copy a file to the local file system, atomically, and return its SHA-256 in hex.

        Args:
            name: of the file.
            path: of the copy.
            sha256: of the content, if it is known. Without it, size and version must not change meanwhile.

        Raises:
            LocationError: also if the content has another hash. Nothing is left at `path`.
            StorageError: the copy cannot be written.
        """

        def copy() -> str:
            entry = self._known(name)
            digest = hashlib.sha256()
            with storage.writing(path) as file:
                for start in range(0, entry.size, CHUNK):
                    chunk = self.read_range(name, start, min(CHUNK, entry.size - start))
                    digest.update(chunk)
                    file.write(chunk)
                if sha256 and digest.hexdigest() != sha256:
                    raise IncompleteError(f"SHA-256 {digest.hexdigest()}, expected {sha256}")
                if not sha256 and self._known(name).version != entry.version:
                    raise IncompleteError("it changed while it was read")
            return digest.hexdigest()

        return self._repeated(copy, name)

    def write(self, name: str, data: bytes) -> None:
        """Create or replace a file, and verify what the store received."""
        self._send(name, data, digest_of([data]))

    def upload(self, path: Path, name: str, sha256: str = "") -> None:
        """Create or replace a file with the content of a local one, and verify what the store received.

        A file that has this content already is not sent again, so that an interrupted upload continues.

        Args:
            path: the local file.
            name: of the file at this location.
            sha256: what the local file must hold, if it is known.
        """
        with storage.disk_errors(path), path.open("rb") as file:
            digest = digest_of(iter(lambda: file.read(1 << 20), b""))
        if sha256 and digest.sha256 != sha256:
            raise LocationError("incomplete", f"{path} has changed since its hash was taken. Write it again.")
        self._send(name, path, digest)

    def _send(self, name: str, content: bytes | Path, digest: Digest) -> None:
        target = self._path(name)

        def send() -> None:
            self._store.send(target, content)
            if not self._holds(name, digest):
                raise IncompleteError("the store holds other bytes than were sent")

        if self.is_local:  # segkit.storage has flushed it to the disk
            return self._store.send(target, content)
        if isinstance(content, Path) and self._holds(name, digest):
            return None
        return self._repeated(send, name)

    def _holds(self, name: str, digest: Digest) -> bool:
        """Return whether a file has this content: by the hash that the store computed, else by reading it back."""
        entry = self.stat(name)
        if entry is None or entry.size != digest.size:
            return False
        if entry.tag in digest.tags:
            return True
        stored = hashlib.sha256()
        for start in range(0, entry.size, CHUNK):
            stored.update(self.read_range(name, start, min(CHUNK, entry.size - start)))
        return stored.hexdigest() == digest.sha256

    def _known(self, name: str) -> Entry:
        if (entry := self.stat(name)) is None:
            what = "path" if self.is_local else "address"
            raise LocationError("missing", f"{shown(self._path(name))} does not exist. Check the {what}.")
        return entry

    @property
    def _store(self) -> Store:
        return _FILES if self.is_local else store_of(protocol_of(self.root), self.patience.silence)

    def _path(self, name: str) -> str:
        if not name:
            return self.root
        if not is_name(name):
            raise UsageError(f"{name!r} is not the name of a file in {self}. Expected a relative name without '..'.")
        return f"{self.root.rstrip('/')}/{name}"

    def _repeated(self, work: Callable[[], Result], name: str = "") -> Result:
        patience = replace(self.patience, attempts=1) if self.is_local else self.patience

        def translated(error: Exception) -> Fault | None:
            return None if isinstance(error, SegkitError) else fault_of(error, self._path(name), self.root)

        return retried(work, translated, patience)


def _regex(pattern: str) -> str:
    """Return a glob pattern as a regular expression; see Location.entries."""
    parts = pattern.split("/")
    steps = [r"(?:[^/]+/)*" if part == "**" else _part(part) + "/" for part in parts[:-1]]
    return "".join(steps) + ("(?s:.*)" if parts[-1] == "**" else _part(parts[-1]))


def _part(pattern: str) -> str:
    return "".join({"*": "[^/]*", "?": "[^/]"}.get(char, re.escape(char)) for char in pattern)
