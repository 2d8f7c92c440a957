"""Collisions: classes that are confused by colour or by name."""

import re
from collections.abc import Sequence
from dataclasses import replace

import pytest

from segkit.palette import Palette, collisions
from segkit.palette.tables import Swatch
from segkit.problem import Problem

ADE = Palette.load("ade20k")


def swatch(index: int, name: str, *rgb: int) -> Swatch:
    """Return a class without synonyms."""
    red, green, blue = rgb
    return Swatch(index, name, (), (red, green, blue))


def within(swatches: Sequence[Swatch], name: str, min_distance: float = 10) -> list[Problem]:
    """Check a palette without comparing it with others."""
    return collisions.check(swatches, name, (), min_distance).problems


def rules(problems: list[Problem]) -> list[tuple[str, str]]:
    """Return the rule and severity of each problem."""
    return [(problem.rule, problem.severity) for problem in problems]


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ((100, 100, 100), [("equal-colours", "error")]),
        ((100, 100, 109), [("near-colours", "warning")]),
        ((106, 107, 100), [("near-colours", "warning")]),
        ((106, 108, 100), []),
        ((100, 100, 110), []),
    ],
)
def test_pairs_closer_than_the_distance_are_reported(
    other: tuple[int, int, int], expected: list[tuple[str, str]]
) -> None:
    """Equal colours are errors, colours closer than 10 (L2) are warnings, and exactly 10 is far enough."""
    problems = within([swatch(0, "lawn", 100, 100, 100), swatch(1, "pond", *other)], "mine")

    assert rules(problems) == expected


def test_a_near_pair_is_reported_with_both_names_and_the_distance() -> None:
    """The message names both classes, their distance and colours; the cure states which colour to change."""
    problems = within([swatch(0, "lawn", 100, 100, 100), swatch(1, "pond", 103, 104, 100)], "mine")

    assert problems[0].message == (
        "lawn (0) and pond (1) are 5.00 apart (#646464, #676864; L∞ 4, CIEDE2000 2.93; safe for a drift below 2.50)."
    )
    assert problems[0].cure == "Choose another colour for lawn, at least 10 from all others."


def test_zero_distance_finds_equal_colours_only() -> None:
    """At a minimum distance of 0 only equal colours are reported."""
    swatches = [swatch(0, "a", 9, 9, 90), swatch(1, "b", 9, 9, 91), swatch(2, "c", 9, 9, 90)]

    assert rules(within(swatches, "mine", 0)) == [("equal-colours", "error")]


@pytest.mark.parametrize(
    ("rgb", "rule", "severity"), [((0, 0, 0), "equal-colours", "error"), ((0, 6, 7), "near-colours", "warning")]
)
def test_black_is_reserved(rgb: tuple[int, int, int], rule: str, severity: str) -> None:
    """A class in the colour of unlabelled pixels is an error, a class near it a warning."""
    problems = within([swatch(0, "tar", *rgb)], "mine")

    assert rules(problems) == [(rule, severity)]
    assert "tar (0) and unlabelled (255)" in problems[0].message


def test_repeated_names_are_errors() -> None:
    """Two classes whose names differ only in case and separators are reported with their indices."""
    problems = within([swatch(0, "pool table", 9, 9, 99), swatch(1, "Pool_Table", 99, 9, 9)], "mine")

    assert rules(problems) == [("repeated-name", "error")]
    assert problems[0].message == "Pool_Table is the name of classes 0 and 1."


@pytest.mark.parametrize("min_distance", [10, 107])
def test_quirks_of_the_published_palettes_are_known(min_distance: float) -> None:
    """Near colours of the published palettes never count against the user, at any distance."""
    problems = collisions.check(list(ADE), "ade20k", ["coco_panoptic"], min_distance).problems

    assert {problem.severity for problem in problems} == {"known"}


def test_ade_has_two_pairs_closer_than_ten() -> None:
    """Road and skyscraper, and grass and bottle, are the only pairs of ADE20K closer than 10."""
    problems = [problem for problem in within(list(ADE), "ade20k") if problem.rule != "ambiguous-name"]

    assert [problem.message.split(" are ")[0] for problem in problems] == [
        "road (6) and skyscraper (48) share #8C8C8C.",
        "grass (9) and bottle (98)",
    ]


def test_a_class_shared_with_another_palette_does_not_clash() -> None:
    """ADE20K's person in its own colour does not clash, nor under a synonym; a robot in that colour does."""
    red, green, blue = ADE.find("person").rgb
    person, synonym, robot = (swatch(0, name, red, green, blue) for name in ("Person", "somebody", "robot"))

    assert collisions.between([person], ADE, 10) == []
    assert collisions.between([synonym], ADE, 10) == []
    assert [(pair.b.name, pair.severity) for pair in collisions.between([robot], ADE, 10)] == [("person", "error")]


def test_a_clashing_new_class_is_reported_once() -> None:
    """ADE20K with a clashing class added gives one finding, which asks to change the new class."""
    swatches = [*ADE, swatch(150, "solar panel", 120, 120, 121)]

    problems = collisions.check(swatches, "mine", ["ade20k"]).problems

    mine = [problem for problem in problems if problem.severity != "known"]
    assert len(mine) == 1
    assert mine[0].message.startswith("wall (0) and solar panel (150) are 1.00 apart (#787878, #787879; L∞ 1, ")
    assert mine[0].cure.startswith("Choose another colour for solar panel")


def test_ambiguous_words_are_reported() -> None:
    """A name or synonym shared with another class is a warning; the ambiguities of ADE20K itself are known."""
    couch = Swatch(150, "couch", (), (168, 119, 255))
    swatches = [*ADE, couch, Swatch(151, "glasshouse", ("couch",), (118, 254, 71))]

    problems = [problem for problem in within(swatches, "mine") if problem.rule == "ambiguous-name"]

    mine = [problem.message for problem in problems if problem.severity == "warning"]
    known = [problem.message for problem in problems if problem.severity == "known"]
    assert mine == ["couch means sofa (23) and couch (150) and glasshouse (151)."]
    assert "ground means earth (13) and land (94)." in known


def test_a_new_class_under_the_plural_of_another_is_reported() -> None:
    """Also in another spelling; a different name is none of these."""
    rows = [Swatch(150, "Arm chairs", (), (168, 119, 255)), Swatch(151, "chair lift", (), (118, 254, 71))]

    problems = [problem for problem in within([*ADE, *rows], "mine") if problem.severity == "warning"]

    assert [problem.message for problem in problems] == [
        "Arm chairs (150) is another form of the name of armchair (30)."
    ]


def test_classes_that_another_palette_has_in_another_colour_are_reported() -> None:
    """Both names and synonyms are compared; an extension of a palette may reuse names of other palettes."""
    swatches = [
        swatch(0, "couch", 168, 119, 255),
        swatch(1, "sky", 255, 234, 64),
        ADE.find("wall"),
        swatch(3, "robot", 0, 0, 116),
    ]

    problems = collisions.check(swatches, "mine", ["ade20k"]).problems

    assert [problem.message for problem in problems if problem.rule == "known-class"] == [
        "couch (0) is #A877FF here; in ade20k it is #0B66FF, called sofa (23).",
        "sky (1) is #FFEA40 here; in ade20k it is #06E6E6.",
    ]
    extended = collisions.check([*ADE, swatch(150, "cat", 118, 254, 71)], "mine").problems
    assert [problem for problem in extended if problem.severity != "known"] == []


def test_a_pair_has_a_json_form() -> None:
    """It holds names, colours, three distances and the margin, rounded to hundredths."""
    result = collisions.check([swatch(0, "lawn", 100, 100, 100), swatch(1, "pond", 103, 104, 100)], "mine", ())

    assert [pair.to_json() for pair in result.pairs] == [
        {
            "a": {"index": 0, "name": "lawn", "hex": "#646464"},
            "b": {"index": 1, "name": "pond", "hex": "#676864", "palette": ""},
            "severity": "warning",
            "l2": 5.0,
            "linf": 4,
            "ciede2000": 2.93,
            "margin": 2.5,
        }
    ]


def test_swapped_red_and_blue_are_recognised() -> None:
    """They give one finding for all classes; a single class with swapped channels does not count."""
    swapped = [replace(original, rgb=original.rgb[::-1]) for original in ADE]
    problems = collisions.check(swapped, "mine", ["ade20k"]).problems
    messages = [problem.message for problem in problems if problem.rule == "swapped-channels"]

    assert not any(problem.rule == "known-class" for problem in problems)
    assert len(messages) == 1
    assert re.match(r"mine: red and blue are swapped in (\d+) of the \1 classes that ade20k has", messages[0])
    one = [*ADE.swatches[:149], replace(ADE[149], rgb=ADE[149].rgb[::-1])]
    assert "swapped-channels" not in [problem.rule for problem in collisions.check(one, "mine", ["ade20k"]).problems]
