"""Quality of label maps."""

import numpy as np
import pytest

from segkit.maps import metrics
from segkit.palette import Palette

ADE = Palette.load("ade20k")


def labels(*rows: list[int]) -> np.ndarray:
    """Return a small label map."""
    return np.array(rows, np.uint8)


def test_accuracy_and_miou() -> None:
    """Accuracy counts pixels; mIoU averages over classes in the truth, without those that were only predicted."""
    counts = metrics.confusion(labels([0, 0, 1, 1]), labels([0, 0, 1, 2]))

    quality = metrics.map_quality(counts, 1, ADE)

    assert quality.accuracy == 0.75
    assert quality.iou == {"wall": 1.0, "building": 0.5}
    assert quality.miou == 0.75


def test_unlabelled_truth_is_ignored() -> None:
    """Pixels with unlabelled truth do not count; an unlabelled prediction is an error."""
    counts = metrics.confusion(labels([255, 3, 3]), labels([0, 3, 255]))

    assert metrics.map_quality(counts, 1, ADE).accuracy == 0.5


def test_an_empty_confusion_matrix_is_refused() -> None:
    """Without a pixel, accuracy and mIoU are undefined."""
    with pytest.raises(ValueError, match="no pixel"):
        metrics.map_quality(np.zeros((256, 256), np.int64), 0, ADE)


def test_sparse_counts_add_up_to_the_confusion_matrix() -> None:
    """Counts of single maps, summed, equal the confusion matrix of all, unlabelled pixels left out."""
    rng = np.random.default_rng(0)
    pairs = [tuple(rng.choice([0, 3, 149, 255], (2, 9, 7)).astype(np.uint8)) for _ in range(3)]

    counts = [metrics.count_pairs(truth, predicted) for truth, predicted in pairs]

    expected = sum((metrics.confusion(truth, predicted) for truth, predicted in pairs), metrics.empty_confusion())
    assert np.array_equal(metrics.total(counts), expected)
    quality = metrics.map_quality(expected, 3, ADE)
    summed = metrics.class_counts(counts, len(ADE)).sum(0)
    assert float(metrics.mean_iou(summed)) == pytest.approx(quality.miou)
    assert float(metrics.pixel_accuracy(summed)) == pytest.approx(quality.accuracy)


def test_scores_by_hand() -> None:
    """Wall: 2 of 3 pixels shared; building: 1 of 3; a class that is only predicted has no IoU but costs accuracy."""
    counts = metrics.class_counts([metrics.count_pairs(labels([0, 0, 0, 1, 1]), labels([0, 0, 1, 1, 2]))], 4)[0]

    assert counts.tolist() == [[2, 1, 0, 0], [3, 2, 0, 0], [2, 2, 1, 0]]
    assert metrics.class_iou(counts)[:2].tolist() == pytest.approx([2 / 3, 1 / 3])
    assert np.isnan(metrics.class_iou(counts)[2:]).all()
    assert float(metrics.mean_iou(counts)) == pytest.approx(1 / 2)
    assert float(metrics.pixel_accuracy(counts)) == pytest.approx(3 / 5)
    assert float(metrics.frequency_weighted_iou(counts)) == pytest.approx(3 / 5 * 2 / 3 + 2 / 5 * 1 / 3)


def test_nothing_to_compare_has_no_score() -> None:
    """Counts of no pixel give NaN, without a warning; no map gives no counts."""
    nothing = np.zeros((2, 3, 5))

    for score in (metrics.mean_iou, metrics.pixel_accuracy, metrics.frequency_weighted_iou):
        assert np.isnan(score(nothing)).all()
    assert metrics.class_counts([], 5).shape == (0, 3, 5)


@pytest.mark.parametrize("radius", [1, 2, 3])
def test_a_boundary_is_what_an_erosion_removes(radius: int) -> None:
    """Compared with each class's mask, eroded pixel by pixel; beyond the edge of the picture there is no class."""
    rng = np.random.default_rng(radius)
    picture = np.kron(rng.integers(0, 3, (3, 4)), np.ones((5, 4))).astype(np.uint8)
    height, width = picture.shape

    def is_inside(y: int, x: int) -> bool:
        near = [(y + dy, x + dx) for dy in range(-radius, radius + 1) for dx in range(-radius, radius + 1)]
        return all(0 <= v < height and 0 <= u < width and picture[v, u] == picture[y, x] for v, u in near)

    expected = [[not is_inside(y, x) for x in range(width)] for y in range(height)]
    assert metrics.boundary(picture, radius).tolist() == expected


def test_boundary_iou_by_hand() -> None:
    """Two halves, of which the prediction shifts the border by a pixel: the inner pixels of both do not count."""
    truth, predicted = (np.repeat([[0] * split + [1] * (12 - split)], 12, 0).astype(np.uint8) for split in (6, 7))
    assert metrics.boundary_radius(12, 12) == 1

    counts = metrics.class_counts([metrics.count_boundary_pairs(truth, predicted)], 2)[0]

    # frames, 1 wide, of 6 x 12 and 7 x 12 on the left: they share column 0 and the ends of columns 1 to 5
    assert counts[:, 0].tolist() == [12 + 2 * 5, 32, 34]
    # frames of 6 x 12 and 5 x 12 on the right: they share column 11 and the ends of columns 7 to 10
    assert counts[:, 1].tolist() == [12 + 2 * 4, 32, 30]


def test_boundaries_end_where_the_truth_is_unlabelled() -> None:
    """A prediction that continues into an unlabelled area has its boundary where the truth has it."""
    truth = np.zeros((12, 12), np.uint8)
    truth[:, 6:] = 255

    counts = metrics.class_counts([metrics.count_boundary_pairs(truth, np.zeros_like(truth))], 1)[0]

    assert counts[:, 0].tolist() == [32, 32, 32]
