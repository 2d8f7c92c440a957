"""The files of a dataset checked by workers on a Ray cluster, which must see them: nothing but findings is sent."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import cached_property, partial

from segkit.build.engines.crew import CrewSettings, gathered
from segkit.build.engines.isolation import STRIKES
from segkit.build.engines.pool import Kind
from segkit.build.engines.worker import Member
from segkit.build.settings import EngineSettings
from segkit.dataset import Dataset, checks
from segkit.dataset.checked import Examine
from segkit.dataset.record_rules import fault
from segkit.dataset.triple import Triple
from segkit.errors import EngineError
from segkit.problem import Problem
from segkit.progress import NOTICE, Progress, silent

UNIT = 64
"""Triples that a worker examines at a time."""


class Checker(Member):
    """Examines photos and maps in a process of its own. See Member."""

    computes = False

    @cached_property
    def _dataset(self) -> Dataset:
        dataset: Dataset = self._load(self._settings)
        return dataset

    def examine(self, triples: Sequence[Triple]) -> list[list[Problem]]:
        """Return what is wrong with the files of each triple."""
        return [*checks.in_threads(self._dataset, triples)]


def _open(folder: str, settings: CrewSettings) -> Dataset:
    return Dataset.open(folder)


def _crashed(triple: Triple) -> list[Problem]:
    cure = "Look at its files, and update Pillow; segkit remove leaves the triple out"
    return [fault("file-damaged", triple, f"{STRIKES} workers in a row died of {triple.file_name} or its map", cure)]


@contextmanager
def examiner(dataset: Dataset, settings: EngineSettings, progress: Progress = silent) -> Iterator[Examine | None]:
    """Yield what reads photos and maps, see checks.check; None without a cluster.

    Raises:
        EngineError: Ray is missing, its cluster fails, or a worker does not see the dataset.
    """
    if settings.engine == "inline":
        yield None
        return
    folder = dataset.folder.absolute()

    def unseen(triples: Sequence[Triple]) -> Sequence[Triple]:
        raise EngineError(
            f"A worker does not see {folder}. Checking needs the dataset at the same path on every node of the Ray "
            "cluster, such as a shared file system; or use engine=inline."
        )

    crew_settings = CrewSettings(**asdict(settings), device="cpu")
    with gathered(Checker, crew_settings, partial(_open, str(folder)), [folder / ".segkit" / "dataset.toml"]) as crew:
        kind: Kind[Triple, list[Problem]] = Kind(
            send=lambda worker, triples: worker.examine.remote(triples),
            fill=unseen,
            crashed=_crashed,
            is_unseen=lambda problems: False,
        )

        def examine(triples: Sequence[Triple]) -> Iterator[list[Problem]]:
            works = ((start, triples[start : start + UNIT]) for start in range(0, len(triples), UNIT))
            for _, results in crew.pool.run(works, kind):
                yield from results

        yield examine
        for note in crew.notes:
            progress(NOTICE, 0, 0, note)
