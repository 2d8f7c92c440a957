"""The results of snap.py: stored map by map, and as a table."""

import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from statistics import mean
from typing import NamedTuple

FAST = "file, q75, 30 regions", 8.0
"""The case with an aim for its speed, and the megapixels per CPU second."""

INVENTED = 0.01
"""Share of maps that may have an invented class."""


class Score(NamedTuple):
    """What one method made of one map."""

    wrong: float
    lost: int
    invented: bool
    seconds: float
    megapixels: float


class Measured(NamedTuple):
    """The scores of the methods on one map of a case."""

    case: str
    run: int
    draw: int
    seed: int
    scores: dict[str, Score]


class Result(NamedTuple):
    """What one method made of all maps of a case: wrong pixels (%) in the worst draw, and totals."""

    wrong: float
    lost: int
    invented: int
    rate: float


def stored(path: Path | None) -> list[Measured]:
    """Return the measurements in a file, none if it does not exist."""
    lines = path.read_text().splitlines() if path and path.exists() else []
    return [
        Measured(**{**record, "scores": {name: Score(*values) for name, values in record["scores"].items()}})
        for record in map(json.loads, lines)
    ]


def table(measurements: list[Measured], aims: dict[str, float | None]) -> Iterator[str]:
    """Return the lines of a Markdown table with a row for each case.

    Args:
        measurements: of any cases, in any order.
        aims: most wrong pixels (%) of each case, in the order of the rows.
    """
    yield "| damage (maps) | aim | segkit | nearest colour | PIL quantize | segkit, MP/s a core | missed |"
    yield "|---|---|---|---|---|---|---|"
    for case, aim in aims.items():
        rows = [measured for measured in measurements if measured.case == case]
        if rows:
            results = [summarize(rows, method) for method in rows[0].scores]
            segkit, *others = (f"{result.wrong:.2f} %, {result.lost}, {result.invented}" for result in results)
            missed = ", ".join(misses(case, aim, results[0], len(rows)))
            cells = [f"{case} ({len(rows)})", "" if aim is None else f"{aim} %", f"**{segkit}**", *others]
            yield f"| {' | '.join([*cells, f'{results[0].rate:.1f}', missed])} |"


def summarize(rows: list[Measured], method: str) -> Result:
    """Return the result of a method on the maps of one case."""
    ordered = sorted(rows, key=lambda row: (row.run, row.draw))
    draws = [[row.scores[method] for row in draw] for _, draw in groupby(ordered, lambda row: (row.run, row.draw))]
    scores = [score for draw in draws for score in draw]
    return Result(
        max(mean(score.wrong for score in draw) for draw in draws),
        sum(score.lost for score in scores),
        sum(score.invented for score in scores),
        sum(score.megapixels for score in scores) / sum(score.seconds for score in scores),
    )


def misses(case: str, aim: float | None, result: Result, maps: int) -> Iterator[str]:
    """Return the aims that a result misses; classes may be lost at q50."""
    if aim is not None and round(result.wrong, 2) > aim:
        yield "pixels"
    if result.lost and "q50" not in case:
        yield "lost"
    if result.invented > INVENTED * maps:
        yield "invented"
    if FAST[0] in case and result.rate < FAST[1]:
        yield "speed"
