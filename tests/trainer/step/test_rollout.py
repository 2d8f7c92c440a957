"""Rollouts: what sampling meets at a timestep, drawn from noise."""

from pathlib import Path

import pytest
import torch
from torch import nn

from tests.trainer.step.test_noise import schedule_of
from trainer.checkpoints import load
from trainer.checkpoints.families import SIZE_VALUES, Conditioning
from trainer.step.loss import ControlledUNet
from trainer.step.rollout import LAST, Inputs, Rollout

EMPTY = torch.zeros(77, 64)


@pytest.fixture(scope="module")
def model(base: Path) -> nn.Module:
    """The small networks, with a ControlNet whose residuals are not zero."""
    loaded = load.load_base(str(base))
    controlnet = load.load_controlnet("fresh", loaded)
    with torch.no_grad():
        for block in controlnet.controlnet_down_blocks:
            block.weight.normal_(std=0.02, generator=torch.Generator().manual_seed(0))
    return ControlledUNet(controlnet, loaded.unet)


def inputs(*timesteps: int) -> Inputs:
    """Return noise, a prompt and a map for each of the timesteps."""
    generator = torch.Generator().manual_seed(1)
    shapes = (4, 8, 8), (77, 64), (3, 64, 64)
    latents, prompts, maps = (torch.randn(len(timesteps), *shape, generator=generator) for shape in shapes)
    sizes = torch.zeros(len(timesteps), SIZE_VALUES)
    return Inputs(latents, torch.tensor(timesteps), prompts, maps.sigmoid(), sizes, Conditioning(64))


def test_a_rollout_is_guided_sampling_by_ddim(model: nn.Module) -> None:
    """Pictures that stop at different timesteps are those of sampling them one by one; no gradient is recorded."""
    schedule, places = schedule_of("epsilon"), torch.arange(4)
    start = inputs(LAST, 998, 600, 100)

    states = Rollout(2, 3.0, EMPTY).states(model, start, schedule)

    assert not states.latents.requires_grad
    assert torch.equal(states.timesteps, start.timesteps)
    assert torch.equal(states.latents[0], start.latents[0])
    with torch.no_grad():
        for place, path in ((1, [998]), (2, [600]), (3, [600, 100])):
            row = start.rows(places[place : place + 1])
            latents, timestep = row.latents, torch.tensor([LAST])
            for following in path:
                empty = model(latents, timestep, EMPTY[None], row.control)
                prompted = model(latents, timestep, row.prompts, row.control)
                prediction = empty + 3 * (prompted - empty)
                latents = schedule.ddim_step(latents, prediction, timestep, torch.tensor([following]))
                timestep = torch.tensor([following])
            torch.testing.assert_close(states.latents[place], latents[0], atol=2e-3, rtol=0)


@pytest.mark.parametrize(("gradient_steps", "watched"), [(1, 0), (2, 1), (3, 2), (0, 3)])
def test_the_gradient_flows_through_the_last_predictions(
    model: nn.Module, gradient_steps: int, watched: int
) -> None:  # fmt: skip
    """It is that of the same steps written out, of which only the last ones are recorded."""
    schedule, start, path = schedule_of("epsilon"), inputs(100), [766, 433, 100]
    weights = [weight for weight in model.parameters() if weight.requires_grad]

    state = Rollout(3, 1.0, EMPTY, gradient_steps).states(model, start, schedule)

    latents, timestep = start.latents, torch.tensor([LAST])
    for number, following in enumerate(path):
        with torch.set_grad_enabled(number >= len(path) - watched):
            prediction = model(latents, timestep, start.prompts, start.control)
            latents = schedule.ddim_step(latents, prediction, timestep, torch.tensor([following]))
        timestep = torch.tensor([following])
    assert state.latents.requires_grad == latents.requires_grad == bool(watched)
    torch.testing.assert_close(state.latents, latents)
    if watched:
        ours, theirs = (
            torch.autograd.grad(one.square().sum(), weights, allow_unused=True) for one in (state.latents, latents)
        )
        assert any(gradient is not None and gradient.abs().sum() > 0 for gradient in theirs)
        torch.testing.assert_close(ours, theirs)


def test_no_guidance_needs_no_unconditional_prediction(model: nn.Module) -> None:
    """With a scale of at most 1 there is one row for each picture."""
    plain, guided = Rollout(2, 1.0, EMPTY), Rollout(2, 3.0, EMPTY)
    start = inputs(600, 100)

    assert [len(one.guidable(start).latents) for one in (plain, guided)] == [2, 4]
    assert torch.equal(plain.guidable(start).predict(model), plain.guided(start.predict(model)))
