"""The history of a control map: what it was before a person changed it, and every edit since.

.segkit/originals/<kk>/<key>.png is the map before the first edit; .segkit/edits/<kk>/<key>.jsonl has a line about it,
and one line for each edit, undo and redo. Both are written before the map, and the record last: entries count up to the
number that the record names (Edits.map_edit).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from segkit import maps, storage
from segkit.dataset import replay
from segkit.dataset.replay import Shown
from segkit.dataset.triple import Triple
from segkit.errors import DatasetError
from segkit.maps import codec
from segkit.maps.codec import ClassShare, Labels
from segkit.maps.strokes import Stroke
from segkit.palette import Palette


class Edit(Struct, frozen=True, forbid_unknown_fields=True):
    """One change of a map, undone as a whole.

    Attributes:
        strokes: applied in this order.
        what: a short description, such as "pool table → table".
        time: ISO 8601 in UTC.
    """

    strokes: tuple[Stroke, ...]
    what: str = ""
    time: str = ""


class Base(Struct, frozen=True, forbid_unknown_fields=True):
    """The first line of a history: the map before the first edit.

    Attributes:
        classes: its classes, with the segmenter's confidence.
        map_by, segmenter: see Edits; "person" if it was painted outside segkit.
    """

    classes: tuple[ClassShare, ...]
    map_by: str = ""
    segmenter: str = ""


class Entry(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A line of a history.

    Attributes:
        number: counts up; gaps are possible.
        kind: what was done; "edit" if `edit` is set.
        map_sha256: of the map's file afterwards.
        edit: the change.
        bulk: token of the change of many maps that it belongs to.
        request: who asked for it names the request, so that one whose answer was lost can be repeated; "" if not.
    """

    number: int
    kind: Literal["edit", "undo", "redo"]
    map_sha256: str = ""
    edit: Edit | None = None
    bulk: str = ""
    request: str = ""


@dataclass(frozen=True)
class History:
    """The history of one map.

    Attributes:
        base: the map before the first edit.
        original: the bytes of its file.
        entries: what was done since, as far as the record knows it.
        recorded: number of the last entry that the record knows, also of an earlier history that was forgotten.
        unfinished: an entry whose save was interrupted; None if there is none.
    """

    base: Base
    original: bytes
    entries: tuple[Entry, ...] = ()
    recorded: int = 0
    unfinished: Entry | None = None

    @cached_property
    def _stacks(self) -> tuple[tuple[Entry, ...], tuple[Entry, ...]]:
        applied: list[Entry] = []
        undone: list[Entry] = []
        for entry in self.entries:
            if entry.kind == "edit":
                applied, undone = [*applied, entry], []
            elif entry.kind == "undo" and applied:
                undone.append(applied.pop())
            elif entry.kind == "redo" and undone:
                applied.append(undone.pop())
        return tuple(applied), tuple(undone)

    @property
    def applied(self) -> tuple[Entry, ...]:
        """The edits that the map shows, oldest first."""
        return self._stacks[0]

    @property
    def undone(self) -> tuple[Entry, ...]:
        """The edits that can be applied again; the next one comes last."""
        return self._stacks[1]

    @property
    def next_number(self) -> int:
        """The number of the next entry."""
        last = self.unfinished or (self.entries[-1] if self.entries else None)
        return 1 + max(self.recorded, last.number if last else 0)

    def with_entry(self, entry: Entry) -> "History":
        """Return the history with one more entry. Edits that nothing can bring back are dropped."""
        entries = self.entries
        reachable = sorted((*self.applied, *self.undone), key=lambda known: known.number)
        if len(reachable) < len(entries):
            entries = (*reachable, *(Entry(entries[-1].number, "undo") for _ in self.undone))
        return History(self.base, self.original, (*entries, entry), self.recorded)

    def shown(self, palette: Palette) -> Shown:
        """Return the map after all edits that apply."""
        applied = self.applied
        identity = self._identity(palette, applied)
        shown = replay.kept(identity)
        if shown is None:
            start = replay.kept(self._identity(palette, applied[:-1])) if applied else None
            edits = [entry.edit.strokes for entry in (applied[-1:] if start else applied) if entry.edit]
            start = start or replay.begin(labels_of(self.original, palette), self.base.map_by == "person")
            shown = start.after(edits) if edits else start
            self.keep(shown, palette)
        return shown

    def keep(self, shown: Shown, palette: Palette) -> None:
        """Keep the map in memory, unless it shows an entry that was not saved: another may get its number."""
        if all(entry.map_sha256 for entry in self.applied):
            replay.keep(self._identity(palette, self.applied), shown)

    def _identity(self, palette: Palette, applied: tuple[Entry, ...]) -> tuple[object, ...]:
        """Return what the map follows from: an entry is known by its number and the map after it."""
        edits = tuple((entry.number, entry.map_sha256) for entry in applied)
        return storage.sha256(self.original), palette.hash, self.base.map_by, edits

    def replay(self, palette: Palette) -> tuple[Labels, NDArray[np.bool_]]:
        """Return copies of the map, (H, W) uint8, and of which of its pixels a person set, (H, W) bool."""
        shown = self.shown(palette)
        return shown.labels.copy(), shown.touched.copy()

    def classes(self, shown: Shown, palette: Palette) -> tuple[ClassShare, ...]:
        """Return the classes of a map, largest first. Confidence is 1 where a person set pixels, else the original's.

        Args:
            shown: the map.
            palette: the classes.
        """
        if not shown.counts[1].any():
            return self.base.classes
        confidence = np.ones(256)
        for share in self.base.classes:
            confidence[palette.find(share.name).index] = share.confidence
        return codec.shares(shown.counts.sum(0), shown.counts[0] * confidence + shown.counts[1], palette)

    def encode(self) -> bytes:
        """Return the lines of the history's file."""
        return b"".join(msgspec.json.encode(line) + b"\n" for line in (self.base, *self.entries))


def original_path(folder: Path, key: str) -> Path:
    """Return where the original of a map is kept."""
    return folder / ".segkit" / "originals" / key[:2] / f"{key}.png"


def path(folder: Path, key: str) -> Path:
    """Return where the history of a map is kept."""
    return folder / ".segkit" / "edits" / key[:2] / f"{key}.jsonl"


_BASE, _ENTRY = msgspec.json.Decoder(Base), msgspec.json.Decoder(Entry)


def read(triple: Triple) -> History | None:
    """Read the history of a triple's map; None if nobody edited it, or its original was forgotten.

    Raises:
        DatasetError: its file is damaged.
    """
    file, original = path(triple.folder, triple.key), original_path(triple.folder, triple.key)
    if not file.exists() or not original.exists():
        return None
    try:
        first, *lines = file.read_bytes().splitlines()
        base, entries = _BASE.decode(first), [_ENTRY.decode(line) for line in lines]
    except (ValueError, msgspec.DecodeError) as error:
        raise DatasetError(
            f"{file} is damaged: {error}. Restore a copy of it. Without one, move it away: earlier edits of this map "
            "can then no longer be undone."
        ) from None
    known = [entry for entry in entries if entry.number <= triple.edits.map_edit]
    newer = entries[len(known) :]
    return History(base, original.read_bytes(), tuple(known), triple.edits.map_edit, newer[-1] if newer else None)


def finished(triple: Triple, data: bytes, palette: Palette) -> Triple | None:
    """Return the record that an interrupted save would have written; None if the map is not from such a save.

    Args:
        triple: the triple as recorded.
        data: the bytes of its map.
        palette: the classes.
    """
    if storage.sha256(data) == triple.map_sha256:
        return None
    history = read(triple)
    if not history or not history.unfinished or history.unfinished.map_sha256 != storage.sha256(data):
        return None
    history = history.with_entry(history.unfinished)
    return recorded(triple, history, history.classes(history.shown(palette), palette), data)


def restored(triple: Triple, lost: Triple, labels: Labels, palette: Palette) -> tuple[Triple, Labels]:
    """Return a triple that was built again, and its map, with the map that a person made if there was one.

    Args:
        triple: the triple as it was built again.
        lost: the triple whose photo or map was missing.
        labels: the segmenter's map.
        palette: the classes of the segmenter's map; a person may have used others.
    """
    if not lost.map_by_person:
        return triple, labels
    file, history = lost.folder / lost.conditioning_image_file_name, read(lost)
    if file.exists() and storage.sha256(file.read_bytes()) == lost.map_sha256:
        return msgspec.structs.replace(triple, classes=lost.classes), lost.labels
    if history:
        return msgspec.structs.replace(triple, classes=lost.classes), history.replay(palette)[0]
    return msgspec.structs.replace(triple, edits=msgspec.structs.replace(lost.edits, map_by="", segmenter="")), labels


def recorded(triple: Triple, history: History, classes: tuple[ClassShare, ...], data: bytes) -> Triple:
    """Return the record of a triple whose map shows a history.

    Args:
        triple: the triple before the last entry of the history.
        history: the history; its last entry is new.
        classes: of the map.
        data: the bytes of the map's file.
    """
    by_person = bool(history.applied) or history.base.map_by == "person"
    edits = msgspec.structs.replace(
        triple.edits,
        map_by="person" if by_person else "",
        segmenter=history.base.segmenter if by_person else "",
        map_edit=history.entries[-1].number,
    )
    return triple.edited(classes=classes, map_sha256=storage.sha256(data), edits=edits)


def all_keys(folder: Path) -> Iterator[str]:
    """Yield the keys of all triples with a history."""
    for file in sorted((folder / ".segkit" / "edits").glob("*/*.jsonl")):
        yield file.stem


def last_number(folder: Path, key: str) -> int:
    """Return the number of the last entry of a history, without reading the others; 0 if it is damaged."""
    with path(folder, key).open("rb") as file:
        size, block = file.seek(0, 2), 1 << 12
        tail = b""
        while tail.count(b"\n") < 2 and len(tail) < size:
            block *= 2
            file.seek(max(size - block, 0))
            tail = file.read()
    match = re.search(rb'\n{"number":(\d+),[^\n]*\n?\Z', tail)
    return int(match[1]) if match else 0


def labels_of(data: bytes, palette: Palette) -> Labels:
    """Read the classes of a map that segkit wrote: (H, W) uint8."""
    return codec.read(maps.decode(BytesIO(data)), palette)[0]
