"""Terminal output: tables, single lines, problems and progress bars."""

import json
import re
import sys
import threading

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segkit import console, log_lines
from segkit.problem import Problem
from segkit.progress import NOTICE


def test_swatches_are_shown_in_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A colour terminal shows a swatch beside each class; names are never parsed as markup."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("TERM", "xterm-256color")
    console.table("t", ("class",), [(console.Color("#04FA07", "[red]grass"),)])

    out = capsys.readouterr().out
    assert "\x1b[48;2;4;250;7m  \x1b[0m [red]grass" in out


@given(st.text())
def test_cleaned_text_is_one_printable_line(text: str) -> None:
    """Control characters are escaped, everything printable stays, and cleaning again changes nothing."""
    cleaned = console.clean(text)

    assert cleaned.isprintable()
    assert console.clean(cleaned) == cleaned
    assert cleaned == text or not text.isprintable()


def test_lines_cannot_control_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """A newline or an escape sequence in a file name is shown, not sent; errors go to stderr."""
    console.line("a\nb\x1b[31m.png")
    console.line("wrong\r", error=True)

    assert capsys.readouterr() == ("a\\nb\\x1b[31m.png\n", "wrong\\r\n")


@pytest.mark.parametrize(
    ("number", "noun", "expected"),
    [(1, "map", "1 map"), (1200, "map", "1,200 maps"), (0, "class", "0 classes"), (1, "class", "1 class")],
)
def test_nouns_follow_their_number(number: int, noun: str, expected: str) -> None:
    """Plurals of words that end in s, and thousands separators."""
    assert console.count(number, noun) == expected


def test_cells_are_formatted_by_type(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Floats up to 1 are percentages, larger ones and ints have separators, and columns of numbers align right."""
    monkeypatch.setenv("COLUMNS", "100")

    console.table("sizes", ("name", "number"), [("[b]a\n", 0.5), ("b", 1234.56), ("c", 1234567)])

    lines = [[cell.strip() for cell in line.split("│")] for line in capsys.readouterr().out.splitlines()]
    rows = [cells[1:3] for cells in lines if len(cells) == 4]
    assert rows == [["[b]a\\n", "50.0%"], ["b", "1,234.6"], ["c", "1,234,567"]]


def columns(out: str) -> list[str]:
    """Return the header of a table, which must take one line."""
    lines = out.splitlines()
    first = next(place for place, line in enumerate(lines) if line.startswith("┏"))
    assert lines[first + 2].startswith("┡"), out
    return [name.strip() for name in lines[first + 1].strip("┃").split("┃")]


NAME = "sub/a_rather_long_name_of_a_map_000001.jpg"


@pytest.mark.parametrize(
    ("header", "row"),
    [
        (("map", "cause", "off palette", "classes"), (NAME, "jpeg", 0.75, "building 29%, sidewalk 10%, car 4%")),
        (("map", "cause", "changed", "doubtful", "appeared", "vanished"), (NAME, "jpeg", 1.0, 0.5, "", "door, bed")),
        (("what is wrong", "count", "rule"), ("a photo or a map " * 6, 1_000_000, "manifest-damaged")),
        (("photo", "doubt", "why"), (NAME * 2, "0.99", "confidence 0.01 on 11.7% of the map")),
        (
            ("cause", "count", "changed", "unlabelled"),
            ("painted with a list that starts with black " * 3, 10**9, 0.1, 0.2),
        ),
    ],
)
def test_headers_take_one_line_of_80_columns(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    header: tuple[str, ...],
    row: tuple[object, ...],
) -> None:
    """Neither they nor numbers are broken; cells are, names that are to be copied only if there is no other way."""
    monkeypatch.setenv("COLUMNS", "80")

    console.table("table", header, [row])

    out = capsys.readouterr().out
    assert columns(out) == list(header)
    assert max(map(len, out.splitlines())) <= 80
    assert (NAME in out) == (header[:3] == ("map", "cause", "off palette"))
    for number in (value for value in row if isinstance(value, int | float)):
        assert (f"{number:,}" if isinstance(number, int) else f"{number:.1%}") in out


@pytest.mark.parametrize("width", [20, 40, 60])
def test_a_narrow_terminal_loses_no_character(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    """Whatever is folded can still be read."""
    monkeypatch.setenv("COLUMNS", str(width))

    console.table("", ("map", "share of pixels"), [(NAME, 0.5)])

    rows = [line.split("│")[1:-1] for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    assert "".join(row[0].strip() for row in rows) == NAME
    assert "".join(row[1].strip() for row in rows) == "50.0%"


def test_a_table_may_be_empty(capsys: pytest.CaptureFixture[str]) -> None:
    """Without rows the header is still printed."""
    console.table("nothing", ("name", "number"), [])

    assert "number" in capsys.readouterr().out


def test_problems_are_sorted_and_limited(capsys: pytest.CaptureFixture[str]) -> None:
    """Errors come first, a cure has a line of its own, and the rest is counted."""
    findings = [
        Problem("rule", "known", "a", "A quirk."),
        Problem("rule", "warning", "b", "Odd."),
        Problem("rule", "error", "c", "Wrong.", "Fix it."),
    ]

    console.problems(findings, limit=2)

    assert capsys.readouterr().out.splitlines() == [
        "error   Wrong.",
        "        Fix it.",
        "warning Odd.",
        "... and 1 more (--json lists all of them)",
    ]


def test_sentences_that_differ_in_numbers_are_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    """The first is printed whole, the others are named; another sentence has a line of its own, up to the limit."""
    reasons = [f" is a photo ({number:,} colours such as #A1B2C{number % 10})." for number in range(13)]
    photos = [(f"{number}.jpg", reason) for number, reason in enumerate(reasons)]
    others = [("a.png", " is blank."), ("b.png", " is empty.")]

    console.alike([*photos[:4], others[0], *photos[4:], others[1]], 2)

    assert capsys.readouterr().out.splitlines() == [
        "0.jpg is a photo (0 colours such as #A1B2C0).",
        "... and 12 more like it: 1.jpg, 2.jpg and 10 more",
        "a.png is blank.",
        "... and 1 more (--json lists all of them)",
    ]


def test_a_cure_that_findings_share_is_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    """After the last of those in a row."""
    findings = [Problem("rule", "error", "a", text, cure) for text, cure in (("A.", "x"), ("B.", "x"), ("C.", "y"))]

    console.problems(findings)

    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()] == ["A.", "B.", "x", "C.", "y"]


def test_json_is_printed_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """The object can be parsed from the output."""
    value = {"a": [1, None], "b": "é"}

    console.json_object(value)

    assert list(json.loads(capsys.readouterr().out).items()) == [("schema", console.SCHEMA), *value.items()]


def test_lines_are_written_off_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Each begins with the time; an interrupted block ends with a line that says how far it came."""

    def interrupted() -> None:
        with console.progress() as report:
            report("photos", 1, 9)
            report(NOTICE, 0, 0, "a\nguess")
            report("photos", 2, 9)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    out, err = capsys.readouterr()
    first, notice, last = (line.split(" ", 1)[1] for line in err.splitlines())
    assert (out, first, notice, last[:13]) == ("", "photos 1 of 9", r"a\nguess", "photos 2 of 9")
    assert re.fullmatch(r"(\d\d:\d\d:\d\d .+\n){3}", err)


def test_a_line_a_minute_needs_no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the work is busy with one photo, a thread writes the line; it ends with the block."""
    lines: list[str] = []
    second = threading.Event()

    def write(text: str, *, error: bool = False) -> None:
        lines.append(text)
        if len(lines) == 2:
            second.set()

    monkeypatch.setattr(log_lines, "INTERVAL", 0.001)
    monkeypatch.setattr(console, "line", write)
    with console.progress() as report:
        report("photos", 1, 9)
        assert second.wait(60)

    assert {line.partition(" ")[2] for line in lines} == {"photos 1 of 9"}
    assert "progress" not in [thread.name for thread in threading.enumerate()]


def test_the_format_of_the_log_holds_for_one_command(capsys: pytest.CaptureFixture[str]) -> None:
    """With json, progress and warnings are events; without a command, or with another, they are text."""
    command = click.Command("any")
    with click.Context(command) as context:
        console.set_log_format(context, "json")
        console.warning("a\nguess")
        with console.progress() as report:
            report("photos", 1, 2)
    console.warning("a\nguess")

    *events, text = capsys.readouterr().err.splitlines()
    assert [json.loads(line)["event"] for line in events] == ["warning", "progress"]
    assert text == r"a\nguess"


def test_bars_are_shown_in_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A new stage replaces the bar before it, and notices stay."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm-256color")
    with console.progress() as report:
        report("photos", 1, 2)
        report(NOTICE, 0, 0, "a [bold]guess\nto see")
        report("maps", 3, 4, "loss 0.5")

    out, err = capsys.readouterr()
    assert out == ""
    assert err.rfind("photos") < err.rfind("maps")
    assert "3/4" in err
    assert "loss 0.5" in err
    assert "a [bold]guess\\nto see" in err
    assert "notice" not in err
