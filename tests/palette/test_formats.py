"""Palette files: CSV variants, GIMP palettes and JSON become rows, with their lines in the file."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segkit.errors import PaletteError
from segkit.palette import formats, tables
from tests.palette.test_tables import TWO, write


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    """A file of 100 MB is refused because of its size."""
    path = write(tmp_path, "")
    os.truncate(path, 100_000_000)

    with pytest.raises(PaletteError, match="100,000,000 bytes, too large for a palette table"):
        tables.read(path)


def test_folders_pipes_and_missing_files_are_refused(tmp_path: Path) -> None:
    """A folder with the suffix of a table, a named pipe and a missing file are refused without blocking."""
    folder, pipe, missing = tmp_path / "a.csv", tmp_path / "b.csv", tmp_path / "c.csv"
    folder.mkdir()
    os.mkfifo(pipe)

    with pytest.raises(PaletteError, match="a folder or device"):
        tables.read(folder)
    with pytest.raises(PaletteError, match="a folder or device"):
        tables.read(pipe)
    with pytest.raises(PaletteError, match="no such file"):
        tables.read(missing)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("my.gpl", "GIMP Palette\nName: mine\nColumns: 2\n# a comment\n120 120 120\twall\n  6 230 230 sky\n\n"),
        ("MY.GPL", "GIMP Palette\r\n120 120 120 wall\r\n6 230 230 sky\r\n"),
        ("my.json", '[{"name": "wall", "rgb": [120, 120, 120]}, {"name": "sky", "rgb": [6, 230, 230]}]'),
        ("my.json", '[{"index": 1, "name": "sky", "hex": "#06E6E6"},\n {"index": 0, "name": "wall", "hex": "787878"}]'),
        ("my.json", '{"wall": "#787878", "sky": [6, 230, 230]}'),
        ("my.json", '[{"name": "wall", "r": 120, "g": 120, "b": 120}, {"name": "sky", "r": 6, "g": 230, "b": 230}]'),
    ],
)
def test_gimp_palettes_and_json_are_read(tmp_path: Path, name: str, content: str) -> None:
    """They give the same classes as a CSV."""
    (tmp_path / name).write_bytes(content.encode())

    swatches, problems = tables.read(tmp_path / name)

    assert problems == []
    assert [(swatch.index, swatch.name, swatch.rgb) for swatch in swatches] == [(s.index, s.name, s.rgb) for s in TWO]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("my.gpl", "120 120 120 wall\n", "first line should be 'GIMP Palette'"),
        ("my.gpl", "GIMP Palette\n", "no rows"),
        ("my.json", "{", "line 1: not valid JSON"),
        ("my.json", '[\n{"name": "wall",}\n]', "line 2: not valid JSON"),
        ("my.json", '{"wall": "#787878", "wall": "#000000"}', "'wall' appears twice"),
        ("my.json", '[{"name": "wall", "name": "sky"}]', "'name' appears twice"),
        ("my.json", "[[120, 120, 120]]", "not a list of classes"),
        ("my.json", "12", "not a list of classes"),
        ("my.json", "[]", "no rows"),
        ("my.json", "[" * 100_000, "nested too deeply|not valid JSON"),
        ("my.json", '[{"colour": "#787878"}]', "no column name"),
    ],
)
def test_malformed_gimp_palettes_and_json_are_refused(tmp_path: Path, name: str, content: str, message: str) -> None:
    """The error names the line where possible."""
    (tmp_path / name).write_text(content)

    with pytest.raises(PaletteError, match=message):
        tables.read(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("my.gpl", "GIMP Palette\n120 120 120 wall\n6 230 300 sky\n", "line 3, column 3 (b): '300'"),
        ("my.gpl", "GIMP Palette\n120 120 120 wall\n6 230 230\n", "line 3, column 4 (name): the class has no name"),
        ("my.gpl", "GIMP Palette\n120 120 120 wall\nsky\n", "line 3, column 1 (r): "),
        (
            "my.json",
            '[{"name": "wall", "rgb": [120, 120, 120]},\n{"name": "sky", "rgb": [6, 230, 1.5]}]',
            "line 2, column rgb: ",
        ),
        ("my.json", '{"wall": "#787878",\n"sky": true}', "line 2, column rgb: 'True'"),
    ],
)
def test_faulty_rows_of_gimp_palettes_and_json_are_reported(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    """They are reported with their line in the file; the other rows are read."""
    (tmp_path / name).write_text(content)

    swatches, problems = tables.read(tmp_path / name)

    assert [swatch.name for swatch in swatches] == ["wall"]
    assert message in problems[0].message


NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1)
CHANNELS = st.lists(st.integers(0, 255), min_size=3, max_size=3)


@given(st.dictionaries(NAMES, CHANNELS, min_size=1), st.sampled_from([None, 1]))
def test_json_keeps_every_name_and_line(classes: dict[str, list[int]], indent: int | None) -> None:
    """A list and a mapping of the same classes give the same rows, and each row has the line of its object."""
    listed = [{"name": name, "rgb": color} for name, color in classes.items()]
    cells = [[name, ", ".join(map(str, color))] for name, color in classes.items()]

    header, *records = formats.from_json(json.dumps(listed, indent=indent), "my.json")
    _, *mapped = formats.from_json(json.dumps(classes, indent=indent), "my.json")

    assert header == (1, ["name", "rgb"])
    assert [row for _, row in records] == [row for _, row in mapped] == cells
    lines = [1] * len(classes) if indent is None else [2 + 8 * place for place in range(len(classes))]
    assert [line for line, _ in records] == lines


def test_the_suffix_selects_the_format(tmp_path: Path) -> None:
    """The rows of a GIMP palette get a header, and those of any other suffix are CSV."""
    gimp, table = tmp_path / "a.GPL", tmp_path / "a.txt"
    gimp.write_text("GIMP Palette\n#\n1 2 3 sky\n")
    table.write_text("\nr;g;b;name\n1;2;3;sky\n")

    assert formats.rows(gimp) == [(1, ["r", "g", "b", "name"]), (3, ["1", "2", "3", "sky"])]
    assert formats.rows(table) == [(2, ["r", "g", "b", "name"]), (3, ["1", "2", "3", "sky"])]
