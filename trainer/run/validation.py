"""Validation: the held-out loss, and the control gap, which shows whether the network uses the control map at all."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from segkit.progress import go_on
from trainer.data.batches import Batches, unaugmented
from trainer.data.examples import Example, Examples
from trainer.data.latents import LatentCache
from trainer.settings import TrainSettings
from trainer.step.learner import Learner

MAX_PHOTOS, MIN_LOSSES = 64, 8
"""Largest number of photos, and smallest number of losses: fewer photos are measured several times."""

SIGNIFICANCE = 2.0
"""Standard errors by which a control gap must exceed zero."""

ROUNDING = 1e-6
"""Share of the loss that a control gap must exceed: a smaller one is rounding of fp32 numbers."""


@dataclass(frozen=True)
class ValidationResult:
    """Metrics of one validation; every validation of a run uses the same noise and timesteps.

    Attributes:
        held_out_loss: mean loss of held-out photos; None if none are held out.
        control_gap: mean loss with the maps shuffled among the photos minus the loss with their own maps. Measured on
            held-out photos, or on training photos if none are held out; None with a single map.
        gap_error: standard error of the gap.
    """

    held_out_loss: float | None
    control_gap: float | None
    gap_error: float | None

    @property
    def metrics(self) -> dict[str, float]:
        """The finite metrics by the name they have in log.jsonl."""
        metrics = {
            "held_out_loss": self.held_out_loss, "control_gap": self.control_gap, "control_gap_error": self.gap_error
        }  # fmt: skip
        return {name: value for name, value in metrics.items() if value is not None and math.isfinite(value)}

    @property
    def uses_the_map(self) -> bool:
        """Whether the gap is statistically significant, and more than rounding."""
        if self.control_gap is None or self.is_rounding:
            return False
        return self.control_gap > SIGNIFICANCE * (self.gap_error or 0.0)

    @property
    def is_rounding(self) -> bool:
        """Whether the gap may come from rounding alone; without a held-out loss, that is taken as 1."""
        loss = 1.0 if self.held_out_loss is None else self.held_out_loss
        return self.control_gap is not None and 0 < abs(self.control_gap) <= ROUNDING * loss

    @property
    def verdict(self) -> str:
        """The meaning of the gap, as a sentence without a full stop."""
        if self.control_gap is None:
            return "only one map: whether the network uses it cannot be measured"
        if not math.isfinite(self.control_gap):
            return "the loss is NaN or infinite"
        gap = f"control gap {_number(self.control_gap)} ± {_number(self.gap_error or 0.0)}"
        if self.uses_the_map:
            return f"the network uses the map: {gap}"
        reason = "no more than rounding" if self.is_rounding else "not significant"
        return f"the network does not use the map yet: {gap}, {reason}"


def _number(value: float) -> str:
    """Return a number with five decimals, or as a power of ten if these would all be zero."""
    return f"{value:.5f}" if value == 0 or abs(value) >= 5e-5 else f"{value:.1e}"


def last_verdict(log: Sequence[Mapping[str, Any]]) -> str:
    """Return the verdict of the last validation in a run's log; "" if there was none."""
    last = _last(log)
    return last.verdict if last else ""


def caveat(log: Sequence[Mapping[str, Any]]) -> str:
    """Return what a run's model card must say about control, as a sentence; "" if the network uses the map."""
    last = _last(log)
    if last is None:
        return "Whether this network obeys its control maps was not measured."
    return "" if last.uses_the_map else f"This network was not found to obey its control maps: {last.verdict}."


def _last(log: Sequence[Mapping[str, Any]]) -> ValidationResult | None:
    line = next((line for line in reversed(log) if "control_gap" in line), None)
    if line is None:
        return None
    return ValidationResult(line.get("held_out_loss"), line["control_gap"], line["control_gap_error"])


class Validation:
    """Measures the loss of some photos with their own and with shuffled maps.

    Args:
        examples: up to MAX_PHOTOS of the held-out examples are used, or of the training examples if none are held out.
        settings: of the training.
        cache: of its latents; None without.
    """

    def __init__(self, examples: Examples, settings: TrainSettings, cache: LatentCache | None) -> None:
        fixed = unaugmented(settings)
        measured = _spread(examples.val or examples.train)
        lenders = _rotate(measured) if len(measured) > 1 else examples.train[:1]
        self._held_out = bool(examples.val)
        self._count = len(measured) * -(-MIN_LOSSES // len(measured))
        self._matched = Batches(measured, examples.palette, fixed, cache)
        self._shuffled = (
            Batches(measured, examples.palette, fixed, cache, control_examples=lenders) if lenders != measured else None
        )

    def measure(self, learner: Learner, before_batch: Callable[[], None] = go_on) -> ValidationResult:
        """Measure the current weights; all processes must call this, and get the same result.

        Args:
            learner: the networks.
            before_batch: called before every batch; it may raise to abandon the validation.
        """
        matched = learner.measure(self._matched, self._count, before_batch)
        gap = error = None
        if self._shuffled:
            shuffled = learner.measure(self._shuffled, self._count, before_batch)
            with np.errstate(invalid="ignore"):  # a diverging training has infinite losses
                # paired differences: photo and noise contribute far more variance than the map
                differences = np.subtract(shuffled, matched)
                gap, error = float(differences.mean()), float(differences.std(ddof=1) / math.sqrt(self._count))
        return ValidationResult(float(np.mean(matched)) if self._held_out else None, gap, error)


def _spread(examples: Sequence[Example]) -> list[Example]:
    """Return at most MAX_PHOTOS examples, evenly spaced."""
    count = min(MAX_PHOTOS, len(examples))
    return [examples[place * len(examples) // count] for place in range(count)]


def _rotate(examples: list[Example]) -> list[Example]:
    """Pair each photo with the map of one half a list away, because neighbours are often alike."""
    half = len(examples) // 2
    return examples[half:] + examples[:half]
