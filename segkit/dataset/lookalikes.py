"""Find photos that show the same picture in different splits of a dataset."""

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np

from segkit.dataset.splits import group_number
from segkit.dataset.triple import Triple
from segkit.photos import near_duplicates
from segkit.photos.hash_index import HashIndex
from segkit.photos.near_duplicates import Grey
from segkit.photos.same_picture import is_same
from segkit.photos.stored import read_grey

CACHED = 4096
"""Grey copies of stored photos that are kept for the next comparison, of 4 KB each."""


def across_splits(folder: Path, triples: Iterable[Triple]) -> Iterator[tuple[Triple, Triple]]:
    """Yield each photo that shows the same picture as one of another group in another split, and the first such one.

    Candidates are found by the recorded hashes and compared on the stored photos; missing files match nothing. Scaled,
    recompressed and mirrored copies are found, of cropped ones only some: their hashes differ in more bits, and the
    records hold no others.

    Args:
        folder: the dataset.
        triples: all its triples, which are read twice.
    """

    @lru_cache(CACHED)
    def picture(name: str) -> Grey | None:
        return read_grey(folder / name)

    pairs = list(_suspects(triples))
    places = {place for pair in pairs for place in (pair[0], *pair[1])}
    suspected = {place: triple for place, triple in enumerate(triples) if place in places} if pairs else {}
    for place, suspects in pairs:
        for other in map(suspected.__getitem__, suspects):
            known, new = picture(other.file_name), picture(suspected[place].file_name)
            if known is not None and new is not None and is_same(known, new):
                yield suspected[place], other
                break


def _suspects(triples: Iterable[Triple]) -> Iterator[tuple[int, list[int]]]:
    """Yield the places of photos, with those of other groups and splits whose hashes or mirrored hashes are near."""
    hashes, groups, splits = array("Q"), array("Q"), array("B")
    names: dict[str, int] = {}
    for triple in triples:
        hashes.append(int(triple.phash, 16))
        groups.append(group_number(triple.group))
        splits.append(min(names.setdefault(triple.split, len(names)), 255))
    if len(names) < 2:
        return
    ((largest, _),) = Counter(splits).most_common(1)  # of two splits one is not the largest: only that is searched for
    known = np.asarray(hashes, np.uint64)
    index = HashIndex(known)
    searched = [place for place, split in enumerate(splits) if split != largest]
    mirror_images = np.array([near_duplicates.mirrored(hashes[place]) for place in searched], np.uint64)
    matches = zip(searched, index.near(known[searched]), index.near(mirror_images), strict=True)
    for place, plain, mirrored in matches:
        others = sorted(other for number in {*plain, *mirrored} for other in index.photos(number))
        suspects = [other for other in others if splits[other] != splits[place] and groups[other] != groups[place]]
        if suspects:
            yield place, suspects
