"""Processes that wait for each other's slow work outside of collectives.

A collective that one process enters late kills all of them: NCCL gives up after 10 minutes, gloo after 30. Work that
may take longer, such as a dataset's check or filling a cache, is therefore followed by a meeting: every process says in
the store of torch.distributed that it is done, and looks there until all others are. Meanwhile a working process shows
every few seconds that it is alive.
"""

import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

from segkit.errors import TrainingError
from trainer.step import rendezvous, watch

BEAT = 10.0
"""Seconds between two signs of life."""

PATIENCE = 300.0
"""Seconds without a sign of life after which a process counts as lost: a paused machine may recover."""

LONGEST_NAP = 0.5
"""Seconds between two looks at the store, after the first few."""

_ABSENT = 1800.0
"""Seconds to wait for the first sign of life of a process, which may be loading networks without giving any."""

_STOP = "stop"
"""Key in the store of a meeting that a process wants to stop."""

_numbers = itertools.count()
"""Numbers of the meetings of this process. All processes hold the same meetings in the same order."""


def _never() -> bool:
    return False


@contextmanager
def meeting(
    rank: int, world_size: int, wants_to_stop: Callable[[], bool] = _never
) -> Iterator[Callable[[], bool]]:  # fmt: skip
    """Work, then wait until all processes have ended theirs; every process must enter.

    Args:
        rank: of this process.
        world_size: number of processes.
        wants_to_stop: returns whether this process was asked to stop.

    Yields:
        A function that returns whether any process was asked to stop; without a store, whether this one was.

    Raises:
        TrainingError: another process failed or was lost.
    """
    number = next(_numbers)
    store = _store(number) if world_size > 1 else None
    with nullcontext(wants_to_stop) if store is None else meet(store, rank, world_size, wants_to_stop) as should_stop:
        yield should_stop


@contextmanager
def meet(
    store: Any, rank: int, world_size: int, wants_to_stop: Callable[[], bool] = _never
) -> Iterator[Callable[[], bool]]:  # fmt: skip
    """Hold one meeting; see `meeting`.

    Args:
        store: a store of torch.distributed that no other meeting uses.
        rank: of this process.
        world_size: number of processes.
        wants_to_stop: returns whether this process was asked to stop.
    """
    board = _Board(store, rank, world_size, wants_to_stop)
    try:
        with _signs_of_life(board):
            yield board.should_stop
    except BaseException as error:
        with suppress(RuntimeError):
            board.say("failed", watch.reason(error))
        raise
    try:
        board.say("done")
        board.wait()
    except RuntimeError as error:  # of the store; errors of segkit are no RuntimeErrors
        raise TrainingError(f"The connection to the other processes was lost ({error}): one has ended.") from None


def exchange(rank: int, world_size: int, text: str) -> list[str]:
    """Return the texts of all processes by their rank; every process must call this.

    Without a store, the others' texts are unknown, and this one is returned alone.

    Raises:
        TrainingError: another process failed or was lost.
    """
    store = _store(next(_numbers)) if world_size > 1 else None
    if store is None:
        return [text]
    with meet(store, rank, world_size):
        store.set(f"text/{rank}", text)
    return [store.get(f"text/{number}").decode() for number in range(world_size)]


def _store(number: int) -> Any | None:
    """Return a meeting's part of the store that the launcher or the first process offers; None if there is none."""
    if not {"MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys():
        return None  # another way to find each other, such as a shared file
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    return rendezvous.connect(address, port, rendezvous.of_round(f"meeting/{number}"))


@contextmanager
def _signs_of_life(board: "_Board") -> Iterator[None]:
    """Let a thread show that this process is alive."""
    over = threading.Event()

    def beat() -> None:
        for number in itertools.count():
            with suppress(RuntimeError):  # the main thread will notice that the store is gone
                board.say("alive", str(number))
            if over.wait(BEAT):
                return

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class _Board:
    """What the processes of one meeting have said in the store."""

    def __init__(self, store: Any, rank: int, world_size: int, wants_to_stop: Callable[[], bool]) -> None:
        self._store, self._rank, self._wants_to_stop = store, rank, wants_to_stop
        self._missing = set(range(world_size)) - {rank}
        now = time.monotonic()
        self._heard = dict.fromkeys(self._missing, ("", now))  # rank to the last sign of life and when it came

    def say(self, what: str, text: str = "") -> None:
        """Tell the others that this process is "alive", "done" or has "failed"."""
        self._store.set(f"{what}/{self._rank}", text)

    def should_stop(self) -> bool:
        """Return whether any process was asked to stop. If this one was, the others learn of it."""
        if self._wants_to_stop():
            with suppress(RuntimeError):  # `wait` will notice that the store is gone
                self._store.set(_STOP, "")
            return True
        with suppress(RuntimeError):
            return bool(self._store.check([_STOP]))
        return False

    def wait(self) -> None:
        """Return once all others have said that they are done.

        Raises:
            TrainingError: one of them failed, or none has heard of it for long.
        """
        nap, looked = 0.001, time.monotonic()
        while True:
            self._missing = {rank for rank in self._missing if not self._store.check([f"done/{rank}"])}
            if not self._missing:
                return
            if time.monotonic() - looked > BEAT or nap < LONGEST_NAP:
                self._require_alive()
                looked = time.monotonic()
            self.should_stop()  # the signal may arrive while this process waits for others that work
            time.sleep(nap)
            nap = min(2 * nap, LONGEST_NAP)

    def _require_alive(self) -> None:
        for rank in self._missing:
            if self._store.check([f"failed/{rank}"]):
                raise TrainingError(f"Process {rank} failed: {self._store.get(f'failed/{rank}').decode()}")
            sign = self._store.get(f"alive/{rank}").decode() if self._store.check([f"alive/{rank}"]) else ""
            before, when = self._heard[rank]
            if sign != before:
                self._heard[rank] = sign, time.monotonic()
            elif time.monotonic() - when > (PATIENCE if sign else _ABSENT):
                raise TrainingError(
                    f"Process {rank} has given no sign of life for {time.monotonic() - when:.0f} seconds. Look at its "
                    "log and machine, and run the same command again."
                )
