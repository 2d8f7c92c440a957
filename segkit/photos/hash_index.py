"""An index of perceptual hashes that finds the near ones among millions without comparing with all of them."""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations, product

import numpy as np
from numpy.typing import NDArray

BANDS = (slice(0, 64, 3), slice(1, 64, 3), slice(2, 64, 3))
"""The bits of a hash, the most significant first, are divided into these bands. Each band has a table of the hashes by
its value. The bands are interleaved because neighbouring frequencies change together."""

WEAK = 7
"""Bits of each band that a search flips, in all combinations of at most FLIPS: those most likely to differ."""

FLIPS = 3

DOUBT = 6.0
"""The most that two photos may differ in: the sum over all bits that differ of the coefficient's magnitude, in units of
the median magnitude, at most 4 for one bit. Copies differ in small coefficients only, typically by 1 in all; unrelated
photos whose hashes happen to differ in only 10 bits differ by 14."""

TAIL = 2048
"""Hashes that are compared one by one before they are merged into the tables."""

NEAR = 8
"""Bits in which two hashes may differ where nothing else of the photos is known. Scaled and recompressed copies differ
in 6 at most, their mirror images in about as many from the mirrored hash."""

CHUNK = 16_384
"""Hashes whose bits are spread out at a time, to 200 bytes a hash."""

_SEARCHED = 256
"""Values that are looked up together."""

_LARGEST = 4.0
_BITS = 16
"""Hashes that differ in more bits never have a difference below DOUBT: it is tested first because it is cheap."""


@dataclass
class _Table:
    """The hashes by the value of one band: those with value v are order[starts[v] : starts[v + 1]]."""

    starts: NDArray[np.int32]
    order: NDArray[np.int32]

    def merge(self, keys: NDArray[np.int32], first: int) -> None:
        """Add hashes numbered from `first` by their band's values."""
        sequence = np.argsort(keys, kind="stable")
        keys = keys[sequence]
        self.order = np.insert(self.order, self.starts[keys + 1], (first + sequence).astype(np.int32))
        steps = np.diff(keys, prepend=np.int32(-1), append=np.int32(len(self.starts) - 1))
        self.starts += np.repeat(np.arange(len(keys) + 1, dtype=np.int32), steps)  # new keys below each value

    def look_up(self, keys: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.intp]]:
        """Return the numbers of all hashes with any of the values, and for each the place of its value in keys."""
        starts = self.starts[keys]
        sizes = self.starts[keys + 1] - starts
        filled = np.flatnonzero(sizes)
        starts, sizes = starts[filled], sizes[filled]
        ends = np.cumsum(sizes)
        within = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - sizes, sizes)
        return self.order[np.repeat(starts, sizes) + within], np.repeat(filled, sizes)


class HashIndex:
    """Distinct 64-bit hashes, numbered, with the photos that have them.

    A search costs about the same at a thousand hashes as at a million, in which the tables take 20 bytes a hash.

    Args:
        values: the hashes of the first photos, numbered from 0; much faster than adding them one by one.
    """

    def __init__(self, values: Sequence[int] | NDArray[np.uint64] = ()) -> None:
        hashes = np.asarray(values, np.uint64)
        distinct, first, numbers = np.unique(hashes, return_index=True, return_inverse=True)
        self._values = np.concatenate([distinct, np.empty(1024, np.uint64)])  # doubled when full
        self._count = len(distinct)  # of those that are valid
        self._merged = 0  # those after it are not in the tables yet
        self._tables: list[_Table] = []
        self._first = array("i", first.astype(np.intc).tobytes())  # number of a hash to its first photo; -1: none
        self._more: dict[int, list[int]] = {}  # number of a hash to its other photos
        for photo in np.flatnonzero(first[numbers] != np.arange(len(hashes))).tolist():
            self._more.setdefault(int(numbers[photo]), []).append(photo)
        if self._count >= TAIL:
            self._merge()

    def __len__(self) -> int:
        return self._count

    def add(self, value: int, photo: int = -1) -> int:
        """Add a hash if it is new, and return its number.

        Args:
            value: the hash.
            photo: number of a photo that has it; -1 adds none.
        """
        number = self.number(value)
        if number is None:
            number = self._append(value)
        if self._first[number] < 0:
            self._first[number] = photo
        elif photo >= 0:
            self._more.setdefault(number, []).append(photo)
        return number

    def photos(self, number: int) -> list[int]:
        """Return the photos that have a hash."""
        return [] if self._first[number] < 0 else [self._first[number], *self._more.get(number, ())]

    def number(self, value: int) -> int | None:
        """Return the number of a hash; None if it was never added."""
        tail = np.flatnonzero(self._values[self._merged : self._count] == np.uint64(value))
        if len(tail):
            return self._merged + int(tail[0])
        if not self._tables:
            return None
        numbers, _ = self._tables[0].look_up(_keys(_bits(np.array([value], np.uint64)), BANDS[0]))
        equal = numbers[self._values[numbers] == np.uint64(value)]
        return int(equal[0]) if len(equal) else None

    def value(self, number: int) -> int:
        """Return the hash with a number."""
        return int(self._values[number])

    def search(self, coefficients: NDArray[np.float32]) -> list[int]:
        """Return the hashes that may be of the same photo as any of several views.

        Each table is searched for the view's own value and for those with its weakest bits flipped ("query-directed
        probing", Lv et al., Multi-Probe LSH, 2007). That finds copies whose hashes differ in up to 16 bits, in a
        hundredth of the look-ups that all flips of as many bits would take.

        Args:
            coefficients: (V, 64), whose signs are the bits of the views' hashes; see near_duplicates.coefficients.

        Returns:
            The numbers of the hashes, ascending.
        """
        bits, weights = coefficients > 0, _weights(coefficients)
        numbers, views, differing = self._probe(bits, weights)
        near = np.einsum("ij,ij->i", _bits(differing), weights[views]) <= DOUBT
        matches: list[int] = np.unique(numbers[near]).tolist()
        return matches

    def views(self, coefficients: NDArray[np.float32], number: int) -> list[int]:
        """Return the positions of the views that a hash resembles; at least that which it resembles most."""
        differing = _bits(_values(coefficients > 0) ^ self._values[number])
        differences = np.einsum("ij,ij->i", differing, _weights(coefficients))
        near: list[int] = np.flatnonzero(differences <= max(DOUBT, float(differences.min()))).tolist()
        return near

    def distance(self, coefficients: NDArray[np.float32], number: int) -> int:
        """Return in how many bits a hash differs from the nearest view's."""
        return int(np.bitwise_count(_values(coefficients > 0) ^ self._values[number]).min())

    def near(self, values: NDArray[np.uint64]) -> Iterator[list[int]]:
        """Yield, for each value, the numbers of all hashes that differ from it in at most NEAR bits, ascending."""
        for start in range(0, len(values), _SEARCHED):
            searched = values[start : start + _SEARCHED]
            rows, numbers = self._near(searched)
            ends = np.searchsorted(rows, np.arange(1, len(searched) + 1)).tolist()
            for begin, end in zip([0, *ends], ends, strict=False):
                yield numbers[begin:end].tolist()

    def _near(self, values: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the pairs of a value's place and the number of a hash that is near it, sorted and each once."""
        bits = _bits(values)
        tail = np.bitwise_count(values[:, None] ^ self._values[self._merged : self._count]) <= NEAR
        rows, numbers = np.nonzero(tail)
        pairs = [rows * len(self._values) + numbers + self._merged]
        for table, band in zip(self._tables, BANDS, strict=False):
            # one of the three bands has at most a third of the bits that differ
            flips = _flips(_width(band), NEAR // len(BANDS))
            hits, places = table.look_up((_keys(bits, band)[:, None] ^ flips).ravel())
            rows = places // len(flips)
            near = np.bitwise_count(self._values[hits] ^ values[rows]) <= NEAR
            pairs.append(rows[near] * len(self._values) + hits[near])
        return np.divmod(np.unique(np.concatenate(pairs)), len(self._values))

    def _append(self, value: int) -> int:
        if self._count == len(self._values):
            self._values = np.concatenate([self._values, np.empty_like(self._values)])
        self._values[self._count] = value
        self._first.append(-1)
        self._count += 1
        if self._count - self._merged == TAIL:
            self._merge()
        return self._count - 1

    def _probe(
        self, bits: NDArray[np.bool_], weights: NDArray[np.float32]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint64]]:
        """Return candidates, the views that found them, and in which bits they differ; pairs can occur repeatedly."""
        values = _values(bits)
        differing = values[:, None] ^ self._values[self._merged : self._count]
        places = np.flatnonzero(np.bitwise_count(differing) <= _BITS)  # np.nonzero takes ten times as long
        views, numbers = np.divmod(places, max(differing.shape[1], 1))
        hits = [(numbers + self._merged, views, differing.ravel()[places])]
        for table, band in zip(self._tables, BANDS, strict=False):
            weak = np.argpartition(weights[:, band], WEAK, axis=1)[:, :WEAK]
            flips = _flipped(_powers(_width(band))[weak])
            numbers, places = table.look_up((_keys(bits, band) ^ flips).ravel())  # (subsets * V,)
            views = places % len(bits)
            other = self._values[numbers] ^ values[views]
            near = np.bitwise_count(other) <= _BITS
            hits.append((numbers[near].astype(np.int64), views[near], other[near]))
        every = [np.concatenate(column) for column in zip(*hits, strict=True)]
        return every[0], every[1], every[2]

    def _merge(self) -> None:
        if not self._tables:
            for band in BANDS:
                starts = np.zeros((1 << _width(band)) + 1, np.int32)
                self._tables.append(_Table(starts, np.empty(0, np.int32)))
        fresh = self._values[self._merged : self._count]
        parts = np.array_split(fresh, len(fresh) // CHUNK + 1)
        for table, band in zip(self._tables, BANDS, strict=True):
            keys = np.concatenate([_keys(_bits(part), band).astype(np.int32) for part in parts])
            table.merge(keys, self._merged)
        self._merged = self._count


def _weights(coefficients: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return how much a difference in each bit counts: see DOUBT."""
    magnitudes = np.abs(coefficients)
    typical = np.maximum(np.partition(magnitudes, 32, axis=1)[:, 32:33], 1e-6)
    weights: NDArray[np.float32] = np.minimum(magnitudes / typical, _LARGEST)
    return weights


def _bits(values: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Return the bits of hashes, (N, 64), the most significant first."""
    return np.unpackbits(values.astype(">u8").view(np.uint8).reshape(-1, 8), axis=1)


def _values(bits: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Return the hashes with these bits."""
    return np.packbits(bits, axis=1).view(">u8").ravel().astype(np.uint64)


def _keys(bits: NDArray[np.bool_] | NDArray[np.uint8], band: slice) -> NDArray[np.int64]:
    """Return the values of a band of hashes."""
    keys: NDArray[np.int64] = bits[:, band] @ _powers(_width(band))
    return keys


def _width(band: slice) -> int:
    return len(range(64)[band])


@cache
def _powers(width: int) -> NDArray[np.int64]:
    return 1 << np.arange(width, dtype=np.int64)


def _flipped(weak: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the sums of at most FLIPS of the weak bits of each view, (subsets, V); weak is (V, WEAK)."""
    sums = _subsets() @ weak.T.astype(np.float32)  # floats, for which NumPy has a fast product; exact below 2**24
    return sums.astype(np.int64)


@cache
def _subsets() -> NDArray[np.float32]:
    """Return all subsets of the weak bits with at most FLIPS members, as rows of 0 and 1."""
    rows = [row for row in product((0, 1), repeat=WEAK) if sum(row) <= FLIPS]
    return np.array(rows, np.float32)


@cache
def _flips(width: int, most: int) -> NDArray[np.int64]:
    """Return the masks of a band with at most so many bits set."""
    masks = [sum(1 << bit for bit in bits) for number in range(most + 1) for bits in combinations(range(width), number)]
    return np.array(masks, np.int64)
