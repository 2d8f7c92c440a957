"""Colours that could be taken for one another."""

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


def within(table: Sequence[Swatch], name: str, min_distance: float = 10) -> list[Problem]:
    """Return what is found in a table alone."""
    return collisions.check(table, name, (), min_distance).problems


def told(problems: list[Problem]) -> list[tuple[str, str]]:
    """Return rule and severity of each problem."""
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
def test_pairs_nearer_than_the_distance_are_found(other: tuple[int, int, int], expected: list[tuple[str, str]]) -> None:
    """Equal colours are errors, nearer ones than 10 (L2) warnings, those exactly 10 apart are far enough."""
    found = within([swatch(0, "lawn", 100, 100, 100), swatch(1, "pond", *other)], "mine")

    assert told(found) == expected


def test_a_near_pair_is_told_with_both_names_and_the_distance() -> None:
    """The message names both classes, their distance and colours; the cure says whose colour to change."""
    found = within([swatch(0, "lawn", 100, 100, 100), swatch(1, "pond", 103, 104, 100)], "mine")

    assert found[0].message == (
        "lawn (0) and pond (1) are 5.00 apart (#646464, #676864; L∞ 4, CIEDE2000 2.93; safe for a drift below 2.50)."
    )
    assert found[0].cure == "Give lawn another colour, at least 10 from all others."


def test_zero_distance_finds_equal_colours_only() -> None:
    """With a distance of 0 near colours pass and equal ones do not."""
    table = [swatch(0, "a", 9, 9, 90), swatch(1, "b", 9, 9, 91), swatch(2, "c", 9, 9, 90)]

    assert told(within(table, "mine", 0)) == [("equal-colours", "error")]


@pytest.mark.parametrize(
    ("rgb", "rule", "severity"), [((0, 0, 0), "equal-colours", "error"), ((0, 6, 7), "near-colours", "warning")]
)
def test_black_is_taken(rgb: tuple[int, int, int], rule: str, severity: str) -> None:
    """A class in the colour of unlabelled pixels is an error, one near it a warning."""
    found = within([swatch(0, "tar", *rgb)], "mine")

    assert told(found) == [(rule, severity)]
    assert "tar (0) and unlabelled (255)" in found[0].message


def test_repeated_names_are_errors() -> None:
    """Two classes of one name, but for case and blanks, are told with their indices."""
    found = within([swatch(0, "pool table", 9, 9, 99), swatch(1, "Pool_Table", 99, 9, 9)], "mine")

    assert told(found) == [("repeated-name", "error")]
    assert found[0].message == "Pool_Table is the name of classes 0 and 1."


@pytest.mark.parametrize("min_distance", [10, 107])
def test_quirks_of_the_published_tables_are_known(min_distance: float) -> None:
    """What is near in the published palettes is never the user's finding, whatever the distance."""
    found = collisions.check(list(ADE), "ade20k", ["coco_panoptic"], min_distance).problems

    assert {problem.severity for problem in found} == {"known"}


def test_ade_has_two_pairs_nearer_than_ten() -> None:
    """Road and skyscraper, grass and bottle, and no other pair, lie nearer than 10 in ADE."""
    found = [each for each in within(list(ADE), "ade20k") if each.rule != "ambiguous-name"]

    assert [problem.message.split(" are ")[0] for problem in found] == [
        "road (6) and skyscraper (48) share #8C8C8C.",
        "grass (9) and bottle (98)",
    ]


def test_a_class_known_elsewhere_by_name_and_colour_is_no_clash() -> None:
    """A table that takes person over from ADE does not clash, nor under a synonym; a robot does."""
    red, green, blue = ADE.find("person").rgb
    same, synonym, other = (swatch(0, name, red, green, blue) for name in ("Person", "somebody", "robot"))

    assert collisions.between([same], ADE, 10) == []
    assert collisions.between([synonym], ADE, 10) == []
    assert [(pair.b.name, pair.severity) for pair in collisions.between([other], ADE, 10)] == [("person", "error")]


def test_a_new_class_beside_the_published_ones_is_told_once() -> None:
    """ADE with a clashing class added gives one finding, and it is the new class that must change."""
    table = [*ADE, swatch(150, "solar panel", 120, 120, 121)]

    found = collisions.check(table, "mine", ["ade20k"]).problems

    mine = [problem for problem in found if problem.severity != "known"]
    assert len(mine) == 1
    assert mine[0].message.startswith("wall (0) and solar panel (150) are 1.00 apart (#787878, #787879; L∞ 1, ")
    assert mine[0].cure.startswith("Give solar panel another colour")


def test_words_that_mean_several_classes_are_told() -> None:
    """A new class under a synonym of another, and a synonym of two, are warnings; ADE's own are known."""
    couch = Swatch(150, "couch", (), (168, 119, 255))
    table = [*ADE, couch, Swatch(151, "glasshouse", ("couch",), (118, 254, 71))]

    found = [each for each in within(table, "mine") if each.rule == "ambiguous-name"]

    mine = [each.message for each in found if each.severity == "warning"]
    known = [each.message for each in found if each.severity == "known"]
    assert mine == ["couch means sofa (23) and couch (150) and glasshouse (151)."]
    assert "ground means earth (13) and land (94)." in known


def test_classes_that_another_palette_knows_are_told() -> None:
    """Under their own name or another, where the colour differs; an extension of a palette may name its own."""
    table = [
        swatch(0, "couch", 168, 119, 255),
        swatch(1, "sky", 255, 234, 64),
        ADE.find("wall"),
        swatch(3, "robot", 0, 0, 116),
    ]

    told = [each.message for each in collisions.check(table, "mine", ["ade20k"]).problems if each.rule == "known-class"]

    assert told == [
        "couch (0) is #A877FF here; in ade20k it is #0B66FF, called sofa (23).",
        "sky (1) is #FFEA40 here; in ade20k it is #06E6E6.",
    ]
    extended = collisions.check([*ADE, swatch(150, "cat", 118, 254, 71)], "mine").problems
    assert [each for each in extended if each.severity != "known"] == []


def test_a_pair_is_told_as_values() -> None:
    """Names, colours, three distances and the margin, rounded to hundredths."""
    found = collisions.check([swatch(0, "lawn", 100, 100, 100), swatch(1, "pond", 103, 104, 100)], "mine", ())

    assert [pair.to_json() for pair in found.pairs] == [
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


def test_a_table_with_red_and_blue_swapped_is_told_as_such() -> None:
    """One line for all its classes, not one for each; a table that only differs in a colour is none."""
    swapped = [replace(each, rgb=each.rgb[::-1]) for each in ADE]
    found = collisions.check(swapped, "mine", ["ade20k"]).problems
    told = [each.message for each in found if each.rule == "swapped-channels"]

    assert not any(each.rule == "known-class" for each in found)
    assert len(told) == 1
    assert re.match(r"mine: red and blue are swapped in (\d+) of the \1 classes that ade20k has", told[0])
    one = [*ADE.swatches[:149], replace(ADE[149], rgb=ADE[149].rgb[::-1])]
    assert "swapped-channels" not in [each.rule for each in collisions.check(one, "mine", ["ade20k"]).problems]
