"""Runs and datasets are written in other formats, and checkpoints are inspected."""

from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, overload

from segkit.api import arguments
from segkit.api.arguments import PathOrStr
from segkit.errors import SettingError, UsageError
from segkit.progress import Progress, silent
from segkit.settings import DatasetExportSettings, Kind, Layout

if TYPE_CHECKING:
    from segkit.dataset import Dataset
    from segkit.exports.pipeline import Exported
    from trainer.checkpoints.inspect import Inspection
    from trainer.loop import Outcome


@overload
def export(
    source: "PathOrStr | Outcome",
    to: Layout,
    output: PathOrStr | None = None,
    *,
    full: bool = False,
    overwrite: bool = False,
) -> Path: ...
@overload
def export(
    source: "PathOrStr | Dataset",
    to: Kind,
    output: PathOrStr,
    *,
    overwrite: bool = False,
    progress: Progress = silent,
    **settings: Any,
) -> "Exported": ...
def export(
    source: "PathOrStr | Outcome | Dataset",
    to: Layout | Kind,
    output: PathOrStr | None = None,
    *,
    full: bool = False,
    overwrite: bool = False,
    progress: Progress = silent,
    **settings: Any,
) -> "Path | Exported":
    """Write the ControlNet of a finished run in another file format, or a dataset in another tool's layout.

    Args:
        source: a run or its folder, or a ControlNet's diffusers folder; or a dataset.
        to: of a run: "ldm" for a .safetensors file (A1111, Forge, ComfyUI), "pth" for a .pth file, "diffusers" for a
            folder. Of a dataset: "webdataset", "imagefolder", "parquet", "fill50k", "kohya", "coco-panoptic" or
            "label-ids"; see docs/data.md.
        output: the file or folder; None for one inside the run. A dataset is also exported to a URL, such as
            "s3://bucket/rooms".
        full: of a run: keep fp32 in files, which otherwise are fp16. Folders always keep it.
        overwrite: replace an existing file or an earlier export.
        progress: see segkit.progress.
        settings: of a dataset: fields of segkit.settings.SelectionSettings, such as split="train" or maps="rgb", and
            verify=True to compare the hashes of an earlier export's files rather than sizes alone.

    Returns:
        The file or folder that was written; of a dataset, an Exported with `path`, `triples` and `notes`. Interrupted,
        the same call continues; called again, it writes those files that are missing or damaged, named in `restored`.

    Raises:
        ModelError: there is no trained ControlNet, or it is damaged.
        UsageError: a setting is not valid, or the name is taken or does not fit the format.
        DatasetError: the dataset is damaged, or a file was changed after it was checked.
        StorageError: the disk is full.
        LocationError: a store cannot be reached or denies access.
    """
    if to in get_args(Kind):
        if full:
            raise UsageError(f"full=True is for runs; to={to} exports a dataset.")
        return _export_dataset(source, output, {"to": to, "overwrite": overwrite, **settings}, progress)
    if to not in get_args(Layout):
        raise SettingError("to", to, " or ".join([*get_args(Layout), *get_args(Kind)]))
    if settings:
        raise UsageError(f"{next(iter(settings))} is for datasets; to={to} exports a run.")
    from trainer.checkpoints import export as exports

    folder = arguments.path(source, "source")
    if (folder / ".segkit" / "dataset.toml").is_file():
        raise UsageError(f"{folder} is a dataset, which to={to} cannot hold. Use to={' or '.join(get_args(Kind))}.")
    path = None if output is None else arguments.path(output, "output")
    return exports.export(folder, to, path, full, overwrite)  # type: ignore[arg-type]


def _export_dataset(source: Any, output: Any, settings: dict[str, Any], progress: Progress) -> "Exported":
    from segkit.exports import pipeline
    from segkit.remote import is_url

    chosen = arguments.settings(DatasetExportSettings, settings)
    if output is None:
        raise UsageError(f"to={chosen.to} needs an output: a new folder.")
    if isinstance(source, str | PathLike) and (Path(source) / "run.toml").is_file():
        layouts = " or ".join(get_args(Layout))
        raise UsageError(f"{fspath(source)} is a run, which to={chosen.to} cannot hold. Use to={layouts}.")
    where = output if is_url(output) else arguments.path(output, "output")
    return pipeline.export(arguments.open_dataset(source), where, chosen, progress)


def inspect(path: PathOrStr) -> "Inspection":
    """Identify a checkpoint and check every tensor, without running any code in it.

    Args:
        path: a .safetensors, .pth, .pt, .ckpt or .bin file, or a diffusers folder of one network.

    Returns:
        What the file is, and what is wrong with it.

    Raises:
        ModelError: it is not a checkpoint, is damaged, or would run code.
    """
    from trainer.checkpoints import inspect as inspection

    return inspection.inspect(arguments.path(path, "path"))
