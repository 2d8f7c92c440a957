"""segkit check-palette."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from segkit.commands.options import Command, json_option

if TYPE_CHECKING:
    from segkit.reports.findings import PaletteReport


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
@click.option(
    "--against", default="ade20k,coco_panoptic", show_default=True,
    help="Palettes or tables with whose colours a table's must not be confused, by commas; '' for none.",
)  # fmt: skip
@click.option(
    "--palette", default="ade20k", show_default=True, help="What maps should be painted with: a name or a table."
)
@click.option("--suggest", type=click.IntRange(0, 100), default=0, help="Give so many colours for new classes.")
@click.option("--extend", type=click.Path(path_type=Path), help="Write the palette with the classes of --add: a .csv.")
@click.option("--add", "names", multiple=True, help="A new class for --extend; may be given several times.")
@click.option("--worksheet", default="", help="Of a Google Sheet: gid or name. Else the address's gid, or the first.")
@click.option("--credentials", default="", help="Key file of a service account or authorized user, for a Google Sheet.")
@click.option("--api-key", default="", help="Google API key, for a Google Sheet that everybody may read.")
@click.option("--push", is_flag=True, help="Write the findings into a column of the Google Sheet. Needs --credentials.")
@click.option("--save", type=click.Path(path_type=Path), help="Keep the table that was read as this .csv.")
@click.option(
    "--html", "page", type=click.Path(path_type=Path), help="Write swatches, pairs or the worst maps as .html."
)
@json_option
@click.pass_context
def command(
    context: click.Context,
    target: str | None,
    min_distance: float,
    against: str,
    palette: str,
    suggest: int,
    extend: Path | None,
    names: tuple[str, ...],
    worksheet: str,
    credentials: str,
    api_key: str,
    push: bool,
    save: Path | None,
    page: Path | None,
    as_json: bool,
) -> None:
    """Report colours that could be taken for one another, and maps with wrong colours: the cause and the cure.

    TARGET is a palette table (.csv, .tsv, .json, GIMP's .gpl), a Google Sheet's URL or id, a control map, a folder of
    maps, a dataset, a WebDataset shard (.tar) or an imagefolder (metadata.jsonl). Without one the ADE20K palette
    itself is looked at. --suggest gives the colours farthest from ADE20K, COCO, black, white, the table's and one
    another, exact over all 2^24. Exit code 0: clean; 1: findings; 2: unusable.
    """
    from segkit import console
    from segkit.commands import show
    from segkit.errors import UsageError
    from segkit.reports import findings

    if (extend is None) != (not names):
        raise UsageError("--extend and --add go together: segkit check-palette --extend mine.csv --add 'solar panel'.")
    sheet = None
    if target:
        from segkit.palette import google_sheets

        sheet = google_sheets.find(target, worksheet)
    if push and not sheet:
        raise UsageError("--push writes to a Google Sheet. Give its URL or id, and --credentials FILE.")
    if page:
        findings.require_new_file(page, "--html", ".html")
    others = [name.strip() for name in against.split(",") if name.strip()]
    if sheet:
        access = google_sheets.Access.of(credentials, api_key)
        result = findings.examine_sheet(sheet, access, min_distance, others)
    else:
        with console.progress() as progress:
            result = findings.examine(target, min_distance, progress, others, palette)
    result = findings.with_suggestions(result, suggest)
    _write(result, save, extend, names, page)
    pushed = findings.push(result, sheet, access) if push and sheet else 0
    show.palette(result, as_json, [path for path in (page, save, extend) if path])
    if push and not as_json:
        console.line(f"{pushed} findings written into the sheet's column {google_sheets.COLUMN!r}.")
    context.exit(int(result.has_findings))


def _write(
    result: "PaletteReport", save: Path | None, extend: Path | None, names: Sequence[str], page: Path | None
) -> None:
    """Write the files that were asked for."""
    from segkit.reports import findings

    if save:
        findings.save(result, save)
    if extend:
        findings.write_extended(result, extend, names)
    if page:
        from segkit.reports import palette_page  # with numpy

        palette_page.write(result, page)
