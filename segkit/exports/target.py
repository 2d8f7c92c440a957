"""Where an export is written, a local folder or a URL: the only module of the package that creates or deletes files."""

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path, PurePath, PurePosixPath
from typing import BinaryIO

from segkit import storage
from segkit.errors import UsageError
from segkit.locks import locked
from segkit.remote import Location


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
        storage.make_folder((folder / lock).parent)
        with locked(folder / lock) as was_killed:
            if was_killed:
                storage.remove_unfinished(folder)
            yield

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

    def write(self, name: str, data: bytes) -> None:
        """Write a file.

        Raises:
            StorageError, LocationError: it cannot be written.
        """
        self.location.write(name, data)

    @contextmanager
    def writing(self, name: str) -> Iterator[BinaryIO]:
        """Write a file piece by piece; for a URL it is collected in a temporary file, and uploaded at the end.

        Raises:
            StorageError, LocationError: it cannot be written.
        """
        if self.folder is not None:
            with storage.writing(self.folder / name) as file:
                yield file
            return
        with tempfile.TemporaryDirectory(prefix="segkit-export-") as folder:
            path = Path(folder) / "file"
            with storage.writing(path) as file:
                yield file
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


def _remove_empty(root: Path, folders: Iterable[PurePath]) -> None:
    for folder in sorted(folders, reverse=True):  # what lies in a folder comes before it
        if folder.parts:
            with suppress(OSError):  # not empty
                (root / folder).rmdir()
