"""Drawing and judging of an evaluation in workers on a Ray cluster, which all write into its folder."""

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from segkit.build.engines.crew import CrewSettings, gathered
from segkit.build.engines.isolation import STRIKES
from segkit.build.engines.pool import Kind
from segkit.build.engines.worker import Member
from segkit.build.settings import EngineSettings
from segkit.errors import EngineError
from segkit.progress import NOTICE, Progress
from trainer.evaluate.settings import EvaluateSettings
from trainer.evaluate.workers import Worker


@dataclass(frozen=True)
class Done:
    """What a worker says when its share is drawn and judged.

    Attributes:
        judge: identity of its judge; see judging.Judge.
        notes: what a person should know about the drawing, as sentences.
    """

    judge: dict[str, str]
    notes: tuple[str, ...]


Work = Callable[[EvaluateSettings, Worker], Done]
"""Draws and judges the share of one of several workers."""


class Artist(Member):
    """Draws and judges in a process of its own. See segkit.build.engines.worker.Member."""

    def work(self, shares: Sequence[Worker]) -> list[Done]:
        """Do the work of some shares."""
        with self._working:
            work = self._load(self._settings)
            return [work(share) for share in shares]


def _crashed(share: Worker) -> Done:
    raise EngineError(
        f"{STRIKES} workers in a row died of share {share.rank + 1} of {share.count}. Finished pictures are kept. "
        "Check the memory of the cluster's nodes, and run the same command again, or use engine=inline."
    )


def spread(
    settings: EvaluateSettings, engine: EngineSettings, work: Work, seen: Path, progress: Progress
) -> dict[str, str]:
    """Have workers draw and judge everything, each a share of the maps.

    One that dies is replaced, and the new one draws what is missing in the share.

    Args:
        settings: of the evaluation.
        engine: the cluster.
        work: does one share, in a worker.
        seen: a file in the evaluation's folder, for which workers look.
        progress: called with ("shares", done, total), and with notices.

    Returns:
        The identity of the judge.

    Raises:
        EngineError: Ray is missing, its cluster fails, or workers do not see the folder or differ.
    """

    def unseen(shares: Sequence[Worker]) -> Sequence[Worker]:
        raise EngineError(
            f"A worker does not see {seen.parent}. An evaluation's folder and its dataset must be at the same path on "
            "every node of the Ray cluster, such as a shared file system; or use engine=inline."
        )

    crew_settings = CrewSettings(**asdict(engine), device=settings.device, precision=settings.precision)
    with gathered(Artist, crew_settings, partial(_on, work, settings, str(Path.cwd())), [seen]) as crew:
        kind: Kind[Worker, Done] = Kind(
            send=lambda worker, shares: worker.work.remote(shares),
            fill=unseen,
            crashed=_crashed,
            is_unseen=lambda done: False,
        )
        shares = [Worker(rank, crew.size) for rank in range(crew.size)]
        every: list[Done] = []
        for _, results in crew.pool.run(((share, [share]) for share in shares), kind):
            every += results
            progress("shares", len(every), len(shares))
        for note in dict.fromkeys(note for done in every for note in (*done.notes, *crew.notes)):
            progress(NOTICE, 0, 0, note)
        return _judge(every)


def _on(work: Work, settings: EvaluateSettings, folder: str, crew: CrewSettings) -> Callable[[Worker], Done]:
    """Return the work as a worker does it: on its device, in the folder that relative paths begin in."""
    os.chdir(folder)  # the process belongs to the worker
    return partial(work, replace(settings, device=crew.device))


def _judge(every: Sequence[Done]) -> dict[str, str]:
    first = every[0].judge
    if other := next((done.judge for done in every if done.judge != first), None):
        raise EngineError(
            f"The workers had different judges, {first} and {other}. All need the same weights, and GPUs of one kind "
            "or the same precision, such as fp32."
        )
    return first
