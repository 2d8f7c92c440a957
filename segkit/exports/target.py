"""Where an export is written: the only module of the package that creates or deletes files."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from segkit import storage
from segkit.errors import StorageError, UsageError
from segkit.locks import locked


@dataclass(frozen=True)
class Target:
    """A folder that receives files by name, with `/` between folders; every file appears whole or not at all.

    Attributes:
        path: the folder, which need not exist.
    """

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    @contextmanager
    def locked(self, lock: str) -> Iterator[None]:
        """Be the only writer, and delete the unfinished files of one that was killed.

        Raises:
            LockedError: another process is writing.
            UsageError: the folder is a file.
            StorageError: the disk is full or read-only.
        """
        if self.path.exists() and not self.path.is_dir():
            raise UsageError(f"{self.path} is a file; expected a folder. Choose another output.")
        storage.make_folder((self.path / lock).parent)
        with locked(self.path / lock) as was_killed:
            if was_killed:
                storage.remove_unfinished(self.path)
            yield

    def names(self) -> Iterator[str]:
        """Yield the name of every file, unsorted."""
        for parent, _, files in os.walk(self.path):
            folder = Path(parent).relative_to(self.path)
            yield from ((folder / name).as_posix() for name in files)

    def exists(self, name: str) -> bool:
        """Return whether there is such a file."""
        return (self.path / name).is_file()

    def read(self, name: str) -> bytes:
        """Return the content of a file.

        Raises:
            StorageError: it is missing or cannot be read.
        """
        try:
            return (self.path / name).read_bytes()
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            raise StorageError(f"Cannot read {self.path / name}: {reason}. Export again with overwrite=True.") from None

    def write(self, name: str, data: bytes) -> None:
        """Write a file; see storage.write."""
        storage.write(self.path / name, data)

    @contextmanager
    def writing(self, name: str) -> Iterator[BinaryIO]:
        """Write a file piece by piece; see storage.writing."""
        with storage.writing(self.path / name) as file:
            yield file

    def remove(self, names: Iterable[str]) -> None:
        """Delete files, in order, and the folders that they leave empty.

        Raises:
            StorageError: a file cannot be deleted.
        """
        for name in names:
            path = self.path / name
            storage.remove([path], path.parent)
            for folder in path.parents:
                if folder == self.path:
                    break
                with suppress(OSError):  # not empty
                    folder.rmdir()
