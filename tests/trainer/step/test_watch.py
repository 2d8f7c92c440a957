"""A process that fails, dies or is silent ends the others, wherever they are."""

import re
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from torch.distributed import HashStore  # type: ignore[attr-defined]

from segkit.errors import StorageError, TrainingError
from trainer.step import watch

HOSTS = ["a", "b"]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signs of life come often, and patience is short."""
    for name, seconds in {"BEAT": 0.02, "NOTICE_AFTER": 0.1, "PATIENCE": 0.4, "GRACE": 0.2, "_OWN_END": 0.05}.items():
        monkeypatch.setattr(watch, name, seconds)


def train(store: Any, work: Callable[[], object], notices: list[str] | None = None, rank: int = 0) -> None:
    """Work as one of two processes; the other one is what the test puts into the store."""
    notes: list[str] = [] if notices is None else notices
    with watch.watched(store, rank, HOSTS, notes.append, notes.append):
        work()


def sleep() -> None:
    """Wait as Python code does, which an error can interrupt."""
    time.sleep(30)


@pytest.mark.usefixtures("quick")
def test_the_failure_of_another_interrupts_the_first() -> None:
    """A full disk of process 1 ends process 0 in the middle of its work, and is named there."""
    store = HashStore()
    store.set("failed/1", "cache: the disk is full")

    with pytest.raises(TrainingError, match=r"^Process 1 on b failed: cache: the disk is full$"):
        train(store, sleep)
    assert store.get("verdict").decode() == "Process 1 on b failed: cache: the disk is full"


@pytest.mark.usefixtures("quick")
def test_the_others_hear_it_from_the_first() -> None:
    """They look at process 0 only, so that looking at each other does not grow with the square of their number."""
    store = HashStore()
    store.set("verdict", "Process 2 on c failed: x")

    with pytest.raises(TrainingError, match=r"^Process 2 on c failed: x$"):
        train(store, sleep, rank=1)


@pytest.mark.usefixtures("quick")
def test_silence_is_noticed_and_ends_the_run() -> None:
    """First a notice; only then is the silent process given up."""
    notices: list[str] = []

    with pytest.raises(TrainingError, match=r"Process 1 on b has given no sign of life for \d+ seconds\. Look"):
        train(HashStore(), sleep, notices)
    assert len(notices) == 1
    assert re.match(r"Process 1 on b has given no sign of life for \d+ seconds\. The run ends if", notices[0])


def test_a_process_that_was_paused_looks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a pause of its own, all others seem silent: they get a notice, and the time to show that they are alive."""
    monkeypatch.setattr(watch, "BEAT", 0.01)
    monkeypatch.setattr(watch, "PATIENCE", 0.0)
    monkeypatch.setattr(watch, "NOTICE_AFTER", 0.0)
    store, noticed = HashStore(), threading.Event()
    store.set("alive/1", "1")

    def show(note: str) -> None:
        store.set("left/1", "")
        noticed.set()

    with watch.watched(store, 0, HOSTS, show, show):
        assert noticed.wait(30)


@pytest.mark.usefixtures("quick")
def test_a_process_that_cannot_be_interrupted_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that waits in a collective, out of Python's reach, says why and exits with the code of an error."""
    store, words, ended = HashStore(), list[str](), threading.Event()
    store.set("failed/1", "x")
    codes: list[int] = []

    def exited(code: int) -> None:
        codes.append(code)
        ended.set()

    monkeypatch.setattr("os._exit", exited)
    thread = threading.Thread(target=train, args=(store, lambda: ended.wait(30), words))  # signals do not reach it
    thread.start()
    thread.join(30)

    assert (codes, words) == ([2], ["Process 1 on b failed: x"])


@pytest.mark.parametrize(
    ("signs", "words"),
    [
        ({"failed/1": "the disk is full"}, "Process 1 on b failed: the disk is full"),
        ({"alive/1": "7"}, "Process 1 on b ended without a word. Look at its log and machine. Checkpoints are kept"),
        ({"left/1": ""}, "The processes cannot reach each other: .* Set GLOO_SOCKET_IFNAME"),
    ],
)
def test_a_broken_collective_is_explained(monkeypatch: pytest.MonkeyPatch, signs: dict[str, str], words: str) -> None:
    """Gloo knows an address at most; the store knows who failed, who is silent, and who fell victim too."""
    monkeypatch.setattr(watch, "BEAT", 0.1)
    store = HashStore()

    def fail() -> None:
        for key, text in signs.items():
            store.set(key, text)
        raise RuntimeError("[gloo/transport/tcp/pair.cc:553] Connection closed by peer [10.77.0.2]:17554")

    with pytest.raises(TrainingError, match=words):
        train(store, fail)
    assert store.check(["left/0"])
    assert store.check(["failed/0"]) == ("cannot reach" in words)  # otherwise another process is to blame


@pytest.mark.parametrize(
    ("error", "text"),
    [(StorageError("the disk is full"), "the disk is full"), (RuntimeError("CUDA error\nmore"), "RuntimeError('CUDA")],
)
def test_an_error_of_this_process_is_its_own_and_told(error: Exception, text: str) -> None:
    """It is raised as it is, and left in the store in one line."""
    store = HashStore()

    def fail() -> None:
        raise error

    with pytest.raises(type(error)) as raised:
        train(store, fail)
    assert raised.value is error
    assert store.get("failed/0").decode().startswith(text)


def test_a_run_that_ends_well_is_not_missed() -> None:
    """Who has left may be silent."""
    store = HashStore()
    train(store, lambda: None)

    assert store.check(["left/0"])
