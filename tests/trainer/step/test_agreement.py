"""Processes whose weights or files differ are refused; see test_two_machines for disks of their own."""

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from torch import distributed

from segkit.errors import UsageError
from trainer.step import agreement, meeting

Processes = Callable[[Callable[[Any], object]], list[UsageError | None]]


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Processes]:
    """A function that calls another as two processes, here threads, which meet once; and how each one ended."""
    server = distributed.TCPStore("localhost", 0, is_master=True, wait_for_workers=False)  # type: ignore[attr-defined]
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    monkeypatch.setenv("MASTER_PORT", str(server.port))
    monkeypatch.setattr(meeting, "_numbers", itertools.repeat(0))  # threads of one process hold the same meeting

    def call_as_both(function: Callable[[Any], object]) -> list[UsageError | None]:
        def call(rank: int) -> UsageError | None:
            try:
                function(SimpleNamespace(process_index=rank, num_processes=2))
            except UsageError as error:
                return error
            return None

        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(call, range(2)))

    yield call_as_both
    del server  # until now the store was open


@pytest.mark.parametrize("digests", [("1a2b", "1a2b"), ("1a2b", "3c4d")])
def test_other_weights_are_refused(processes: Processes, digests: tuple[str, str]) -> None:
    """Both processes say whose weights differ, and what to do."""
    ends = processes(
        lambda process: agreement.require_same(process, lambda: {"the VAE": digests[process.process_index]}, "Cure.")
    )

    if len(set(digests)) == 1:
        assert ends == [None, None]
        return
    for end in ends:
        assert str(end).startswith("Process 1 on ")
        assert str(end).endswith(": the VAE 3c4d instead of 1a2b. Cure.")


def test_a_run_folder_that_one_machine_does_not_see_is_refused(processes: Processes, tmp_path: Path) -> None:
    """The second process has another disk in its place."""
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "run.json").write_text("{}")

    ends = processes(
        lambda process: agreement.require_shared(process, tmp_path / str(process.process_index) / "run.json")
    )

    assert "run.json missing at " in str(ends[0])
    assert str(ends[0]).endswith("Put the run folder on a disk that all machines share, or copy it to each.")
    assert str(ends[1]) == str(ends[0])


def test_one_process_has_nothing_to_compare(tmp_path: Path) -> None:
    """It does not even hash its weights, and needs no marks on the disk."""
    alone: Any = SimpleNamespace(process_index=0, num_processes=1)

    agreement.require_same(alone, lambda: pytest.fail("called"), "Cure.")
    assert agreement.sharers(alone, tmp_path / "cache") == [0]
    assert not (tmp_path / "cache").exists()
