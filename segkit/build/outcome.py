"""The result of a build, and the sentences about it that a person should read."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from segkit import photos
from segkit.build.arrival import Arrival, Candidate, Kept
from segkit.build.captions import Drafted
from segkit.build.vanished import is_gone
from segkit.dataset.prune import Pruned
from segkit.progress import Progress
from segkit.words import count, listed

REACHED = 0.75
"""Share of the photos that a proposed size scales down."""


@dataclass
class Outcome:
    """Counts of a build: made + kept + rejected + skipped = found.

    Attributes:
        found: files in the folder of photos.
        made: triples created by this run.
        kept: photos that the dataset already had a triple for.
        rejected: photos without a triple, by reason (photos.REASONS), including those rejected by earlier runs.
        skipped: files that were not examined, by reason: "limit", or one of photos.SKIPPED.
        seconds: wall-clock duration.
        renamed: triples whose photo has a new name or folder, which they recorded.
        gone: triples whose photo is no longer in the folder, and which stay.
        pruned: triples removed because their photo is gone.
        changed: whether the run changed the dataset.
        examined: whether it judged any photo for the first time, or anew.
        notes: what a person should know, as sentences that name settings as in Python.
        short_sides: short sides of the new photos in pixels.
        vanished: photos that were deleted or moved before they were read, by their names; they count as skipped.
    """

    found: int
    made: int = 0
    kept: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    renamed: int = 0
    gone: int = 0
    pruned: int = 0
    changed: bool = False
    examined: bool = False
    notes: list[str] = field(default_factory=list)
    short_sides: Counter[int] = field(default_factory=Counter)
    vanished: list[str] = field(default_factory=list)

    @property
    def done(self) -> int:
        """Number of photos examined so far."""
        return self.made + self.kept + self.rejected.total()

    def count(self, arrival: Arrival) -> None:
        """Count the decision about one photo, or a file that was passed over."""
        if isinstance(arrival, Candidate):
            self.made += 1
        elif isinstance(arrival, Kept):
            self.kept += 1
        elif is_gone(arrival):
            self.skipped[photos.GONE] += 1
            self.vanished.append(arrival.source)
        elif arrival.reason not in photos.SKIPPED:  # find_photos counted those
            self.rejected[arrival.reason] += 1

    def measure(self, candidates: Sequence[Candidate]) -> None:
        """Remember how large new photos are."""
        self.short_sides.update(min(candidate.photo.source_size) for candidate in candidates)

    def admit(self, number: int) -> None:
        """Count photos as kept that were first taken for copies."""
        self.kept += number
        self.rejected["identical"] -= number
        self.rejected += Counter()  # drops reasons without a photo

    def report(self, progress: Progress) -> None:
        """Report how many of the photos that are not skipped have been examined."""
        progress("photos", self.done, self.found - self.skipped.total())

    def to_json(self) -> dict[str, Any]:
        """Return the counts and sentences as values that JSON can represent."""
        record = {**vars(self), "rejected": dict(self.rejected.most_common()), "skipped": dict(self.skipped)}
        del record["short_sides"]
        return record


def size_note(short_sides: Counter[int], size: int) -> str:
    """Return that no photo is as large as the size, and which size most of them have; "" if one is.

    Args:
        short_sides: short sides of the new photos in pixels.
        size: the size to which short sides are scaled down.
    """
    if not short_sides or size <= max(short_sides):
        return ""
    total = short_sides.total()
    proposal, reached = 8, total
    for side in sorted(short_sides, reverse=True):
        proposal = side // 64 * 64 if side >= 256 else side // 8 * 8  # a round number, unless photos are tiny
        reached = sum(number for other, number in short_sides.items() if other >= proposal)
        if reached >= REACHED * total:
            break
    return (
        f"size={size} is above every photo: short sides are {min(short_sides):,} to {max(short_sides):,} pixels, and "
        f"none is enlarged. size={proposal} would bring {reached:,} of {total:,} to one short side."
    )


def vanished_note(names: Sequence[str]) -> str:
    """Return which photos were deleted or moved before they were read; "" if none."""
    return f"Gone before they were read: {count(len(names), 'photo')} ({listed(names)})." if names else ""


def draft_note(drafted: Drafted) -> str:
    """Return how many drafts were composed again in a new style, and which were not; "" if none."""
    sentences = []
    if drafted.restyled:
        sentences.append(f"Prompts composed again in the new style, without a captioner: {drafted.restyled:,}.")
    if drafted.unstyled:
        sentences.append(
            f"Drafts of an earlier version, whose captions were not stored, keep their text: {drafted.unstyled:,}. "
            "segkit caption --redo-drafts drafts them again."
        )
    return " ".join(sentences)


def gone_notes(pruned: Pruned, gone: Sequence[str]) -> list[str]:
    """Return which triples were removed, which stay because a person worked on them, and which could be removed.

    Args:
        pruned: the result of pruning; empty without it.
        gone: sources of triples whose photos are gone, if nothing was pruned.
    """
    notes = []
    if gone:
        notes.append(
            f"Triples whose photos are gone: {len(gone):,} ({listed(gone)}). prune=True removes those that no person "
            "worked on, unless they are half of the dataset."
        )
    if pruned.removed:
        notes.append(f"Removed, because their photos are gone: {len(pruned.removed):,} ({listed(pruned.removed)}).")
    if pruned.kept:
        notes.append(
            f"Kept, although their photos are gone: {len(pruned.kept):,} ({listed(pruned.kept)}), which hold a "
            "person's prompt, decision or changes. force=True with prune=True removes them too."
        )
    return notes
