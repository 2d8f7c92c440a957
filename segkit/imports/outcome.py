"""The result of an import: counts that add up to what the sources list, and what a person should know."""

from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from msgspec import to_builtins

from segkit.build.arrival import Arrival, Candidate, Kept
from segkit.dataset import Dataset, Rejection
from segkit.dataset.corrections import Conflict
from segkit.progress import Progress

EXAMPLES = 3
"""Items that are named for each reason to leave them out."""


@dataclass(frozen=True)
class Leak:
    """Two photos that show the same picture in different splits.

    Attributes:
        source, split: of the later one.
        other, other_split: source or key, and split, of the one that stays.
        outcome: "left out", "moved" or "stays".
    """

    source: str
    split: str
    other: str
    other_split: str
    outcome: str

    def __str__(self) -> str:
        return f"{self.source} ({self.split}) shows the same as {self.other} ({self.other_split}): {self.outcome}"


@dataclass
class Outcome:
    """Counts of an import: imported + merged + unchanged + left out = found.

    Attributes:
        folder: the dataset's.
        found: photos and maps that the sources list.
        imported: new triples.
        left_out: how many of them a person left out in the source; they stay left out.
        merged: photos that the dataset had, to which the import added something of a person's, or a prompt.
        unchanged: photos that the dataset had with all that the sources know of them.
        rejected: items that were left out, by reason (photos.REASONS and rejection.REASONS).
        by_source: new triples by source.
        splits: new triples by the split that came with them; "" for those without one.
        repaired: new triples whose map was not exact, by cause (maps.causes.CAUSES).
        segmented: new triples whose map a segmenter drew.
        drafted: prompts that a captioner drafted.
        too_long: new prompts by a person that exceed CLIP's 77 tokens.
        without_prompt: new triples without a prompt.
        enlarged: new triples whose map was smaller than the stored photo, so that it was enlarged.
        recolored: share of the pixels that a repair gave another class than that of the nearest colour, by cause,
            summed over the maps of `repaired`.
        doubtful: share of the pixels that a repair left unlabelled, by cause, summed likewise.
        unmapped: share of the pixels of classes that the dataset's palette lacks, by class, summed over all new maps.
        merges: sources of the photos that were merged.
        differing: photos that the dataset had with another map, which was not taken over, because no person drew it.
        examples: the first items that were left out for each reason.
        conflicts: where two persons, or two sources, disagree: what the dataset had first stays.
        leaks: near-duplicates in different splits.
        seconds: wall-clock duration.
        notes: what a person should know, as sentences that name settings as in Python.
    """

    folder: Path
    found: int
    imported: int = 0
    left_out: int = 0
    merged: int = 0
    unchanged: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    by_source: Counter[str] = field(default_factory=Counter)
    splits: Counter[str] = field(default_factory=Counter)
    repaired: Counter[str] = field(default_factory=Counter)
    segmented: int = 0
    drafted: int = 0
    too_long: int = 0
    without_prompt: int = 0
    enlarged: int = 0
    recolored: Counter[str] = field(default_factory=Counter)
    doubtful: Counter[str] = field(default_factory=Counter)
    unmapped: Counter[str] = field(default_factory=Counter)
    merges: list[str] = field(default_factory=list)
    differing: int = 0
    examples: list[Rejection] = field(default_factory=list)
    conflicts: list[Conflict] = field(default_factory=list)
    leaks: list[Leak] = field(default_factory=list)
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    @property
    def done(self) -> int:
        """Number of items decided about so far."""
        return self.imported + self.merged + self.unchanged + self.rejected.total()

    @property
    def dataset(self) -> Dataset:
        """The dataset."""
        return Dataset.open(self.folder)

    @property
    def changed(self) -> bool:
        """Whether the import changed any triple."""
        return bool(self.imported or self.merged)

    @property
    def is_fruitless(self) -> bool:
        """Whether every item was left out."""
        return bool(self.found) and self.rejected.total() == self.found

    def mean(self, shares: Counter[str], cause: str) -> float:
        """Return a mean share of the pixels of maps that were repaired.

        Args:
            shares: `recolored` or `doubtful`.
            cause: of the repair.
        """
        return float(shares[cause]) / max(1, self.repaired[cause])

    def unmapped_shares(self) -> list[tuple[str, float]]:
        """Return the classes without a counterpart, with their mean shares of all new maps, the largest first."""
        maps = max(1, self.imported - self.segmented)
        return [(name, float(total) / maps) for name, total in self.unmapped.most_common()]

    def count(self, arrival: Arrival) -> None:
        """Count an item that is neither new nor known; see pipeline.Tally."""
        if isinstance(arrival, Rejection):
            self.rejected[arrival.reason] += 1
            if self.rejected[arrival.reason] <= EXAMPLES:
                self.examples.append(arrival)
        elif isinstance(arrival, Kept):
            self.unchanged += 1
        elif isinstance(arrival, Candidate):
            self.imported += 1

    def report(self, progress: Progress) -> None:
        """Report how many items are done."""
        progress("photos", self.done, self.found)

    def to_json(self) -> dict[str, Any]:
        """Return the outcome as values that JSON can represent."""
        counters = {name: dict(value.most_common()) for name, value in vars(self).items() if isinstance(value, Counter)}
        lists = {"conflicts": [asdict(one) for one in self.conflicts], "leaks": [asdict(one) for one in self.leaks]}
        lists["examples"] = [to_builtins(one) for one in self.examples]
        shares = {
            "recolored": {cause: round(self.mean(self.recolored, cause), 4) for cause in self.repaired},
            "doubtful": {cause: round(self.mean(self.doubtful, cause), 4) for cause in self.repaired},
            "unmapped": {name: round(share, 6) for name, share in self.unmapped_shares()},
        }
        values = {name: value for name, value in vars(self).items() if name != "folder"}
        return {"dataset": str(self.folder), **values, **counters, **lists, **shares, "changed": self.changed}
