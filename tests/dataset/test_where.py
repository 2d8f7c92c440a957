"""Conditions on triples: each one holds where it should, and mistakes are explained."""

import pytest
from msgspec.structs import replace

from segkit.dataset import where
from segkit.dataset.triple import PERSON, Triple
from segkit.errors import SegkitError
from segkit.maps.codec import ClassShare
from segkit.palette import Palette
from tests.dataset.test_triple import record

ADE20K = Palette.load("ade20k")
CLASSES = (ClassShare("person", 0.4, 0.9), ClassShare("wall", 0.3, 0.2))
TRIPLE = replace(
    Triple.from_json(record(text="A bright Kitchen", tokens=5, licence="CC0 1.0", score=7, source="kitchen/a b.jpg")),
    classes=CLASSES, problems=("prompt-cut",), prompt=PERSON, split="val",
)  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "class:person", "class:person share>0.3", "class:person share>=40%", "class:wall confidence<0.5",
        "class:individual",
        "text:kitchen", "text:'bright kitchen'", "source:kitchen/*", "source:'*a b*'", "key:abab", "split:val",
        "review:open", "by:person", "flag:prompt-cut", "tokens=5", "width<65", "height>=64", "labelled<0.8",
        "licence:'CC0 1.0'", "score>6.5", "score:7", "class=person split=val",
    ],
)  # fmt: skip
def test_a_condition_holds_and_its_negation_does_not(text: str) -> None:
    """Fields, comparisons and columns that somebody added; several conditions must all hold."""
    assert where.parse(text, ADE20K)(TRIPLE)
    assert not where.parse(f"{text} -width:64", ADE20K)(TRIPLE)
    if " " not in text:
        assert not where.parse(f"-{text}", ADE20K)(TRIPLE)


@pytest.mark.parametrize(
    "text",
    ["class:bed", "class:person share>0.5", "class:bed share<0.9", "split:train", "licence:mit", "score>7"],
)
def test_a_condition_that_does_not_hold(text: str) -> None:
    """A share is that of the class before it; a column that is missing meets no condition."""
    assert not where.parse(text, ADE20K)(TRIPLE)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty. Expected conditions: class:NAME"),
        ("person", "'person' is not understood. Expected conditions: class:NAME"),
        ("class:", "'class:' is not understood"),
        ("share>0.3", "needs the class before it: class:person share>0.3"),
        ("class:persn", "'persn' is not a class"),
        ("tokens>many", "'many' is not a number"),
        ("tokens>77%", "'77%' is not a number"),
        ("class:person share>3", "expected a share from 0 to 1"),
        ("width>nan", "expected a finite number"),
        ("-split:vla", "expected train, val or test"),
        ("review:foo", "expected open, accepted or rejected"),
        ("by:ghost", "expected person, model or nobody"),
        ("flag:foo", "expected prompt-cut"),
        ("key:zz", "expected the first hex digits"),
        ("text>3", "expected text:3"),
        ("height!=3", "is not understood"),
        ("--class:person", "is not understood"),
        ("text:'a", "No closing quotation"),
    ],
)
def test_a_mistake_is_explained(text: str, message: str) -> None:
    """What cannot be read is refused with what is expected."""
    with pytest.raises(SegkitError) as refused:
        where.parse(text, ADE20K)

    assert message in str(refused.value)
