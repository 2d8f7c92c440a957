"""segkit build-dataset."""

from pathlib import Path
from typing import Any

import click

from segkit.build.settings import BuildSettings
from segkit.commands.options import (
    Command,
    PathOrUrl,
    json_option,
    settings_options,
    take_typed,
    threads_option,
    with_file,
    with_flags,
    with_removals,
)
from segkit.errors import UsageError


@click.command(
    "build-dataset",
    cls=Command,
    short_help="Build a dataset of checked triples from photos.",
    example="segkit build-dataset photos/ -o rooms --split val=0.1",
    after_interrupt="Run the same command again: triples that are finished are not built again.",
)
@click.argument("photos", type=PathOrUrl(), required=False)
@click.option("-o", "--output", type=PathOrUrl(), help="Dataset folder.  [default: PHOTOS-dataset]")
@click.option(
    "--config", type=click.Path(path_type=Path), help="A build.toml with any of these options; flags take precedence."
)
@settings_options(BuildSettings)
@click.option("--dry-run", is_flag=True, help="Report photo counts, sizes, time and disk space; write nothing.")
@threads_option
@json_option
@click.pass_context
def command(
    context: click.Context,
    /,
    photos: Path | str | None,
    output: Path | str | None,
    config: Path | None,
    dry_run: bool,
    as_json: bool,
    **values: Any,
) -> None:
    """Build a dataset of triples (photo, control map, prompt) from photos.

    PHOTOS is a folder, a URL such as s3://bucket/photos, tar files such as photos-{000..009}.tar, or a list of URLs,
    .txt; see docs/data.md.

    Each photo gets a control map (indexed PNG in exact class colours) and a drafted prompt. Run the command again
    after adding photos: only new ones are processed, and renamed ones are recognised. Rejected photos are listed with
    the reason in .segkit/rejected.jsonl. The source photos are never modified. Exits with 1 if photos were found, but
    the dataset has no triple.
    """
    from segkit import console
    from segkit.build import dry_run as rehearsal
    from segkit.build import pipeline, remembered, settings, target
    from segkit.commands import show_build
    from segkit.dataset import Dataset, local_folder, stats
    from segkit.reports import dataset_page

    file = settings.read(config) if config else {}
    photos = photos or file.get("photos")
    if photos is None:
        raise UsageError("No photos given. Run segkit build-dataset PHOTOS, or set photos in the --config file.")
    folder = local_folder(output or file.get("output") or target.default_output(photos))
    values = with_removals(context, with_file(context, values, file), file)
    build_settings = BuildSettings(**remembered.complete(folder, take_typed(BuildSettings, context, values, file)))
    with console.progress() as progress:
        if dry_run:
            plan = rehearsal.plan(photos, folder, build_settings, progress)
        else:
            outcome = pipeline.build_dataset(photos, folder, build_settings, progress)
    if dry_run:
        show_build.build_plan(plan, [with_flags(context, note) for note in plan.notes], as_json)
        return
    dataset = Dataset.open(folder)
    page = dataset_page.write(dataset)
    outcome.notes = [with_flags(context, note) for note in outcome.notes]
    summary = stats.summarize(dataset)
    show_build.build_outcome(outcome, summary, folder, page, as_json)
    context.exit(int(outcome.found > 0 and not summary.triples and not summary.left_out))
