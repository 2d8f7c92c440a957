"""Folders of the local file system as locations. Errors are raised as LocationError; nothing is repeated."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from segkit import storage
from segkit.errors import LocationError
from segkit.remote.store import Entry

_COPIED = 1 << 20
"""Bytes that are copied at once."""


class Files:
    """The local file system as a store."""

    def find(self, path: str, below: bool) -> list[Entry]:
        """See Store."""
        root = Path(path)
        if not root.is_dir():
            return []
        names = _below(root) if below else (entry.name for entry in os.scandir(root) if entry.is_file())
        entries = []
        for name in names:
            if (entry := self.stat(os.path.join(path, name))) is not None:  # noqa: PTH118 - text, as it came
                entries.append(Entry(name, entry.size, entry.version))
        return entries

    def stat(self, path: str) -> Entry | None:
        """See Store."""
        with _errors(path):
            try:
                status = os.stat(path)  # noqa: PTH116 - as fast as it gets
            except (FileNotFoundError, NotADirectoryError):
                return None
        return Entry("", status.st_size, str(status.st_mtime_ns)) if Path(path).is_file() else None

    def read(self, path: str, start: int, size: int) -> bytes:
        """See Store."""
        try:  # not in _errors, whose context costs a tenth of a small read
            with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - as fast as it gets
                if size < 0:
                    return file.readall()
                file.seek(start)
                return _whole(file, size)
        except OSError as error:
            raise _error(path, error) from None

    def send(self, path: str, content: bytes | Path) -> None:
        """Write a file atomically; see segkit.storage."""
        if isinstance(content, bytes):
            return storage.write(Path(path), content)
        with _errors(str(content)), content.open("rb") as source, storage.writing(Path(path)) as file:
            while chunk := source.read(_COPIED):
                file.write(chunk)
        return None


def _below(root: Path) -> Iterator[str]:
    for folder, _, names in os.walk(root):
        for name in names:
            yield (Path(folder) / name).relative_to(root).as_posix()


@contextmanager
def _errors(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _error(path, error) from None


def _error(path: str, error: OSError) -> LocationError:
    if isinstance(error, FileNotFoundError):
        return LocationError("missing", f"{path} does not exist. Check the path.")
    reason = "forbidden" if isinstance(error, PermissionError) else "refused"
    message = f"Cannot read {path}: {os.strerror(error.errno or 0)}. Fix that and run the same command again."
    return LocationError(reason, message)


def _whole(file: FileIO, size: int) -> bytes:
    """Read bytes of a file, fewer only at its end: one call of the system may return less than it was asked for."""
    data = file.read(size) or b""
    while len(data) < size and (more := file.read(size - len(data))):
        data += more
    return data
