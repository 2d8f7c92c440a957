"""Processes of several machines find each other, and refuse what does not fit, before PyTorch connects them.

PyTorch would wait for a missing process without a word, and train with processes that differ. Here each one leaves a
card in the store of torch.distributed; the first compares them, says whom it waits for, and tells all what it found.
"""

import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from torch import distributed

from segkit.errors import SegkitError, TrainingError, UsageError
from segkit.words import listed
from trainer.step import cards

NOTICE_AFTER = 20.0
"""Seconds until the first process says which others are missing."""

JOIN_PATIENCE = 600.0
"""Seconds to wait for all processes: a node may have to pull an image first."""

_ANNOUNCE_PATIENCE = 20.0
"""Seconds in which a process that failed before it came tries to tell the others."""

_NAP = 0.1
JOIN, _ANSWER, _ROUND = "join", "answer", "round"
_SAME = "All processes need the same run.toml, and the same versions on the same kind of device."

_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


class _Present:
    """The round that this process takes part in; 0 before the first one.

    A store may outlive the processes: torchrun starts them again beside the same one, and its counts of restarts differ
    between machines. So process 0 counts rounds in the store, and everything that is said in a round has its number.
    """

    round = 0


@dataclass(frozen=True)
class Rendezvous:
    """Where the processes of a run meet, as their launcher describes it.

    Attributes:
        rank: of this process.
        world_size: number of processes.
        address: host of the store, the machine of process 0.
        port: its port.
    """

    rank: int
    world_size: int
    address: str
    port: int

    @classmethod
    def from_environment(cls) -> "Rendezvous | None":
        """Return what the launcher's environment variables say; None for a single process.

        Raises:
            UsageError: only some of the variables are set.
        """
        if int(os.environ.get("WORLD_SIZE", "1")) <= 1:
            return None
        if missing := [name for name in _VARIABLES if name not in os.environ]:
            raise UsageError(
                f"WORLD_SIZE={os.environ['WORLD_SIZE']}, but not set: {', '.join(missing)}. Start the processes with "
                f"torchrun or accelerate launch, or set {', '.join(_VARIABLES)} for each; see docs/train-many.md."
            )
        rank, world_size, port = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "MASTER_PORT"))
        return cls(rank, world_size, os.environ["MASTER_ADDR"], port)

    def store(self, part: str, patience: float = JOIN_PATIENCE) -> Any:
        """Return a part of the store, which process 0 opens unless the launcher has.

        Raises:
            TrainingError: it cannot be reached.
        """
        is_host = self.rank == 0 and not _launcher_has_store()
        try:
            return connect(self.address, self.port, part, patience, is_host)
        except (RuntimeError, ValueError) as error:
            reason = "its port is in use" if is_host else "nobody answers"
            raise TrainingError(
                f"Process {self.rank} on {socket.gethostname()} cannot meet the others at {self.address}:{self.port} "
                f"({reason}). MASTER_ADDR and MASTER_PORT must be an address of the machine of process 0, and a free "
                "port that the other machines reach."
            ) from error


def connect(address: str, port: int, part: str, patience: float = 60.0, is_host: bool = False) -> Any:
    """Return a part of a store of torch.distributed over a connection of its own.

    Raises:
        RuntimeError: nobody answers, or the port is in use.
    """
    # Both classes are public, but defined where mypy does not look. A multi-tenant host is shared with PyTorch's
    # own store, which is opened later at the same port.
    store = distributed.TCPStore(  # type: ignore[attr-defined]
        address, port, is_master=is_host, timeout=timedelta(seconds=patience), wait_for_workers=False,
        multi_tenant=is_host,
    )  # fmt: skip
    return _part(store, f"segkit/{part}")


def _part(store: Any, name: object) -> Any:
    return distributed.PrefixStore(str(name), store)  # type: ignore[attr-defined]


def of_round(part: str) -> str:
    """Return the name of a part of the store for the present round; see `gather`."""
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")  # all that is known if the processes never gathered
    return f"round/{_Present.round}/{part}" if _Present.round else f"attempt/{attempt}/{part}"


@contextmanager
def announcing() -> Iterator[None]:
    """Let the others know of an error before this process has joined them, so that they do not wait for it."""
    try:
        yield
    except SegkitError as error:
        with suppress(SegkitError, RuntimeError):
            if place := Rendezvous.from_environment():
                _announce(place, str(error))
        raise


def _announce(place: Rendezvous, text: str) -> None:
    if place.rank:
        store = place.store(JOIN, patience=_ANNOUNCE_PATIENCE)
        _part(store, _open_round(store, time.monotonic() + _ANNOUNCE_PATIENCE)).set(f"failed/{place.rank}", text)
    elif _launcher_has_store():  # otherwise the store would end with this process
        store = place.store(JOIN)
        _part(store, store.add(_ROUND, 1)).set(_ANSWER, json.dumps({"error": f"Process 0 failed: {text}"}))


def _open_round(store: Any, deadline: float) -> int:
    """Wait for a round that has not begun, and return its number."""
    while time.monotonic() < deadline:
        number = int(store.add(_ROUND, 0))
        if number and not _part(store, number).check([_ANSWER]):
            return number
        time.sleep(_NAP)
    raise TrainingError(
        "Process 0 has not come, or has begun without this process. Look at its log, and start all processes again."
    )


def _launcher_has_store() -> bool:
    return os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"


def gather(
    store: Any, rank: int, world_size: int, values: Mapping[str, str], notify: Callable[[str], None]
) -> list[str]:  # fmt: skip
    """Wait until all processes have come with equal values, and return the name of each one's host.

    Args:
        store: the part JOIN of the store.
        rank: of this process.
        world_size: number of processes.
        values: what must be the same in all; see `cards.card`.
        notify: called in process 0 with a sentence about those that are late.

    Raises:
        UsageError: a process differs, or its number is taken.
        TrainingError: a process failed before it came, did not come in time, or process 0 has ended or begun without
            this one.
    """
    try:
        if rank == 0:
            return _Host(store, world_size, values).welcome(notify)
        return _join_as_guest(store, rank, values)
    except RuntimeError as error:  # of the store; errors of segkit are no RuntimeErrors
        raise TrainingError(f"The connection to process 0 was lost ({error}): it has ended.") from None


def _join_as_guest(store: Any, rank: int, values: Mapping[str, str]) -> list[str]:
    """Leave a card in the newest round, until process 0 answers in it."""
    deadline, number = time.monotonic() + JOIN_PATIENCE + NOTICE_AFTER, 0
    while number == 0 or not _part(store, number).check([_ANSWER]):
        if number != int(store.add(_ROUND, 0)):  # process 0 came, or was started again
            number = _open_round(store, deadline)
            _leave_card(_part(store, number), rank, values)
        if time.monotonic() > deadline:
            raise TrainingError("Process 0 does not answer. Look at its log, and start all processes again.")
        time.sleep(_NAP)
    _Present.round = number
    answer = json.loads(_part(store, number).get(_ANSWER))
    if "error" in answer:
        raise TrainingError(answer["error"])
    hosts: list[str] = answer["hosts"]
    return hosts


def _leave_card(part: Any, rank: int, values: Mapping[str, str]) -> None:
    host, place = socket.gethostname(), f"card/{rank}"
    if part.check([place]):
        other = json.loads(part.get(place))["host"]
        if other != host:  # on the same host, it was started again while the others waited
            text = f"RANK={rank} is used twice, on {other} and on {host}. Each process needs its own number."
            part.set(f"failed/{rank}", text)
            raise UsageError(text)
    part.set(place, json.dumps({"host": host, "values": values}))


class _Host:
    """Process 0, which compares the cards as they come, and answers all at once."""

    def __init__(self, store: Any, world_size: int, values: Mapping[str, str]) -> None:
        self._rounds, self._world_size = store, world_size
        self._round = _Present.round = int(store.add(_ROUND, 1))
        self._store = _part(store, self._round)
        self._cards: dict[int, dict[str, Any]] = {}
        _leave_card(self._store, 0, values)
        self._began = time.monotonic()

    def welcome(self, notify: Callable[[str], None]) -> list[str]:
        """Return the hosts of all processes."""
        try:
            self._wait(notify)
        except SegkitError as error:
            self._store.set(_ANSWER, json.dumps({"error": str(error)}))
            time.sleep(5 * _NAP)  # the store may end with this process, and the others look every _NAP seconds
            raise
        hosts = [self._cards[rank]["host"] for rank in range(self._world_size)]
        self._store.set(_ANSWER, json.dumps({"hosts": hosts}))
        return hosts

    def _wait(self, notify: Callable[[str], None]) -> None:
        notified = False
        while True:
            self._require_newest()
            for rank in range(self._world_size):
                self._look_for(rank)
            if len(self._cards) == self._world_size:
                return
            waited = time.monotonic() - self._began
            if waited > NOTICE_AFTER and not notified:
                notified = True
                notify(f"{self._absence(waited)} Waiting up to {JOIN_PATIENCE / 60:.0f} minutes.")
            elif waited > JOIN_PATIENCE:  # never before a notice: a paused process looks again first
                raise TrainingError(f"{self._absence(waited)} Look at their logs, and start all processes again.")
            time.sleep(_NAP)

    def _require_newest(self) -> None:
        """Refuse a second process 0, which has begun another round."""
        if (newest := int(self._rounds.add(_ROUND, 0))) != self._round:
            text = f"RANK=0 is used twice; one is on {socket.gethostname()}. Each process needs its own number."
            _part(self._rounds, newest).set("failed/0", text)
            raise UsageError(text)

    def _look_for(self, rank: int) -> None:
        """Read a process's card, if it has come, and compare it with that of process 0."""
        if self._store.check([f"failed/{rank}"]):
            raise TrainingError(f"Process {rank} failed: {self._store.get(f'failed/{rank}').decode()}")
        if rank not in self._cards and self._store.check([f"card/{rank}"]):
            self._cards[rank] = json.loads(self._store.get(f"card/{rank}"))
            cards.require_equal({number: self._cards[number] for number in (0, rank)}, _SAME)

    def _absence(self, waited: float) -> str:
        missing = [str(rank) for rank in range(self._world_size) if rank not in self._cards]
        return (
            f"{len(self._cards)} of {self._world_size} processes have come after {waited:.0f} seconds; missing: "
            f"{listed(missing)}."
        )
