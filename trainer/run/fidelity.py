"""Fidelity: how well pictures of the network in training obey their maps, as `segkit evaluate` would measure it.

The same held-out maps are drawn each time, with their own prompts and the same noise; the judge, a segmenter, looks at
the pictures, and what it sees is compared with the maps.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from PIL import Image

from segkit.errors import UsageError
from segkit.maps import metrics
from segkit.maps.bootstrap import Estimate
from segkit.maps.codec import Labels
from segkit.maps.metrics import PairCounts
from segkit.models.segment import NeuralSegmenter
from segkit.palette import Palette
from segkit.progress import go_on
from trainer.data import crops
from trainer.data.crops import View
from trainer.data.examples import Example, Examples
from trainer.evaluate import scores
from trainer.run.drawing import Drawer
from trainer.sample import controls
from trainer.settings import TrainSettings
from trainer.step import distributed
from trainer.step.distributed import StopSignal
from trainer.step.learner import Learner

MAPS = 32
"""Largest number of maps to draw."""

SEED = 0
"""Seed of the noise of each picture: the default of `segkit evaluate`."""

METRIC = "fidelity"
"""Name in the log of the mIoU; those of its interval's ends are _LOW and _HIGH."""

_LOW, _HIGH = f"{METRIC}_low", f"{METRIC}_high"

_KEYED = ("segkit", "shards")
"""Layouts whose photos are named by their keys."""


@dataclass(frozen=True)
class Target:
    """A map to draw: class indices (H, W) in the size of the picture, and the prompt."""

    labels: Labels
    prompt: str


def require_maps(examples: Examples, settings: TrainSettings) -> Palette:
    """Refuse an evaluation that has nothing to draw; return the palette of the maps.

    Raises:
        UsageError: no triple is held out, or the control pictures are not segmentation maps.
    """
    option = f"evaluate_fidelity={settings.evaluate_fidelity}"
    if examples.palette is None:
        raise UsageError(f"{option}: the control images are not segmentation maps. Leave the option out.")
    if not examples.val:
        raise UsageError(
            f"{option}: no triple is held out, so there is no map to draw. Hold some out, as with split=val=0.1 of "
            "build_dataset, or leave the option out."
        )
    return examples.palette


def last(log: Sequence[Mapping[str, Any]]) -> Estimate | None:
    """Return the last mIoU in a run's log; None if there is none."""
    measured = (line for line in reversed(log) if METRIC in line)
    return next((Estimate(line[METRIC], line[_LOW], line[_HIGH]) for line in measured), None)


def logged(miou: Estimate) -> dict[str, float]:
    """Return a mIoU by the names that it has in log.jsonl; {} if no pixel of the maps has a class."""
    return {METRIC: miou.value, _LOW: miou.low, _HIGH: miou.high} if math.isfinite(miou.value) else {}


def evaluations(settings: TrainSettings, steps_taken: int) -> int:
    """Return how many evaluations are due from so many steps on, to the last step of the run."""
    every, last_step = settings.evaluate_fidelity, settings.steps
    if not every:
        return 0
    regular = last_step // every - steps_taken // every + (steps_taken == 0)
    return regular + (last_step % every > 0 and steps_taken < last_step)


class Fidelity:
    """Draws held-out maps with the networks in training, and lets the judge look at the pictures.

    Args:
        examples: the held-out ones are drawn: up to MAPS, the same that `segkit evaluate --limit` chooses.
        settings: of the training.
        drawer: draws.
        judge: looks at the pictures; it is parked between evaluations.
    """

    def __init__(self, examples: Examples, settings: TrainSettings, drawer: Drawer, judge: NeuralSegmenter) -> None:
        self._palette = require_maps(examples, settings)
        self._drawer, self._judge = drawer, judge
        self._targets = [_target(example, self._palette, settings.resolution) for example in chosen(examples)]

    def __len__(self) -> int:
        """Number of maps."""
        return len(self._targets)

    @property
    def judge(self) -> str:
        """Name of the judge."""
        return self._judge.source.name

    @property
    def judge_bytes(self) -> int:
        """Size of its weights, which are on the device only during an evaluation."""
        return self._judge.bytes

    def measure(
        self, learner: Learner, accelerator: Accelerator, stop: StopSignal, tell: Callable[[str], None]
    ) -> Estimate | None:
        """Measure the current weights (EMA if any); all processes must call this, share the work, and get the result.

        Args:
            learner: the networks.
            accelerator: the processes.
            stop: ends the evaluation within a sampling step.
            tell: called with what is being done, in words.

        Returns:
            MIoU; None if a device has too little memory, which must not end a training.

        Raises:
            Stopped: a process was asked to stop.
            TrainingError: another process failed or was lost.
        """
        rank, world_size = accelerator.process_index, accelerator.num_processes
        if distributed.is_sharded(accelerator):  # the networks compute in all processes at once
            rank, world_size = 0, 1
        seen: dict[int, PairCounts] | None = None
        with distributed.at_own_pace(accelerator, stop) as before_part:
            try:
                seen = self._look(learner, range(rank, len(self), world_size), before_part, tell)
            except torch.OutOfMemoryError:
                pass
            finally:
                self._drawer.free_cached_memory()
        shares: list[dict[int, PairCounts] | None] = gather_object([seen])
        together: dict[int, PairCounts] = {}
        for share in shares:
            if share is None:
                return None
            together |= share
        return scores.miou([together[place] for place in range(len(self))], self._palette)

    def _look(
        self, learner: Learner, places: range, before_part: Callable[[], None], tell: Callable[[str], None]
    ) -> dict[int, PairCounts]:  # fmt: skip
        """Draw some of the maps, and compare what the judge sees with them."""
        latents = {}
        with learner.inference() as model:
            for done, place in enumerate(places, 1):
                tell(f"drawing picture {done} of {len(places)} for the judge")
                target = self._targets[place]
                latents[place] = self._drawer.latents(model, target.labels, target.prompt, SEED, before_part)
        seen = {}
        with self._awake():
            for done, place in enumerate(places, 1):
                before_part()
                tell(f"judging picture {done} of {len(places)}")
                picture = self._drawer.decoder.picture(latents[place])
                seen[place] = self._compare(picture, self._targets[place])
        return seen

    def _compare(self, picture: Image.Image, target: Target) -> PairCounts:
        (segmentation,) = self._judge([picture])
        return metrics.count_pairs(target.labels, segmentation.labels)

    @contextmanager
    def _awake(self) -> Iterator[None]:
        """Keep the judge on its device."""
        try:
            self._judge.unpark()
            yield
        finally:
            self._judge.park()

    def trial(self, learner: Learner) -> float:
        """Try single steps, and return the seconds that an evaluation would take in one process."""
        target, once = self._targets[0], replace(self._drawer.sampling, steps=1)
        short = replace(self._drawer, sampling=once)
        with learner.inference() as model, self._awake():
            for _ in range(2):  # the first is a warm-up and does not count
                began = time.perf_counter()
                latents = short.latents(model, target.labels, target.prompt, SEED, go_on).cpu()  # waits for the device
                drawn = time.perf_counter()
                self._compare(short.decoder.picture(latents), target)
                judged = time.perf_counter()
        self._drawer.free_cached_memory()
        return len(self) * (self._drawer.sampling.steps * (drawn - began) + judged - drawn)


def chosen(examples: Examples) -> list[Example]:
    """Return the examples to draw: those with the first keys, which are hashes, or else with the first hashes."""
    keyed = examples.layout in _KEYED
    return sorted(examples.val, key=lambda one: one.photo.stem if keyed else one.photo_hash)[:MAPS]


def _target(example: Example, palette: Palette, resolution: int) -> Target:
    """Read a map as it is drawn: whole, resized with NEAREST."""
    size = controls.size_for(example.width, example.height, resolution)
    whole = View((0, 0, example.width, example.height), size, mirrored=False)
    return Target(crops.control_map(example, whole, palette), example.text)
