"""Training of the toy BLIP: losses fall, and each stage changes the right part."""

from typing import Any

import pytest
import torch

from segkit.models import hub
from segkit.toy.learn import captioner, lessons, networks
from segkit.toy.learn.course import Course
from segkit.toy.world import grammar

SAMPLES = [lessons.lesson(number, ((128, 128),)) for number in range(8)]


def blip() -> tuple[Any, Any]:
    """Return an untrained captioner that knows the words of the toy world."""
    with hub.quiet():
        return networks.blip(grammar.vocabulary())


def weights(network: Any) -> torch.Tensor:
    """Return a copy of all weights in one vector."""
    return torch.cat([weight.detach().flatten() for weight in network.parameters()])


def test_the_first_stage_trains_the_vision_encoder_only() -> None:
    """Its loss falls, and the text decoder keeps its weights."""
    model, processor = blip()
    vision, text = weights(model.vision_model), weights(model.text_decoder)
    losses: list[float] = []

    captioner.train_vision((model, processor), SAMPLES, Course(25, 4, 5e-3, 0), "cpu", losses.append)

    assert len(losses) == 25
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])
    assert not torch.equal(weights(model.vision_model), vision)
    assert torch.equal(weights(model.text_decoder), text)


def test_the_second_stage_learns_sentences() -> None:
    """The loss falls by a third within a few steps; afterwards the model is in evaluation mode and has no hook."""
    model, processor = blip()
    losses: list[float] = []

    captioner.train_captioner((model, processor), SAMPLES, Course(40, 4, 1e-2, 0), "cpu", losses.append)

    assert sum(losses[-5:]) < 0.67 * sum(losses[:5])
    assert not model.training
    assert not model.vision_model._forward_hooks


def test_equal_seeds_give_equal_losses() -> None:
    """Batches depend on the course's seed, heads on the seed of the networks."""
    losses: list[list[float]] = [[], []]
    for record in losses:
        network = blip()
        captioner.train_vision(network, SAMPLES, Course(2, 4, 1e-3, 5), "cpu", record.append)

    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
