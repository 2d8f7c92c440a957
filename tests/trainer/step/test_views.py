"""Random views: labels move with their pixels, and nothing else decides the view than the generators."""

import torch

from trainer.step.views import GAIN, NOISE, OFFSET, random_views


def generators(*seeds: int) -> list[torch.Generator]:
    """Return generators with these seeds."""
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def test_labels_move_with_their_pixels() -> None:
    """Pictures whose grey is their label still show it, up to colours and noise, in windows that differ."""
    labels = torch.arange(64 * 48).view(1, 64, 48).repeat(8, 1, 1)
    pixels = (labels / labels.max())[:, None].repeat(1, 3, 1, 1)

    views, seen = random_views(pixels, labels, generators(*range(8)))

    assert (views.shape, seen.shape) == ((8, 3, 56, 42), (8, 56, 42))
    shown = (seen / labels.max())[:, None]
    assert float((views - shown).abs().max()) < GAIN + OFFSET + 6 * NOISE
    assert len({int(one[0, 0]) for one in seen}) > 4
    assert {bool(one[0, 1] > one[0, 0]) for one in seen} == {True, False}
    assert 0 <= views.min() <= views.max() <= 1


def test_a_view_depends_on_its_generator_alone() -> None:
    """A picture has the same view in another batch, and a gradient reaches the window alone."""
    pixels = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    labels = torch.zeros(2, 64, 64, dtype=torch.uint8)

    together = random_views(pixels, labels, generators(3, 4))[0]
    alone = random_views(pixels[1:], labels[1:], generators(4))[0]

    assert torch.equal(together[1:], alone)
    (gradient,) = torch.autograd.grad(alone.sum(), pixels)
    assert int(gradient[1, 0].count_nonzero()) <= 56 * 56
    assert gradient[0].count_nonzero() == 0 < gradient[1].count_nonzero()
