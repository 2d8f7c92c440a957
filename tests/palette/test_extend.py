"""New classes for a palette."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segkit.errors import PaletteError
from segkit.palette import Palette, extend, tables
from segkit.palette.tables import Swatch

ADE = Palette.load("ade20k")
NAMES = st.lists(
    st.from_regex(r"new [a-z]{1,9}( [a-z|;,\"]{1,5}x)?", fullmatch=True), min_size=1, max_size=4, unique=True
)


@given(NAMES)
def test_an_extended_palette_reads_back(names: list[str]) -> None:
    """Written as a table and read again it is the same, ADE's classes first, the new ones from 150 on."""
    made = extend.extended(ADE, names, "mine")

    with tempfile.TemporaryDirectory() as folder:
        (path := Path(folder) / "mine.csv").write_bytes(extend.encode(made))
        swatches, problems = tables.read(path)

    assert problems == []
    assert tuple(swatches) == made.swatches
    assert made.swatches[:150] == ADE.swatches
    assert [swatch.index for swatch in made][150:] == list(range(150, 150 + len(names)))


def test_suggestions_keep_away_from_the_table_too() -> None:
    """A colour that is free beside ADE and COCO is not suggested to a table that has it."""
    first, second = extend.suggest(ADE, 2)

    assert extend.suggest([*ADE, Swatch(150, "mine", (), first.rgb)], 1) == [second]


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["tv"], "class 89 of ade20k already"),
        (["Wall"], "class 0 of ade20k already"),
        (["ground"], "means several classes"),
        (["pergola", "pergola"], "named twice"),
        ([""], "no class name"),
        (["two\nlines"], "no class name"),
        (["=cmd()"], "formula"),
        ([f"new {number}" for number in range(106)], "room for 105"),
    ],
)
def test_names_that_do_not_do_are_refused(names: list[str], told: str) -> None:
    """With what is wrong with them."""
    with pytest.raises(PaletteError, match=told):
        extend.extended(ADE, names, "mine")


def test_all_indices_can_be_filled() -> None:
    """105 new classes, 150 to 254, all at some distance from all others."""
    made = extend.extended(ADE, [f"new {number}" for number in range(105)], "mine")

    assert made[254].name == "new 104"
    assert len({swatch.rgb for swatch in made}) == 254  # road and skyscraper share theirs


@given(st.text(st.sampled_from("=+-@'a |"), min_size=1, max_size=6))
def test_no_cell_of_a_written_table_is_a_formula(word: str) -> None:
    """A spreadsheet that opens it runs nothing, and the name reads back as it was."""
    name = " ".join(word.split()) or "a"
    table = Palette("mine", (Swatch(0, name, (), (1, 2, 3)),))

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mine.csv"
        path.write_bytes(extend.encode(table))
        cells = path.read_text().splitlines()[1].split(",")
        back, problems = tables.read(path)

    assert not any(cell.startswith(("=", "+", "-", "@")) for cell in cells)
    assert ([each.name for each in back], problems) == ([name], [])
