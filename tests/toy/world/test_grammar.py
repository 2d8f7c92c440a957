"""The toy world's sentences."""

import re

import pytest

from segkit.toy import world
from segkit.toy.world import grammar


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        ("a couch under a picture", {"sofa", "painting"}),
        ("Two cars, a person and windows.", {"car", "person", "windowpane"}),
        ("a photo of an empty bedroom", set()),
        ("a country road with carpets", {"road", "rug"}),
        ("", set()),
    ],
)
def test_the_classes_of_a_text_are_found(text: str, classes: set[str]) -> None:
    """Words in any number and by any of their names stand for their class; others for none."""
    assert grammar.mentioned(text) == classes


def test_a_mirrored_sentence_swaps_left_and_right_and_twice_is_itself() -> None:
    """Only whole words are swapped."""
    text = "a bed on the left, a bright door on the right"

    assert grammar.mirrored(text) == "a bed on the right, a bright door on the left"
    assert grammar.mirrored(grammar.mirrored(text)) == text


def test_the_vocabulary_holds_every_word_said() -> None:
    """No sentence of 400 has a word that the captioner could not learn."""
    known = set(grammar.vocabulary())

    said = {word for seed in range(400) for word in re.findall(r"\w+|,", world.scene(seed, (96, 96)).sentence)}

    assert said <= known
    assert len(known) < 120
