"""Prepare a training of small networks in tests, to take single steps of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from segkit.palette import Palette
from tests.trainer.data.test_batches import example
from tests.trainer.runs import OPTIONS
from trainer.checkpoints.store import Checkpoint
from trainer.data.examples import Examples
from trainer.run.setup import Setup, prepare
from trainer.settings import TrainSettings
from trainer.step.distributed import launched
from trainer.step.learner import Learner, StepResult

ADE = Palette.load("ade20k")


@dataclass(frozen=True)
class Prepared:
    """A training of two photos, without a cache."""

    setup: Setup
    settings: TrainSettings
    accelerator: Accelerator
    data: Examples

    @property
    def learner(self) -> Learner:
        """The networks and their optimizer."""
        return self.setup.learner

    def steps(self, first: int, last: int) -> list[StepResult]:
        """Take the steps from `first` to before `last`."""
        batches = self.setup.batches.starting_at(first * self.settings.accumulate)
        return [self.learner.update(batches, step) for step in range(first, last)]

    def weights(self) -> dict[str, torch.Tensor]:
        """Return a copy of all weights of ControlNet and UNet."""
        return {name: weight.clone() for name, weight in self.setup.model.state_dict().items()}


def two_photos(folder: Path) -> Examples:
    """Write two photos of 64 x 64 pixels with their maps; neither is held out."""
    return Examples("fill50k", [example(folder, seed, (64, 64)) for seed in (1, 2)], [], ADE)


@contextmanager
def prepared(base: Path, folder: Path, start: Checkpoint | None = None, **changed: Any) -> Iterator[Prepared]:
    """Prepare a training on two photos in a folder, or resume it from a checkpoint."""
    settings = TrainSettings(**(OPTIONS | {"base": str(base), "cpu": True, "batch_size": 1, **changed}))
    data = two_photos(folder)
    with launched(settings) as accelerator:
        yield Prepared(prepare(data, settings, accelerator, folder / "run", start, None), settings, accelerator, data)
