"""Whether a network learns, and whether it looks at the map at all: the held-out loss and the control gap."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trainer.data.batches import Batches, unaugmented
from trainer.data.examples import Example, Examples
from trainer.data.latents import LatentCache
from trainer.settings import TrainSettings
from trainer.step.learner import Learner

MOST, FEWEST = 64, 8
"""Photos that are looked at, at most; and losses that are measured, at least: of fewer photos, several of each."""

CERTAIN = 2.0
"""Standard errors from which a gap counts as one."""


@dataclass(frozen=True)
class ValidationResult:
    """What was measured at a step; every look has the same noise and times.

    Attributes:
        held_out_loss: mean over held-out photos; None where no photos are held out.
        control_gap: mean loss with the maps shuffled among the photos, less the true one: what looking at the map is
            worth. Of held-out photos, or of trained ones where none are held out. None with a single map.
        gap_error: its standard error.
    """

    held_out_loss: float | None
    control_gap: float | None
    gap_error: float | None

    @property
    def numbers(self) -> dict[str, float]:
        """What was measured, by name; what is no number is left out."""
        every = {
            "held_out_loss": self.held_out_loss, "control_gap": self.control_gap, "control_gap_error": self.gap_error
        }  # fmt: skip
        return {name: value for name, value in every.items() if value is not None and math.isfinite(value)}

    @property
    def looks_at_the_map(self) -> bool:
        """Whether the gap is more than chance."""
        return self.control_gap is not None and self.control_gap > CERTAIN * (self.gap_error or 0.0)

    @property
    def words(self) -> str:
        """What the gap means."""
        if self.control_gap is None:
            return "one map alone: whether the network looks at it cannot be told"
        if not math.isfinite(self.control_gap):
            return "the loss is no number"
        found = f"control gap {self.control_gap:.5f} ± {self.gap_error:.5f}"
        if self.looks_at_the_map:
            return f"the network looks at the map: {found}"
        return f"the network does not look at the map yet: {found}, no more than chance"


class Validation:
    """What looks.

    Args:
        found: the examples; of those held out, or else of those trained on, some are looked at.
        settings: of the training.
        kept: its cache; None without.
    """

    def __init__(self, found: Examples, settings: TrainSettings, kept: LatentCache | None) -> None:
        alone = unaugmented(settings)
        shown = _spread(found.val or found.train)
        others = _moved(shown) if len(shown) > 1 else found.train[:1]
        self._held_out = bool(found.val)
        self._count = len(shown) * -(-FEWEST // len(shown))
        self._true = Batches(shown, found.palette, alone, kept)
        self._shuffled = (
            Batches(shown, found.palette, alone, kept, control_examples=others) if others != shown else None
        )

    def look(self, learner: Learner) -> ValidationResult:
        """Measure; all processes call it, and find the same."""
        true = learner.measure(self._true, self._count)
        gap = error = None
        if self._shuffled:
            shuffled = learner.measure(self._shuffled, self._count)
            with np.errstate(invalid="ignore"):  # a training that diverges has losses without end
                differences = np.subtract(shuffled, true)
                gap, error = float(differences.mean()), float(differences.std(ddof=1) / math.sqrt(self._count))
        return ValidationResult(float(np.mean(true)) if self._held_out else None, gap, error)


def _spread(examples: Sequence[Example]) -> list[Example]:
    """Return some examples, evenly spread."""
    count = min(MOST, len(examples))
    return [examples[place * len(examples) // count] for place in range(count)]


def _moved(examples: list[Example]) -> list[Example]:
    """Give each photo the map of one far from it in the list, for neighbours are often alike."""
    half = len(examples) // 2
    return examples[half:] + examples[:half]
