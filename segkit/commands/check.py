"""segkit check."""

from pathlib import Path

import click

from segkit.commands.options import Command, json_option


@click.command(
    "check", cls=Command, short_help="Check a dataset against every rule.", example="segkit check rooms --json"
)
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option("--tokenizer", default="", help="Folder of CLIP's tokenizer, to recount prompt lengths.")
@click.option("--palette", default="", help="Palette table that the dataset was built with, if it is a custom one.")
@json_option
@click.pass_context
def command(context: click.Context, dataset: Path, tokenizer: str, palette: str, as_json: bool) -> None:
    """Check a dataset against every rule: files, sizes, classes, colours, prompts, duplicates, splits, stray files.

    Exit code 0: no errors (warnings do not count); 1: errors found; 2: not a readable dataset.
    """
    from segkit import console
    from segkit.commands import show
    from segkit.dataset import Dataset, checks
    from segkit.palette import Palette

    count_tokens = None
    if tokenizer:
        from segkit.models import tokens

        count_tokens = tokens.counter(tokenizer).count
    with console.progress() as progress:
        result = checks.check(Dataset.open(dataset), count_tokens, progress, Palette.load(palette) if palette else None)
    show.check_report(result, dataset, as_json)
    context.exit(int(result.failed))
