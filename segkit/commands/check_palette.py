"""segkit check-palette."""

import click

from segkit.commands.options import Command, json_option


@click.command(
    "check-palette",
    cls=Command,
    short_help="Report clashing colours and off-palette pixels.",
    example="segkit check-palette my_classes.csv --min-distance 12",
)
@click.argument("target", required=False)
@click.option(
    "--min-distance", type=click.FloatRange(0, 442), default=10.0, show_default=True,
    help="Colours nearer than this (RGB, L2) are reported.",
)  # fmt: skip
@json_option
@click.pass_context
def command(context: click.Context, target: str | None, min_distance: float, as_json: bool) -> None:
    """Report colours that could be taken for one another, and pixels that are off the palette.

    TARGET is a palette table (.csv, .tsv), a control map, a folder of maps or a dataset. Without one the ADE20K
    palette itself is looked at. Exit code 0: clean; 1: findings; 2: unusable.
    """
    from segkit import console, palette_report, show

    result = palette_report.examine(target, min_distance, console.progress)
    show.palette(result, as_json)
    context.exit(int(result.has_findings))
