"""Terminal output: tables, progress bars, single lines. The only module that imports rich."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from segkit.problem import Problem
from segkit.progress import NOTICE, STOPPING, Progress
from segkit.words import count as count  # commands print their numbers with console.count

if TYPE_CHECKING:
    from rich.text import Text

NO_WRAP = ("map", "rule")
"""Columns whose cells stay on one line so that they can be copied; the other columns shrink."""

MAX_PROBLEMS = 20
"""Problems listed individually; the rest are only counted."""

ALL_IN_JSON = "--json lists all of them"


class Color(NamedTuple):
    """A table cell: a swatch of a colour ("#RRGGBB") followed by a label."""

    hex: str
    label: str


def line(text: str, *, error: bool = False) -> None:
    """Print one line verbatim, with control characters escaped."""
    click.echo(clean(text), err=error)


def json_object(value: dict[str, Any]) -> None:
    """Print an object as indented JSON."""
    import json

    click.echo(json.dumps(value, indent=2))


def clean(text: str) -> str:
    """Escape control characters: a file name may contain a newline or a terminal escape sequence."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def table(title: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table.

    Args:
        title: printed above it.
        header: column names.
        rows: cells are strings (never parsed as markup), ints, floats (0 to 1 are printed as percentages) or `Color`.
            A column of numbers is right-aligned.
    """
    from rich.console import Console
    from rich.table import Table

    cells = [list(row) for row in rows]
    rendered = Table(title=title, title_justify="left")
    for column, name in enumerate(header):
        numeric = bool(cells) and all(isinstance(row[column], int | float) for row in cells)
        rendered.add_column(name, justify="right" if numeric else "left", overflow="fold", no_wrap=name in NO_WRAP)
    for row in cells:
        rendered.add_row(*map(_cell, row))
    Console().print(rendered)


def _cell(value: Any) -> "Text":
    from rich.text import Text

    if isinstance(value, Color):
        return Text.assemble(("   ", f"on {value.hex}"), f" {clean(value.label)}")
    if isinstance(value, float):
        return Text(f"{value:.1%}" if 0 <= value <= 1 else f"{value:,.1f}")
    return Text(f"{value:,}" if isinstance(value, int) else clean(str(value)))


def problems(findings: Sequence[Problem], limit: int = MAX_PROBLEMS, error: bool = False) -> None:
    """Print findings, errors first; each cure goes on a line of its own, where its command is easy to copy.

    A cure that several findings in a row share is printed once, after the last of them.

    Args:
        findings: the problems.
        limit: how many to print.
        error: print to stderr, before an error's message.
    """
    order = {"error": 0, "warning": 1, "known": 2}
    printed = sorted(findings, key=lambda problem: order[problem.severity])[:limit]
    following = [*(problem.cure for problem in printed[1:]), ""]
    for problem, next_cure in zip(printed, following, strict=False):  # nothing at all is followed by one ""
        line(f"{problem.severity:8}{problem.message}", error=error)
        if problem.cure and problem.cure != next_cure:
            line(f"{'':8}{problem.cure}", error=error)
    more(len(findings) - limit, "" if error else ALL_IN_JSON, error=error)


def more(number: int, where: str = ALL_IN_JSON, *, error: bool = False) -> None:
    """Say how many entries of a list were left out, and where all of them are; print nothing for 0 or less."""
    if number > 0:
        line(f"... and {number:,} more{f' ({where})' if where else ''}", error=error)


def _report_stop(stage: str, done: int, total: int, note: str = "") -> None:
    if stage == STOPPING:
        line(note, error=True)


@contextmanager
def progress() -> Iterator[Progress]:
    """Show progress bars with rate and remaining time on stderr if it is a terminal; otherwise nothing but `STOPPING`.

    Yields:
        The callback (see segkit.progress). A new stage replaces the bar of the previous one.
    """
    if not sys.stderr.isatty():
        yield _report_stop
        return
    from rich import progress as bars
    from rich.console import Console

    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TextColumn("{task.fields[rate]}"),
        bars.TimeRemainingColumn(),
        bars.TextColumn("{task.fields[note]}", markup=False),
    )
    with bars.Progress(*columns, console=Console(stderr=True), transient=True) as display:

        def report(stage: str, done: int, total: int, note: str = "") -> None:
            if stage in (NOTICE, STOPPING):
                display.console.print(clean(note), markup=False, highlight=False)
                return
            if not display.tasks or display.tasks[-1].description != stage:
                for task in list(display.tasks):
                    display.remove_task(task.id)
                display.add_task(stage, total=None, rate="", note="")
            task = display.tasks[-1]
            rate = f"{task.speed:.2f}/s" if task.speed else ""
            display.update(task.id, completed=done, total=total, rate=rate, note=note)

        yield report
