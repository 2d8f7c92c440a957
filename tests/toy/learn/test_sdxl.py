"""Training of the toy Stable Diffusion XL: views of photos, and networks that learn from them."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from segkit.models import hub
from segkit.toy.learn import base, diffusion, lessons, sdxl
from segkit.toy.learn.course import Course
from segkit.toy.learn.sdxl import View
from segkit.toy.world import grammar

SAMPLES = [lessons.lesson(number, (base.SIZE,)) for number in range(6)]


def pipeline() -> Any:
    """Return an untrained Stable Diffusion XL."""
    with hub.quiet():
        return diffusion.stable_diffusion_xl(diffusion.stable_diffusion(grammar.vocabulary()))


def weights(network: Any) -> torch.Tensor:
    """Return a copy of all weights in one vector."""
    return torch.cat([weight.detach().flatten() for weight in network.parameters()])


def test_the_second_training_trains_all_but_the_vae() -> None:
    """The loss falls; UNet and both text encoders change and are left in evaluation mode, the VAE keeps its weights."""
    network, before = pipeline(), pipeline()
    losses: list[float] = []

    sdxl.train_unet([network], SAMPLES, Course(8, 3, 2e-3, 0), "cpu", losses.append)

    assert len(losses) == 8
    assert sum(losses[-2:]) < 0.9 * sum(losses[:2])
    for name in ("unet", "text_encoder", "text_encoder_2"):
        assert not getattr(network, name).training
        assert not torch.equal(weights(getattr(network, name)), weights(getattr(before, name)))
    assert torch.equal(weights(network.vae), weights(before.vae))
    projection = "text_projection.weight"
    assert not torch.equal(  # the pooled prompt is learned too
        network.text_encoder_2.get_parameter(projection), before.text_encoder_2.get_parameter(projection)
    )


def test_views_are_what_their_time_ids_say() -> None:
    """A crop shows the part of the photo that begins at its offset; mirrored, it begins at the other edge."""
    columns = np.broadcast_to(np.arange(128, dtype=np.uint8)[None, :, None], (128, 128, 3))
    photo = Image.fromarray(np.ascontiguousarray(columns))
    crop = View(side=64, source=128, scaled=80, top=5, left=10)

    shown = np.asarray(crop.photo(photo))[32, :, 0] / 128 * 80  # columns of the scaled photo

    assert (crop.time_ids(), crop.time_ids(mirrored=True)) == ((128, 128, 5, 10, 64, 64), (128, 128, 5, 6, 64, 64))
    assert shown[1:-1] == pytest.approx(np.arange(11, 73), abs=1)
    assert View(side=64, source=128, scaled=64).time_ids() == (128, 128, 0, 0, 64, 64)


def test_a_small_source_is_blurred() -> None:
    """A view of a source with few pixels has less detail than one of a large source."""
    photo = SAMPLES[0].photo.convert("L")

    detail = [np.abs(np.diff(np.asarray(View(64, side, 64).photo(photo), float))).mean() for side in (32, 128)]

    assert detail[0] < 0.9 * detail[1]


def test_drawn_views_lie_inside_their_photo() -> None:
    """About half are crops; those of equal seeds are equal; every source occurs."""
    views, again = ([sdxl.view(64, random) for _ in range(400)] for random in map(np.random.default_rng, (5, 5)))

    assert views == again
    assert {view.source for view in views} == set(sdxl.SOURCES)
    assert all(0 <= min(view.top, view.left) <= max(view.top, view.left) <= view.scaled - 64 <= 16 for view in views)
    assert 100 < sum(view.scaled > 64 for view in views) < 300
