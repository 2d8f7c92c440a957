"""segkit snap."""

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import click

from segkit.commands.options import Command, PathOrUrl, json_option, threads_option
from segkit.settings import Cause, SnapSettings, Unsure


@click.command(
    "snap", cls=Command, short_help="Repair control maps made by other tools.",
    example="segkit snap maps/ -o repaired/",
    after_interrupt="No map is half written. Run the command again: it continues.",
)  # fmt: skip
@click.argument("maps", type=PathOrUrl())
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Folder for the repaired maps; for a single map also a .png file.",
)
@click.option(
    "--in-place", is_flag=True, help="Repair the maps in place; the originals are copied to MAPS.before-snap."
)
@click.option(
    "--palette", default="ade20k", show_default=True, help="Palette that the maps should use: a name or a table."
)
@click.option("--to", default="", help="Palette whose classes replace those of a foreign one, matched by name.")
@click.option(
    "--from",
    "cause",
    type=click.Choice(get_args(Cause)[1:]),
    default=None,
    help="Cause of the damage, instead of detecting it.",
)
@click.option(
    "--unsure", type=click.Choice(get_args(Unsure)), default="nearest", show_default=True,
    help="How to label ambiguous pixels.",
)  # fmt: skip
@click.option(
    "--first-id",
    type=click.IntRange(0, 1),
    default=None,
    help="Value of the first class in maps of class indices, if the maps do not tell.",
)
@threads_option
@json_option
@click.pass_context
def command(
    context: click.Context, /, maps: Path | str, output: Path | None, in_place: bool, as_json: bool, **options: Any
) -> None:
    """Repair control maps made by other tools: wrong colours, JPEG artefacts, smooth scaling, white outlines.

    MAPS is a control map, a folder of maps, or a folder in the layout of fill50k, an imagefolder or kohya's scripts,
    of which only the maps are repaired. The damage of each map is identified (see segkit check-palette) and
    undone; a blurred pixel gets the class of a solid area around it, never merely that of the nearest colour. The
    repaired maps are indexed PNGs. Run the command again after adding maps, or after a stop: maps that the output
    folder already holds are kept. Exit code 0: all repaired; 1: some could not be repaired, or should be compared with
    their originals; 2: usage error.
    """
    from segkit import console
    from segkit.commands import show
    from segkit.dataset import map_repair
    from segkit.errors import UsageError
    from segkit.reports.findings import COPY
    from segkit.words import quote

    if isinstance(maps, str):
        raise UsageError(f"{maps}: maps are repaired in local files. {COPY}")

    if (output is None) != in_place:
        raise UsageError(f"Pass either -o or --in-place, as in: segkit snap {quote(maps)} -o FOLDER")
    rules = SnapSettings(**options | {"cause": options["cause"] or ""})
    with console.progress() as progress:
        result = map_repair.snap_files(maps, output, rules, progress)
    flags = context.command.with_flags if isinstance(context.command, Command) else str
    result = [replace(outcome, reason=flags(outcome.reason)) for outcome in result]
    show.snap_results(result, maps, as_json)
    context.exit(int(any(outcome.reason or (outcome.result and outcome.result.concern) for outcome in result)))
