"""segkit caption."""

from pathlib import Path
from typing import Any

import click

from segkit.build.settings import CaptionSettings
from segkit.commands.options import Command, json_option, settings_options, take


@click.command(
    "caption", cls=Command, short_help="Draft prompts, or set those that a person wrote.",
    example='segkit caption rooms --redo-drafts --template "{caption}, {classes}"',
)  # fmt: skip
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option("--only-missing", "redo", flag_value=False, default=False, help="Draft where there is none.  [default]")
@click.option("--redo-drafts", "redo", flag_value=True, type=bool, help="Draft anew, but for what a person wrote.")
@click.option(
    "--edit", "edits", nargs=2, multiple=True, metavar="KEY TEXT",
    help="Set one prompt, as written by a person; may be given several times.",
)  # fmt: skip
@click.option(
    "--from-csv", type=click.Path(path_type=Path), metavar="FILE",
    help="Set prompts from a table with the columns key and text.",
)  # fmt: skip
@settings_options(CaptionSettings)
@json_option
def command(
    dataset: Path,
    redo: bool,
    edits: tuple[tuple[str, str], ...],
    from_csv: Path | None,
    as_json: bool,
    **values: Any,
) -> None:
    """Draft the prompts of a dataset, or set those that a person wrote; no model ever touches the latter."""
    from segkit import console
    from segkit.build import captions, tools
    from segkit.commands import show
    from segkit.dataset import Dataset
    from segkit.errors import UsageError
    from segkit.models import tokens
    from segkit.reports import dataset_page

    settings = take(CaptionSettings, values)
    if redo and (edits or from_csv):
        raise UsageError("--redo-drafts drafts, --edit and --from-csv write. One at a time.")
    opened = Dataset.open(dataset)
    if edits or from_csv:
        texts = [*(captions.read_csv(from_csv) if from_csv else ()), *edits]
        written = captions.write(opened, texts, tokens.counter(settings.tokenizer).count)
        drafted = 0
    else:
        written = 0
        with console.progress() as progress:
            drafted = captions.draft(opened, settings, tools.load_drafting, redo=redo, progress=progress)
    dataset_page.write(opened)
    show.captioned(drafted, written, captions.too_long(opened), dataset, as_json)
