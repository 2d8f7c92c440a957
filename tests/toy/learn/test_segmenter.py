"""Training of the toy OneFormer: losses fall, and each stage changes the right part."""

from typing import Any

import torch

from segkit.models import hub
from segkit.palette import Palette
from segkit.toy.learn import lessons, networks, segmenter
from segkit.toy.learn.course import Course

SAMPLES = [lessons.lesson(number, ((128, 96), (96, 128))) for number in range(8)]


def oneformer() -> tuple[Any, Any]:
    """Return an untrained OneFormer with a query for each class."""
    from dataclasses import replace

    with hub.quiet():
        return networks.oneformer(Palette.load("ade20k"), replace(networks.SMALL, queries=24, contrast=(1, 1)))


def weights(network: Any) -> torch.Tensor:
    """Return a copy of all weights in one vector."""
    return torch.cat([weight.detach().flatten() for weight in network.parameters()])


def test_the_first_stage_trains_the_backbone_only() -> None:
    """Its loss falls, and the decoder keeps its weights."""
    model, processor = oneformer()
    backbone, decoder = weights(model.model.pixel_level_module.encoder), weights(model.model.transformer_module)
    losses: list[float] = []

    segmenter.train_backbone((model, processor), SAMPLES, Course(12, 3, 5e-3, 0), "cpu", losses.append)

    assert len(losses) == 12
    assert sum(losses[-3:]) < 0.95 * sum(losses[:3])
    assert not torch.equal(weights(model.model.pixel_level_module.encoder), backbone)
    assert torch.equal(weights(model.model.transformer_module), decoder)


def test_the_second_stage_trains_the_whole_network() -> None:
    """The loss falls, also where photos are scaled up after the coarse steps; afterwards no hook remains."""
    model, processor = oneformer()
    before = {name: weights(part) for name, part in model.model.named_children()}
    losses: list[float] = []

    segmenter.train_oneformer((model, processor), SAMPLES, Course(12, 3, 5e-3, 0), "cpu", losses.append)

    assert len(losses) == 12
    assert losses[-1] < 0.95 * losses[0]
    assert not model.training
    assert not model.model.pixel_level_module._forward_hooks
    for name in ("pixel_level_module", "transformer_module"):
        assert not torch.equal(weights(getattr(model.model, name)), before[name])
