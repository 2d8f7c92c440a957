"""Files behind URLs copied to a local folder, for readers of whole layouts: bounded, verified, and continued."""

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import replace
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

from segkit import rows, storage, threads
from segkit.errors import LocationError, UsageError
from segkit.progress import Progress, silent
from segkit.remote.lists import expanded
from segkit.remote.locations import Location, is_name, is_url, location
from segkit.remote.store import Entry
from segkit.words import data_size

RECORD = ".staged.jsonl"
"""What was copied: name, size and version. It names whole files only, since each is written before its line."""

WORKERS = 8

SAVED_BYTES, SAVED_FILES = 256_000_000, 256
"""Bytes, and the least number of files, after which the record is saved."""


def stage(source: str, folder: Path, limit: int, progress: Progress = silent) -> Path:
    """Copy what a URL names into a local folder, and return the path that stands for it.

    Files that an earlier call copied and that have not changed since are kept, so that an interrupted call continues.

    Args:
        source: the URL of a folder or a file, or of several files with braces.
        folder: where the copies go; each source needs a folder of its own.
        limit: most bytes of all files together.
        progress: called with ("fetching", files done, of).

    Raises:
        UsageError: there are no files, they are larger than the limit, or the URL is malformed.
        LocationError: the store cannot be read, or a file changed meanwhile.
        StorageError: the disk is full.
    """
    places = [location(text) for text in expanded(source)]
    is_file = [place.stat() for place in places]
    if len(places) == 1 and is_file[0] is None:
        (place,) = places
        target = folder / _file_name(place)
        files = [(place, entry) for entry in place.entries("**/*") if is_name(entry.name)]
    else:
        target = folder / _file_name(places[0]) if len(places) == 1 else folder / "files"
        files = list(_single(places, is_file))
    total = sum(entry.size for _, entry in files)
    if not files:
        raise UsageError(f"{places[0]} contains no files. Check the address.")
    if total > limit:
        raise UsageError(
            f"{places[0]}: {data_size(total)} are to be copied to this machine, but at most {data_size(limit)} may be. "
            f"Pass a larger limit, such as fetch_limit={data_size(total).replace(' ', '')}, or copy them yourself and "
            "pass the local folder."
        )
    is_one_file = len(places) == 1 and is_file[0] is not None
    _copy(files, target.parent if is_one_file else target, folder / RECORD, progress)
    return target


def _single(places: Sequence[Location], entries: Sequence[Entry | None]) -> Iterator[tuple[Location, Entry]]:
    """Yield each file as one in its folder."""
    for place, entry in zip(places, entries, strict=True):
        if entry is None:
            raise LocationError("missing", f"{place} does not exist. Check the address.")
        yield place, replace(entry, name="")


def _copy(files: Sequence[tuple[Location, Entry]], target: Path, path: Path, progress: Progress) -> None:
    record = _Record(path)

    def fetch(place: Location, entry: Entry) -> None:
        name = entry.name or _file_name(place)
        line = {"name": name, "size": entry.size, "version": entry.version}
        if not (entry.version and record.has(line) and (target / name).is_file()):
            place.download(entry.name, target / name)
            record.add(line)

    try:
        with threads.pool(WORKERS) as pool:
            futures = [pool.submit(fetch, place, entry) for place, entry in files]
            for done, future in enumerate(as_completed(futures), 1):
                future.result()
                progress("fetching", done, len(files))
    finally:
        record.save()


class _Record:
    """What was copied, by name. It is saved in growing steps, so that a kill loses little."""

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, Lock()
        self._lines = {str(line.get("name")): line for _, line in rows.json_lines(path, lambda number, reason: None)}
        self._unsaved = self._unsaved_bytes = 0

    def has(self, line: dict[str, Any]) -> bool:
        """Return whether a file was copied in this version."""
        return self._lines.get(line["name"]) == line

    def add(self, line: dict[str, Any]) -> None:
        """Note a file that is in place. Thread-safe."""
        with self._lock:
            self._lines[line["name"]] = line
            self._unsaved, self._unsaved_bytes = self._unsaved + 1, self._unsaved_bytes + line["size"]
            if self._unsaved_bytes > SAVED_BYTES or self._unsaved > max(SAVED_FILES, len(self._lines) // 8):
                self._write()

    def save(self) -> None:
        """Write what is not saved yet."""
        with self._lock:
            self._write()

    def _write(self) -> None:
        if self._unsaved:
            storage.write_lines(self._path, self._lines.values())
            self._unsaved = self._unsaved_bytes = 0


def _file_name(place: Location) -> str:
    """Return a local name for the last part of a URL, whose query does not belong to it."""
    path = urlsplit(place.root).path if is_url(place.root) else place.root
    name = PurePosixPath(path.rstrip("/")).name or urlsplit(place.root).netloc
    return re.sub(r"[^\w. -]", "_", name).lstrip(".") or "files"
