"""What the toy networks learn from."""

from collections import Counter
from itertools import islice

import numpy as np
import pytest

from segkit.toy import world
from segkit.toy.learn import lessons


@pytest.fixture(scope="module")
def rendered() -> list[lessons.Lesson]:
    """Forty lessons."""
    return [lessons.lesson(number) for number in range(40)]


def test_no_lesson_is_a_held_out_scene(rendered: list[lessons.Lesson]) -> None:
    """Lesson 0 is the scene of seed 1,000,000, far from the seeds that figures and the demo use."""
    assert rendered[0].photo.tobytes() == world.scene(1_000_000, lessons.SIZES[0]).photo.tobytes()


def test_lessons_rendered_on_several_cores_are_the_same(rendered: list[lessons.Lesson]) -> None:
    """Processes change neither order nor content."""
    again = lessons.render(6)

    assert [each.photo.tobytes() for each in again] == [each.photo.tobytes() for each in rendered[:6]]


def test_a_mirrored_lesson_is_true(rendered: list[lessons.Lesson]) -> None:
    """Photo, labels and words are mirrored together, and twice is once more the same."""
    lesson = next(each for each in rendered if "left" in each.sentence)

    mirrored = lesson.mirrored()

    assert (mirrored.labels[:, ::-1] == lesson.labels).all()
    assert (np.asarray(mirrored.photo)[:, ::-1] == np.asarray(lesson.photo)).all()
    assert mirrored.sentence.count("right") == lesson.sentence.count("left")
    assert mirrored.mirrored().sentence == lesson.sentence


def test_batches_have_one_shape_and_come_from_the_seed(rendered: list[lessons.Lesson]) -> None:
    """Photos of a batch can be stacked once they are scaled; equal seeds draw equal batches, others do not."""

    def drawn(seed: int) -> list[list[str]]:
        return [[each.sentence for each in batch] for batch in islice(lessons.batches(rendered, 4, seed), 8)]

    for batch in islice(lessons.batches(rendered, 4, 0), 30):
        assert len({each.photo.width / each.photo.height for each in batch}) == 1
    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_each_lesson_comes_once_before_any_comes_again(rendered: list[lessons.Lesson]) -> None:
    """A round of mixed batches holds every lesson, mirrored or not."""
    seen = Counter(
        min(each.photo.tobytes(), each.mirrored().photo.tobytes())
        for batch in islice(lessons.batches(rendered, 8, 0, mixed=True), 5)
        for each in batch
    )

    assert len(seen) == 40
    assert set(seen.values()) == {1}


def test_too_few_lessons_are_an_error(rendered: list[lessons.Lesson]) -> None:
    """A batch that can never be filled is told at once."""
    with pytest.raises(ValueError, match="do not fill a batch"):
        next(lessons.batches(rendered[:3], 8, 0))
