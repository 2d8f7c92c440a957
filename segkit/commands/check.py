"""segkit check."""

from pathlib import Path

import click

from segkit.commands.options import Command, json_option


@click.command("check", cls=Command, short_help="Run every rule over a dataset.", example="segkit check rooms --json")
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option("--tokenizer", default="", help="Folder of CLIP's tokenizer, to count prompts anew.")
@click.option("--palette", default="", help="The table that the dataset should be painted with, if it is your own.")
@json_option
@click.pass_context
def command(context: click.Context, dataset: Path, tokenizer: str, palette: str, as_json: bool) -> None:
    """Run every rule over a dataset: files, sizes, classes, colours, prompts, duplicates, splits, strays.

    Exit code 0: no error (warnings do not fail a dataset); 1: errors found; 2: no dataset.
    """
    from segkit import console
    from segkit.commands import show
    from segkit.dataset import Dataset, checks
    from segkit.palette import Palette

    count = None
    if tokenizer:
        from segkit.models import tokens

        count = tokens.counter(tokenizer).count
    with console.progress() as progress:
        result = checks.check(Dataset.open(dataset), count, progress, Palette.load(palette) if palette else None)
    show.checked(result, dataset, as_json)
    context.exit(int(result.failed))
