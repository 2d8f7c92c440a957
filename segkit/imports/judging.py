"""What becomes of each item: a new photo, one to be merged, or one that is left out."""

from segkit.build.arrival import Arrival, Candidate, Kept, Likeness
from segkit.build.history import History
from segkit.dataset import Dataset, Rejection
from segkit.dataset.triple import UNDRAWN, key_of
from segkit.imports.outcome import Leak
from segkit.imports.reading import Incoming
from segkit.imports.settings import ImportSettings
from segkit.imports.sources import Photos


class Judge:
    """Decides about items in order. Of copies and near-duplicates the first one stays, and so the first source's.

    Args:
        items: all items.
        history: what the dataset has.
        dataset: the dataset; None for a new one.
        settings: keep_duplicates and on_leak are read.

    Attributes:
        leaks: near-duplicates in different splits, so far.
        moved: split of items that were moved into another, by position.
        merged: key of each photo that the dataset has already, or an earlier source, by position.
    """

    def __init__(self, items: Photos, history: History, dataset: Dataset | None, settings: ImportSettings) -> None:
        self._items, self._history, self._settings = items, history, settings
        self._splits: dict[str, str] = {}  # group to split, where it is known
        for triple in dataset.triples() if dataset is not None else ():
            if triple.drawn != UNDRAWN:
                self._splits[triple.group] = triple.split
        self._keys: dict[int, frozenset[str]] = {}  # of the items of a collection that segkit wrote
        self.leaks: list[Leak] = []
        self.moved: dict[int, str] = {}
        self.merged: dict[int, str] = {}
        self._accepted: set[int] = set()  # rows

    def judge(self, incoming: Incoming) -> Arrival:
        """Decide about the next item."""
        loaded = incoming.loaded
        if isinstance(loaded.outcome, Rejection):  # it does not count as the original of a copy that can be used
            return self._history.reject(loaded.outcome)
        arrival = self._history.judge(loaded, compared=True)
        if isinstance(arrival, Kept) or self._is_of_another_source(arrival, incoming):
            self.merged[incoming.position] = key_of(loaded.sha256)
            return Kept(incoming.item.source)
        if not isinstance(arrival, Candidate) or arrival.lost:
            return arrival
        return self._admitted(arrival, incoming)

    def _is_of_another_source(self, arrival: Arrival, incoming: Incoming) -> bool:
        """Return whether an item is the same photo as one of an earlier collection, with which it is merged."""
        if not isinstance(arrival, Rejection) or arrival.reason != "identical":
            return False
        row = self._history.contents.find(arrival.sha256)
        if row not in self._accepted and not self._history.contents.is_recorded(row):
            return False
        first = self._history.contents.positions[row]
        return self._items.number(first) != self._items.number(incoming.position)

    def _admitted(self, new: Candidate, incoming: Incoming) -> Candidate | Rejection:
        similar = self._similar(incoming)
        record, split = incoming.record, incoming.split
        group = record.group if record else new.group
        if similar:
            verdict = self._resolved(new, incoming, similar)
            if isinstance(verdict, Rejection):
                return self._history.reject(verdict)
            group = verdict
        if split:
            self._splits.setdefault(group, split)
        row = self._history.contents.find(new.sha256)
        self._history.accept(row, new.phash, group)
        self._accepted.add(row)
        return Candidate(new.source, new.sha256, new.photo, new.phash, group, position=new.position)

    def _similar(self, incoming: Incoming) -> list[Likeness]:
        """Return the photos that show the same picture; photos of one dataset of segkit were compared in it."""
        loaded, contents = incoming.loaded, self._history.contents
        if loaded.grey is None:
            return []
        keys = self._keys_of(self._items.number(incoming.position)) if incoming.record else frozenset()
        numbers = self._history.lookalikes.search(loaded.grey, loaded.phash)
        return self._history.similar(loaded.grey, numbers, lambda row: contents.key(row) not in keys)

    def _keys_of(self, number: int) -> frozenset[str]:
        if number not in self._keys:
            names = (item.key for item in self._items.collections[number].items)
            self._keys[number] = frozenset(filter(None, names))
        return self._keys[number]

    def _resolved(self, new: Candidate, incoming: Incoming, similar: list[Likeness]) -> Rejection | str:
        """Return the group that a near-duplicate joins, or its rejection."""
        others = {likeness.group: self._splits.get(likeness.group, "") for likeness in similar}
        split = incoming.split
        leak = next(((group, other) for group, other in others.items() if split and other not in ("", split)), None)
        single = len(similar) == 1
        moves = leak is not None and single and self._settings.on_leak == "move"
        if leak:
            outcome = "moved" if moves else "left out"
            self.leaks.append(Leak(new.source, split, *leak, outcome))
        if moves and leak:
            self.moved[incoming.position] = leak[1]
        if moves or (single and not leak and self._settings.keep_duplicates):
            return similar[0].group
        geometry = new.photo.geometry
        size = geometry.source_width, geometry.source_height
        rejection = self._history.near_duplicate(new.source, new.sha256, similar, size)
        if leak:
            message = f"{rejection.message}; it is in {split}, the other in {leak[1]}"
            return Rejection(rejection.source, rejection.sha256, rejection.reason, message)
        return rejection
