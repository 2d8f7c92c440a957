"""Members of tar files, found by their headers: of a remote file only those parts are read."""

import io
import tarfile
from dataclasses import dataclass

from segkit.errors import LocationError
from segkit.remote.locations import Location

WINDOW = 1 << 16
"""Bytes that are read around a header: one request for each member that is larger than this."""

_END = 1024
"""Zero bytes at the end of every whole tar file."""


@dataclass(frozen=True, slots=True)
class Member:
    """A regular file in a tar file.

    Attributes:
        name: its name in the tar file, as it is written there: it may lead anywhere.
        start: first byte of its content.
        size: bytes of its content.
    """

    name: str
    start: int
    size: int


def members(place: Location) -> list[Member]:
    """Return the regular files in a tar file, in their order; folders and links are left out.

    Raises:
        LocationError: the file is missing, compressed, damaged or cut short.
    """
    size = place.size()
    file = _File(place, size)
    try:
        with tarfile.open(fileobj=io.BufferedReader(file, WINDOW), mode="r:") as tar:
            listing = [Member(info.name, info.offset_data, info.size) for info in tar if info.isreg()]
            beyond = any(member.start + member.size > size for member in listing)
    except (tarfile.TarError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise LocationError("refused", f"{place} is not a plain tar file ({reason}). Pack it again.") from None
    if beyond or size < _END or place.read_range("", size - _END, _END).strip(b"\0"):
        raise LocationError("refused", f"{place} is cut short: its end is missing. Copy or pack it again.")
    return listing


class _File(io.RawIOBase):
    """A location as a file that is read by ranges."""

    def __init__(self, place: Location, size: int) -> None:
        self._place, self._size, self._position = place, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = base + offset
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        size = max(0, min(len(buffer), self._size - self._position))
        if size:
            buffer[:size] = self._place.read_range("", self._position, size)
            self._position += size
        return size
