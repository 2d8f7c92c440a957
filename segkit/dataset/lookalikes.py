"""Find photos that show the same picture in different splits of a dataset."""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from segkit.dataset.triple import Triple
from segkit.photos import near_duplicates
from segkit.photos.hash_index import HashIndex
from segkit.photos.near_duplicates import Grey
from segkit.photos.same_picture import is_same
from segkit.photos.stored import read_grey

CACHED = 4096
"""Grey copies of stored photos that are kept for the next comparison, of 4 KB each."""


def across_splits(folder: Path, triples: Sequence[Triple]) -> Iterator[tuple[Triple, Triple]]:
    """Yield each photo that shows the same picture as one of another group in another split, and the first such one.

    Candidates are found by the recorded hashes and compared on the stored photos; missing files match nothing. Scaled,
    recompressed and mirrored copies are found, of cropped ones only some: their hashes differ in more bits, and the
    records hold no others.

    Args:
        folder: the dataset.
        triples: all its triples.
    """

    @lru_cache(CACHED)
    def picture(name: str) -> Grey | None:
        return read_grey(folder / name)

    for triple, suspects in _suspects(triples):
        for other in suspects:
            known, new = picture(other.file_name), picture(triple.file_name)
            if known is not None and new is not None and is_same(known, new):
                yield triple, other
                break


def _suspects(triples: Sequence[Triple]) -> Iterator[tuple[Triple, list[Triple]]]:
    """Yield photos, with those of other groups and splits whose hashes, or those of their mirror images, are near."""
    ((largest, _),) = Counter(triple.split for triple in triples).most_common(1) or [("", 0)]
    searching = [place for place, triple in enumerate(triples) if triple.split != largest]
    if not searching:  # of two splits one is not the largest, so only its photos need to be searched for
        return
    hashes = [int(triple.phash, 16) for triple in triples]
    index = HashIndex(hashes)
    for place in searching:
        triple = triples[place]
        numbers = {*index.near(hashes[place]), *index.near(near_duplicates.mirrored(hashes[place]))}
        others = [triples[other] for other in sorted(other for number in numbers for other in index.photos(number))]
        suspects = [other for other in others if other.split != triple.split and other.group != triple.group]
        if suspects:
            yield triple, suspects
