"""The records of a dataset: the lists of its triples, the rejected photos, and parts that are not folded in yet.

A part is one finished piece of work, written as a whole: an edit costs no more than that. `fold` merges parts into the
lists; until then every reader overlays them.
"""

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import reduce
from heapq import merge
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import asdict, replace

from segkit import rows, storage
from segkit.dataset import lines, rejection
from segkit.dataset.index import Index
from segkit.dataset.lists import Damaged, Line, Lists, ListsChangedError, line
from segkit.dataset.rejection import Rejection, Rejections
from segkit.dataset.triple import Triple
from segkit.errors import DatasetError
from segkit.words import quote

PENDING = 20_000
"""Records in parts from which on they are folded in, since every reader holds them in memory."""

PARTS = 1000
"""Parts from which on even the smallest are folded in."""

SHARE = 20
"""While records are written, folding takes at most one part in so many of the time."""

QUICK = 1_000_000
"""Bytes of a manifest that is replaced after each edit of a review."""

EDITS = 100
"""Edits of a review after which a larger manifest is replaced."""

SMALL = 64_000_000
"""Bytes of a manifest that is replaced at once after an edit; a larger one shows it with the next fold."""


PartsState = list[tuple[str, int, int]]
"""Name, size in bytes and time of the last change in nanoseconds of each part."""


class _Part(Struct, forbid_unknown_fields=True):
    """A line of a part: one of the two."""

    triple: msgspec.Raw = msgspec.Raw()
    rejected: msgspec.Raw = msgspec.Raw()


_PARTS = msgspec.json.Decoder(_Part)


class Records:
    """The records in a folder.

    Reading needs no lock: a reader sees a state between two changes. The methods that change records demand that the
    caller holds the dataset's lock.

    Attributes:
        folder: of the dataset.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lists = Lists(folder, self._refuse)
        self._number = 0  # of the last part written
        self._unfolded = 0  # records in parts written since the last fold
        self._pending: tuple[PartsState, dict[str, Triple], Rejections] | None = None
        self._folded, self._cost = 0.0, 0.0  # when the last fold ended, on time.monotonic's clock, and what it took

    @property
    def hidden(self) -> Path:
        """The folder of everything that is not a triple."""
        return self.folder / ".segkit"

    @property
    def manifest(self) -> Path:
        """The file with one triple a line."""
        return self.lists.manifest

    def triples(self) -> Iterator[Triple]:
        """Yield every triple, also those that a person rejected, in the order of the sources; new ones come last.

        Raises:
            DatasetError: a line is damaged.
        """
        newer, _ = self.pending()  # parts first: a concurrent fold moves them into the lists
        overlaid = set()
        for triple in self.lists.triples():
            if triple.key in newer:
                overlaid.add(triple.key)
                triple = _newer(triple, newer[triple.key])
            yield triple.within(self.folder)
        for key, triple in newer.items():
            if key not in overlaid:
                yield triple.within(self.folder)

    def get(self, keys: Sequence[str]) -> list[Triple]:
        """Return the triples with these keys, in their order, without reading the others.

        Raises:
            KeyError: no triple has the key.
            DatasetError: a line is damaged.
        """
        known = self.known(keys)
        return [known[key] for key in keys]

    def known(self, keys: Iterable[str]) -> dict[str, Triple]:
        """Return the triples that have one of these keys, by key; see `get`."""
        keys, newer = list(keys), self.pending()[0]
        triples = {key: lines.decode(data) for key, data in self.lists.find(keys).items()}
        for key in keys:
            if key in newer:
                triples[key] = _newer(triples.get(key, newer[key]), newer[key])
        return {key: triple.within(self.folder) for key, triple in triples.items()}

    def named(self, name: str) -> set[str]:
        """Return the keys of the triples that a name may mean.

        Args:
            name: a key, the first 4 or more digits of one, a source, or a file name in the manifest.
        """
        newer, index = self.pending()[0], self.lists.index()
        keys = index.keys_of_source(name)
        if match := re.fullmatch(r"(?:images/../)?([0-9a-f]{16})(?:\.jpg|\.png)?", name):
            keys.add(match[1])
        triples = self.known(keys) | newer
        matches = {key for key, triple in triples.items() if name in (key, triple.source, triple.file_name)}
        if not matches and re.fullmatch("[0-9a-f]{4,15}", name):
            matches = index.keys_of_prefix(name) | {key for key in newer if key.startswith(name)}
        return matches

    def group(self, name: str) -> list[Triple]:
        """Return the triples of a group of near-duplicates; every line is searched, but few are read."""
        newer = self.pending()[0]
        keys = dict.fromkeys(key for key, triple in newer.items() if triple.group == name)
        keys |= dict.fromkeys(lines.decode(line).key for line in self.lists.containing(f'"{name}"'))
        return [triple for triple in self.known(keys).values() if triple.group == name]

    def rejections(self) -> Iterator[Rejection]:
        """Yield every photo that was rejected; those of parts not folded in yet come last.

        Raises:
            DatasetError: a line is damaged.
        """
        yield from self._rejections(self.pending()[1]).values()

    def _rejections(self, newer: Rejections) -> Rejections:
        records = self.read(self.hidden / "rejected.jsonl", self._refuse)
        return rejection.by_place(record for record in records if isinstance(record, Rejection)) | newer

    def pending(self) -> tuple[dict[str, Triple], Rejections]:
        """Return what parts hold: triples by key, and rejections; later parts update earlier ones."""
        state, paths = self.parts_state(), self.parts()
        if self._pending is None or self._pending[0] != state:
            triples: dict[str, Triple] = {}
            rejections: Rejections = {}
            if self._pending and state[: len(self._pending[0])] == self._pending[0]:  # parts were only added
                triples, rejections = dict(self._pending[1]), dict(self._pending[2])
                paths = paths[len(self._pending[0]) :]
            for path in paths:
                for record in self.read(path, self._refuse):
                    if isinstance(record, Triple):
                        triples[record.key] = _newer(triples.get(record.key, record), record)
                    else:
                        rejections[record.source, record.sha256] = record
            self._pending = state, triples, rejections
        return self._pending[1:]

    def parts_state(self) -> PartsState:
        """Return a value that differs after any change of the parts."""
        state = []
        for path in self.parts():
            with suppress(FileNotFoundError):  # another process is folding
                status = path.stat()
                state.append((path.name, status.st_size, status.st_mtime_ns))
        return state

    def _refuse(self, path: Path, number: int, reason: str) -> None:
        raise DatasetError(f"{path}, line {number} is damaged: {reason}. See: segkit check {quote(self.folder)}")

    def read(self, path: Path, damaged: Damaged) -> Iterator[Triple | Rejection]:
        """Yield the records of one file; a missing one has none.

        Args:
            path: a list of triples, rejected.jsonl, or a part.
            damaged: called with path, line number and reason for each damaged line.
        """
        decode: Callable[[bytes], Triple | Rejection] = lines.decode
        if path.name == "rejected.jsonl":
            decode = rejection.decode
        elif path.parent.name == "parts":
            decode = _decode_part
        for number, _, data in rows.numbered(path):
            try:
                record = decode(data)
            except DatasetError as error:
                damaged(path, number, str(error))
            else:
                yield record

    def parts(self) -> list[Path]:
        """Return the files of finished work that is not folded in yet, oldest first.

        Raises:
            DatasetError: their folder cannot be listed.
        """
        folder = self.hidden / "parts"
        try:
            return sorted(path for path in folder.iterdir() if re.fullmatch(r"[0-9]{8}\.jsonl", path.name))
        except FileNotFoundError:
            return []
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            raise DatasetError(f"Cannot read {folder}: {reason}. Correct that and try again.") from None

    def commit(self, triples: Iterable[Triple], rejections: Iterable[Rejection] = ()) -> None:
        """Record a finished unit whose pictures are in place.

        A triple replaces the one with the same key, except for a prompt that a person wrote.
        """
        records = [b'{"triple": %b}\n' % lines.encode(triple).rstrip(b"\n") for triple in triples]
        records += [storage.to_line({"rejected": asdict(rejection)}) for rejection in rejections]
        if not records:
            return
        if not self._part(self._number).exists() or self._part(self._number + 1).exists():  # written by another process
            parts = self.parts()
            self._number = int(parts[-1].stem) if parts else 0
        self._number += 1
        storage.write(self._part(self._number), b"".join(records))
        self._unfolded += len(records)

    def _part(self, number: int) -> Path:
        return self.hidden / "parts" / f"{number:08}.jsonl"

    def publish(self) -> None:
        """Fold if that is due: often enough for the manifest to show what is done, and seldom enough to cost little."""
        idle = time.monotonic() - self._folded
        if not self.manifest.exists() or self._unfolded >= PENDING or idle >= SHARE * self._cost:
            self.fold()

    def fold_if_small(self) -> None:
        """Fold, unless the manifest is so large that this would take long for an edit."""
        size = self.manifest.stat().st_size if self.manifest.exists() else 0
        if size <= SMALL or self._unfolded >= PENDING or len(self.parts()) >= PARTS:
            self.fold()

    def fold_after_edit(self) -> None:
        """Fold if that takes no longer than an edit may, or after many edits; every reader overlays them until then."""
        size = self.manifest.stat().st_size if self.manifest.exists() else 0
        if size <= QUICK or len(self.parts()) >= EDITS:
            self.fold_if_small()

    def fold(self) -> None:
        """Merge the parts into the lists. Killed at any point, it can be repeated.

        Raises:
            DatasetError: a line is damaged.
        """
        started = time.monotonic()
        while True:
            with suppress(ListsChangedError):  # what was typed meanwhile is read as well
                self._fold()
                break
        self._unfolded, self._folded = 0, time.monotonic()
        self._cost = self._folded - started

    def _fold(self) -> None:
        parts, index = self.parts(), self.lists.index()
        if parts or not index.is_tidy or not self.manifest.exists():
            newer, rejections = self.pending()
            superseded, changes = self._changes(index, newer)
            is_new = any(triple.key not in index.keys_of_source(triple.source) for triple in newer.values())
            if is_new or rejections or not (self.hidden / "rejected.jsonl").exists():
                valid = rejection.valid(self._rejections(rejections), newer.values(), index)
                storage.write_lines(self.hidden / "rejected.jsonl", map(asdict, valid))
            kept = (line for line in self.lists.lines(index) if line.key not in superseded)
            self.lists.replace(merge(kept, sorted(changes)))
            if parts:
                storage.remove(parts, self.hidden / "parts")

    def _changes(self, index: Index, newer: dict[str, Triple]) -> tuple[set[str], list[Line]]:
        """Return the keys of lines to be dropped, and the lines that replace them."""
        places = {key: index.of_key(key) for key in {*newer, *(() if index.is_tidy else index.repeated())}}
        old = iter(self.lists.at(index, (place for here in places.values() for place in here)))
        changes = []
        for key, here in places.items():
            versions = [lines.decode(next(old)) for _ in here]
            versions += [newer[key]] if key in newer else []
            changes.append(line(reduce(_newer, versions)))
        return set(places), changes

    def keep_rejections(self, keep: Callable[[Rejection], bool]) -> None:
        """Drop obsolete rejections. All parts are folded in."""
        before = list(self.rejections())
        after = [rejection for rejection in before if keep(rejection)]
        if after != before:
            storage.write_lines(self.hidden / "rejected.jsonl", map(asdict, after))

    def replace_all(self, triples: Iterable[Triple]) -> None:
        """Replace all triples, which may be read from this dataset meanwhile. All parts are folded in."""
        self.lists.replace(map(line, triples))


def _decode_part(data: bytes) -> Triple | Rejection:
    try:
        part = _PARTS.decode(data)
    except (msgspec.DecodeError, RecursionError):
        part = _Part()
    if bool(part.triple) == bool(part.rejected):
        raise DatasetError("expected one triple or one rejected")
    return lines.decode(bytes(part.triple)) if part.triple else rejection.decode(bytes(part.rejected))


def _newer(old: Triple, new: Triple) -> Triple:
    """Return the new triple, but keep the keys that somebody added, and a person's prompt unless the new one is too."""
    if old.extra and not new.extra:
        new = replace(new, extra=old.extra)
    if not old.by_person or new.prompt.human:
        return new
    return replace(new, text=old.text, tokens=old.tokens, prompt=old.prompt, problems=old.problems)
