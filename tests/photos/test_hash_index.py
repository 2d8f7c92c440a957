"""The index finds the hashes that comparing with all of them would find."""

import numpy as np
import pytest
from numpy.typing import NDArray

from segkit.photos.hash_index import NEAR, TAIL, HashIndex

RNG = np.random.default_rng(5)


def balanced(number: int) -> NDArray[np.uint64]:
    """Return hashes with 32 bits set, as thresholds at a median give."""
    bits = np.argsort(RNG.random((number, 64)), axis=1) < 32
    return np.packbits(bits, axis=1).view(">u8").ravel().astype(np.uint64)


def seen(value: int, weak: list[int], flipped: list[int]) -> NDArray[np.float32]:
    """Return coefficients of a view whose weak bits are small, and of which some differ from a hash."""
    bits = np.unpackbits(np.array([value], ">u8").view(np.uint8)).astype(np.float32)
    coefficients = 2 * bits - 1
    coefficients[weak] *= 0.1
    coefficients[flipped] *= -1
    return coefficients


@pytest.mark.parametrize("bulk", [True, False], ids=["at once", "one by one"])
def test_near_hashes_are_all_found(bulk: bool) -> None:
    """Among many hashes, in the tables and in the tail, those within NEAR bits are found, and no others."""
    values = balanced(TAIL + 500)
    target = int(values[7])
    for position, bits in ((100, NEAR), (TAIL + 300, NEAR), (200, NEAR + 1)):
        flips = RNG.permutation(64)[:bits]
        values[position] = target ^ sum(1 << int(bit) for bit in flips)
    index = HashIndex(values if bulk else ())
    if not bulk:
        for photo, value in enumerate(values.tolist()):
            index.add(value, photo)

    photos = [photo for number in next(index.near(np.array([target], np.uint64))) for photo in index.photos(number)]

    assert sorted(photos) == [7, 100, TAIL + 300]


def test_a_search_forgives_weak_bits() -> None:
    """Six weak bits may differ, in any view; six strong ones may not."""
    values = balanced(2 * TAIL + 10).tolist()
    index = HashIndex(values[:TAIL])
    for photo, value in enumerate(values[TAIL:], TAIL):
        index.add(value, photo)
    weak = list(range(10, 19))
    nothing = seen(0x0F0F_F0F0_3C3C_A5A5, [], [])

    for photo in (3, TAIL + 3, 2 * TAIL + 3):
        alike = np.stack([nothing, seen(values[photo], weak, weak[:6])])
        different = np.stack([nothing, seen(values[photo], weak, list(range(30, 37)))])
        (number,) = index.search(alike)
        assert index.photos(number) == [photo]
        assert index.views(alike, number) == [1]
        assert index.search(different) == []


def test_equal_hashes_are_one_entry() -> None:
    """A thousand copies of one photo take one entry, which knows all of them."""
    index = HashIndex([5, 9, 5])

    numbers = {index.add(9, 3), index.add(9, 4), index.add(9)}

    assert len(index) == 2
    assert [index.photos(number) for number in numbers] == [[1, 3, 4]]
    assert index.photos(index.add(5)) == [0, 2]
    assert index.photos(index.add(77)) == []
    assert index.number(78) is None
