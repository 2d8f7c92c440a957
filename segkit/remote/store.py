"""What a location needs of the place that its files are in."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Entry:
    """A file at a location, as its store lists it.

    Attributes:
        name: relative to the location, with "/" as separator.
        size: bytes.
        version: what changes with the content: an ETag, a hash, or the time of the last change; "" if nothing does.
        tag: hash that the store computed from the bytes that it received: MD5 in hex, or an ETag; "" if none.
    """

    name: str
    size: int
    version: str = ""
    tag: str = ""


class Store(Protocol):
    """Reads and writes files by their full path or URL. Methods raise what the store's library raises."""

    def find(self, path: str, below: bool) -> list[Entry]:
        """Return the files in a folder, or all below it; [] if there are none or the folder does not exist."""

    def stat(self, path: str) -> Entry | None:
        """Return one file, with an empty name; None if there is none."""

    def read(self, path: str, start: int, size: int) -> bytes:
        """Return bytes of a file; fewer where it ends or the connection was cut."""

    def send(self, path: str, content: bytes | Path) -> None:
        """Create or replace a file, of bytes or of a local file's content."""
