"""The shipped networks reach the accuracy of their model card on held-out scenes."""

import json

import pytest

from segkit.models import hub
from segkit.models.caption import NeuralCaptioner
from segkit.models.device import Device
from segkit.models.segment import NeuralSegmenter
from segkit.palette import Palette
from segkit.toy.learn import measure

CPU = Device("cpu", "fp32")
WEIGHTS = hub.toy_folder()
NAMES = ("segmenter", "captioner", "base", "base-sdxl", "judge")
FIGURES = json.loads((WEIGHTS / "figures.json").read_text())
SCENES = range(500_000, 500_064)
"""Disjoint from the training scenes (from 1,000,000 on) and the scenes of the model card (from 0 on)."""


@pytest.mark.parametrize(
    ("side", "miou", "accuracy"),
    [(128, 0.90, 0.97), pytest.param(256, 0.80, 0.95, marks=pytest.mark.slow)],
)
def test_segmenter_accuracy(side: int, miou: float, accuracy: float) -> None:
    """OneFormer segments 64 new scenes well, and about as well as its model card states."""
    ade = Palette.load("ade20k")

    quality = measure.segmenter(NeuralSegmenter(hub.TOY, ade, CPU), SCENES, (side, side), ade)

    assert quality.miou >= miou
    assert quality.accuracy >= accuracy
    assert quality.miou == pytest.approx(FIGURES["segmenter"]["trained"][str(side)]["miou"], abs=0.02)


@pytest.mark.parametrize("side", [128, pytest.param(256, marks=pytest.mark.slow)])
def test_judge_accuracy(side: int) -> None:
    """The SegFormer segments 64 new scenes at 0.80 mIoU or more, and about as well as its model card states."""
    ade = Palette.load("ade20k")

    quality = measure.segmenter(NeuralSegmenter(hub.TOY_JUDGE, ade, CPU), SCENES, (side, side), ade)

    assert quality.miou >= 0.80
    assert quality.miou == pytest.approx(FIGURES["judge"]["trained"][str(side)]["miou"], abs=0.03)


def test_caption_accuracy() -> None:
    """In 64 captions, precision and recall of classes are at least 90 %, and 95 % of the captions invent nothing."""
    quality = measure.captioner(NeuralCaptioner(hub.TOY, CPU), SCENES, (256, 256))

    assert quality.precision >= 0.9
    assert quality.recall >= 0.9
    assert quality.truthful >= 0.95


@pytest.mark.parametrize("name", ["base", "base-sdxl"])
def test_drawing_accuracy(name: str) -> None:
    """Pictures drawn for 16 new scenes show the classes of their prompts, and the VAE preserves those of the photos."""
    ade = Palette.load("ade20k")

    quality = measure.drawings(WEIGHTS / name, NeuralSegmenter(hub.TOY, ade, CPU), SCENES[:16], ade)

    assert quality.named >= 0.65
    assert quality.kept == pytest.approx(FIGURES[name]["trained"]["kept"], abs=0.06)


def test_the_weights_are_small() -> None:
    """OneFormer and BLIP take at most 12 MB together, the bases 10 and 12 MB, the SegFormer 3 MB."""
    sizes = {name: sum(path.stat().st_size for path in (WEIGHTS / name).rglob("*") if path.is_file()) for name in NAMES}
    assert sizes["segmenter"] + sizes["captioner"] <= 12e6
    assert sizes["base"] <= 10e6
    assert sizes["base-sdxl"] <= 12e6
    assert sizes["judge"] <= 3e6
