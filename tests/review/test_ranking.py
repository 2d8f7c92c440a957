"""A large dataset is shown before it is ranked."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest

from segkit.dataset import Dataset, head, lines, lists, records, scored
from segkit.errors import UsageError
from segkit.review import order, queue
from segkit.review.messages import Decide, SetPrompt
from segkit.review.order import Orders, Queue, Waiting
from segkit.review.session import Session
from tests.review import chromium, serving
from tests.review.chromium import Open


@dataclass
class Gate:
    """Where the ranking of a dataset that counts as large waits after it has read the lists."""

    reached: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """Let every dataset count as large, and stop its ranking half way."""
    gate, rows = Gate(), scored._rows
    monkeypatch.setattr(order, "LARGE", 0)
    monkeypatch.setattr(order, "PATIENCE", 0.05)

    def slow(path: Any) -> Iterator[Any]:
        for chunk in rows(path):
            yield chunk
            gate.reached.set()
            gate.opened.wait(30)
            yield []

    monkeypatch.setattr(scored, "_rows", slow)
    yield gate
    gate.opened.set()


def ranked(dataset: Dataset) -> list[str]:
    """Return the keys in the order of doubt."""
    return list(queue.rank(dataset).keys())


def rank(ask: Callable[[], Any], is_done: Callable[[Any], bool]) -> Any:
    """Ask until the ranking is done."""
    for _ in range(400):
        answer = ask()
        if is_done(answer):
            return answer
    raise AssertionError("not ranked")


def test_triples_are_in_the_order_of_the_dataset_until_they_are_ranked(session: Session, gate: Gate) -> None:
    """What is edited meanwhile counts in the ranking, once; the old order can still be read."""
    expected = [triple.key for triple in session.dataset]
    before = session.items("", "doubt", 0, 9, False)
    assert gate.reached.wait(30)
    before = session.items("", "doubt", 0, 9, False)
    assert [item["id"] for item in before["items"]] == expected
    assert before["waiting"] == Waiting("triples ranked", 0, 6)
    session.decide(Decide(expected[0], 0, "accepted"))
    session.decide(Decide(expected[1], 0, "accepted"))
    session.set_prompt(SetPrompt(expected[2], 0, "a wide swimming pool and a lake"))

    gate.opened.set()
    after = rank(lambda: session.items("", "doubt", 0, 9, False), lambda page: page["waiting"] is None)

    assert after["counts"] == {"open": 4, "accepted": 2}
    assert [item["id"] for item in after["items"]] != expected
    assert [item["doubt"] for item in after["items"]] == sorted((i["doubt"] for i in after["items"]), reverse=True)
    assert [item["id"] for item in session.unranked(2, 3)["items"]] == expected[2:5]
    session.decide(Decide(expected[3], 0, "rejected"))
    assert session.items("", "doubt", 0, 0, False)["counts"] == {"open": 3, "accepted": 2, "rejected": 1}
    session.close()


@pytest.fixture
def validation(rooms: Dataset, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Delete the index, and validate the second line only once the event is set; four triples are shown before."""
    (rooms.hidden / "cache" / "index").unlink()
    monkeypatch.setattr(head, "LENGTH", 4)
    monkeypatch.setattr(lists, "_READ", 1)
    monkeypatch.setattr(records, "QUICK", 0)  # no edit replaces the manifest
    valid_place, event, number = lines.valid_place, threading.Event(), count()

    def slow(data: bytes) -> Any:
        if threading.current_thread().name.startswith("ranking") and next(number):
            event.wait(30)
        return valid_place(data)

    monkeypatch.setattr(lines, "valid_place", slow)
    yield event
    event.set()


def test_the_first_triples_need_no_index(
    rooms: Dataset, gate: Gate, validation: threading.Event, open_page: Open
) -> None:
    """While a manifest that was changed is validated, they are shown and edited; the others follow."""
    with serving.served(rooms) as url:
        page = open_page(url)
        page.wait_for_selector(".progress-text:has-text('These are its first 4 triples')")
        assert page.locator(".cell").count() == 4
        key = chromium.open_first(page)
        page.keyboard.press("Tab")
        chromium.choose(page, "pool table")
        chromium.wait_until_saved(page)
        assert not rooms.lists.has_index()
        page.keyboard.press("g")
        validation.set()
        page.wait_for_selector(".progress-text:has-text('Ranking 6 triples by doubt')")
        chromium.until(page, "document.querySelectorAll('.cell').length === 6")
        gate.opened.set()
        page.wait_for_selector("button.ranked:not([hidden])")
    assert Dataset.open(rooms.folder)[0].key == key
    assert "pool table" in {share.name for share in Dataset.open(rooms.folder)[0].classes}


def test_damage_further_down_is_shown(rooms: Dataset, gate: Gate, validation: threading.Event, open_page: Open) -> None:
    """The first triples are shown, and then nothing but the line that is damaged."""
    *first, _ = rooms.manifest.read_bytes().splitlines(keepends=True)
    rooms.manifest.write_bytes(b"".join([*first, b"damaged\n"]))
    page = open_page(Dataset.open(rooms.folder), expected="500")
    assert page.locator(".cell").count() == 4
    validation.set()
    page.wait_for_selector(".empty.error:has-text('line 6 is damaged')")


def test_decisions_after_the_ranking_has_read_are_counted(rooms: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the end of a ranking and the moment when somebody asks for it."""
    monkeypatch.setattr(order, "LARGE", 0)
    orders = Orders(rooms)
    key = rooms[0].key
    assert isinstance(orders.get("", "doubt"), Queue)
    job = order._Job(orders._worker.submit(orders._rank, "review:open", "doubt"))
    orders._jobs["review:open", "doubt"] = job
    job.ranking.result(30)

    orders.note(key, "open", "accepted")
    orders.note(key, "accepted", "rejected")

    ranked = orders.get("review:open", "doubt")
    assert isinstance(ranked, Queue)
    assert {review: number for review, number in ranked.counts.items() if number} == {"open": 5, "rejected": 1}


def test_filters_wait_for_the_ranking(session: Session, gate: Gate) -> None:
    """They show nothing wrong meanwhile; a malformed one is refused once it is its turn."""
    session.items("", "doubt", 0, 9, False)
    assert gate.reached.wait(30)
    page = session.items("review:open", "doubt", 0, 9, False)
    assert (page["items"], page["waiting"].stage) == ([], "triples ranked")
    session.items("nonsense", "doubt", 0, 9, False)

    gate.opened.set()

    done = rank(lambda: session.items("review:open", "doubt", 0, 9, False), lambda page: page["waiting"] is None)
    assert done["total"] == 6
    with pytest.raises(UsageError, match="not understood"):
        rank(lambda: session.items("nonsense", "doubt", 0, 9, False), lambda page: page["waiting"] is None)
    session.close()


def test_the_end_of_the_server_ends_the_ranking(rooms: Dataset, gate: Gate) -> None:
    """No thread is left, and no cache is written by half."""
    session = Session(rooms)
    session.items("", "doubt", 0, 9, False)
    assert gate.reached.wait(30)
    closing = threading.Thread(target=session.close)
    closing.start()
    gate.opened.set()
    closing.join(30)

    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ranking")]
    assert not (rooms.hidden / "cache" / "doubt").exists()


def test_the_page_sorts_without_moving_the_triple_in_work(rooms: Dataset, gate: Gate, open_page: Open) -> None:
    """Its edit is kept, and the next triple is the most doubtful; in the grid, a person sorts by a click."""
    with serving.served(rooms) as url:
        page = open_page(url)
        page.wait_for_selector(".progress-text:has-text('Ranking 6 triples by doubt')")
        key = chromium.open_first(page)
        assert key == rooms[0].key
        page.keyboard.press("Tab")
        chromium.choose(page, "pool table")
        chromium.wait_until_saved(page)
        gate.opened.set()
        page.wait_for_selector(".message:has-text('the next one is the most doubtful')")
        assert page.evaluate("location.hash.slice(1)") == key
        assert "pool table" in {share.name for share in rooms.get([key])[0].classes}

        first, second, *_ = ranked(Dataset.open(rooms.folder))
        page.keyboard.press("ArrowRight")
        chromium.until(page, "key => location.hash.endsWith(key)", second if first == key else first)
        page.keyboard.press("/")
        page.wait_for_selector("#grid:not([hidden])")
        page.keyboard.type("by:nobody")
        page.keyboard.press("Enter")
        page.wait_for_selector(".progress-text:has-text('of 2 accepted')")


def test_the_grid_is_sorted_when_a_person_wants_it(rooms: Dataset, gate: Gate, open_page: Open) -> None:
    """Once a person has touched the page, no thumbnail moves away under the cursor."""
    with serving.served(rooms) as url:
        page = open_page(url)
        page.keyboard.press("ArrowRight")
        gate.opened.set()
        page.wait_for_selector("button.ranked:not([hidden])")
        first = "document.querySelector('.cell.cursor').dataset.id"
        assert page.evaluate(first) == rooms[1].key
        page.locator("button.ranked").click()
        page.wait_for_selector(".progress-text:has-text('of 6 accepted')")
        assert page.evaluate(first) == ranked(Dataset.open(rooms.folder))[0]
