"""segkit import."""

from functools import partial
from pathlib import Path
from typing import Any

import click

from segkit.commands.options import (
    Command,
    PathOrUrl,
    json_option,
    settings_options,
    take,
    threads_option,
    with_flags,
    with_removals,
)
from segkit.imports.settings import ImportSettings


@click.command(
    "import",
    cls=Command,
    short_help="Bring datasets of other tools, or of segkit, into a dataset.",
    example="segkit import ADEChallengeData2016 -o rooms",
    after_interrupt="Run the same command again: what is imported is not read again.",
)
@click.argument("sources", type=PathOrUrl(), nargs=-1)
@click.option("-o", "--output", type=PathOrUrl(), required=True, help="Dataset folder, new or not.")
@click.option("--photos", type=PathOrUrl(), help="Folder of photos, matched with --maps by name.")
@click.option("--maps", type=PathOrUrl(), help="Folder of control maps, named like the photos.")
@settings_options(ImportSettings)
@click.option("--fetch-limit", default="50GB", show_default=True, help="Most space for the local copy of a URL.")
@click.option("--dry-run", is_flag=True, help="Read and judge everything, and say what would come in; write nothing.")
@threads_option
@json_option
@click.pass_context
def command(
    context: click.Context,
    /,
    sources: tuple[Path | str, ...],
    output: Path | str,
    photos: Path | str | None,
    maps: Path | str | None,
    fetch_limit: str,
    dry_run: bool,
    as_json: bool,
    **values: Any,
) -> None:
    """Import photos with control maps and prompts into a dataset, and merge datasets.

    SOURCES are datasets of segkit, its exports and shards, ADE20K's release, COCO panoptic, Hugging Face's imagefolders
    and Parquet files, WebDataset shards, or folders in the layout of fill50k or kohya's scripts. Every map is read
    exactly or repaired, photos are fitted as segkit build-dataset does, and splits that came along are kept. Of equal
    photos and near-duplicates the first source's counts; what persons wrote and decided is merged. Slices of a build
    (build-dataset --shard) become the dataset of that build. Run the command again to add what is new. Exit code 0:
    done; 1: persons disagree, see the conflicts, or everything was left out; 2: usage error.
    """
    from segkit import console
    from segkit.commands import show_import
    from segkit.dataset import local_folder
    from segkit.imports import request

    settings = take(ImportSettings, with_removals(context, values))
    wanted = request.Request(sources, photos, maps, fetch_limit)
    with console.progress() as progress:
        phrase = partial(with_flags, context)
        outcome = request.run(wanted, local_folder(output), settings, progress, dry_run, phrase)
    show_import.outcome(outcome, phrase, dry_run, as_json)
    context.exit(int(bool(outcome.conflicts) or outcome.is_fruitless))
