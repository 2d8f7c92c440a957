"""Terminal output: tables, progress, single lines, JSON. The only module that imports rich."""

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import click

from segkit import log_lines
from segkit.log_lines import LogLines
from segkit.problem import Problem
from segkit.progress import NOTICE, STOPPING, Progress
from segkit.words import count as count  # commands print their numbers with console.count
from segkit.words import listed

if TYPE_CHECKING:
    from rich.text import Text

NO_WRAP = ("map", "rule")
"""Columns whose cells stay on one line so that they can be copied; the other columns shrink first."""

STEPS = 4
"""Ways to make a table narrower, from one that leaves words whole to one that folds names."""

MAX_PROBLEMS = 20
"""Problems listed individually; the rest are only counted."""

ALL_IN_JSON = "--json lists all of them"

SCHEMA = 1
"""Version of what --json prints: raised when a key is removed or changes its meaning, not when one is added."""

_NUMBER = re.compile(r"#[0-9A-Fa-f]{6}\b|\d[\d.,]*")
"""Numbers and colours, in which sentences of one kind differ."""

_LOG = "segkit.log"
"""Key of click's context under which the format of progress is kept."""


class Color(NamedTuple):
    """A table cell: a swatch of a colour ("#RRGGBB") followed by a label."""

    hex: str
    label: str


def line(text: str, *, error: bool = False) -> None:
    """Print one line verbatim, with control characters escaped."""
    click.echo(clean(text), err=error)


def json_object(value: dict[str, Any]) -> None:
    """Print an object as indented JSON, its first key the version of its schema."""
    import json

    click.echo(json.dumps({"schema": SCHEMA, **value}, indent=2))


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

    screen, cells = Console(), [list(row) for row in rows]
    columns = [_Column(name, [row[place] for row in cells]) for place, name in enumerate(header)]
    widths = _widths(columns, screen.width - 3 * len(columns) - 1)  # borders, and a space at each side of a cell
    rendered = Table(title=title, title_justify="left")
    for column, width in zip(columns, widths, strict=True):
        justify: Literal["left", "right"] = "right" if column.is_number else "left"
        rendered.add_column(column.name, justify=justify, overflow="fold", width=width)
    for place in range(len(cells)):
        rendered.add_row(*(column.texts[place] for column in columns))
    screen.print(rendered)


class _Column:
    """A column of a table.

    Attributes:
        name: its header.
        is_number: whether all values are numbers, which are never folded.
        texts: the cells.
        width: what the header and all cells need to stay on one line.
    """

    def __init__(self, name: str, values: Sequence[Any]) -> None:
        self.name = name
        self.is_number = bool(values) and all(isinstance(value, int | float) for value in values)
        self.texts = [_cell(value) for value in values]
        self.width = max([len(name), *(text.cell_len for text in self.texts)])

    def least(self, step: int) -> int:
        """Return the least width, where more may be folded with each step: see _widths."""
        if self.is_number or (self.name in NO_WRAP and step < STEPS - 1):
            return self.width
        title = len(self.name) if step < STEPS - 2 else _longest(self.name)
        return title if step else max([title, *(_longest(text.plain) for text in self.texts)])


def _widths(columns: Sequence[_Column], room: int) -> Sequence[int | None]:
    """Return the widths of the columns in so many characters; None where nothing is folded, or nothing would help.

    Lines of cells are broken at spaces first, then long words, then headers at spaces, and names that are to be copied
    last.
    """
    steps = ([column.least(step) for column in columns] for step in range(STEPS))
    widths = next((step for step in steps if sum(step) <= room), None)
    if widths is None or sum(column.width for column in columns) <= room:
        return [None] * len(columns)
    missing = sorted(range(len(columns)), key=lambda place: columns[place].width - widths[place])
    for done, place in enumerate(missing):
        share = (room - sum(widths)) // (len(columns) - done)
        widths[place] = min(columns[place].width, widths[place] + share)
    return widths


def _longest(text: str) -> int:
    """Return the width of the longest word."""
    from rich.cells import cell_len

    return max(map(cell_len, text.split()), default=0)


def _cell(value: Any) -> "Text":
    from rich.text import Text

    if isinstance(value, Color):
        return Text.assemble(("  ", f"on {value.hex}"), f" {clean(value.label)}")
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


def alike(entries: Sequence[tuple[str, str]], limit: int) -> None:
    """Print names and what there is to say of each; sentences that differ in numbers only are printed once.

    Args:
        entries: a name and the rest of its line. Under the first of several alike, the others are named.
        limit: how many different ones to print, and how many names of others.
    """
    groups: dict[str, list[tuple[str, str]]] = {}
    for name, text in entries:
        groups.setdefault(_NUMBER.sub("", text), []).append((name, text))
    shown = [*groups.values()][:limit]
    for (first, text), *others in shown:
        line(f"{first}{text}")
        if others:
            line(f"... and {len(others):,} more like it: {listed([name for name, _ in others], limit)}")
    more(len(entries) - sum(map(len, shown)))


def more(number: int, where: str = ALL_IN_JSON, *, error: bool = False) -> None:
    """Say how many entries of a list were left out, and where all of them are; print nothing for 0 or less."""
    if number > 0:
        line(f"... and {number:,} more{f' ({where})' if where else ''}", error=error)


def set_log_format(context: click.Context, chosen: log_lines.Format) -> None:
    """Set how the running command shows progress and says what goes wrong; see log_lines.Format."""
    context.meta[_LOG] = chosen


def logs_json() -> bool:
    """Return whether the running command writes JSON Lines to stderr."""
    return _log_format() == "json"


def _log_format() -> str:
    context = click.get_current_context(silent=True)
    return str(context.meta.get(_LOG, "auto")) if context else "auto"


def warning(text: str) -> None:
    """Print a warning to stderr: a line, or an event if the command writes JSON Lines."""
    text = clean(text)
    click.echo(log_lines.event("warning", message=text) if logs_json() else text, err=True)


@contextmanager
def progress(log_format: log_lines.Format | None = None) -> Iterator[Progress]:
    """Show progress on stderr: bars if it is a terminal, otherwise lines.

    Args:
        log_format: see log_lines.Format; None is the --log of the running command.

    Yields:
        The callback (see segkit.progress). A new stage replaces the bar of the previous one.
    """
    chosen = log_format or _log_format()
    if chosen == "auto" and sys.stderr is not None and sys.stderr.isatty():
        with _bars() as report:
            yield report
        return
    lines, ended = LogLines(lambda text: line(text, error=True), as_json=chosen == "json"), Event()

    def beat() -> None:
        while not ended.wait(log_lines.INTERVAL):
            lines.beat()

    beats = Thread(target=beat, name="progress", daemon=True)
    beats.start()
    try:
        yield lines
    finally:  # a stop too ends with how far the work came
        ended.set()
        beats.join()
        lines.close()


@contextmanager
def _bars() -> Iterator[Progress]:
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
