"""A table is compared with the protocol that it is meant for, whatever its names are."""

from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segkit.palette import Palette, collisions, counterparts
from segkit.palette.tables import Swatch
from segkit.problem import Problem

ADE, COCO = Palette.load("ade20k"), Palette.load("coco_panoptic")
BARE = [replace(swatch, synonyms=()) for swatch in ADE]
NEW = Swatch(150, "solar panel", (), (168, 119, 255))


def problems(swatches: list[Swatch]) -> list[Problem]:
    """Check a palette against the shipped ones, without known quirks."""
    return [problem for problem in collisions.check(swatches, "mine").problems if problem.severity != "known"]


def renamed(**names: str) -> list[Swatch]:
    """Return ADE20K without synonyms, with some classes under other names."""
    return [replace(swatch, name=names.get(swatch.name, swatch.name)) for swatch in BARE]


def numbered(swatches: Iterable[Swatch]) -> list[Swatch]:
    """Return the classes with indices by position, as in a table without an index column."""
    return [replace(swatch, index=index) for index, swatch in enumerate(swatches)]


@pytest.mark.parametrize(
    "swatches",
    [
        renamed(sofa="couch"),
        renamed(sofa="Couch", tree="TREE", bed="Bed "),
        renamed(sofa="sofas", person="people", sky="Skies", bench="benches", shelf="shelves"),
        renamed(sofa="sofa, couch, lounge", windowpane="windowpane, window", door="door; double door"),
        renamed(sofa="sofa/couch", windowpane="window (windowpane)", van="van|caravan"),
        renamed(windowpane="window", bathtub="tub", railing="rail", airplane="plane", ashcan="trash can"),
        [*renamed(sofa="couch", road="route"), NEW],
        BARE,
        [replace(swatch, synonyms=()) for swatch in COCO],
        [replace(swatch, name=(*swatch.synonyms, swatch.name)[0], synonyms=()) for swatch in COCO],
    ],
    ids="synonym case plural list slash tools extended names coco coco-short".split(),
)
def test_a_protocol_under_other_names_has_no_findings(swatches: list[Swatch]) -> None:
    """Synonyms, other spellings and lists of synonyms name the same classes."""
    assert problems(swatches) == []


def test_one_wrong_colour_is_one_finding() -> None:
    """The cure is the colour in the table's own protocol; COCO's colours would be wrong advice."""
    wrong = [replace(swatch, rgb=(1, 200, 77)) if swatch.name == "bed" else swatch for swatch in renamed(sofa="couch")]

    (problem,) = problems(wrong)

    assert (problem.rule, problem.message) == ("known-class", "bed (7) is #01C84D here; in ade20k it is #CC05FF.")


def test_names_in_another_language_are_one_finding() -> None:
    """Colours and indices show the protocol; 150 unknown names are told at once."""
    (problem,) = problems([replace(swatch, name=f"Klasse {swatch.index}") for swatch in BARE])

    assert (problem.rule, problem.severity) == ("unknown-name", "warning")
    assert "Klasse 0 (0) for wall, Klasse 1 (1) for building, Klasse 2 (2) for sky and 147 more" in problem.message


@given(st.integers(0, 148))
def test_a_missing_class_is_named_with_what_it_shifts(index: int) -> None:
    """149 rows without an index column give the later classes other indices, which is an error."""
    (problem,) = problems(numbered([*BARE[:index], *BARE[index + 1 :]]))

    shifted = f"{BARE[index + 1].name} is class {index} here and {index + 1} there"
    assert (problem.rule, problem.severity) == ("missing-class", "error")
    assert f"149 of the 150 classes of ade20k; missing: {BARE[index].name} ({index}); {shifted}" in problem.message


@pytest.mark.parametrize(
    ("swatches", "severity", "missing"),
    [
        (BARE[:149], "warning", "missing: flag (149)."),
        ([*BARE[:75], *BARE[76:]], "warning", "missing: swivel chair (75)."),
        (numbered(COCO.swatches[1:]), "error", "132 of the 133 classes of coco_panoptic; missing: person (0); bicycle"),
        (numbered([*BARE[:23], *renamed(sofa="couch")[24:], NEW]), "error", "missing: sofa (23); shelf is class"),
        (BARE[:140], "warning", "glass (147) and 2 more."),
    ],
    ids="last gap coco extended ten".split(),
)
def test_missing_classes_of_other_tables(swatches: list[Swatch], severity: str, missing: str) -> None:
    """The last class shifts none; several are listed; a new class does not stand in for a missing one."""
    (problem,) = problems(swatches)

    assert (problem.rule, problem.severity) == ("missing-class", severity)
    assert missing in problem.message


def test_another_order_is_one_finding() -> None:
    """A table sorted by name holds all classes under indices that no network predicts."""
    (problem,) = problems(numbered(sorted(BARE, key=lambda swatch: swatch.name)))

    assert problem.rule == "class-order"
    assert "wall is class 144 here and 0 there, and 147 more have other indices" in problem.message


def test_a_selection_of_classes_lacks_none() -> None:
    """Twenty classes of ADE20K are a palette of their own."""
    assert problems(numbered(BARE[:20])) == []


@pytest.mark.parametrize(
    ("choose", "protocol"),
    [
        (lambda: BARE, "ade20k"),
        (lambda: [*BARE, *(replace(NEW, name=f"n{index}", index=index) for index in range(150, 255))], "ade20k"),
        (lambda: [replace(swatch, rgb=swatch.rgb[::-1]) for swatch in BARE], "ade20k"),
        (lambda: BARE[:3], "ade20k"),
        (lambda: list(COCO), "coco_panoptic"),
        (lambda: [Swatch(0, "lawn", (), (1, 2, 3)), Swatch(1, "car", (), (9, 200, 3))], None),
        (lambda: [Swatch(0, "car", (), (9, 200, 3)), Swatch(1, "person", (), (1, 2, 3))], None),
        (list, None),
    ],
    ids="ade extended mirrored few coco own both empty".split(),
)
def test_colours_and_names_decide_the_protocol(choose: Callable[[], list[Swatch]], protocol: str | None) -> None:
    """The larger mean share decides, from one half on; a tie does not."""
    palette = counterparts.protocol(choose())

    assert (palette and palette.name) == protocol


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("sofas", "sofa"),
        ("couches", "sofa"),
        ("arm chair", "armchair"),
        ("chests of drawers", "chest of drawers"),
        ("leather sofa", None),
        ("cell phone", None),
    ],
)
def test_other_forms_of_a_name_are_recognised(name: str, meant: str | None) -> None:
    """Plurals and spellings of names and synonyms stand for the class; other words do not."""
    swatch = counterparts.resembling(name, ADE)

    assert (swatch.name if swatch else None) == meant


def test_synonyms_of_a_shipped_palette_count_for_a_table_without_synonyms() -> None:
    """A primary name takes precedence: counter is not buffet, although ADE20K lists it as a synonym."""
    mine = Palette("mine", (Swatch(0, "sofa", (), (1, 2, 3)), Swatch(1, "buffet", (), (9, 2, 3))))

    assert counterparts.resembling("couch", mine) == mine[0]
    assert counterparts.resembling("counter", mine) is None
