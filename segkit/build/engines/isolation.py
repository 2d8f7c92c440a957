"""Which of several items kills the process that works on them? The others must not pay for it."""

from collections.abc import Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

STRIKES = 3
"""Times that an item must kill its worker, alone, before it is given up: a worker may die for other reasons."""


def endure(
    items: Sequence[Item],
    attempt: Callable[[Sequence[Item]], list[Result] | None],
    crashed: Callable[[Item], Result],
    attempts: int = STRIKES,
) -> list[Result]:
    """Work on items together; if that kills worker after worker, find the items that do it and leave them out.

    The results are those of one attempt with all items that kill nothing, because a network's batches, and with them
    the last bits of its results, depend on what is worked on together.

    Args:
        items: what to work on, at least one.
        attempt: works on some of the items, alone in its worker; None if the worker died.
        crashed: returns the result of an item that kills workers.
        attempts: with all items together.

    Returns:
        The results of the attempt, and then those of the items left out.
    """
    for _ in range(attempts):
        if (results := attempt(items)) is not None:
            return results
    fatal, results = _divided(items, attempt)
    rest = [item for place, item in enumerate(items) if place not in fatal]
    for _ in range(STRIKES if rest else 0):
        if (together := attempt(rest)) is not None:
            results = together
            break  # otherwise each part works, but not all together: their own results must do
    return results + [crashed(items[place]) for place in fatal]


def _divided(
    items: Sequence[Item], attempt: Callable[[Sequence[Item]], list[Result] | None]
) -> tuple[list[int], list[Result]]:
    """Return the places of the items that kill workers, and the results of the others, of which some killed one."""
    if len(items) == 1:
        for _ in range(STRIKES):
            if (results := attempt(items)) is not None:
                return [], results
        return [0], []
    middle = len(items) // 2
    fatal: list[int] = []
    results = []
    for start, part in ((0, items[:middle]), (middle, items[middle:])):
        part_results = attempt(part) if len(part) > 1 else None
        if part_results is None:
            places, part_results = _divided(part, attempt)
            fatal += [start + place for place in places]
        results += part_results
    return fatal, results
