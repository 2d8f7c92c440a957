"""Signs of life and failures of all processes of a run, so that none waits for one that has ended.

A thread of each process shows that it is alive. That of process 0 looks at all others, and those of the others at
process 0, which passes on what it has seen. A process that waits in a collective cannot be reached: if it does not
end by itself, it is ended, with the reason as its last line. Checkpoints and caches are safe from that; see
segkit.storage.
"""

import itertools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from torch import distributed

from segkit.errors import SegkitError, TrainingError
from segkit.words import listed

BEAT = 5.0
"""Seconds between two signs of life, and between two looks at those of others."""

NOTICE_AFTER = 30.0
"""Seconds without a sign of life after which a notice says so."""

PATIENCE = 120.0
"""Seconds without a sign of life after which a process counts as lost: a paused machine may recover."""

GRACE = 15.0
"""Seconds in which a process may end by itself after another was lost."""

_OWN_END = 2.0
"""Seconds in which a process ends that has met the same error as another."""

_SIGNAL = signal.SIGURG
"""Interrupts the main thread; nothing else sends it, and a process without our handler ignores it."""

_VERDICT = "verdict"
"""Key in the store of why process 0 ends the run."""

_ADVICE = "Look at its log and machine. Checkpoints are kept: start all processes again to resume."

_INTERFACE = "Set GLOO_SOCKET_IFNAME (on GPUs NCCL_SOCKET_IFNAME) to the network interface that the machines share."


def reason(error: BaseException) -> str:
    """Return an error in one line."""
    text = str(error) if isinstance(error, SegkitError) else repr(error)
    return text.partition("\n")[0]


@contextmanager
def watched(
    store: Any, rank: int, hosts: Sequence[str], notify: Callable[[str], None], last_words: Callable[[str], None]
) -> Iterator[None]:  # fmt: skip
    """Train while all processes are watched; every process must enter.

    Args:
        store: a part of a store of torch.distributed that nothing else uses, over a connection of its own.
        rank: of this process.
        hosts: names of all processes' machines.
        notify: called in process 0, in a thread, with a sentence about a process that is silent.
        last_words: called in a thread with the reason before this process ends because it does not stop waiting.

    Raises:
        TrainingError: another process failed or was lost.
    """
    watch = _Watch(store, rank, hosts, notify)
    thread = threading.Thread(target=watch.run, args=(last_words,), daemon=True)
    with watch.interrupting():
        thread.start()
        try:
            yield
            watch.say("left")
        except RuntimeError as error:
            if not _is_of_connection(error):
                watch.say("failed", reason(error))
                raise
            raise watch.explain(error) from None
        except BaseException as error:
            watch.say("failed", reason(error))
            raise
        finally:
            watch.over.set()
            thread.join()


def _is_of_connection(error: RuntimeError) -> bool:
    """Return whether a collective failed because of another process; gloo has no class of errors for that."""
    return isinstance(error, distributed.DistError) or "gloo" in str(error).lower()


class _Watch:
    """What the processes of a run have said in the store."""

    def __init__(self, store: Any, rank: int, hosts: Sequence[str], notify: Callable[[str], None]) -> None:
        self._store, self._rank, self._hosts, self._notify = store, rank, hosts, notify
        others = range(1, len(hosts)) if rank == 0 else [0]
        self._last = dict.fromkeys(others, ("", time.monotonic()))  # rank to its last sign of life and when it came
        self._noticed: set[int] = set()
        self._error: TrainingError | None = None
        self._interrupts = threading.current_thread() is threading.main_thread()  # signals belong to it
        self.over = threading.Event()
        """Set when this process has ended its run."""

    def say(self, what: str, text: str = "") -> None:
        """Tell the others that this process is "alive", has "left" or has "failed"."""
        with suppress(RuntimeError):  # the store is gone, and with it whoever might read
            self._store.set(f"{what}/{self._rank}", text)

    def run(self, last_words: Callable[[str], None]) -> None:
        """Show and look for signs of life until the run is over, or another process has ended."""
        for number in itertools.count():
            self.say("alive", str(number))
            if error := self._look():
                self._end(error, last_words)
                return
            if self.over.wait(BEAT):
                return

    def _look(self) -> TrainingError | None:
        """Return why this process cannot continue; None if it can."""
        try:
            if self._rank and self._store.check([_VERDICT]):
                return TrainingError(self._store.get(_VERDICT).decode())
            for rank in self._last:
                if error := self._judge(rank):
                    return error
        except RuntimeError:
            return self._without_store()
        return None

    def _judge(self, rank: int) -> TrainingError | None:
        if self._store.check([f"failed/{rank}"]):
            return TrainingError(f"{self._name(rank)} failed: {self._store.get(f'failed/{rank}').decode()}")
        if self._store.check([f"left/{rank}"]):
            return None
        sign, (before, when) = self._sign(rank), self._last[rank]
        silence = time.monotonic() - when
        if sign != before:
            self._last[rank] = sign, time.monotonic()
            self._noticed.discard(rank)
        elif rank in self._noticed and silence > PATIENCE:
            return TrainingError(f"{self._name(rank)} has given no sign of life for {silence:.0f} seconds. {_ADVICE}")
        elif silence > NOTICE_AFTER and rank not in self._noticed:  # first, even if this process was paused for long
            self._noticed.add(rank)
            self._notify(
                f"{self._name(rank)} has given no sign of life for {silence:.0f} seconds. The run ends if that lasts "
                f"{PATIENCE / 60:.0f} minutes."
            )
        return None

    def _name(self, rank: int) -> str:
        return f"Process {rank} on {self._hosts[rank]}"

    def _sign(self, rank: int) -> str:
        return self._store.get(f"alive/{rank}").decode() if self._store.check([f"alive/{rank}"]) else ""

    def _without_store(self) -> TrainingError:
        """Return the error that the store is gone: the launcher or process 0 has ended."""
        return TrainingError(f"The connection to process 0 on {self._hosts[0]} was lost. {_ADVICE}")

    def _end(self, error: TrainingError, last_words: Callable[[str], None]) -> None:
        """Interrupt the main thread, or end this process if that waits in a collective."""
        if self.over.wait(_OWN_END):
            return
        if self._rank == 0:
            with suppress(RuntimeError):
                self._store.set(_VERDICT, str(error))
        self._error = error
        if self._interrupts:
            signal.pthread_kill(threading.main_thread().ident or 0, _SIGNAL)
        if not self.over.wait(GRACE):
            last_words(str(error))
            os._exit(error.exit_code)

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        """Let an error that the thread has found be raised in the main thread."""
        if not self._interrupts:
            yield
            return

        def receive(number: int, frame: object) -> None:
            if self._error and not self.over.is_set():
                raise self._error

        previous = signal.signal(_SIGNAL, receive)
        try:
            yield
        finally:
            signal.signal(_SIGNAL, previous)

    def explain(self, error: RuntimeError) -> TrainingError:
        """Return which process is to blame for a collective that failed; wait until one shows no sign of life."""
        self.say("left")  # this one is not to blame
        others = [rank for rank in range(len(self._hosts)) if rank != self._rank]
        try:
            signs = {rank: self._sign(rank) for rank in others}
            deadline = time.monotonic() + 2.5 * BEAT
            while time.monotonic() < deadline:
                for rank in others:
                    if self._store.check([f"failed/{rank}"]):
                        text = self._store.get(f"failed/{rank}").decode()
                        return TrainingError(f"{self._name(rank)} failed: {text}")
                time.sleep(0.1)
            silent = [
                self._name(rank)
                for rank in others
                if self._sign(rank) == signs[rank] and not self._store.check([f"left/{rank}"])
            ]
        except RuntimeError:
            return self._without_store()
        if not silent:  # the others may still try to connect
            text = f"The processes cannot reach each other: {reason(error)}. {_INTERFACE}"
            self.say("failed", text)
            return TrainingError(text)
        return TrainingError(f"{listed(silent)} ended without a word. {_ADVICE}")
