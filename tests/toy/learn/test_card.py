"""The model card of the toy networks is generated from the figures."""

import copy
import json

from segkit.models import hub
from segkit.toy.learn import card

WEIGHTS = hub.toy_folder()
FIGURES = json.loads((WEIGHTS / "figures.json").read_text())


def test_the_card_is_generated_from_the_figures() -> None:
    """The model card beside the weights is generated from the figures in figures.json."""
    assert (WEIGHTS / "README.md").read_text() == card.write(FIGURES)


def test_a_class_that_was_not_seen_has_no_score() -> None:
    """A class that is missing at one size appears as nan instead of stopping the card."""
    figures = copy.deepcopy(FIGURES)
    first, *others = figures["segmenter"]["trained"]
    name, score = next(iter(figures["segmenter"]["trained"][first]["iou"].items()))
    for side in others:
        figures["segmenter"]["trained"][side]["iou"].pop(name, None)

    text = card.write(figures)

    assert f"| {name} | {score:.3f} | " + " | ".join(["nan"] * len(others)) + " |" in text


def test_a_summary_is_one_line() -> None:
    """Sizes are separated by semicolons, and bases have one size only."""
    quality = {"precision": 0.5, "recall": 0.25, "truthful": 1.0}

    captioner = card.summary("captioner", {"trained": {"128": quality, "256": quality}, "seconds": 90})
    drawing = {"trained": {"photos": 0.8, "kept": 0.7, "named": 0.6, "error": 3.0}, "seconds": 600}
    bases = [card.summary(name, drawing) for name in ("base", "base-sdxl")]

    one = "precision 0.500, recall 0.250, truthful 1.000 at {} px"
    assert captioner == f"captioner: {one.format(128)}; {one.format(256)}; 1.5 minutes."
    figures = "photos 0.800, kept 0.700, named 0.600 at 64 px; 10.0 minutes."
    assert bases == [f"base: {figures}", f"base-sdxl: {figures}"]
