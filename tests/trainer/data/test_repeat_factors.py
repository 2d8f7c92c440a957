"""Photos with rare classes are repeated, others are not."""

from pathlib import Path

import numpy as np
import pytest

from segkit.errors import UsageError
from segkit.maps import codec
from segkit.palette import Palette
from tests.trainer.data.test_batches import example
from trainer.data import repeat_factors
from trainer.data.buckets import BatchOrder
from trainer.data.examples import Example

ADE = Palette.load("ade20k")


def one_class(folder: Path, label: int, specks: int = 0) -> Example:
    """Write a map of one class, with some pixels of class 9."""
    labels = np.full((20, 20), label, np.uint8)
    labels.ravel()[:specks] = 9
    path = folder / f"{label}-{specks}.png"
    path.write_bytes(codec.encode(labels, ADE))
    return Example(path, path, "", 20, 20)


@pytest.mark.parametrize(("specks", "factor"), [(2, 1.0), (3, 1.4142)])
def test_a_speck_does_not_count(tmp_path: Path, specks: int, factor: float) -> None:
    """A class in one of twenty photos counts if it covers more than 0.5 % of the pixels, which are 2 of 400."""
    photos = [one_class(tmp_path, 1)] * 19 + [one_class(tmp_path, 1, specks)]
    assert repeat_factors.weights(photos, ADE).tolist() == [1.0] * 19 + [pytest.approx(factor, abs=1e-4)]


def test_common_classes_and_unlabelled_pixels_are_not_repeated(tmp_path: Path) -> None:
    """A class in a tenth of the photos has the factor 1, and a map without any label has no rare class."""
    photos = [one_class(tmp_path, 1)] * 8 + [one_class(tmp_path, 2), one_class(tmp_path, 255)]
    assert repeat_factors.weights(photos, ADE).tolist() == [1.0] * 10


def test_rare_classes_are_sampled_more_often(tmp_path: Path) -> None:
    """The only photo of forty with a class counts sqrt(0.1 / (1 / 40)) = 2 times; without a palette it is an error."""
    common = [example(tmp_path, seed, (64, 64)) for seed in (1,)] * 39
    rare = example(tmp_path, 2, (64, 64))
    weights = repeat_factors.weights([*common, rare], ADE)
    assert weights.tolist() == [1.0] * 39 + [pytest.approx(2.0)]

    order = BatchOrder([(64, 64)] * 40, 4, 0, weights)
    sampled = [place for number in range(order.batches * 50) for place in order[number]]
    assert sampled.count(39) / len(sampled) == pytest.approx(2 / 41, rel=0.05)
    with pytest.raises(UsageError, match="balance=True needs segmentation maps"):
        repeat_factors.weights([rare], None)
