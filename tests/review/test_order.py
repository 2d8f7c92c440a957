"""Queues keep their order while a person works, and their counts follow."""

import pytest

from segkit.dataset import Dataset, decisions
from segkit.errors import UsageError
from segkit.review.order import KEPT, Orders, Queue
from segkit.review.queue import Order


def ready(orders: Orders, where: str, order: Order, fresh: bool = False) -> Queue:
    """Return a queue of a small dataset, which is ranked when it is asked for."""
    ranked = orders.get(where, order, fresh)
    assert isinstance(ranked, Queue)
    return ranked


def test_decisions_are_counted_without_ranking_again(rooms: Dataset) -> None:
    """A decision changes the counts of the queues that have the triple, and the place of none."""
    orders = Orders(rooms)
    everything, drafted = ready(orders, "", "doubt"), ready(orders, "by:model", "source")
    places = list(everything.ranking.keys())
    key = next(triple.key for triple in rooms if not triple.text)

    decisions.decide(rooms, key, "accepted")
    orders.note(key, "open", "accepted")

    assert ready(orders, "", "doubt").counts == {"open": 5, "accepted": 1}
    assert ready(orders, "by:model", "source").counts == {"open": 4} == drafted.counts
    assert list(ready(orders, "", "doubt").ranking.keys()) == places


def test_a_fresh_queue_is_ranked_again(rooms: Dataset) -> None:
    """What no longer meets the conditions leaves the queue only then."""
    orders = Orders(rooms)
    assert len(ready(orders, "review:open", "doubt").ranking) == 6
    decisions.decide(rooms, rooms[0].key, "rejected")

    assert len(ready(orders, "review:open", "doubt").ranking) == 6
    assert len(ready(orders, "review:open", "doubt", fresh=True).ranking) == 5


def test_few_queues_are_kept(rooms: Dataset) -> None:
    """Filters that were tried do not pile up, and a malformed one changes nothing."""
    orders = Orders(rooms)
    first = ready(orders, "", "doubt")
    with pytest.raises(UsageError):
        orders.get("nonsense", "doubt")
    assert ready(orders, "", "doubt") is first

    for number in range(KEPT):
        ready(orders, f"tokens>{number}", "doubt")

    assert ready(orders, "", "doubt") is not first
