"""What persons did in slices is taken over by the dataset that they are merged into; what is not, is listed."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from msgspec import structs

from segkit.dataset import Dataset, Rejection, corrections
from segkit.dataset import prune as pruning
from segkit.dataset.corrections import Conflict, Imported
from segkit.dataset.triple import Triple
from segkit.imports.outcome import Outcome

UNIT = 32
"""Triples that are recorded together."""


def take_over(slices: Sequence[Dataset], target: Dataset, outcome: Outcome) -> None:
    """Take over prompts, decisions, splits, columns and edited maps of slices, as an import of datasets does.

    A triple that was merged with this work is left alone. Nothing that a person did in the dataset is overwritten.

    Args:
        slices: all slices of a build.
        target: the dataset that they were merged into.
        outcome: counts what was taken over; conflicts are added to it, also for work on photos that were left out.

    Raises:
        LockedError: another process is writing the dataset.
    """
    work = list(_work(slices))
    if not work:
        return
    with target.writing():
        merger = _Merger(target, outcome)
        for start in range(0, len(work), UNIT):
            merger.merge(work[start : start + UNIT])
        target.fold_if_small()
    outcome.conflicts += _left_out([triple for _, triple in work], target)


def _work(slices: Sequence[Dataset]) -> Iterator[tuple[Dataset, Triple]]:
    for dataset in slices:
        for triple in dataset.triples():
            if pruning.records_work(triple):
                yield dataset, triple


@dataclass(frozen=True)
class _Merger:
    """Merges triples of slices into those of the same photos."""

    dataset: Dataset
    outcome: Outcome
    _report: Imported = field(default_factory=Imported)

    def merge(self, unit: Sequence[tuple[Dataset, Triple]]) -> None:
        known = self.dataset.known([triple.key for _, triple in unit])
        changed: dict[str, Triple] = {}
        for source, record in unit:
            if record.key not in known:
                continue
            triple = changed.get(record.key, known[record.key]).within(self.dataset.folder)
            self._report.place = f"in {source.folder}"
            changes = self._changes(triple, source, record)
            changed |= {one.key: one for one in changes}
            self._count(changes, record)
        self.dataset.commit(changed.values())
        self.outcome.conflicts += self._report.conflicts
        self._report.conflicts.clear()

    def _changes(self, triple: Triple, source: Dataset, record: Triple) -> list[Triple]:
        """Return the triples that a person's work in a slice changes, the last of which is that of its photo."""
        if record.map_sha256 == triple.map_sha256:  # so there is no need to compare it by pixels
            record = structs.replace(record, edits=structs.replace(record.edits, map_by="")).within(source.folder)
        correction = corrections.correction_of(source, record)
        changes = corrections.take_over(self.dataset, triple, correction, self._report) if correction else []
        latest = changes[-1] if changes and changes[-1].key == triple.key else triple
        columns = self._columns(latest, record)
        if columns == latest.extra:
            return changes
        others = [one for one in changes if one.key != triple.key]
        return [*others, structs.replace(latest, extra=columns)]

    def _columns(self, triple: Triple, record: Triple) -> str:
        """Return a triple's own columns with those of a slice that it lacks."""
        here, there = (json.loads(text or "{}") for text in (triple.extra, record.extra))
        for name, value in there.items():
            if here.setdefault(name, value) != value:
                reason = f"it is {json.dumps(here[name])} here and {json.dumps(value)} {self._report.place}"
                self._report.conflicts.append(Conflict(triple.key, triple.source, f"column {name}", reason))
        return json.dumps(here) if here.keys() != json.loads(triple.extra or "{}").keys() else triple.extra

    def _count(self, changes: Sequence[Triple], record: Triple) -> None:
        if changes:
            is_known = min(1, self.outcome.unchanged)  # copies in two slices may come in now, as one triple
            self.outcome.merged += is_known
            self.outcome.unchanged -= is_known
            self.outcome.merges.append(record.source)


def _left_out(work: Sequence[Triple], target: Dataset) -> Iterator[Conflict]:
    """Yield the photos with a person's work that the dataset has no triple of."""
    known = target.known([triple.key for triple in work])
    missing = [triple for triple in work if triple.key not in known]
    rejections = {one.sha256: one for one in target.rejections()} if missing else {}
    for triple in missing:
        rejection = rejections.get(triple.sha256)
        if triple.review == "rejected" and (rejection is None or _is_like_removed(rejection, target)):
            continue
        reason = rejection.message if rejection else "its photo is no longer among those of the build"
        yield Conflict(triple.key, triple.source, "triple", f"a person worked on it, and it was left out: {reason}")


def _is_like_removed(rejection: Rejection, target: Dataset) -> bool:
    """Return whether the photos that a near-duplicate looks like were left out by a person, as itself was."""
    others = target.known(re.findall(r"\b[0-9a-f]{16}\b", rejection.message))
    return all(triple.review == "rejected" for triple in others.values())
