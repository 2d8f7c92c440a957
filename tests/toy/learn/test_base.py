"""Training of the toy Stable Diffusion: losses fall, and both stages change the right networks."""

from typing import Any

import pytest
import torch
from PIL.Image import Resampling

from segkit.models import hub
from segkit.toy.learn import base, diffusion, lessons
from segkit.toy.learn.course import Course
from segkit.toy.world import grammar

SAMPLES = [lessons.lesson(number, (base.SIZE,)) for number in range(6)]


def pipeline() -> Any:
    """Return an untrained Stable Diffusion."""
    with hub.quiet():
        return diffusion.stable_diffusion(grammar.vocabulary())


def weights(network: Any) -> torch.Tensor:
    """Return a copy of all weights in one vector."""
    return torch.cat([weight.detach().flatten() for weight in network.parameters()])


@pytest.fixture(scope="module")
def trained() -> tuple[Any, list[float], list[float]]:
    """A pipeline after a few steps of both stages, and the losses."""
    network = pipeline()
    vae_losses: list[float] = []
    unet_losses: list[float] = []
    base.train_vae([network], SAMPLES, Course(5, 3, 2e-3, 0), "cpu", vae_losses.append)
    base.train_unet([network], SAMPLES, Course(5, 3, 2e-3, 0), "cpu", unet_losses.append)
    return network, vae_losses, unet_losses


def test_both_losses_fall(trained: tuple[Any, list[float], list[float]]) -> None:
    """Each stage reports one loss for each step."""
    for losses in trained[1:]:
        assert len(losses) == 5
        assert losses[-1] < 0.9 * losses[0]


def test_all_networks_are_trained_and_left_in_evaluation_mode(trained: tuple[Any, list[float], list[float]]) -> None:
    """VAE, UNet and text encoder differ from the untrained ones."""
    before = pipeline()

    for name in ("vae", "unet", "text_encoder"):
        network = getattr(trained[0], name)
        assert not network.training
        assert not torch.equal(weights(network), weights(getattr(before, name)))


def test_latents_have_a_standard_deviation_of_one(trained: tuple[Any, list[float], list[float]]) -> None:
    """The scaling factor is measured on the training photos and their mirror images."""
    vae = trained[0].vae
    photos = torch.stack([torch.tensor(list(s.photo.resize((64, 64), Resampling.LANCZOS).tobytes())) for s in SAMPLES])

    pixels = photos.reshape(-1, 64, 64, 3).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        latents = vae.encode(torch.cat([pixels, pixels.flip(3)])).latent_dist.mean
    assert float(latents.std()) * vae.config.scaling_factor == pytest.approx(1, abs=0.01)


def test_the_first_stage_leaves_the_other_networks() -> None:
    """Equal seeds give equal losses, and UNet and text encoder keep their weights."""
    losses: list[list[float]] = [[], []]
    for record in losses:
        network = pipeline()
        before = weights(network.unet)
        base.train_vae([network], SAMPLES[:1], Course(1, 2, 1e-3, 3), "cpu", record.append)

    assert losses[0] == losses[1]
    assert torch.equal(weights(network.unet), before)
