"""All that an import knows before it reads anything, and how it counts what it reads."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from segkit.imports.labels import Rules
from segkit.imports.outcome import Outcome
from segkit.imports.reading import Incoming
from segkit.imports.settings import ImportSettings
from segkit.imports.sources import Photos
from segkit.imports.target import Target

Phrase = Callable[[str], str]
"""Words a message of the library for those who read it, such as settings as options of a command."""

READ = ("exact", "label-ids", "panoptic-ids")
"""Causes that are no damage: such maps are read as they are."""


@dataclass(frozen=True)
class Job:
    """What is to be imported, and how.

    Attributes:
        items: all photos and maps of the sources.
        rules: how the maps of each source are read.
        by_person: whether persons drew the maps of each source.
        target: the dataset.
        settings: of the import.
        phrase: words the messages that are recorded.
    """

    items: Photos
    rules: Sequence[Rules]
    by_person: Sequence[bool]
    target: Target
    settings: ImportSettings
    phrase: Phrase = str

    @property
    def draws(self) -> bool:
        """Whether a segmenter draws missing maps."""
        return bool(self.settings.segment_missing)

    def note(self, outcome: Outcome, incoming: Incoming, moved: Mapping[int, str]) -> None:
        """Count a new triple by source and split, and what became of its map.

        Args:
            outcome: the counts.
            incoming: the item.
            moved: split of items that were moved into another, by position.
        """
        outcome.left_out += incoming.record is not None and incoming.record.review == "rejected"
        outcome.by_source[str(self.items.collection(incoming.position).place)] += 1
        outcome.splits[moved.get(incoming.position, incoming.split)] += 1
        if incoming.labels is None:
            outcome.segmented += 1
            return
        for name, share in incoming.unmapped.items():
            outcome.unmapped[name] += share  # type: ignore[assignment]  # a Counter adds any numbers
        origin = incoming.origin
        if incoming.record is not None:
            return
        outcome.enlarged += origin.enlarged > 1
        if origin.cause not in READ or origin.changed:
            outcome.repaired[origin.cause] += 1
            outcome.recolored[origin.cause] += origin.changed  # type: ignore[assignment]
            outcome.doubtful[origin.cause] += origin.doubtful  # type: ignore[assignment]
