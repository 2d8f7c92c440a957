"""Two machines train what one does, survive the loss of one, and never wait for a process that cannot come.

The machines are network namespaces of this one: see `machines`. Each trains as one process, without a launcher.
"""

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from tests.trainer import machines
from tests.trainer.conftest import base_folder
from tests.trainer.machines import Machine
from tests.trainer.runs import log, log_lines, same, toml, weights_of

pytestmark = pytest.mark.slow

STEPS = 4
LIMIT = 60.0
"""Seconds in which a refusal must end both processes."""


@dataclass(frozen=True)
class End:
    """How two processes ended: exit codes (-N after signal N, None if one had to be killed) and their output."""

    codes: list[int | None]
    logs: list[str]

    def line(self, words: str) -> str:
        """Return the only line of the first process that has these words; C++ writes there too."""
        (line,) = [line for line in self.logs[0].splitlines() if words in line]
        return line


@dataclass
class Pair:
    """Two machines, and what the trainings on them have in common.

    Attributes:
        first, second: the machines.
        folder: for everything that is written.
        rooms, base: what is trained on.
    """

    first: Machine
    second: Machine
    folder: Path
    rooms: Path
    base: Path
    _names: Iterator[int] = field(default_factory=lambda: iter(range(1000)))

    def job(self, run: Path, **changed: Any) -> Path:
        """Write a run.toml."""
        path = self.folder / f"{next(self._names)}.toml"
        path.write_text(tomli_w.dumps(toml(self.rooms, self.base, run, batch_size=1, steps=STEPS, **changed)))
        return path

    def train(
        self, job: Path, other: Path | None = None, during: Callable[[list[int]], None] | None = None,
        mounts: Sequence[Sequence[str]] = (), limit: float = 10 * LIMIT, **variables: object,
    ) -> End:  # fmt: skip
        """Train on both machines.

        Args:
            job: the run.toml.
            other: that of the second machine.
            during: called with the ids of both processes.
            mounts: what the second machine sees in other places.
            limit: seconds until a process that is still running is killed.
            variables: environment variables of the second machine.
        """
        logs = [self.folder / f"{rank}.log" for rank in (0, 1)]
        pids = [
            self.first.trainer(job, logs[0], self.first),
            self.second.trainer(other or job, logs[1], self.first, mounts, **variables),
        ]
        if during:
            during(pids)
        deadline = time.monotonic() + limit
        return End([_ended(pid, deadline) for pid in pids], [path.read_text() for path in logs])


def _ended(pid: int, deadline: float) -> int | None:
    """Wait for a process; return its exit code, or None if it had to be killed."""
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            return None
        time.sleep(0.05)


@pytest.fixture(scope="module")
def pair(rooms: Path, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two machines with one dataset and one base; PyTorch is imported once for all processes."""
    if reason := machines.unavailable():
        pytest.skip(reason)
    from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel  # noqa: F401
    from transformers import CLIPTextModel, CLIPTokenizer  # noqa: F401

    from trainer import loop  # noqa: F401

    folder = tmp_path_factory.mktemp("machines")
    copy = shutil.copytree(rooms, folder / "rooms", ignore=shutil.ignore_patterns("cache"))
    with machines.pair() as (first, second):
        yield Pair(first, second, folder, copy, base)


@pytest.fixture(scope="module")
def whole(pair: Pair) -> Path:
    """An undisturbed run on both machines, with their latents on a disk that both see."""
    run = pair.folder / "whole"
    done = pair.train(pair.job(run))
    assert done.codes == [0, 0], done.logs
    return run


def test_a_late_process_is_noticed_and_waited_for(pair: Pair, whole: Path) -> None:
    """Twenty seconds after it started, the first says who is missing; the run equals one that began together."""
    run = pair.folder / "late"
    job = pair.job(run)
    logs = [pair.folder / f"late-{rank}.log" for rank in (0, 1)]
    first = pair.first.trainer(job, logs[0], pair.first)
    time.sleep(25)
    second = pair.second.trainer(job, logs[1], pair.first)

    deadline = time.monotonic() + 10 * LIMIT
    assert [_ended(pid, deadline) for pid in (first, second)] == [0, 0]
    assert re.search(r"1 of 2 processes have come after 2\d seconds; missing: 1\.", logs[0].read_text())
    assert log(run) == log(whole)


def test_one_of_two_is_killed_and_all_are_started_again(pair: Pair, whole: Path) -> None:
    """The other one ends too, and says so within a minute; started again, losses and weights are bit-equal."""
    run = pair.folder / "killed"
    job, killed_at = pair.job(run, checkpoint_every=1), list[float]()

    def kill(pids: list[int]) -> None:
        while not (run / "log.jsonl").is_file() or len(log_lines(run)) < 2:
            time.sleep(0.01)
        os.kill(pids[1], 9)
        killed_at.append(time.monotonic())

    lost = pair.train(job, during=kill)
    seconds = time.monotonic() - killed_at[0]
    again = pair.train(job)

    assert lost.codes == [2, -9]
    assert "Process 1 on node-1" in lost.logs[0].splitlines()[-1]
    assert seconds < 180
    assert again.codes == [0, 0]
    assert "resumed at step" in again.logs[0]
    assert log(run) == log(whole)
    assert same(weights_of(run), weights_of(whole))


def test_machines_without_a_common_disk_each_fill_a_cache(pair: Pair, whole: Path) -> None:
    """The second machine's cache folder is a disk of its own; losses and weights stay the same to the last bit."""
    run, cache = pair.folder / "own-cache", pair.folder / "cache"
    cache.mkdir()
    done = pair.train(pair.job(run, cache_dir=str(cache)), mounts=[_disk(cache, "10m")])

    assert done.codes == [0, 0], done.logs
    assert log(run) == log(whole)
    assert same(weights_of(run), weights_of(whole))


@pytest.mark.parametrize(
    ("size", "words"),
    [("8k", "The cache takes"), ("164k", "No space left on device")],
    ids=["before", "while it is filled"],
)
def test_a_full_disk_of_the_second_is_named_by_the_first(pair: Pair, tmp_path: Path, size: str, words: str) -> None:
    """Whether it is full at the start, or becomes full while the cache is filled."""
    done = pair.train(pair.job(tmp_path / "run", cache_dir=str(tmp_path)), mounts=[_disk(tmp_path, size)], limit=LIMIT)

    assert done.codes == [2, 2], done.logs
    assert re.match("Process 1 (on node-1 )?failed: ", done.line(words))


def _disk(folder: Path, size: str) -> list[str]:
    return ["-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]


def test_processes_that_differ_are_refused(pair: Pair, tmp_path: Path) -> None:
    """Other settings, another number of processes, a file that is missing, a number that is used twice."""
    run = tmp_path / "run"
    job = pair.job(run)

    refusals: list[tuple[Path, dict[str, Any], str]] = [
        (pair.job(run, seed=1), {}, "Process 1 on node-1 differs from process 0 on node-0: seed 1 instead of 0."),
        (job, {"WORLD_SIZE": 3}, "number of processes 3 instead of 2."),
        (tmp_path / "none.toml", {}, "Process 1 failed: "),
        (job, {"RANK": 0}, "RANK=0 is used twice; one is on node-0."),
    ]
    for other, variables, words in refusals:
        done = pair.train(job, other, limit=LIMIT, **variables)
        assert done.codes == [2, 2], done.logs
        assert done.line(words)


def test_other_weights_are_refused(pair: Pair, tmp_path: Path, models: Any) -> None:
    """The second machine has another base in the same place."""
    other = base_folder(tmp_path / "other", models.clip, layers=1, seed=1)
    mounts = [["--bind", str(other), str(pair.base)]]

    done = pair.train(pair.job(tmp_path / "run"), mounts=mounts, limit=LIMIT)

    assert done.codes == [2, 2], done.logs
    assert "must lead to the same weights" in done.line("differs from process 0 on node-0: the base's UNet")


def test_a_run_that_one_machine_does_not_see_is_not_resumed(pair: Pair, whole: Path, tmp_path: Path) -> None:
    """The second machine has an empty folder in its place, from which it could not restore the optimizer."""
    done = pair.train(pair.job(whole), mounts=[["--bind", str(tmp_path), str(whole)]], limit=LIMIT)

    assert done.codes == [2, 2], done.logs
    assert done.line("sha256.json missing at ")


def test_an_interface_that_the_other_cannot_reach_is_named(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What happens where a machine's name leads to its loopback."""
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")

    done = pair.train(pair.job(tmp_path / "run"), limit=2 * LIMIT)

    assert done.codes == [2, 2], done.logs
    assert any("Set GLOO_SOCKET_IFNAME" in line for line in done.logs[0].splitlines())
