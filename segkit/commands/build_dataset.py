"""segkit build-dataset."""

from pathlib import Path
from typing import Any

import click

from segkit.commands.options import Command, json_option, settings_options, take
from segkit.settings import BuildSettings


@click.command(
    "build-dataset",
    cls=Command,
    short_help="Turn photos into a dataset of checked triples.",
    example="segkit build-dataset photos/ -o rooms --split val=0.1",
)
@click.argument("photos", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="The dataset's folder.  [default: PHOTOS-dataset]"
)
@settings_options(BuildSettings)
@click.option("--dry-run", is_flag=True, help="Count, measure and estimate; write nothing.")
@json_option
def command(photos: Path, output: Path | None, dry_run: bool, as_json: bool, **values: Any) -> None:
    """Turn a folder of photos into a dataset of checked triples.

    Each photo gets a control map (exact class colours, indexed PNG) and a drafted prompt. Run it again after adding
    photos: only what is new is worked on. Photos that cannot be used are listed in .segkit/rejected.jsonl with the
    reason. Sources are never changed.
    """
    from segkit import build, plan, report, show, summary
    from segkit.console import progress
    from segkit.dataset import Dataset

    settings = take(BuildSettings, values)
    output = output or photos.resolve().with_name(photos.resolve().name + "-dataset")
    with progress("photos") as advance:

        def told(outcome: build.Outcome) -> None:
            advance(outcome.done, outcome.found - outcome.skipped.total())

        if dry_run:
            planned = plan.plan(photos, output, settings, told)
        else:
            outcome = build.build_dataset(photos, output, settings, told)
    if dry_run:
        show.plan(planned, as_json)
        return
    dataset = Dataset.open(output)
    page = report.write(dataset)
    show.outcome(outcome, summary.summarise(dataset), output, page, as_json)
