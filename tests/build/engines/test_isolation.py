"""Of items worked on together, exactly those that kill their worker are left out."""

import random
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from segkit.build.engines import isolation
from segkit.build.engines.isolation import STRIKES

BAD = "crashed"


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_exactly_the_fatal_items_are_left_out(fatal: list[bool]) -> None:
    """All others are worked on together in one last attempt, in their order."""
    attempts: list[Sequence[int]] = []

    def attempt(items: Sequence[int]) -> list[object] | None:
        attempts.append(items)
        return None if any(fatal[item] for item in items) else [(item, len(items)) for item in items]

    results = isolation.endure(range(len(fatal)), attempt, lambda item: (item, BAD))

    sound = [item for item in range(len(fatal)) if not fatal[item]]
    assert results == [*((item, len(sound)) for item in sound), *((item, BAD) for item, bad in enumerate(fatal) if bad)]
    for item in set(range(len(fatal))) - set(sound):
        assert sum(list(items) == [item] for items in attempts) >= STRIKES


@given(st.integers(1, 40), st.integers(0, 2**32))
def test_workers_that_die_for_other_reasons_cost_no_item(number: int, seed: int) -> None:
    """With up to two deaths before each success, every item gets a result."""
    rng = random.Random(seed)
    deaths = [0]

    def attempt(items: Sequence[int]) -> list[object] | None:
        if deaths[0] < STRIKES - 1 and rng.random() < 0.5:
            deaths[0] += 1
            return None
        deaths[0] = 0
        return list(items)

    results = isolation.endure(range(number), attempt, lambda item: BAD)

    assert results == list(range(number))


def test_items_that_only_kill_together_keep_their_results() -> None:
    """Too many for the memory of a worker, for example: the results of the parts are used."""

    def attempt(items: Sequence[int]) -> list[object] | None:
        return None if len(items) > 3 else list(items)

    assert isolation.endure(range(10), attempt, lambda item: BAD) == list(range(10))
