"""Photos that the dataset has already: what persons did in the sources is taken over, and conflicts are listed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from msgspec import structs

from segkit import storage
from segkit.dataset import Dataset, corrections, splits
from segkit.dataset.corrections import Correction, Imported, Mask
from segkit.dataset.formats.items import Item
from segkit.dataset.triple import IMPORTED, Triple
from segkit.errors import DatasetError, PhotoError
from segkit.imports.outcome import Leak, Outcome
from segkit.imports.prompting import Prompts
from segkit.imports.reading import Reader
from segkit.imports.sources import Photos
from segkit.maps import strokes
from segkit.maps.codec import Labels
from segkit.palette import Palette


@dataclass(frozen=True)
class Merger:
    """Merges items into triples of the same photos.

    Attributes:
        dataset: the dataset to change. The caller must hold its lock.
        items: all items.
        reader: reads their maps.
        prompts: how texts become prompts.
        by_person: whether persons drew the maps of each collection.
        outcome: counts what was merged; conflicts and leaks are added to it.
    """

    dataset: Dataset
    items: Photos
    reader: Reader
    prompts: Prompts
    by_person: Sequence[bool]
    outcome: Outcome
    _report: Imported = field(default_factory=Imported)

    def merge(self, unit: Mapping[int, str]) -> None:
        """Merge items, and record what changed. One that cannot be read changes nothing.

        Args:
            unit: key of each item, by its position.
        """
        known = self.dataset.known(unit.values())
        changed: dict[str, Triple] = {}
        for position, key in unit.items():
            if key not in known:
                continue
            triple = changed.get(key, known[key]).within(self.dataset.folder)
            changes = self._changes(triple, position, self._record(position))
            changed |= {triple.key: triple for triple in changes}
            self.outcome.merged += bool(changes)
            self.outcome.unchanged -= bool(changes)
        self.dataset.commit(changed.values())
        self.outcome.conflicts += self._report.conflicts
        self._report.conflicts.clear()

    def _record(self, position: int) -> Triple | None:
        record = self.items.item(position).record
        try:
            return record() if record else None
        except (DatasetError, OSError, KeyError):
            return None

    def _changes(self, triple: Triple, position: int, record: Triple | None) -> list[Triple]:
        """Return the triples that an item changes, the last of which is that of its photo."""
        item = self.items.item(position)
        correction = self._of_record(triple, position, record) if record else self._of_item(triple, position, item)
        changes = corrections.take_over(self.dataset, triple, correction, self._report)
        changed = changes[-1] if changes else triple
        drafted = self._drafted(changed, item, record)
        moved = self._moved(changed if drafted is None else drafted, item, record)
        if drafted is not None and not moved:
            return [*changes[:-1], drafted]
        return [*changes[:-1], *moved] if moved else changes

    def _of_item(self, triple: Triple, position: int, item: Item) -> Correction:
        """Return what persons did in foreign data, as a correction of the triple."""
        data = self._map_data(position, item)
        same_source = bool(data) and storage.sha256(data) == triple.origin.map_sha256
        text = self.prompts.text(item)
        if same_source and triple.edits.revision:
            text = ""  # what a person did here since it was imported is newer
        masks: tuple[Mask, ...] = ()
        if data and not same_source:
            masks = self._masks(triple, position)
        text = text if text and self.prompts.human else ""
        tokens = self.prompts.count(text) if text else 0
        return Correction(triple.key, item.source, triple.width, triple.height, "", masks, text, tokens)

    def _map_data(self, position: int, item: Item) -> bytes:
        """Return the file of a map that a person drew; b"" if there is none."""
        if item.control_map is None or not self.by_person[self.items.number(position)]:
            return b""
        try:
            return item.control_map.read()
        except OSError:
            return b""

    def _masks(self, triple: Triple, position: int) -> tuple[Mask, ...]:
        try:
            fitted = self.reader.map_of(position, (triple.width, triple.height))
        except PhotoError as error:
            source = self.items.name(position)
            self._report.conflicts.append(corrections.Conflict(triple.key, source, "map", str(error)))
            return ()
        return areas(fitted[0], self.dataset.info.palette) if fitted else ()

    def _of_record(self, triple: Triple, position: int, record: Triple) -> Correction:
        """Return what persons did to a triple in another dataset, as a correction."""
        masks: tuple[Mask, ...] = ()
        if record.map_by_person and record.map_sha256 != triple.map_sha256:
            masks = self._recorded_masks(position, record)
        text, tokens = (record.text, record.tokens) if record.by_person else ("", 0)
        review = record.review if record.review != "open" else ""
        time = record.edits.time
        return Correction(
            triple.key, record.source, record.width, record.height, time, masks, text, tokens, review
        )  # fmt: skip

    def _recorded_masks(self, position: int, record: Triple) -> tuple[Mask, ...]:
        place = self.items.collection(position).place
        if (place / ".segkit").is_dir():  # which knows the pixels that a person set
            source = Dataset.open(place)
            correction = corrections.correction_of(source, record.within(place))
            return correction.masks if correction else ()
        try:
            labels = self.reader.recorded_labels(position, record)
        except PhotoError as error:
            self._report.conflicts.append(corrections.Conflict(record.key, record.source, "map", str(error)))
            return ()
        return areas(labels, self.dataset.info.palette)

    def _drafted(self, triple: Triple, item: Item, record: Triple | None) -> Triple | None:
        """Return the triple with a model's prompt, if it has none; None if nothing changes."""
        if triple.text:
            return None
        if record is not None and record.text:
            changes = {name: getattr(record, name) for name in ("text", "tokens", "prompt", "problems")}
            return structs.replace(triple, **changes)
        if record is None and self.prompts.text(item):
            return self.prompts.with_text(triple, item)
        return None

    def _moved(self, triple: Triple, item: Item, record: Triple | None) -> list[Triple]:
        """Return the triples of a group in the split that came with an item; [] if they stay."""
        split = item.split if record is None else record.split if splits.is_by_hand(record) and record.drawn else ""
        if split in ("", triple.split):
            return []
        if splits.is_by_hand(triple):
            self.outcome.leaks.append(Leak(item.source, split, triple.source, triple.split, "stays"))
            return []
        group = [member for member in self.dataset.group(triple.group) if member.key != triple.key]
        return [structs.replace(member, split=split, drawn=IMPORTED) for member in (*group, triple)]


def areas(labels: Labels, palette: Palette) -> tuple[Mask, ...]:
    """Return a whole map as areas by the name of their class."""
    present = np.unique(labels).tolist()
    return tuple(Mask(corrections.class_name(label, palette), strokes.runs(labels == label)) for label in present)
