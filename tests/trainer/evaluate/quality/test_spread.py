"""Diversity of the pictures of one map."""

import numpy as np
import pytest
from PIL import Image

from segkit.palette import perception
from trainer.evaluate.quality import spread


def test_lab_equals_that_of_single_colors() -> None:
    """Dark and bright colours go through both branches of both curves."""
    colors = np.random.default_rng(0).integers(0, 256, (40, 3), np.uint8)
    colors[:3] = [[0, 0, 0], [5, 9, 1], [255, 255, 255]]

    expected = [perception.lab((int(r), int(g), int(b))) for r, g, b in colors]

    assert spread.lab(colors) == pytest.approx(np.array(expected), abs=1e-9)


def test_diversity_of_colors_is_the_mean_over_pairs() -> None:
    """Of black, white and white, two of three pairs are 100 apart; of equal pictures the diversity is zero."""
    pictures = [Image.new("RGB", (48, 64), color) for color in ("black", "white", "white")]
    vectors = np.stack([spread.COLORS.embed(picture) for picture in pictures])
    maps = np.stack([vectors, vectors[[1, 1, 1]]], axis=1)  # (S, M, D)

    assert spread.of_colors(maps) == pytest.approx([200 / 3, 0], abs=1e-4)


def test_diversity_of_features_is_one_minus_cosine() -> None:
    """It does not depend on the lengths of the vectors."""
    drawings = np.array([[[1, 0], [2, 2]], [[0, 3], [5, 5]]], np.float32)

    assert spread.of_features(drawings) == pytest.approx([1, 0])
