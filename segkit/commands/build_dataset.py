"""segkit build-dataset."""

from pathlib import Path
from typing import Any

import click

from segkit.build.settings import BuildSettings
from segkit.commands.options import Command, json_option, settings_options, take


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
    from segkit import console
    from segkit.build import dry_run as rehearsal
    from segkit.build import pipeline
    from segkit.commands import show
    from segkit.dataset import Dataset, stats
    from segkit.reports import dataset_page

    settings = take(BuildSettings, values)
    output = output or photos.resolve().with_name(photos.resolve().name + "-dataset")
    with console.progress() as progress:
        if dry_run:
            planned = rehearsal.plan(photos, output, settings, progress)
        else:
            outcome = pipeline.build_dataset(photos, output, settings, progress)
    if dry_run:
        show.plan(planned, as_json)
        return
    dataset = Dataset.open(output)
    page = dataset_page.write(dataset)
    show.outcome(outcome, stats.summarize(dataset), output, page, as_json)
