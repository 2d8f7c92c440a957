"""JSON Lines and CSV: every dialect that people save is read, damage is reported with its line."""

import codecs
from pathlib import Path

import pytest

from segkit import rows


def test_blank_lines_are_skipped(tmp_path: Path) -> None:
    """They hold nothing; line numbers count them."""
    (tmp_path / "lines").write_bytes(codecs.BOM_UTF8 + b'{"a": 1}\n\n  \r\n{"a": 2}\r\n')
    lines = list(rows.json_lines(tmp_path / "lines", pytest.fail))  # type: ignore[arg-type]
    assert lines == [(1, {"a": 1}), (4, {"a": 2})]


def test_a_line_separator_inside_text_does_not_end_the_line(tmp_path: Path) -> None:
    """U+2028 is valid inside a JSON string."""
    (tmp_path / "lines").write_text('{"a": "x\u2028y"}\n', "utf-8")

    assert list(rows.json_lines(tmp_path / "lines", pytest.fail)) == [(1, {"a": "x\u2028y"})]  # type: ignore[arg-type]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_tables_are_decoded_by_their_byte_order_mark(encoding: str) -> None:
    """UTF-8 with or without a mark, and what spreadsheets call Unicode text."""
    assert rows.decode("name\tÉpée".encode(encoding)) == "name\tÉpée"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,b", ","),
        ("a;b", ";"),
        ("a\tb", "\t"),
        ("name;(r,g,b)", ";"),
        ('"a,b,c";d', ";"),
        ("note\na;b", ";"),
        ("", ","),
    ],
)
def test_the_delimiter_is_the_most_frequent_of_the_first_line(text: str, expected: str) -> None:
    """Delimiters inside quotes and parentheses do not count; a line without any is passed over."""
    assert rows.delimiter(text) == expected


def test_rows_are_numbered_by_their_first_line() -> None:
    """Empty rows are skipped and counted; a quoted cell may span lines."""
    assert list(rows.csv_rows('a,b\n\n,\n"x\ny", "1,2"\nz,3\n')) == [
        (1, ["a", "b"]),
        (4, ["x\ny", "1,2"]),
        (6, ["z", "3"]),
    ]


def test_rows_can_be_numbered_like_those_of_a_spreadsheet() -> None:
    """Then a cell over several lines counts as one row; empty rows count as well."""
    assert [row for row, _ in rows.csv_rows('a,b\n\n"x\n\ny",1\nz,3\n', by_row=True)] == [1, 3, 4]


def test_the_separator_can_be_passed() -> None:
    """Then the others are text."""
    assert list(rows.csv_rows("a,b|c;d\n", "|")) == [(1, ["a,b", "c;d"])]


@pytest.mark.parametrize("text", ['a,b\n"c,d\ne,f\n', 'a,b\n"c"d,e\n', "a,b\n" + "x" * 200_000 + ",1\n"])
def test_malformed_csv_is_reported_with_its_line(text: str) -> None:
    """An open quote, text after a quote and a cell beyond the csv module's limit all name the row's first line."""
    with pytest.raises(rows.CsvError) as refused:
        list(rows.csv_rows(text))

    assert refused.value.line == 2


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (b'{"text": "a \\ud800 room"}', r"text holds half of a character (a lone surrogate, \ud800)"),
        (b'{"text": "\\uDE00\\uD83D"}', r"text holds half of a character (a lone surrogate, \ude00)"),
        (b'{"a": [{"\\udfff": 1}]}', r"a holds half of a character (a lone surrogate, \udfff)"),
        (b'{"text": "\xed\xa0\x80"}', r"text holds half of a character (a lone surrogate, \ud800)"),
        (b'{"\\udfff": 1}', r"a key holds half of a character (a lone surrogate, \udfff)"),
    ],
)
def test_a_lone_surrogate_is_damage(tmp_path: Path, line: bytes, shown: str) -> None:
    """In a value or a key, as an escape or as bytes; the line is named and the next one read."""
    (tmp_path / "lines").write_bytes(b'{"a": 1}\n' + line + b'\n{"a": "\\ud83d\\ude00 \\\\ud800 \xed\x9f\xbf"}\n')
    reports: dict[int, str] = {}

    read = list(rows.json_lines(tmp_path / "lines", reports.__setitem__))

    assert reports == {2: shown}
    assert read == [(1, {"a": 1}), (3, {"a": "\U0001f600 \\ud800 \ud7ff"})]
