"""Columns are recognised by heading, or by what their cells hold."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segkit.palette import Palette, columns
from segkit.palette.tables import Swatch

ADE = Palette.load("ade20k")

CELLS: dict[str, Callable[[Swatch], str]] = {
    "index": lambda swatch: str(swatch.index),
    "name": lambda swatch: swatch.name,
    "synonyms": lambda swatch: "|".join(swatch.synonyms),
    "r": lambda swatch: f"{swatch.rgb[0]}.0",
    "g": lambda swatch: f"{swatch.rgb[1]}",
    "b": lambda swatch: f"{swatch.rgb[2]},0",
    "rgb": lambda swatch: str(swatch.rgb),
    "hex": lambda swatch: swatch.hex,
    "": lambda swatch: f"{swatch.index / 7:.4f}",
}


@pytest.mark.parametrize(
    "order",
    [
        "index name r g b", "name r g b", "r g b name", "name index r g b", "r g b index name", "name rgb", "rgb name",
        "name synonyms rgb", "index name synonyms r g b", "name rgb hex", "index  rgb hex name", "index r g b name rgb",
    ],
)  # fmt: skip
@pytest.mark.parametrize("first", [0, 40])
def test_columns_of_a_table_without_headings_are_recognised(order: str, first: int) -> None:
    """Index, name, synonyms and colour, in any order, beside columns that mean nothing here."""
    headings = order.split(" ")
    swatches = ADE.swatches[first:]
    records = [(line, [CELLS[heading](swatch) for heading in headings]) for line, swatch in enumerate(swatches, 1)]

    assert columns.by_cells(records) == headings


def test_a_column_of_hex_alone_holds_the_colour() -> None:
    """Both notations are parsed alike, so the first column of colours is called rgb."""
    assert columns.by_cells([(1, ["wall", "#787878"]), (2, ["sky", "06E6E6"])]) == ["name", "rgb"]


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [["wall", "sky"], ["floor", "tree"]],
        [["Klasse", "Rot", "Grün", "Blau"], ["Wand", "120", "120", "120"], ["Himmel", "6", "230", "230"]],
        [["Classe", "B", "V", "R"], ["mur", "120", "120", "120"], ["ciel", "6", "230", "230"]],
        [["wall", "Wand", "1", "2", "3"], ["sky", "Himmel", "4", "5", "6"]],
        [["wall", "9", "8", "7", "6"], ["sky", "9", "5", "6", "7"]],
        [["0", "1", "1", "220", "20", "60", "person"], ["1", "2", "1", "119", "11", "32", "bicycle"]],
        [["wall", "120", "120"], ["sky", "6", "230"]],
    ],
    ids="nothing names foreign-headings blue-first two-names four-numbers six-numbers two-channels".split(),
)
def test_a_table_that_could_mean_several_things_is_not_guessed(rows: list[list[str]]) -> None:
    """Headings in other words may put blue first; two names or a fourth number could be anything."""
    assert columns.by_cells(list(enumerate(rows, 1))) is None


def test_a_faulty_cell_does_not_hide_the_columns() -> None:
    """What most cells hold decides, so that the faulty one is reported."""
    rows = [["0", "wall", "120", "120", "120"], ["1", "sky", "6", "999", "230"], ["2", "sea", "1", "2", "3"]]

    assert columns.by_cells(list(enumerate(rows, 1))) == ["index", "name", "r", "g", "b"]


@given(st.integers(1, 18278))
def test_letters_of_columns_count_like_a_spreadsheet(number: int) -> None:
    """A to Z are the digits 1 to 26; there is no zero."""
    value = 0
    for letter in columns.letters(number):
        value = value * 26 + ord(letter) - ord("A") + 1
    assert value == number


def test_letters_of_some_columns() -> None:
    """The first with one, two and three letters."""
    assert [columns.letters(number) for number in (1, 26, 27, 702, 703)] == ["A", "Z", "AA", "ZZ", "AAA"]
