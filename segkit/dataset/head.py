"""The first triples of a large manifest, readable while an index of all of them is still being built."""

from collections.abc import Sequence
from itertools import islice

from segkit import rows
from segkit.dataset import index as indices
from segkit.dataset import lines
from segkit.errors import DatasetError

LENGTH = 2_000
"""Triples: more than a person sees before an index is built, and 4 MB of lines."""


class Head:
    """The first lines of the manifest, validated. They count only while no list changes.

    Args:
        lists: the lists of a dataset.

    Attributes:
        keys: of the triples, in the order of the lines, each once.

    Raises:
        DatasetError: a line is damaged.
    """

    def __init__(self, lists: indices.Lists) -> None:
        self._lists, self._states = lists, indices.states(lists)
        first = [data for _, _, data in islice(rows.numbered(lists[0]), LENGTH)]
        self._lines = {lines.valid_place(data).key: data for data in first}
        self.keys = list(self._lines)

    def find(self, keys: Sequence[str]) -> dict[str, bytes] | None:
        """Return the lines of keys; None if one is not among the first, or a list has changed."""
        if not indices.are_current(self._states, self._lists):
            return None
        return {key: self._lines[key] for key in keys} if self._lines.keys() >= set(keys) else None


def read(lists: indices.Lists) -> Head | None:
    """Return the first triples; None if a line is damaged, which building the index explains."""
    try:
        return Head(lists)
    except DatasetError:
        return None
