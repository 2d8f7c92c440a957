"""Datasets are built, imported and given prompts."""

from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

from segkit.api import arguments
from segkit.api.arguments import PathOrStr
from segkit.progress import Progress, silent
from segkit.settings import DraftSettings

if TYPE_CHECKING:
    from segkit.dataset import Dataset
    from segkit.imports.outcome import Outcome as Imported


def build_dataset(photos: PathOrStr, output: PathOrStr, *, progress: Progress = silent, **settings: Any) -> "Dataset":
    """Turn a folder of photos into a dataset of checked triples, or update one: only new photos are processed.

    Args:
        photos: a folder, searched recursively; a URL such as "s3://bucket/photos"; tar files such as
            "photos-{000..009}.tar"; or a list of URLs, .txt. They are never changed.
        output: the dataset's folder: new, empty, or an earlier dataset with the same settings.
        progress: see segkit.progress.
        settings: fields of segkit.build.settings.BuildSettings, such as segmenter="toy" or split="val=0.1"; what is
            left out is as the dataset was built, or else the default.

    Returns:
        The dataset. `rejections()` lists the photos that were left out, with reasons.

    Raises:
        UsageError: a setting is unknown or out of range, or differs from the dataset's.
        DatasetError: the output folder contains something else.
        LockedError: another process is writing the dataset.
        ModelError: a network is missing or does not fit the palette.
        EngineError: Ray is missing, or its cluster fails; finished work is kept.
        LocationError: a URL cannot be read; finished work is kept.
        StorageError: the disk is full; finished work is kept.
    """
    from segkit import dataset
    from segkit.build import pipeline, remembered
    from segkit.build.settings import BuildSettings
    from segkit.dataset import Dataset

    arguments.settings(BuildSettings, settings)  # checks them
    folder = dataset.local_folder(arguments.path_or_name(output, "output"))
    chosen = arguments.settings(BuildSettings, remembered.complete(folder, settings))
    pipeline.build_dataset(arguments.path_or_name(photos, "photos"), folder, chosen, progress)
    return Dataset.open(folder)


def import_data(
    sources: "PathOrStr | Dataset | Sequence[PathOrStr | Dataset]",
    output: PathOrStr,
    *,
    photos: PathOrStr | None = None,
    maps: PathOrStr | None = None,
    dry_run: bool = False,
    progress: Progress = silent,
    **settings: Any,
) -> "Imported":
    """Bring datasets of other tools into a dataset, and merge datasets. Run again, it adds only what is new.

    Args:
        sources: one or more datasets of segkit, exports, or folders, files or URLs of other layouts; [] with photos and
            maps.
        output: the dataset's folder: new, empty, or an earlier dataset.
        photos: a folder of photos, matched by name with the maps.
        maps: their folder.
        dry_run: only say what would be imported.
        progress: see segkit.progress.
        settings: fields of segkit.imports.settings.ImportSettings, such as repair="never" or split="val=0.1";
            and fetch_limit="50GB", the most space for the local copy of a URL.

    Returns:
        What became of each item; its `dataset` is the dataset, its `conflicts` is where persons disagree.

    Raises:
        UsageError: a setting is unknown, out of range, or differs from the dataset's.
        DatasetError: a source is damaged or has no known layout, or the output contains something else.
        LockedError: another process is writing the dataset.
        ModelError: a network is missing or does not fit the palette.
        LocationError: a URL cannot be read.
        StorageError: the disk is full; finished work is kept.
    """
    from segkit.dataset import Dataset, local_folder
    from segkit.imports import request
    from segkit.imports.settings import ImportSettings

    limit = settings.pop("fetch_limit", request.LIMIT)
    chosen = arguments.settings(ImportSettings, settings)
    several = [sources] if isinstance(sources, str | PathLike | Dataset) else sources
    folders = [item.folder if isinstance(item, Dataset) else item for item in several]
    wanted = request.Request(
        [arguments.path_or_name(item, "sources") for item in folders],
        None if photos is None else arguments.path_or_name(photos, "photos"),
        None if maps is None else arguments.path_or_name(maps, "maps"),
        limit,
    )
    return request.run(wanted, local_folder(arguments.path_or_name(output, "output")), chosen, progress, dry_run)


def caption(dataset: "PathOrStr | Dataset", *, redo: bool = False, progress: Progress = silent, **settings: Any) -> int:
    """Draft prompts for the triples that have none. A prompt that a person wrote is never changed.

    Args:
        dataset: the dataset or its folder.
        redo: also replace earlier drafts.
        progress: see segkit.progress.
        settings: fields of segkit.build.settings.DraftingSettings, such as captioner="blip-large".

    Returns:
        The number of prompts drafted.

    Raises:
        UsageError: a setting is unknown or out of range.
        DatasetError: photos do not open; the others are done.
        LockedError: another process is writing the dataset.
        ModelError: the captioner is missing or damaged.
        EngineError: Ray is missing, or its cluster fails; recorded drafts are kept.
    """
    from segkit.build import captions, tools
    from segkit.build.settings import DraftingSettings

    chosen = arguments.settings(DraftingSettings, settings)
    DraftSettings(redo=redo)  # checks it
    return captions.draft(
        arguments.open_dataset(dataset), chosen, tools.load_drafting, redo=redo, progress=progress
    ).drafted
