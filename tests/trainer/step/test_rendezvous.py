"""Processes that are late, missing or different are named before anything is trained."""

import json
import re
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from torch.distributed import HashStore  # type: ignore[attr-defined]

from segkit.errors import TrainingError, UsageError
from trainer.settings import TrainSettings
from trainer.step import cards, rendezvous
from trainer.step.rendezvous import Rendezvous

CARD = cards.card(TrainSettings(), 2, "cpu", "fp32")


@pytest.fixture
def notices(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collects notices about late processes, which come at once; one that is still missing then is given up soon."""
    monkeypatch.setattr(rendezvous, "NOTICE_AFTER", 0.05)
    monkeypatch.setattr(rendezvous, "JOIN_PATIENCE", 0.5)
    monkeypatch.setattr(rendezvous, "_NAP", 0.01)
    return []


def together(store: Any, *cards: dict[str, str]) -> list[list[str] | BaseException]:
    """Gather processes with these cards, each in a thread of its own; return what each one got or raised."""

    def come(rank: int) -> list[str] | BaseException:
        try:
            return rendezvous.gather(store, rank, len(cards), cards[rank], lambda note: None)
        except (TrainingError, UsageError) as error:
            return error

    with ThreadPoolExecutor(len(cards)) as pool:
        return list(pool.map(come, range(len(cards))))


def test_equal_processes_learn_their_hosts() -> None:
    """Everybody gets the names of all machines."""
    assert together(HashStore(), CARD, CARD) == [[socket.gethostname()] * 2] * 2


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (cards.card(TrainSettings(learning_rate=1e-4), 2, "cpu", "fp32"), "learning_rate 0.0001 instead of 1e-05"),
        (cards.card(TrainSettings(), 3, "cpu", "fp32"), "number of processes 3 instead of 2"),
        (
            cards.card(TrainSettings(), 2, "cuda", "bf16"),
            "precision bf16 instead of fp32, device cuda instead of cpu",
        ),
        (CARD | {"torch": "1.13.1"}, f"torch 1.13.1 instead of {CARD['torch']}"),
    ],
)
def test_a_process_that_differs_is_refused(other: dict[str, str], words: str) -> None:
    """Other settings, another number of processes, device or version: all end, and hear in what the second differs."""
    first, second = together(HashStore(), CARD, other)

    assert isinstance(first, UsageError)
    assert f"Process 1 on {socket.gethostname()} differs from process 0" in str(first)
    assert words in str(first)
    assert str(second) == str(first)


def test_the_device_may_differ() -> None:
    """Each process has its own."""
    assert cards.card(TrainSettings(device="cuda:1"), 2, "cpu", "fp32") == CARD


def test_one_that_is_late_is_noticed_and_waited_for(notices: list[str]) -> None:
    """The first process says which others are missing, and continues when they come."""
    store = HashStore()

    def come_late(note: str) -> None:
        notices.append(note)
        store.set("1/card/1", json.dumps({"host": "b", "values": CARD}))

    assert rendezvous.gather(store, 0, 2, CARD, come_late) == [socket.gethostname(), "b"]
    assert len(notices) == 1
    assert re.match(r"1 of 2 processes have come after \d+ seconds; missing: 1\.", notices[0])


def test_one_that_never_comes_ends_the_wait(notices: list[str]) -> None:
    """The others do not wait for ever."""
    with pytest.raises(TrainingError, match=r"1 of 3 processes have come after .* missing: 1, 2\. Look at their logs"):
        rendezvous.gather(HashStore(), 0, 3, CARD, notices.append)
    assert notices


def test_a_number_that_is_used_twice_is_refused(notices: list[str]) -> None:
    """A process on another machine has it, and the first one says so."""
    store = HashStore()
    elsewhere = json.dumps({"host": "elsewhere", "values": CARD})

    def come_second(note: str) -> None:
        with pytest.raises(UsageError, match="RANK=1 is used twice, on elsewhere and on"):
            rendezvous.gather(store, 1, 3, CARD, lambda note: None)

    store.set("1/card/1", elsewhere)
    with pytest.raises(TrainingError, match="Process 1 failed: RANK=1 is used twice, on elsewhere and on"):
        rendezvous.gather(store, 0, 3, CARD, come_second)
    assert not notices


def test_two_first_processes_are_refused(notices: list[str]) -> None:
    """The one that came first learns of the other, and tells it."""
    store = HashStore()

    def come_second(note: str) -> None:
        with pytest.raises(TrainingError, match="1 of 2 processes have come"):
            rendezvous.gather(store, 0, 2, CARD, notices.append)

    with pytest.raises(UsageError, match="RANK=0 is used twice; one is on"):
        rendezvous.gather(store, 0, 2, CARD, come_second)
    assert store.get("2/failed/0").decode().startswith("RANK=0 is used twice")


def test_processes_that_are_started_again_begin_another_round() -> None:
    """The store may be that of a launcher, which has outlived a first round; both machines are in the second then."""
    store = HashStore()

    assert together(store, CARD, CARD) == [[socket.gethostname()] * 2] * 2
    assert together(store, CARD, CARD) == [[socket.gethostname()] * 2] * 2
    assert rendezvous.of_round("watch") == "round/2/watch"


def test_one_that_is_started_again_alone_is_refused(notices: list[str]) -> None:
    """The others have begun: it waits for another round, but not for ever."""
    store = HashStore()
    together(store, CARD, CARD)

    with pytest.raises(TrainingError, match="has begun without this process"):
        rendezvous.gather(store, 1, 2, CARD, notices.append)


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Rendezvous]:
    """Returns where the processes of two meet, after setting a launcher's variables for one of them."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]

    def become(rank: int) -> Rendezvous:
        variables = {"RANK": rank, "WORLD_SIZE": 2, "LOCAL_RANK": 0, "MASTER_ADDR": "localhost", "MASTER_PORT": port}
        for name, value in variables.items():
            monkeypatch.setenv(name, str(value))
        result = Rendezvous.from_environment()
        assert result is not None
        return result

    return become


def test_an_error_before_the_start_is_announced(place: Callable[[int], Rendezvous], notices: list[str]) -> None:
    """If one process cannot read its run.toml, the first does not wait for it, and says why."""
    store = place(0).store(rendezvous.JOIN)
    place(1)

    def fail(note: str) -> None:
        with pytest.raises(UsageError, match="does not exist"), rendezvous.announcing():
            raise UsageError("run.toml does not exist.")

    assert not notices
    with pytest.raises(TrainingError, match=r"Process 1 failed: run.toml does not exist\."):
        rendezvous.gather(store, 0, 2, CARD, fail)


def test_a_port_that_is_in_use_is_named(place: Callable[[int], Rendezvous]) -> None:
    """The first process cannot open the store; the message says what MASTER_ADDR and MASTER_PORT must be."""
    first = place(0)
    with socket.socket() as other:
        other.bind(("", first.port))
        other.listen()
        with pytest.raises(TrainingError, match=rf"localhost:{first.port} \(its port is in use\). MASTER_ADDR and"):
            first.store(rendezvous.JOIN, patience=1)


def test_variables_that_are_missing_are_named(
    place: Callable[[int], Rendezvous], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A launcher that sets only some would let each process train for itself."""
    place(1)
    monkeypatch.delenv("LOCAL_RANK")

    with pytest.raises(UsageError, match=r"WORLD_SIZE=2, but not set: LOCAL_RANK\. Start the"):
        Rendezvous.from_environment()
