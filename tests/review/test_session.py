"""What the page asks of a dataset."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from segkit.dataset import Dataset, replay
from segkit.dataset import history as histories
from segkit.errors import ConflictError, PaletteError, UsageError
from segkit.maps.codec import Labels
from segkit.palette import Palette
from segkit.review import messages
from segkit.review.messages import (
    BulkDecide,
    BulkRelabel,
    BulkUndo,
    Decide,
    Move,
    OfMap,
    OfTriple,
    Painted,
    Prepare,
    Relabel,
    Selection,
    SetPrompt,
)
from segkit.review.session import Session
from tests.review.rooms import PALETTE

WALL, TABLE = PALETTE.find("wall").index, PALETTE.find("table").index


def test_the_page_learns_every_class(session: Session) -> None:
    """Names, synonyms and colours of all classes, in index order."""
    described = session.describe()

    assert [name for name, _, _ in described["classes"]] == [swatch.name for swatch in PALETTE]
    assert described["classes"][0] == ["wall", list(PALETTE[0].synonyms), "#787878"]


def test_items_are_as_they_are_now(session: Session, rooms: Dataset) -> None:
    """The queue keeps its order; texts, decisions and revisions are read at each request."""
    before = session.items("", "source", 0, 100, False)
    key = before["items"][1]["id"]
    session.set_prompt(SetPrompt(key, 0, "a wide room"))
    after = session.items("", "source", 1, 2, False)

    assert (before["total"], len(before["items"]), len(after["items"])) == (6, 6, 2)
    assert (after["items"][0]["text"], after["items"][0]["rev"], after["items"][0]["by"]) == (
        "a wide room",
        1,
        "person",
    )
    assert session.items("text:'a wide room'", "doubt", 0, 9, False)["total"] == 1
    with pytest.raises(UsageError):
        session.items("nonsense", "doubt", 0, 9, False)
    with pytest.raises(PaletteError):
        session.items("class:nonsense", "doubt", 0, 9, False)


def test_a_stroke_sets_exactly_its_pixels(session: Session, rooms: Dataset) -> None:
    """The map has the new class where the runs are and the old ones elsewhere, also after undo and redo."""
    key, labels = rooms[0].key, rooms[0].labels
    expected = labels.copy()
    expected.ravel()[5:9] = TABLE
    expected.ravel()[400:700] = 255

    done = session.relabel(Relabel(key, 0, (Painted(TABLE, (5, 4)), Painted(255, (400, 300))), "brush"))

    assert (done["rev"], done["undoable"], done["redoable"]) == (1, 1, 0)
    assert np.array_equal(rooms.get([key])[0].labels, expected)
    shares = {index: share for index, share, _ in done["classes"]}
    assert shares[TABLE] == pytest.approx(np.mean(expected == TABLE), abs=1e-4)
    undone = session.undo(OfMap(key, 1))
    assert (undone["rev"], undone["undoable"], undone["redoable"]) == (2, 0, 1)
    assert np.array_equal(rooms.get([key])[0].labels, labels)
    session.redo(OfMap(key, 2))
    assert np.array_equal(rooms.get([key])[0].labels, expected)


def test_an_old_revision_changes_nothing(session: Session, rooms: Dataset) -> None:
    """A second tab is told that the triple has changed, whatever it wants to change."""
    key = rooms[0].key
    session.set_prompt(SetPrompt(key, 0, "first"))

    with pytest.raises(ConflictError):
        session.set_prompt(SetPrompt(key, 0, "second"))
    with pytest.raises(ConflictError):
        session.decide(Decide(key, 0, "accepted"))
    with pytest.raises(ConflictError):
        session.relabel(Relabel(key, 0, (Painted(TABLE, (0, 9)),)))
    with pytest.raises(ConflictError):
        session.move(Move(key, 0, "val"))
    assert session.details(key)["text"] == "first"
    assert session.revision(key) == 1


def test_a_request_whose_answer_was_lost_is_carried_out_once(session: Session, rooms: Dataset) -> None:
    """Sent again, it succeeds with the state it led to; without its name, or after other edits, it is a conflict."""
    key, labels = rooms[0].key, rooms[0].labels
    strokes = (Painted(TABLE, (0, 9)),)
    lost: list[Callable[[], Any]] = [
        lambda: session.relabel(Relabel(key, 0, strokes, request="a")),
        lambda: session.undo(OfMap(key, 1, request="b")),
        lambda: session.redo(OfMap(key, 2, request="c")),
        lambda: session.set_prompt(SetPrompt(key, 3, "a room")),
        lambda: session.decide(Decide(key, 4, "accepted")),
        lambda: session.move(Move(key, 5, "val")),
    ]
    for send in lost:
        assert send() == send()
        with pytest.raises(ConflictError):
            session.undo(OfMap(key, 0, request="d"))
    labels.ravel()[:9] = TABLE
    present = rooms.get([key])[0]
    assert (present.edits.revision, present.text, present.split) == (6, "a room", "val")
    assert np.array_equal(present.labels, labels)

    session.relabel(Relabel(key, 6, (Painted(WALL, (0, 9)),), request="e"))
    for send in (lost[2], lost[3], lambda: session.relabel(Relabel(key, 6, (Painted(WALL, (0, 9)),)))):
        with pytest.raises(ConflictError):
            send()


def test_a_map_is_read_once(session: Session, rooms: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a triple that was got ready, or that is edited at once, the map is decoded once for all edits."""
    ready, edited = (triple.key for triple in rooms[:2])
    read: list[bytes] = []

    def labels_of(data: bytes, palette: Palette) -> Labels:
        read.append(data)
        return original(data, palette)

    original = histories.labels_of
    monkeypatch.setattr(histories, "labels_of", labels_of)
    monkeypatch.setattr(replay, "_kept", OrderedDict())
    session.prepare(Prepare(ready))
    assert len(read) == 1
    for key in (ready, edited):
        for revision in range(2):
            session.relabel(Relabel(key, revision, (Painted(TABLE, (9 * revision, 9)),)))

    assert len(read) == 2


def test_decisions_are_counted(session: Session, rooms: Dataset) -> None:
    """Progress follows each decision; a triple that was left out stays in the queue and can be opened again."""
    key = rooms[0].key
    session.items("", "doubt", 0, 1, False)

    session.decide(Decide(key, 0, "rejected"))
    assert session.items("", "doubt", 0, 1, False)["counts"] == {"open": 5, "rejected": 1}
    assert len(rooms) == 5
    session.decide(Decide(key, 1, "open"))
    assert session.items("", "doubt", 0, 1, False)["counts"]["open"] == 6


def test_a_split_is_moved(session: Session, rooms: Dataset) -> None:
    """The response names the triples that moved."""
    key = rooms[0].key

    assert session.move(Move(key, 0, "val"))["moved"] == [key]
    assert session.details(key)["split"] == "val"


def test_a_class_is_changed_in_many_maps(session: Session, rooms: Dataset) -> None:
    """The classes of the selection are counted, one is replaced, and one undo restores all maps."""
    keys = tuple(triple.key for triple in rooms)
    before = {triple.key: triple.labels for triple in rooms}
    change = BulkRelabel(keys, WALL, TABLE)
    has_wall = [key for key in keys if (before[key] == WALL).any()]

    classes = session.classes_of(Selection(keys))["classes"]
    done = session.relabel_many(change)

    assert 0 < len(has_wall) < len(keys)
    numbers = [number for _, number, _ in classes]
    assert numbers == sorted(numbers, reverse=True)
    assert {label: number for label, number, _ in classes}[WALL] == len(has_wall)
    assert {label for label, *_ in classes} == {label for labels in before.values() for label in np.unique(labels)}
    assert set(done["changed"]) == set(has_wall)
    for triple in rooms.get(keys):
        assert np.array_equal(triple.labels, np.where(before[triple.key] == WALL, TABLE, before[triple.key]))
    session.undo_bulk(BulkUndo(done["token"]))
    assert all(np.array_equal(triple.labels, before[triple.key]) for triple in rooms.get(keys))


def test_many_decisions_leave_changed_triples_alone(session: Session, rooms: Dataset) -> None:
    """A triple that changed since the page showed it is not accepted unseen."""
    keys = [triple.key for triple in rooms][:3]
    session.set_prompt(SetPrompt(keys[1], 0, "changed"))

    result = session.decide_many(BulkDecide(tuple(OfTriple(key, 0) for key in keys), "accepted"))

    assert (result["changed"], result["conflicts"]) == ([keys[0], keys[2]], [keys[1]])
    assert [triple.review for triple in rooms.get(keys)] == ["accepted", "open", "accepted"]


def test_writers_wait_for_each_other(session: Session, rooms: Dataset) -> None:
    """Requests at the same time all succeed, although the dataset's lock refuses a second holder."""
    errors: list[Exception] = []

    def work(key: str) -> None:
        try:
            for revision in range(3):
                session.set_prompt(SetPrompt(key, revision, f"edit {revision}"))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(triple.key,)) for triple in rooms]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    assert {triple.text for triple in rooms} == {"edit 2"}


def test_an_unknown_key_is_no_triple(session: Session) -> None:
    """A key that no triple has, and a text that is no key, raise KeyError."""
    for key in ("0123456789abcdef", "../../etc/passwd"):
        with pytest.raises(KeyError):
            session.details(key)
    with pytest.raises(UsageError):
        messages.decode(SetPrompt, b"{}")
