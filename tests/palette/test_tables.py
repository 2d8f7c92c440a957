"""Reading palette tables: irregular ones read as intended or are refused in one line with the row or the reason."""

import csv
import io
import re
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from segkit.errors import PaletteError
from segkit.palette import formats, tables
from segkit.palette.tables import Swatch

TWO = [Swatch(0, "wall", (), (120, 120, 120)), Swatch(1, "sky", ("heaven",), (6, 230, 230))]
PLAIN = "index,name,synonyms,r,g,b\n0,wall,,120,120,120\n1,sky,heaven,6,230,230\n"
MARKDOWN = """\
| index | name | synonyms | colour |
|------:|:----:|----------|--------|
| 0 | **wall** | | `#787878` |
| 1 | sky | sky\\|heaven | `#06E6E6` |
"""
NAMED = "index,name,r,g,b\n{}\n"


def write(folder: Path, content: str | bytes) -> Path:
    """Write my.csv."""
    path = folder / "my.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        b"\xef\xbb\xbfname,synonyms,hex\nwall,,787878\nsky,heaven,06E6E6\n",
        PLAIN.replace(",", "\t").encode("utf-16"),
        b"\xfe\xff" + PLAIN.encode("utf-16-be"),
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t"),
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n", "\r"),
        PLAIN.rstrip("\n"),
        PLAIN.replace("\n", "\n\n,,,,,\n"),
        PLAIN.replace("\n", ",,\n"),
        PLAIN.replace("1,sky", "2,sky").replace("0,wall", "1,wall"),
        "index,name,synonyms,r,g,b\n1,sky,sky|heaven| heaven ,6,230,230\n0, wall ,wall,120,120,120\n",
        "Idx,Class,Aliases,hex\n0,wall,,#787878\n1,sky,heaven,#06e6e6\n",
        "name,synonyms,hex\nwall,,787878\nsky,heaven,06E6E6\n",
        'name,synonyms,rgb\nwall,,"(120, 120, 120)"\nsky,heaven,"6,230, 230"\n',
        "name;synonyms;(R, G, B)\nwall;;(120, 120, 120)\nsky;heaven;(6, 230, 230)\n",
        "name,r,g,b,hex,synonyms\nwall,120,120,120\nsky,,,,06E6E6,heaven\n",
        'Idx,"Color_Code (R,G,B)",Color,Name,synonyms\n1,"(120,0120 , 120)",,wall,\n2,"(6,230,230)",,sky,heaven\n',
        PLAIN.replace(",", "|"),
        PLAIN.replace(",", " | "),
        "index;name;synonyms;r;g;b\n0,0;wall;;120,0;120,0;120,0\n1,0;sky;heaven;6,0;230,0;230,0\n",
        'index,name,synonyms,r,g,b\n0.0,wall,,120.0,120.0,120.0\n1.0,sky,heaven,"6,0",230.0,230.0\n',
        "name,synonyms,hex\nwall,,0x787878\nsky,heaven,0x06E6E6\n",
        'name,synonyms,rgb\nwall,,"rgb(120, 120, 120)"\nsky,heaven,"rgb(6, 230, 230)"\n',
        "Our colours, in two rooms\n\nname;synonyms;hex\nwall;;787878\nsky;heaven;06E6E6\n",
        PLAIN.partition("\n")[2],
        PLAIN.partition("\n")[2].replace(",", ";"),
        PLAIN.partition("\n")[2].replace(",", "|").encode("utf-16"),
        "wall;;120,0;120,0;120,0\nsky;heaven;6,0;230,0;230,0\n",
        "#787878\twall\t\n#06E6E6\tsky\theaven\n",
        "sep=;\n" + PLAIN.replace(",", ";"),
        "sep=;\n" + PLAIN.partition("\n")[2].replace(",", ";"),
        "# Our colours, in two rooms\n\n" + PLAIN.partition("\n")[2].replace(",", ";"),
        MARKDOWN,
        re.sub(r"^\||\|$", "", MARKDOWN, flags=re.MULTILINE),
        "# Colours\n\nOf our rooms.\n\n" + MARKDOWN + "\nAll others are black | white.\n",
    ],
    ids="plain bom utf-16 utf-16-be semicolons tabs crlf cr no-end empty-lines trailing-commas from-one unordered hex "
    "hex-without-hash triple triple-semicolons short-rows sheet pipes spaced-pipes decimal-commas fractions 0x rgb() "
    "title-with-comma no-heading no-heading-semicolons no-heading-pipes no-heading-decimal-commas no-heading-hex "
    "hint hint-no-heading title-no-heading "
    "markdown markdown-without-frame markdown-in-text".split(),
)  # fmt: skip
def test_irregular_tables_read_as_intended(tmp_path: Path, content: str | bytes) -> None:
    """Byte order marks, separators, line ends, numbering and colour notations do not change the classes."""
    swatches, problems = tables.read(write(tmp_path, content))

    assert (swatches, problems) == (TWO, [])


@pytest.mark.parametrize("name", ["null", "NA", "nan", "None", "true", "007", "1e5", "=cmd()", "[red]", "<b>", "Épée"])
def test_names_stay_text(tmp_path: Path, name: str) -> None:
    """Names such as null, NA, 1e5 or =cmd() are not interpreted."""
    swatches, problems = tables.read(write(tmp_path, f"name,hex\n{name},000001\n"))

    assert ([swatch.name for swatch in swatches], problems) == ([name], [])


def test_a_name_over_two_lines_is_joined(tmp_path: Path) -> None:
    """A line break inside quotes becomes a space, and later faults are still reported by their line in the file."""
    path = write(tmp_path, 'name,r,g,b\n"pool\ntable",1,2,3\nsky,6,230,999\n')

    swatches, problems = tables.read(path)

    assert [swatch.name for swatch in swatches] == ["pool table"]
    assert "line 4" in problems[0].message


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ("0,wall,300,0,0", "'300'"),
        ("0,wall,-1,0,0", "'-1'"),
        ("0,wall,1.5,0,0", "'1.5'"),
        ("0,wall,1_0,0,0", "'1_0'"),
        ("0,wall,\uff11,0,0", "'\uff11'"),
        ("0,wall,,0,0", "''"),
        ("0,wall,,,", "no colour"),
        ("0,wall", "no colour"),
        ("0,wall,1,2,3,4", "6 cells, the header has 5"),
        ("0,swimming, pool,1,2,3", "6 cells, the header has 5"),
        ("0,,1,2,3", "no name"),
        ("0,wa\x1bll,1,2,3", "invisible"),
        ("-1,wall,1,2,3", "'-1' is not a class index"),
        ("1_0,wall,1,2,3", "'1_0' is not a class index"),
        ("0.5,wall,1,2,3", "'0.5' is not a class index"),
        (",wall,1,2,3", "'' is not a class index"),
        ("256,wall,1,2,3", "'256' is not a class index"),
    ],
)
def test_an_unreadable_row_is_reported_with_its_line(tmp_path: Path, rows: str, reason: str) -> None:
    """It gives one problem with line and reason; the other rows are still read."""
    path = write(tmp_path, NAMED.format(rows + "\n1,sky,6,230,230"))

    swatches, problems = tables.read(path)

    assert [swatch.name for swatch in swatches] == ["sky"]
    assert [problem.rule for problem in problems] == ["unreadable-row"]
    assert re.match(r"my\.csv, line 2(, column [1-5] \((index|name|r|g|b)\))?: ", problems[0].message)
    assert reason in problems[0].message


def test_colours_that_disagree_are_refused(tmp_path: Path) -> None:
    """If hex and r, g, b of a row differ, none of them is preferred."""
    _, problems = tables.read(write(tmp_path, "name,r,g,b,hex\nwall,120,120,120,#787879\n"))

    assert "line 2: its colours disagree: r, g, b is #787878, hex is #787879" in problems[0].message


@pytest.mark.parametrize(
    ("indices", "rule", "text"),
    [
        ((0, 1, 1), "repeated-index", "line 4, column 1 (index): index 1 is already used in line 3"),
        ((1, 2, 2), "repeated-index", "line 4, column 1 (index): index 2 is already used in line 3"),
        ((0, 1, 3), "index-gap", "no class has index 2"),
        ((2, 3, 4), "index-gap", "no class has index 0, 1"),
        ((1, 2, 4), "index-gap", "no class has index 3; expected 1 to 4"),
        ((0, 1, 255), "index-gap", "no class has index 2, 3, 4, 5, 6, 7, 8, 9 and 245 more"),
    ],
)
def test_faulty_numbering_is_reported_in_the_numbering_of_the_file(
    tmp_path: Path, indices: tuple[int, ...], rule: str, text: str
) -> None:
    """Repeated and missing indices are problems of the table."""
    rows = "\n".join(f"{index},class {position},{position % 256},1,2" for position, index in enumerate(indices))

    _, problems = tables.read(write(tmp_path, NAMED.format(rows)))

    assert [problem.rule for problem in problems] == [rule]
    assert text in problems[0].message


@pytest.mark.parametrize("first", [0, 1])
def test_the_list_with_black_first_is_explained(tmp_path: Path, first: int) -> None:
    """A list of 151 rows with black first is refused with its effect on control maps."""
    rows = "\n".join(f"{n + first},class {n},{n},{n},{n}" for n in range(151))

    _, problems = tables.read(write(tmp_path, NAMED.format(rows)))

    assert [problem.rule for problem in problems] == ["black-first"]
    assert "shifts every class by one" in problems[0].message


def test_255_classes_counted_from_one_fit(tmp_path: Path) -> None:
    """A full palette numbered 1 to 255 is shifted to 0 to 254."""
    rows = "\n".join(f"{n},class {n},{n},1,2" for n in range(1, 256))

    swatches, problems = tables.read(write(tmp_path, NAMED.format(rows)))

    assert ([swatch.index for swatch in swatches], problems) == (list(range(255)), [])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "no rows"),
        ("\n \n", "no rows"),
        ("index,name,r,g,b\n", "no rows"),
        ("a,wall\nb,sky\n", "no column name and no column r, g and b"),
        ("name,r,g\nwall,1,2\n", "no column r, g and b (or rgb, or hex); the header is: name, r, g"),
        ("r,g,b\n1,2,3\n", "no column name; the header is: r, g, b"),
        ("name,name,hex\nwall,wall,000001\n", "2 columns called name"),
        ("name,hex\nM\xfcnze,000001\n".encode("latin-1"), "not valid UTF-8 text (line 2)"),
        (PLAIN.encode("utf-16")[:-1], "not valid UTF-16"),
        (PLAIN.encode("utf-16-le"), "NUL bytes"),
        (b"name,hex\nwall,00\x000001\n", "NUL bytes"),
        ('name,r,g,b\nwall,1,2,3\n"sky,1,2,4\ntree,1,2,5\n', "line 3: not a table: a quote is opened and never closed"),
        ('name,r,g,b\nwall,1,2,3\n"sk"y,1,2,4\n', "line 3: not a table: "),
        ("name,r,g,b\n" + "x" * 200_000 + ",1,2,3\n", "line 2: not a table: "),
        ("name,hex\n" + "wall,000001\n" * 256, "256 rows; a palette has at most 255 classes"),
        ("name,hex\n" + "wall,000001\n" * 300_000, "300,000 rows; a palette has at most 255 classes"),
        (b"\x89PNG\r\n\x1a\n", "a PNG picture, not a palette table"),
    ],
)
def test_other_files_are_refused_in_one_line(tmp_path: Path, content: str | bytes, reason: str) -> None:
    """A file that is not a palette table is refused in one line with its path and the reason."""
    path = write(tmp_path, content)

    with pytest.raises(PaletteError) as raised:
        tables.read(path)

    assert str(raised.value).startswith(str(path))
    assert reason in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("source", "header", "line", "expected"),
    [
        (tables.Source("a/mine.csv"), ["name", " Hex \n Code "], 3, "line 3, column 2 (Hex Code)"),
        (tables.Source("a/mine.JSON"), ["name", "hex"], 3, "line 3, column hex"),
        (tables.Source("Our colours", is_sheet=True), ["name", "hex"], 3, "cell B3"),
    ],
)
def test_places_are_named_as_the_user_sees_them(
    source: tables.Source, header: list[str], line: int, expected: str
) -> None:
    """Files have lines and columns, JSON has keys, sheets have cells."""
    assert source.cell(line, 1, header) == expected


def test_a_faulty_cell_of_a_table_without_headings_has_its_place(tmp_path: Path) -> None:
    """Its column is called as it was recognised."""
    path = write(tmp_path, "0,wall,120,120,120\n1,sky,6,230,999\n2,sea,1,2,3\n3,swimming, pool,3,4,5\n")

    swatches, problems = tables.read(path)

    assert [swatch.name for swatch in swatches] == ["wall", "sea"]
    assert problems[0].message.startswith("my.csv, line 2, column 5 (b): '999' is not a channel value")
    assert problems[1].message.startswith("my.csv, line 4: 6 cells")


def test_a_faulty_cell_of_a_markdown_table_has_its_column(tmp_path: Path) -> None:
    """The frame of the table is no column, and its rule and the lines above count as lines."""
    path = write(tmp_path, "\n" + MARKDOWN.replace("#06E6E6", "#06E6E"))

    assert "my.csv, line 5, column 4 (colour): '#06E6E'" in tables.read(path)[1][0].message


@pytest.mark.parametrize(
    "content",
    [
        "name,r,g,b\nwall,0.47,0.47,0.47\nsky,0.02,0.9,0.9\n",
        "name,r,g,b\nred,1.0,0.0,0.0\ngreen,0.0,1.0,0.0\n",
        "name;r;g;b\nred;1,0;0,0;0,0\n",
        'name,rgb\nwall,"(0.47, 0.47, 0.47)"\n',
        "name;rgb\nred;1.0 0.0 0.0\n",
    ],
)
def test_colours_from_0_to_1_are_refused(tmp_path: Path, content: str) -> None:
    """Read as 0 to 255, pure red would be nearly black."""
    with pytest.raises(PaletteError, match=r"the colours run from 0 to 1; expected channels from 0 to 255\. Multiply"):
        tables.read(write(tmp_path, content))


def test_dark_whole_channels_are_not_fractions(tmp_path: Path) -> None:
    """Channels of 0 and 1 written as whole numbers are what they say."""
    swatches, problems = tables.read(write(tmp_path, "name,r,g,b\nink,1,0,1\n"))

    assert ([swatch.rgb for swatch in swatches], problems) == ([(1, 0, 1)], [])


def test_latin_1_is_called_that(tmp_path: Path) -> None:
    """The line is named, and what to save the table as."""
    with pytest.raises(
        PaletteError, match=r"not valid UTF-8 text \(line 2\); it may be Latin-1 .* Save it as CSV UTF-8"
    ):
        tables.read(write(tmp_path, "name,hex\nTür,010203\n".encode("latin-1")))


@given(
    st.lists(st.tuples(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255)), min_size=2, max_size=30),
    st.sampled_from(",;\t|"),
    st.booleans(),
    st.sampled_from(["{}", "{}.0", "{},00"]),
)
def test_every_dialect_gives_the_same_classes(
    colors: list[tuple[int, int, int]], separator: str, has_heading: bool, notation: str
) -> None:
    """The separator, the heading row and the notation of numbers change nothing."""
    rows = [
        [str(index), f"class {index}", *(notation.format(value) for value in rgb)] for index, rgb in enumerate(colors)
    ]
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator)
    writer.writerows([["index", "name", "r", "g", "b"], *rows] if has_heading else rows)

    with_fractions = notation != "{}" and max(max(rgb) for rgb in colors) <= 1
    assume(not with_fractions)
    swatches, problems = tables.from_rows(formats.from_csv(text.getvalue(), "mine"), tables.Source("mine"))

    assert problems == []
    assert [swatch.rgb for swatch in swatches] == colors
