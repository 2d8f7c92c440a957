"""Prompts: composed, counted, shortened at clause boundaries, flagged."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segkit.dataset import prompts
from segkit.dataset.prompts import Style
from segkit.errors import UsageError
from segkit.maps.codec import ClassShare

TEXTS = st.text(st.sampled_from(string.ascii_letters + " ,.;:'-é雨3"), max_size=300) | st.text(max_size=100)
ORDINARY = [
    "a living room with a couch and a table",
    "a man in a red shirt and a woman in a blue shirt",
    "a cup of tea and a cup of coffee on a table",
    "two dogs, a cat and a bird in front of a house",
    "a very very large building in the city",
    "a woman walking down the street with a dog on a leash",
    "cars parked side by side in front of a row of houses",
]


def shares(*pairs: tuple[str, float]) -> list[ClassShare]:
    """Return class shares from (name, share) pairs."""
    return [ClassShare(name, share, 1.0) for name, share in pairs]


@given(text=TEXTS, budget=st.integers(2, 77))
def test_shortened_prompts_fit(text: str, budget: int) -> None:
    """For any text, the result is within the budget and a prefix of the text."""
    short = prompts.shorten(text, prompts.estimate, budget)

    assert prompts.estimate(short) <= budget
    assert text.startswith(short)


@given(text=TEXTS)
def test_prompts_within_the_budget_are_unchanged(text: str) -> None:
    """A prompt that fits is returned as it is."""
    budget = prompts.estimate(text)

    assert prompts.shorten(text, prompts.estimate, budget) == text


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        (12, "a red room with a table, a chair and a lamp"),
        (11, "a red room with a table, a chair"),
        (8, "a red room with a table"),
        (6, "a red room"),
        (3, "a red"),
    ],
)
def test_cuts_fall_at_clauses(budget: int, expected: str) -> None:
    """Prompts are cut at a comma or before a conjunction; between words only if no clause fits."""
    text = "a red room with a table, a chair and a lamp near a window"

    short = prompts.shorten(text, lambda words: len(words.replace(",", "").split()) + 1, budget)

    assert short == expected


def test_a_cut_leaves_more_than_punctuation() -> None:
    """A prefix that consists only of commas is not accepted as a cut."""
    assert prompts.shorten(", , " + "x" * 400, prompts.estimate, 10).strip(" ,") != ""


@pytest.mark.parametrize("caption", ORDINARY)
def test_ordinary_captions_are_not_flagged(caption: str) -> None:
    """Natural captions raise no false alarm."""
    assert prompts.flags(caption) == ()


@pytest.mark.parametrize(
    ("caption", "flag"),
    [
        ("a room with a room with a", "prompt-repeats"),
        ("a dog on a bench on a bench", "prompt-repeats"),
        ("the the the the", "prompt-repeats"),
        ("A Room, a room, a room", "prompt-repeats"),
        ("", "prompt-empty"),
        (" . ", "prompt-empty"),
    ],
)
def test_bad_captions_are_flagged(caption: str, flag: str) -> None:
    """Repetitive and empty captions get their flag."""
    assert prompts.flags(caption) == (flag,)


@pytest.mark.parametrize("template", ["{captoin}", "{}", "{caption} {0}", "{caption", "caption}", "{{caption}}"])
def test_unknown_placeholders_are_refused(template: str) -> None:
    """A template with unknown placeholders or unmatched braces is refused at construction."""
    with pytest.raises(UsageError, match=r"template=.*: expected \{caption\} or \{classes\}"):
        Style(template=template)


@pytest.mark.parametrize(
    ("style", "expected"),
    [
        (Style(), "a room"),
        (Style(prefix="photo of"), "photo of a room"),
        (Style(suffix=", 35mm"), "a room, 35mm"),
        (Style(template="{caption}, {classes}"), "a room, wall, bed"),
        (Style(template="{classes}: {caption}"), "wall, bed: a room"),
    ],
)
def test_prompts_are_composed(style: Style, expected: str) -> None:
    """Prefix, template and suffix are joined, classes below 5 % left out and the caption's full stop dropped."""
    classes = shares(("wall", 0.6), ("bed", 0.3), ("lamp", 0.04))

    assert prompts.compose("a room.", classes, style) == expected


def test_empty_parts_leave_no_stray_commas() -> None:
    """An empty caption or a map without large classes leaves no comma behind."""
    style = Style(prefix="indoors,", template="{caption}, {classes}", suffix=", sharp")

    assert prompts.compose("", [], style) == "indoors, sharp"


def test_braces_in_captions_are_literal() -> None:
    """A caption's text is never treated as a placeholder."""
    assert prompts.compose("a sign {classes}", shares(("wall", 0.9)), Style()) == "a sign {classes}"


def test_long_drafts_are_cut_and_flagged() -> None:
    """A draft over 77 tokens is shortened, counted again and flagged in addition to the caption's flags."""
    caption = "a room with a room with a lamp, " * 12

    text, count, flags = prompts.draft(caption, [], Style(), prompts.estimate)

    assert count == prompts.estimate(text) <= prompts.BUDGET
    assert flags == ("prompt-repeats", "prompt-cut")


def test_an_empty_draft_has_no_tokens() -> None:
    """An empty prompt counts 0 tokens and is flagged."""
    assert prompts.draft("", [], Style(), prompts.estimate) == ("", 0, ("prompt-empty",))


def test_every_flag_is_explained() -> None:
    """Drafts can carry each key of FLAGS and no other flag."""
    drafts = ["", "the the the", "a long story, " * 60]
    flags = {flag for caption in drafts for flag in prompts.draft(caption, [], Style(), prompts.estimate)[2]}

    assert flags == set(prompts.FLAGS)


def test_a_long_caption_is_cut_before_prefix_and_suffix() -> None:
    """Prefix, suffix and class names survive; the caption is shortened to make room."""
    style = Style(prefix="photo of", suffix=", 35mm photograph", template="{caption}, {classes}")
    caption = "a room with a wide window, " * 12

    text, tokens, problems = prompts.draft(caption, [ClassShare("wall", 0.6, 0.9)], style, prompts.estimate)

    assert text.startswith("photo of a room with a wide window")
    assert text.endswith("wall, 35mm photograph")
    assert tokens <= prompts.BUDGET
    assert "prompt-cut" in problems
