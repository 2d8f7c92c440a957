"""segkit check."""

from pathlib import Path
from typing import Any

import click

from segkit.build.settings import EngineSettings
from segkit.commands.options import Command, json_option, settings_options, take, threads_option
from segkit.settings import CheckSettings


@click.command(
    "check", cls=Command, short_help="Check a dataset against every rule.", example="segkit check rooms --json"
)
@click.argument("dataset", type=click.Path(path_type=Path))
@settings_options(CheckSettings)
@settings_options(EngineSettings)
@threads_option
@json_option
@click.pass_context
def command(context: click.Context, /, dataset: Path, as_json: bool, **values: Any) -> None:
    """Check a dataset against every rule: files, sizes, classes, colours, prompts, duplicates, splits, stray files.

    Nothing is locked: a build or a training may use the dataset meanwhile.

    Exit code 0: no errors (warnings do not count); 1: errors found; 2: not a readable dataset.
    """
    from segkit import console
    from segkit.build.engines import checking
    from segkit.commands import show
    from segkit.dataset import Dataset, checks, doubt
    from segkit.palette import Palette

    settings, engine = take(CheckSettings, values), take(EngineSettings, values)
    count_tokens = None
    if settings.tokenizer:
        from segkit.models import tokens

        count_tokens = tokens.counter(settings.tokenizer).count
    palette = Palette.load(settings.palette) if settings.palette else None
    opened = Dataset.open(dataset)
    with console.progress() as progress, checking.examiner(opened, engine, progress) as examine:
        scope = checks.Scope(settings.check, examine=examine)
        result = checks.check(opened, count_tokens, progress, palette, scope)
    doubtful = doubt.of_dataset(opened, show.MAX_DOUBTFUL) if result.is_readable else []
    show.check_report(result, dataset, as_json, doubtful)
    context.exit(int(result.failed))
