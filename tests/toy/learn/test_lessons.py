"""Training data of the toy networks."""

from collections import Counter
from itertools import islice

import numpy as np
import pytest

from segkit.toy import world
from segkit.toy.learn import lessons


@pytest.fixture(scope="module")
def samples() -> list[lessons.Lesson]:
    """Forty samples."""
    return [lessons.lesson(number) for number in range(40)]


def test_training_scenes_are_not_held_out(samples: list[lessons.Lesson]) -> None:
    """Sample 0 is the scene of seed 1,000,000, far from the seeds of evaluation and demo."""
    assert samples[0].photo.tobytes() == world.scene(1_000_000, lessons.SIZES[0]).photo.tobytes()


def test_parallel_rendering_gives_the_same_samples(samples: list[lessons.Lesson]) -> None:
    """Worker processes change neither order nor content."""
    again = lessons.render(6)

    assert [each.photo.tobytes() for each in again] == [each.photo.tobytes() for each in samples[:6]]


def test_a_mirrored_sample_is_consistent(samples: list[lessons.Lesson]) -> None:
    """Photo, labels and sentence are mirrored together, and mirroring twice restores the sample."""
    sample = next(sample for sample in samples if "left" in sample.sentence)

    mirrored = sample.mirrored()

    assert (mirrored.labels[:, ::-1] == sample.labels).all()
    assert (np.asarray(mirrored.photo)[:, ::-1] == np.asarray(sample.photo)).all()
    assert mirrored.sentence.count("right") == sample.sentence.count("left")
    assert mirrored.mirrored().sentence == sample.sentence


def test_batches_have_one_aspect_ratio_and_depend_on_the_seed(samples: list[lessons.Lesson]) -> None:
    """The photos of a batch can be stacked after scaling; equal seeds give equal batches, other seeds do not."""

    def sentences(seed: int) -> list[list[str]]:
        return [[each.sentence for each in batch] for batch in islice(lessons.batches(samples, 4, seed), 8)]

    for batch in islice(lessons.batches(samples, 4, 0), 30):
        assert len({each.photo.width / each.photo.height for each in batch}) == 1
    assert sentences(1) == sentences(1)
    assert sentences(1) != sentences(2)


def test_an_epoch_contains_every_sample_once(samples: list[lessons.Lesson]) -> None:
    """Five mixed batches of eight contain each of the forty samples once, mirrored or not."""
    counts = Counter(
        min(each.photo.tobytes(), each.mirrored().photo.tobytes())
        for batch in islice(lessons.batches(samples, 8, 0, mixed=True), 5)
        for each in batch
    )

    assert len(counts) == 40
    assert set(counts.values()) == {1}


def test_too_few_samples_are_an_error(samples: list[lessons.Lesson]) -> None:
    """A batch size larger than the training set is reported immediately."""
    with pytest.raises(ValueError, match="do not fill a batch"):
        next(lessons.batches(samples[:3], 8, 0))
