"""The held-out loss, the control gap, and the choice of the best checkpoint."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from segkit.palette import Palette
from tests.conftest import Segkit
from tests.trainer.data.test_batches import example
from tests.trainer.runs import words
from trainer.data.batches import Batches
from trainer.data.examples import Examples
from trainer.run.validation import Validation
from trainer.settings import TrainSettings

ADE = Palette.load("ade20k")
SETTINGS = TrainSettings(batch_size=4, resolution=64, flip=True, prompt_dropout=0.9)


class FakeLearner:
    """A learner whose loss is a constant plus the share of map pixels that do not belong to the photo."""

    def __init__(self, examples: list[Any], sensitivity: float = 1.0) -> None:
        self._examples, self._sensitivity = examples, sensitivity
        self.received: list[tuple[str, bytes]] = []

    def measure(self, batches: Batches, count: int, before_batch: Callable[[], None]) -> list[float]:
        """Return a loss per batch."""
        losses = []
        for number in range(count):
            batch = batches.batch(number)
            (text,) = batch.texts
            seed = int(text.split()[1])
            self.received.append((text, batch.generators[0].get_state().numpy().tobytes()))
            matched = Batches([self._examples[seed]], ADE, TrainSettings(batch_size=1, resolution=64, flip=False))
            wrong = (matched.batch(0).controls != batch.controls).float().mean()
            losses.append(0.5 + self._sensitivity * float(wrong) + 0.01 * (number % 3))
        return losses


def dataset(train: list[Any], val: list[Any]) -> Examples:
    """Return examples with a split."""
    return Examples("segkit", train, val, ADE)


def test_a_network_that_uses_the_map_has_a_gap(tmp_path: Path) -> None:
    """Shuffling gives each photo another's map, but the same noise and prompt, and raises the loss."""
    examples = [example(tmp_path, seed, (64 + 16 * seed, 128)) for seed in range(5)]
    learner = FakeLearner(examples)

    result = Validation(dataset(examples[:1], examples[1:]), SETTINGS, None).measure(learner)  # type: ignore[arg-type]

    assert result.held_out_loss == pytest.approx(0.51, abs=0.01)
    assert result.control_gap is not None
    assert result.control_gap > 0.5
    assert result.uses_the_map
    assert result.verdict.startswith("the network uses the map: control gap ")
    half = len(learner.received) // 2
    assert learner.received[:half] == learner.received[half:]
    assert {text for text, _ in learner.received} == {f"photo {seed}" for seed in range(1, 5)}


def test_a_network_that_ignores_the_map_has_no_gap(tmp_path: Path) -> None:
    """The gap is zero, and the verdict says so; without held-out photos it is measured on training photos."""
    examples = [example(tmp_path, seed, (64, 64)) for seed in range(4)]

    result = Validation(dataset(examples, []), SETTINGS, None).measure(FakeLearner(examples, sensitivity=0.0))  # type: ignore[arg-type]

    assert (result.held_out_loss, result.control_gap) == (None, 0.0)
    assert not result.uses_the_map
    assert "does not use the map yet" in result.verdict
    assert result.metrics.keys() == {"control_gap", "control_gap_error"}


def test_a_single_map_has_no_gap(tmp_path: Path) -> None:
    """A single photo has no other map to borrow; a single held-out photo borrows a training photo's."""
    examples = [example(tmp_path, seed, (64, 64)) for seed in range(2)]

    alone = Validation(dataset(examples[:1], []), SETTINGS, None).measure(FakeLearner(examples))  # type: ignore[arg-type]
    one = Validation(dataset(examples[:1], examples[1:]), SETTINGS, None).measure(FakeLearner(examples))  # type: ignore[arg-type]

    assert (alone.control_gap, "cannot be measured" in alone.verdict) == (None, True)
    assert one.uses_the_map


def test_a_fresh_controlnet_does_not_use_the_map(rooms: Path, base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """Zero convolutions block the map: before the first step the gap is exactly zero, and the log says so."""
    done = segkit(*words(rooms, base, tmp_path / "run", steps=2, evaluate_every=1, best_by="control_gap"), "--json")
    outcome = json.loads(done.out)
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]

    assert [line["step"] for line in lines] == [0, 1, 2]
    assert (lines[0]["control_gap"], "loss" in lines[0]) == (0.0, False)
    assert "does not use the map yet" in lines[0]["says"]
    assert all({"held_out_loss", "control_gap", "says"} <= line.keys() for line in lines)
    assert outcome["says"] == lines[-1]["says"]
    assert outcome["best_step"] == 2
    assert json.loads((tmp_path / "run" / "best.json").read_text()).keys() == {"step", "control_gap"}
