"""Sentences of the toy world."""

import pytest

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
def test_mentioned_classes_are_found(text: str, classes: set[str]) -> None:
    """Every noun of a class counts, in singular and plural; other words do not."""
    assert grammar.mentioned(text) == classes


def test_a_mirrored_sentence_swaps_left_and_right_and_twice_is_itself() -> None:
    """Left and right are swapped as whole words only, and a second swap restores the sentence."""
    text = "a bed on the left, a bright door on the right"

    assert grammar.mirrored(text) == "a bed on the right, a bright door on the left"
    assert grammar.mirrored(grammar.mirrored(text)) == text
