"""One evaluation shared by the processes that accelerate launch or torchrun started."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from segkit.progress import Progress, silent

Item = TypeVar("Item")


@dataclass(frozen=True)
class Worker:
    """This process among those of an evaluation.

    Attributes:
        rank: number of this process; 0 is the one that writes results and reports progress.
        count: number of processes.
    """

    rank: int = 0
    count: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes the results."""
        return self.rank == 0

    def share(self, items: Sequence[Item], maps: int = 0) -> Sequence[Item]:
        """Return the items that this process works on.

        Args:
            items: one for each map, or several times as many: one for each map, again and again. Those of one map are
                in one share, because what is judged must have been drawn.
            maps: their number; 0 for one item each.
        """
        number = maps or len(items)
        return [item for place, item in enumerate(items) if place % number % self.count == self.rank]

    def reports(self, progress: Progress) -> Progress:
        """Return the callback for this process: silent except in the main one."""
        return progress if self.is_main else silent


def current() -> Worker:
    """Return this process as its launcher describes it; a single one without a launcher."""
    return Worker(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))


def device(name: str) -> str:
    """Return the device of this process: with a launcher and automatic choice, each process of a machine has a GPU."""
    import torch

    if name == "auto" and "LOCAL_RANK" in os.environ and torch.cuda.is_available():
        return f"cuda:{int(os.environ['LOCAL_RANK']) % torch.cuda.device_count()}"
    return name
