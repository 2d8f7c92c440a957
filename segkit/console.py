"""What is shown in the terminal: tables, progress, single lines. The only module that imports rich."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from segkit.problem import Problem
from segkit.progress import Progress, silent

if TYPE_CHECKING:
    from rich.text import Text

NEVER_WRAPPED = ("map", "broken rule")
"""Columns whose cells stand on one line, so that they can be copied; others give way."""

WORST = 20
"""Problems that are listed one by one."""


class Color(NamedTuple):
    """A cell: an area of a colour, "#RRGGBB", and words beside it."""

    hex: str
    words: str


def line(text: str, *, error: bool = False) -> None:
    """Print one line of text as it is, control characters shown as escapes."""
    click.echo(clean(text), err=error)


def json_object(value: dict[str, Any]) -> None:
    """Print one JSON object."""
    import json

    click.echo(json.dumps(value, indent=2))


def clean(text: str) -> str:
    """Show control characters (a file name may hold a newline or an escape sequence) as escapes."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def table(title: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table. Cells are text, never markup; numbers stand on the right."""
    from rich.console import Console
    from rich.table import Table

    body = [list(row) for row in rows]
    shown = Table(title=title, title_justify="left")
    for place, name in enumerate(header):
        numeric = all(isinstance(row[place], int | float) for row in body)
        shown.add_column(
            name, justify="right" if numeric and body else "left", overflow="fold", no_wrap=name in NEVER_WRAPPED
        )
    for row in body:
        shown.add_row(*map(_cell, row))
    Console().print(shown)


def _cell(value: Any) -> "Text":
    from rich.text import Text

    if isinstance(value, Color):
        return Text.assemble(("   ", f"on {value.hex}"), f" {clean(value.words)}")
    if isinstance(value, float):
        return Text(f"{value:.1%}" if 0 <= value <= 1 else f"{value:,.1f}")
    return Text(f"{value:,}" if isinstance(value, int) else clean(str(value)))


def problems(found: Sequence[Problem], most: int = WORST) -> None:
    """Print problems one by one, errors first, with their cures; the rest as a number."""
    order = {"error": 0, "warning": 1, "known": 2}
    for problem in sorted(found, key=lambda problem: order[problem.severity])[:most]:
        line(f"{problem.severity:8}{problem.message}{' ' + problem.cure if problem.cure else ''}")
    if len(found) > most:
        line(f"... and {len(found) - most:,} more (--json lists all)")


@contextmanager
def progress() -> Iterator[Progress]:
    """Show progress bars with rate and time left on a terminal's error stream, nothing elsewhere.

    Yields:
        The callback; see segkit.progress. Each new stage replaces the bar of the one before.
    """
    if not sys.stderr.isatty():
        yield silent
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
            if not display.tasks or display.tasks[-1].description != stage:
                for task in list(display.tasks):
                    display.remove_task(task.id)
                display.add_task(stage, total=None, rate="", note="")
            task = display.tasks[-1]
            rate = f"{task.speed:.2f}/s" if task.speed else ""
            display.update(task.id, completed=done, total=total, rate=rate, note=note)

        yield report
