"""segkit check-palette."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from segkit.commands.options import Command, json_option, threads_option
from segkit.settings import PaletteSettings

if TYPE_CHECKING:
    from segkit.reports.findings import PaletteReport


@click.command(
    "check-palette",
    cls=Command,
    short_help="Find clashing colours and off-palette pixels.",
    example="segkit check-palette my_classes.csv --min-distance 12",
)
@click.argument("target", required=False)
@click.option(
    "--min-distance", type=float, default=10.0, show_default=True,
    help="Report colours closer than this (RGB, L2).",
)  # fmt: skip
@click.option(
    "--against", default="ade20k,coco_panoptic", show_default=True,
    help="Comma-separated palettes or tables whose colours must also stay distinct; '' for none.",
)  # fmt: skip
@click.option("--palette", default="ade20k", show_default=True, help="Palette that maps should use: a name or a table.")
@click.option("--suggest", type=int, default=0, help="Suggest this many colours for new classes.")
@click.option(
    "--extend", type=click.Path(path_type=Path), help="Write the palette plus the --add classes to this .csv."
)
@click.option("--add", "names", multiple=True, help="A new class for --extend; repeatable.")
@click.option(
    "--swatches",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Write the palette as swatches for an editor: GIMP's .gpl, Photoshop's .aco, or a legend, .png; repeatable.",
)
@click.option(
    "--worksheet",
    default="",
    help="Worksheet of a Google Sheet: gid or name.  [default: the gid in the URL, else the first]",
)
@click.option(
    "--credentials", default="", help="Google key file (service account or authorized user), to read a Google Sheet."
)
@click.option("--api-key", default="", help="Google API key, to read a public Google Sheet.")
@click.option("--push", is_flag=True, help="Write the findings into a column of the Google Sheet; needs --credentials.")
@click.option("--save", type=click.Path(path_type=Path), help="Save the table that was read as this .csv.")
@click.option(
    "--html",
    "page",
    type=click.Path(path_type=Path),
    help="Write an .html report: swatches and close pairs, or the worst maps.",
)
@threads_option
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
    swatches: tuple[Path, ...],
    worksheet: str,
    credentials: str,
    api_key: str,
    push: bool,
    save: Path | None,
    page: Path | None,
    as_json: bool,
) -> None:
    """Find palette colours that are easily confused, and control maps with wrong colours, their cause and their fix.

    TARGET is a palette table (.csv, .tsv, .txt, .md, .json, GIMP's .gpl), a Google Sheet's URL or id, a control map, a
    folder of maps, a dataset, a WebDataset shard (.tar), or a folder in the layout of fill50k, an imagefolder or
    kohya's scripts; the default is the ADE20K palette. --suggest finds the colours farthest from ADE20K, COCO, black,
    white, the table's own colours and one another, by exact search over all 2^24. Exit code 0: no findings;
    1: findings; 2: TARGET cannot be read.
    """
    from segkit import console
    from segkit.commands import show
    from segkit.errors import UsageError
    from segkit.reports import findings

    others = tuple(name.strip() for name in against.split(",") if name.strip())
    PaletteSettings(min_distance=min_distance, against=others, palette=palette, suggest=suggest)  # checks them
    if (extend is None) != (not names):
        raise UsageError(
            "--extend and --add go together, as in: segkit check-palette --extend mine.csv --add 'solar panel'."
        )
    sheet = None
    if target:
        from segkit.palette import google_sheets

        sheet = google_sheets.find(target, worksheet)
    if push and not sheet:
        raise UsageError("--push needs a Google Sheet as TARGET (its URL or id) and --credentials FILE.")
    _require_new(save, extend, swatches, page)
    if sheet:
        access = google_sheets.Access.of(credentials, api_key)
        result = findings.examine_sheet(sheet, access, min_distance, others)
    else:
        with console.progress() as progress:
            result = findings.examine(target, min_distance, progress, others, palette)
    result = findings.with_suggestions(result, suggest)
    result = _write(result, save, extend, names, swatches, page)
    pushed = findings.push(result, sheet, access) if push and sheet else 0
    show.palette_report(result, as_json, [path for path in (page, save, extend, *swatches) if path])
    if push and not as_json:
        console.line(f"Wrote {console.count(pushed, 'finding')} to column {google_sheets.COLUMN!r} of the sheet.")
    context.exit(int(result.has_findings))


def _require_new(save: Path | None, extend: Path | None, swatches: Sequence[Path], page: Path | None) -> None:
    """Check the names of all files before any is written, so that the corrected command meets none of them."""
    from segkit.reports import findings

    for path in filter(None, (save, extend)):
        findings.require_new_file(path, ".csv")
    if swatches:
        from segkit.palette.swatches import FORMATS

        for path in swatches:
            findings.require_new_file(path, *FORMATS)
    if page:
        findings.require_new_file(page, ".html")


def _write(
    result: "PaletteReport",
    save: Path | None,
    extend: Path | None,
    names: Sequence[str],
    swatches: Sequence[Path],
    page: Path | None,
) -> "PaletteReport":
    """Write the files that were asked for, and return the report with the classes that were added."""
    from segkit.reports import findings

    if save:
        findings.save(result, save)
    if extend:
        result = findings.write_extended(result, extend, names)
    if swatches:
        findings.write_swatches(result, swatches)
    if page:
        from segkit.reports import palette_page  # imports numpy

        palette_page.write(result, page)
    return result
