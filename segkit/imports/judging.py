"""What becomes of each item: a new photo, one to be merged, or one that is left out."""

from collections.abc import Callable

from msgspec.structs import replace

from segkit.build.arrival import Arrival, Candidate, Kept, Likeness
from segkit.build.history import History
from segkit.dataset import Dataset, Rejection
from segkit.dataset.formats.items import Item
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
        phrase: words the messages of rejections, such as settings as options of a command.

    Attributes:
        leaks: near-duplicates in different splits, so far.
        moved: split of items that were moved into another, by position.
        merged: key of each photo that the dataset has already, or an earlier source, by position.
    """

    def __init__(
        self, items: Photos, history: History, dataset: Dataset | None, settings: ImportSettings,
        phrase: Callable[[str], str] = str,
    ) -> None:  # fmt: skip
        self._phrase = phrase
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
        arrival = self._judge(incoming)
        if isinstance(arrival, Rejection):
            arrival = self._history.reject(replace(arrival, message=self._phrase(arrival.message)))
        return arrival

    def _judge(self, incoming: Incoming) -> Arrival:
        loaded = incoming.loaded
        if isinstance(loaded.outcome, Rejection):  # it does not count as the original of a copy that can be used
            return loaded.outcome
        arrival = self._history.judge(loaded, compared=True)
        if isinstance(arrival, Kept) or self._is_to_be_merged(arrival, incoming):
            self.merged[incoming.position] = key_of(loaded.sha256)
            return Kept(incoming.item.source)
        if not isinstance(arrival, Candidate) or arrival.lost:
            return arrival
        return self._admitted(arrival, incoming)

    def _is_to_be_merged(self, arrival: Arrival, incoming: Incoming) -> bool:
        """Return whether an item is the same photo as one of an earlier collection, or one with other words or map."""
        if not isinstance(arrival, Rejection) or arrival.reason != "identical":
            return False
        row = self._history.contents.find(arrival.sha256)
        if row not in self._accepted and not self._history.contents.is_recorded(row):
            return False
        first = self._history.contents.positions[row]
        return self._items.number(first) != self._items.number(incoming.position) or self._differs(first, incoming.item)

    def _differs(self, first: int, item: Item) -> bool:
        """Return whether an item says something else of a photo than the first one in its collection."""
        other = self._items.item(first)
        if item.record or other.record:
            return False
        texts = [" ".join(one.text.split()) for one in (item, other)]
        return (bool(texts[0]) and texts[0] != texts[1]) or _map_of(item) not in (b"", _map_of(other))

    def _admitted(self, new: Candidate, incoming: Incoming) -> Candidate | Rejection:
        similar = self._similar(incoming)
        record, split = incoming.record, incoming.split
        group = record.group if record else new.group
        if similar:
            verdict = self._resolved(new, incoming, similar)
            if isinstance(verdict, Rejection):
                return verdict
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
        rejection = self._history.near_duplicate(new.source, new.sha256, similar, new.photo.source_size)
        if leak:
            like = rejection.message.partition(",")[0]  # keep_duplicates does not help
            message = f"{like}; it is in {split}, the other in {leak[1]}"
            message += "; on_leak=move moves it there" if single else ""
            return Rejection(rejection.source, rejection.sha256, rejection.reason, message)
        return rejection


def _map_of(item: Item) -> bytes:
    """Return the file of an item's map; b"" if there is none."""
    try:
        return item.control_map.read() if item.control_map else b""
    except OSError:
        return b""
