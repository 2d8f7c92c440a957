"""models.argmax: the class of every pixel equals argmax over the whole upsampled class volume."""

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from segkit.models import argmax

SIDES = st.integers(1, 40)
LAYOUTS = st.sampled_from([torch.contiguous_format, torch.channels_last])


@pytest.fixture(scope="module", autouse=True)
def _always_prune() -> Iterator[None]:
    """Use the code path of large pictures for small ones too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argmax, "_MAX_WHOLE_VOLUME", 0)
        yield


def reference(scores: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Upsample the whole volume, as transformers' post-processing does."""
    scaled = functional.interpolate(scores[None], size=size, mode="bilinear", align_corners=False)[0]
    return scaled.argmax(0), scaled.amax(0)


@settings(max_examples=80)
@given(
    seed=st.integers(0, 10**6),
    shape=st.tuples(st.integers(1, 40), SIDES, SIDES),
    size=st.tuples(st.integers(100, 150), st.integers(40, 90)),
    levels=st.sampled_from([0, 1, 2, 8]),
    scale=st.sampled_from([1e-3, 1.0, 1e4]),
    layout=LAYOUTS,
)
def test_equals_the_whole_volume(
    seed: int,
    shape: tuple[int, int, int],
    size: tuple[int, int],
    levels: int,
    scale: float,
    layout: torch.memory_format,
) -> None:
    """Classes and scores are bit-equal for any scaling, with ties, constant planes and sides of one pixel."""
    noise = torch.randn(1, *shape, generator=torch.Generator().manual_seed(seed))
    scores = (((noise * levels).round() / levels if levels else noise) * scale).contiguous(memory_format=layout)[0]

    classes, best = argmax.label(scores, size)

    expected, highest = reference(scores, size)
    assert torch.equal(classes.long(), expected)
    assert torch.equal(best, highest)


@pytest.mark.parametrize("classes", [4, 15, 16, 17, 19, 20, 133, 150])
def test_channels_last_rounds_as_torch_does(classes: int) -> None:
    """In the layout of batched SegFormer logits, scores are bit-equal for any number of classes."""
    scores = torch.randn(1, classes, 13, 17).contiguous(memory_format=torch.channels_last)[0]

    winners, best = argmax.label(scores, (211, 307))

    expected, highest = reference(scores, (211, 307))
    assert torch.equal(winners.long(), expected)
    assert torch.equal(best, highest)


def test_equal_scores_give_the_lowest_class() -> None:
    """Class 0 wins where all classes tie."""
    classes, best = argmax.label(torch.full((5, 3, 4), 0.25), (90, 70))

    assert set(classes.flatten().tolist()) == {0}
    assert set(best.flatten().tolist()) == {0.25}


def test_hopeless_classes_are_pruned() -> None:
    """Classes that never come near the best one are not candidates."""
    scores = torch.rand(100, 8, 8) * 0.4
    scores[7, :, :5] = 0.9
    scores[55, :, 4:] = 0.8

    candidates = argmax.candidates(scores)

    assert candidates.tolist() == [7, 55]
