"""The held-out loss and the control gap, and which checkpoint is the best."""

import json
from pathlib import Path
from typing import Any

import pytest

from segkit.palette import Palette
from tests.conftest import Segkit
from tests.trainer.data.test_batches import example
from tests.trainer.runs import words
from trainer.data.batches import Batches
from trainer.data.examples import Examples
from trainer.run import run_folder
from trainer.run.validation import Validation
from trainer.settings import TrainSettings

ADE = Palette.load("ade20k")
SETTINGS = TrainSettings(batch_size=4, resolution=64, flip=True, prompt_dropout=0.9)


class Attentive:
    """A learner whose loss is how many pixels of the map are not those of the photo, beside a constant."""

    def __init__(self, shows: float = 1.0) -> None:
        self._shows = shows
        self.seen: list[tuple[str, bytes]] = []

    def measure(self, batches: Batches, count: int) -> list[float]:
        """Return the losses."""
        found = []
        for number in range(count):
            batch = batches.batch(number)
            (text,) = batch.texts
            seed = int(text.split()[1])
            self.seen.append((text, batch.generators[0].get_state().numpy().tobytes()))
            own = Batches([self.examples[seed]], ADE, TrainSettings(batch_size=1, resolution=64, flip=False))
            wrong = (own.batch(0).controls != batch.controls).float().mean()
            found.append(0.5 + self._shows * float(wrong) + 0.01 * (number % 3))
        return found

    def at(self, examples: list[Any]) -> "Attentive":
        """Tell it the photos."""
        self.examples = examples
        return self


def found_of(train: list[Any], val: list[Any]) -> Examples:
    """Return examples as a dataset has them."""
    return Examples("segkit", train, val, ADE, "")


def test_a_network_that_needs_its_map_has_a_gap(tmp_path: Path) -> None:
    """With the maps shuffled each photo has another's, the same noise and the same words, and the loss is higher."""
    examples = [example(tmp_path, seed, (64 + 16 * seed, 128)) for seed in range(5)]
    learner = Attentive().at(examples)

    look = Validation(found_of(examples[:1], examples[1:]), SETTINGS, None).look(learner)  # type: ignore[arg-type]

    assert look.held_out_loss == pytest.approx(0.51, abs=0.01)
    assert look.control_gap is not None
    assert look.control_gap > 0.5
    assert look.looks_at_the_map
    assert look.words.startswith("the network looks at the map: control gap ")
    half = len(learner.seen) // 2
    assert learner.seen[:half] == learner.seen[half:]
    assert {text for text, _ in learner.seen} == {f"photo {seed}" for seed in range(1, 5)}


def test_a_network_that_does_not_look_has_none(tmp_path: Path) -> None:
    """The gap is zero, and the words say so."""
    examples = [example(tmp_path, seed, (64, 64)) for seed in range(4)]

    look = Validation(found_of(examples, []), SETTINGS, None).look(Attentive(shows=0.0).at(examples))  # type: ignore[arg-type]

    assert (look.held_out_loss, look.control_gap) == (None, 0.0)  # no photo is held out: trained ones are looked at
    assert not look.looks_at_the_map
    assert "does not look at the map yet" in look.words
    assert look.numbers.keys() == {"control_gap", "control_gap_error"}


def test_one_map_alone_tells_nothing(tmp_path: Path) -> None:
    """Of a single photo there is no other map; a held-out one takes a trained one's."""
    examples = [example(tmp_path, seed, (64, 64)) for seed in range(2)]

    alone = Validation(found_of(examples[:1], []), SETTINGS, None).look(Attentive().at(examples))  # type: ignore[arg-type]
    one = Validation(found_of(examples[:1], examples[1:]), SETTINGS, None).look(Attentive().at(examples))  # type: ignore[arg-type]

    assert (alone.control_gap, "cannot be told" in alone.words) == (None, True)
    assert one.looks_at_the_map


@pytest.mark.parametrize(("by", "order"), [("held_out_loss", [1, 2, 2, 4]), ("control_gap", [1, 1, 3, 3])])
def test_the_best_checkpoint_is_chosen_as_asked(tmp_path: Path, by: str, order: list[int]) -> None:
    """The lowest loss, or the highest gap; what was not measured changes nothing, and steps taken again count anew."""
    values = {"held_out_loss": [0.5, 0.4, 0.6, 0.3], "control_gap": [0.2, 0.1, 0.3, 0.25]}[by]
    assert run_folder.best(tmp_path, 0, by, None) is None
    assert [run_folder.best(tmp_path, step, by, value) for step, value in enumerate(values, 1)] == order
    assert run_folder.best(tmp_path, 5, by, None) == order[-1]
    assert run_folder.best(tmp_path, 1, by, 0.9 if by == "held_out_loss" else 0.0) == 1
    other = "control_gap" if by == "held_out_loss" else "held_out_loss"
    assert run_folder.best(tmp_path, 2, other, 0.1) == 2


def test_a_fresh_network_does_not_look_yet(rooms: Path, base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """Its zero convolutions keep the map out: before the first step the gap is exactly zero, and the log says so."""
    done = segkit(*words(rooms, base, tmp_path / "run", steps=2, evaluate_every=1, best_by="control_gap"), "--json")
    told = json.loads(done.out)
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]

    assert [line["step"] for line in lines] == [0, 1, 2]
    assert (lines[0]["control_gap"], "loss" in lines[0]) == (0.0, False)
    assert "does not look at the map yet" in lines[0]["says"]
    assert all({"held_out_loss", "control_gap", "says"} <= line.keys() for line in lines)
    assert told["says"] == lines[-1]["says"]
    assert told["best_step"] == 2
    assert json.loads((tmp_path / "run" / "best.json").read_text()).keys() == {"step", "control_gap"}
