"""The networks that segkit ships reach their figures on scenes that they were not trained on."""

import json

import pytest

from segkit.models import hub
from segkit.models.caption import NeuralCaptioner
from segkit.models.device import Device
from segkit.models.segment import NeuralSegmenter
from segkit.palette import Palette
from segkit.toy.learn import card, measure

CPU = Device("cpu", "fp32")
WEIGHTS = hub.toy_folder()
NAMES = ("segmenter", "captioner", "base")
FIGURES = json.loads((WEIGHTS / "figures.json").read_text())
SCENES = range(500_000, 500_150)
"""Neither the scenes of training (from 1,000,000 on) nor those of the model card (from 0 on)."""


@pytest.mark.parametrize(("side", "miou", "accuracy"), [(128, 0.90, 0.97), (256, 0.80, 0.95)])
def test_maps_are_right(side: int, miou: float, accuracy: float) -> None:
    """OneFormer's maps of 150 new scenes, and the figures of its model card hold for them too."""
    ade = Palette.load("ade20k")

    quality = measure.segmenter(NeuralSegmenter(hub.TOY, ade, CPU), SCENES, (side, side), ade)

    assert quality.miou >= miou
    assert quality.accuracy >= accuracy
    assert quality.miou == pytest.approx(FIGURES["segmenter"]["trained"][str(side)]["miou"], abs=0.02)


def test_captions_are_right() -> None:
    """Of 150 captions at least 90 % of the words for things are right, 90 % are said, and 95 % invent nothing."""
    quality = measure.captioner(NeuralCaptioner(hub.TOY, CPU), SCENES, (256, 256))

    assert quality.precision >= 0.9
    assert quality.recall >= 0.9
    assert quality.truthful >= 0.95


def test_drawings_are_right() -> None:
    """What is drawn from the prompts of 40 new scenes shows what they name, and the VAE keeps what photos show."""
    ade = Palette.load("ade20k")

    quality = measure.drawings(WEIGHTS / "base", NeuralSegmenter(hub.TOY, ade, CPU), SCENES[:40], ade)

    assert quality.named >= 0.65
    assert quality.kept == pytest.approx(FIGURES["base"]["trained"]["kept"], abs=0.06)


def test_the_weights_are_small() -> None:
    """OneFormer and BLIP are at most 12 MB, the Stable Diffusion 10."""
    sizes = {name: sum(path.stat().st_size for path in (WEIGHTS / name).rglob("*") if path.is_file()) for name in NAMES}
    assert sizes["segmenter"] + sizes["captioner"] <= 12e6
    assert sizes["base"] <= 10e6


def test_the_card_is_made_of_the_figures() -> None:
    """The model card beside the weights says just what was measured when they were made."""
    assert (WEIGHTS / "README.md").read_text() == card.write(FIGURES)
