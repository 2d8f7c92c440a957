"""Extending a palette with new classes."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segkit.errors import PaletteError
from segkit.palette import Palette, counterparts, extend, tables
from segkit.palette.tables import Swatch

ADE = Palette.load("ade20k")
NAMES = st.lists(
    st.from_regex(r"new [a-z]{1,9}( [a-z|;,\"]{1,5}x)?", fullmatch=True),
    min_size=1,
    max_size=4,
    unique_by=counterparts.spelling,
)


@settings(max_examples=25)
@given(NAMES)
def test_an_extended_palette_reads_back(names: list[str]) -> None:
    """Its table restores it exactly: ADE20K's classes first, the new ones from 150 on."""
    palette = extend.extended(ADE, names, "mine")

    with tempfile.TemporaryDirectory() as folder:
        (path := Path(folder) / "mine.csv").write_bytes(extend.encode(palette))
        swatches, problems = tables.read(path)

    assert problems == []
    assert tuple(swatches) == palette.swatches
    assert palette.swatches[:150] == ADE.swatches
    assert [swatch.index for swatch in palette][150:] == list(range(150, 150 + len(names)))


def test_suggestions_avoid_the_given_classes() -> None:
    """A colour that a palette already has is not suggested to it."""
    first, second = extend.suggest(ADE, 2)

    assert extend.suggest([*ADE, Swatch(150, "mine", (), first.rgb)], 1) == [second]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["tv"], "already class 89 of ade20k"),
        (["Wall"], "already class 0 of ade20k"),
        (["ground"], "means several classes"),
        (["sofas"], "another form of class 23 of ade20k .sofa."),
        (["Arm-chairs"], "another form of class 30 of ade20k .armchair."),
        (["pergola", "pergola"], "named twice"),
        (["pergola", "pergolas"], "named twice"),
        ([""], "not a valid class name"),
        (["two\nlines"], "not a valid class name"),
        (["=cmd()"], "formula"),
        ([f"new {number}" for number in range(106)], "room for 105"),
    ],
)
def test_unusable_names_are_refused(names: list[str], message: str) -> None:
    """The error states what is wrong with the name."""
    with pytest.raises(PaletteError, match=message):
        extend.extended(ADE, names, "mine")


def test_all_indices_can_be_filled() -> None:
    """The last new class may have index 254, each in a distinct colour; one more is refused."""
    many = Palette("many", tuple(Swatch(index, f"class {index}", (), (index, 255 - index, 7)) for index in range(250)))

    palette = extend.extended(many, [f"new {number}" for number in range(5)], "mine")

    assert palette[254].name == "new 4"
    assert len({swatch.rgb for swatch in palette}) == 255
    with pytest.raises(PaletteError, match="leaves room for 0"):
        extend.extended(palette, ["another"], "mine")


@given(st.text(st.sampled_from("=+-@'a |"), min_size=1, max_size=6))
def test_a_written_table_contains_no_formula(word: str) -> None:
    """No cell begins like a formula, and the name reads back unchanged."""
    name = " ".join(word.split()) or "a"
    palette = Palette("mine", (Swatch(0, name, (), (1, 2, 3)),))

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mine.csv"
        path.write_bytes(extend.encode(palette))
        cells = path.read_text().splitlines()[1].split(",")
        swatches, problems = tables.read(path)

    assert not any(cell.startswith(("=", "+", "-", "@")) for cell in cells)
    assert ([swatch.name for swatch in swatches], problems) == ([name], [])
