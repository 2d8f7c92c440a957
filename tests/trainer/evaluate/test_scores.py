"""Scores, paired differences and the verdict."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from segkit.maps import metrics
from segkit.maps.bootstrap import Difference, Estimate
from segkit.palette import Palette
from trainer.evaluate import scores
from trainer.evaluate.evaluation import Evaluation
from trainer.evaluate.plan import Kind, Split
from trainer.evaluate.scores import Results, Sighting

ADE = Palette.load("ade20k")


def sighting(name: str, kind: Kind, *wrong: float) -> Sighting:
    """Return what a judge saw in a picture of each map of 100 pixels of wall, of which a share is wrong."""
    truth = np.zeros((10, 10), np.uint8)
    pictures = [np.where(np.arange(100).reshape(10, 10) < 100 * share, 3, 0).astype(np.uint8) for share in wrong]
    areas = [[metrics.count_pairs(truth, picture) for picture in pictures]]
    return Sighting(name, kind, areas, [[metrics.count_boundary_pairs(truth, picture) for picture in pictures]])


def results(*controlnets: Sighting, base: float = 0.8) -> Results:
    """Score ControlNets against a base that is wrong in a share of each map, and perfect photos."""
    maps = len(controlnets[0].areas[0])
    alone, photos = sighting("base alone", "base", *[base] * maps), sighting("photos", "photos", *[0] * maps)
    return scores.compute([*controlnets, alone, photos], ADE)


def example() -> Evaluation:
    """Return an evaluation of two maps."""
    computed = results(sighting("rooms-run", "controlnet", 0.2, 0.4))
    return Evaluation(
        Path("out"), computed, {"name": "eye", "revision": "1"}, ("A note.",), {"name": "custom"}, Split("val", 2, 100)
    )


def test_scores_of_two_maps_by_hand() -> None:
    """Only wall is in the truth, so its IoU over both maps is the mIoU; support is one class in two maps."""
    computed = example().results
    steered = computed.named("rooms-run")

    assert steered.metrics["miou"].value == pytest.approx(0.7)
    assert steered.per_map["miou"].tolist() == pytest.approx([0.8, 0.6])
    assert (steered.metrics["miou"].low, steered.metrics["miou"].high) == pytest.approx((0.6, 0.8), abs=0.01)
    assert steered.confusion[0, 3] == 60
    assert computed.support["wall"].maps == 2
    assert [(one.first, one.second) for one in computed.differences] == [("rooms-run", "base alone")]
    assert computed.differences[0].metrics["miou"].value == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("others", "verdict"),
    [
        ((), "new obeys its maps better than base alone: mIoU 0.700 against 0.200, +0.500 (95 % interval +0."),
        ((("old", 0.4, 0.6),), "new obeys its maps better than old: mIoU 0.700 against 0.500, +0.200 (95 % interval"),
        ((("old", 0.1, 0.3),), "old obeys its maps better than new: mIoU 0.800 against 0.700, +0.100 (95 % interval"),
        ((("old", 0.3, 0.2),), "No difference between old and new was measured: mIoU 0.750 against 0.700, +0.050"),
        ((("old", 0.9, 0.9), ("third", 0.5, 0.5)), "new obeys its maps better than third: mIoU 0.700 against 0.500"),
    ],
)
def test_the_verdict_is_one_sentence(others: tuple[tuple[str, float, float], ...], verdict: str) -> None:
    """It compares the best with the second best, whatever their order, or the only one with the base alone."""
    new = sighting("new", "controlnet", 0.2, 0.4)
    computed = results(new, *(sighting(name, "controlnet", *wrong) for name, *wrong in others))

    assert computed.verdict.startswith(verdict)
    assert computed.verdict.endswith("2 maps; the photos reach 1.000.")


def test_a_difference_that_is_not_in_the_printed_digits_is_none() -> None:
    """However narrow its interval is."""
    computed = results(*(sighting(name, "controlnet", 0.2, 0.2) for name in ("old", "new")))
    difference = Difference("old", "new", {"miou": Estimate(0.0004, 0.0003, 0.0005)})
    computed = replace(computed, differences=(difference,))

    assert computed.verdict.startswith("No difference between old and new was measured: mIoU 0.800 against 0.800")
    difference = Difference("old", "new", {"miou": Estimate(0.0006, 0.0003, 0.0009)})
    assert replace(computed, differences=(difference,)).verdict.startswith("old obeys its maps better than new")


def test_a_worse_controlnet_is_called_worse() -> None:
    """A ControlNet below the base alone is not praised."""
    assert results(sighting("new", "controlnet", 0.9, 0.9)).verdict.startswith(
        "new obeys its maps worse than base alone"
    )
