"""Where an export is written, a local folder or a URL: the only module of the package that creates or deletes files."""

import hashlib
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, BinaryIO

from msgspec import Struct

from segkit import storage
from segkit.errors import UsageError
from segkit.locks import locked
from segkit.remote import Location


class Stamp(Struct, frozen=True, forbid_unknown_fields=True):
    """What a file of an export must be.

    Attributes:
        name: with `/` between folders.
        size: bytes.
        sha256: in hex.
    """

    name: str
    size: int
    sha256: str


class Tally:
    """A file that is being written, which counts and hashes what it receives."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._digest = file, hashlib.sha256()
        self.size = 0

    def __getattr__(self, name: str) -> Any:  # pyarrow also asks for `closed`, `tell` and `flush`
        return getattr(self._file, name)

    def write(self, data: bytes) -> int:
        """Write bytes."""
        self._digest.update(data)
        self.size += len(data)
        return self._file.write(data)

    def stamp(self, name: str) -> Stamp:
        """Return what was written, as the file of that name."""
        return Stamp(name, self.size, self._digest.hexdigest())


_READ = 16 << 20
"""Bytes that are read at once."""


def stamp(name: str, data: bytes) -> Stamp:
    """Return what a file with this content must be."""
    return Stamp(name, len(data), storage.sha256(data))


@dataclass(frozen=True)
class Target:
    """Receives files by name, with `/` between folders; every file appears whole or not at all.

    Attributes:
        location: the folder or URL, which need not exist.
    """

    location: Location

    def __str__(self) -> str:
        return str(self.location)

    @property
    def folder(self) -> Path | None:
        """The local folder; None for a URL."""
        return Path(self.location.root) if self.location.is_local else None

    @contextmanager
    def locked(self, lock: str) -> Iterator[None]:
        """Be the only writer of a local folder, and delete the unfinished files of one that was killed.

        If the block raises and leaves no file, the folders that were created are removed again.

        At a URL nothing is locked, and there are no unfinished files.

        Raises:
            LockedError: another process is writing.
            UsageError: the folder is a file.
            StorageError: the disk is full or read-only.
        """
        folder = self.folder
        if folder is None:
            yield
            return
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"{folder} is a file; expected a folder. Choose another output.")
        is_new = not (folder / lock).exists()
        kept = {*folder.rglob("*"), *([folder] if folder.exists() else [])} if is_new else set[Path]()
        storage.make_folder((folder / lock).parent)
        with locked(folder / lock) as was_killed:
            if was_killed:
                storage.remove_unfinished(folder)
            try:
                yield
            except BaseException:
                if is_new:
                    _remove_unused(folder, folder / lock, kept)
                raise

    def names(self) -> Iterable[str]:
        """Return the name of every file."""
        return self.location.names("**/*")

    def exists(self, name: str) -> bool:
        """Return whether there is such a file."""
        return self.location.exists(name)

    def read(self, name: str) -> bytes:
        """Return the content of a file.

        Raises:
            LocationError: it is missing or cannot be read.
        """
        return self.location.read(name)

    def sha256(self, name: str, size: int) -> str:
        """Return the SHA-256 of a file of that size, which is read.

        Raises:
            LocationError: it is missing or cannot be read.
        """
        digest = hashlib.sha256()
        for start in range(0, size, _READ):
            digest.update(self.location.read_range(name, start, min(_READ, size - start)))
        return digest.hexdigest()

    def write(self, name: str, data: bytes) -> Stamp:
        """Write a file.

        Raises:
            StorageError, LocationError: it cannot be written.
        """
        self.location.write(name, data)
        return stamp(name, data)

    @contextmanager
    def writing(self, name: str) -> Iterator[Tally]:
        """Write a file piece by piece; for a URL it is collected in a temporary file, and uploaded at the end.

        Raises:
            StorageError, LocationError: it cannot be written.
        """
        if self.folder is not None:
            with storage.writing(self.folder / name) as file:
                yield Tally(file)
            return
        with tempfile.TemporaryDirectory(prefix="segkit-export-") as folder:
            path = Path(folder) / "file"
            with storage.writing(path) as file:
                yield Tally(file)
            self.location.upload(path, name)

    def remove(self, names: Iterable[str]) -> None:
        """Delete files of a local folder, and the folders that they leave empty.

        Raises:
            UsageError: there are files to be deleted at a URL.
            StorageError: a file cannot be deleted.
        """
        names = sorted(names)
        if names and self.folder is None:
            raise UsageError(f"segkit deletes nothing at {self}. Delete the export there, or choose another output.")
        if self.folder is not None:
            for parent, paths in groupby((self.folder / name for name in names), lambda path: path.parent):
                storage.remove(paths, parent)
            _remove_empty(self.folder, {parent for name in names for parent in PurePosixPath(name).parents})


def _remove_unused(folder: Path, lock: Path, kept: set[Path]) -> None:
    """Remove a lock and new folders, if there are no files."""
    below = sorted(folder.rglob("*"), reverse=True)  # what lies in a folder comes before it
    if any(path.is_file() and path != lock for path in below):
        return
    with suppress(OSError):  # Windows keeps a lock that is held
        lock.unlink()
        for path in (*below, folder):
            if path not in kept and path.is_dir():
                path.rmdir()


def _remove_empty(root: Path, folders: Iterable[PurePath]) -> None:
    for folder in sorted(folders, reverse=True):  # what lies in a folder comes before it
        if folder.parts:
            with suppress(OSError):  # not empty
                (root / folder).rmdir()
