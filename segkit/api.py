"""The public API: what the commands do, as functions.

Functions and keywords have the names of the commands and flags. Paths may be `str` or `PathLike`, settings are keywords
(see the classes of settings for their types, ranges and defaults), results are values. Nothing is printed. Every error
is a SegkitError.
"""

from collections.abc import Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args, overload

from segkit.errors import MapError, SettingError, UsageError
from segkit.progress import Progress, silent
from segkit.schema import check_field
from segkit.settings import (
    Cause,
    Check,
    CheckSettings,
    DatasetExportSettings,
    DraftSettings,
    DrawSettings,
    Kind,
    Layout,
    PaletteSettings,
    SnapSettings,
    Unsure,
)  # fmt: skip

if TYPE_CHECKING:
    from PIL import Image

    from segkit.dataset import Dataset
    from segkit.dataset.checks import CheckReport
    from segkit.dataset.collection import Triples
    from segkit.dataset.painted import Taken
    from segkit.dataset.remove import Removed
    from segkit.exports.pipeline import Exported
    from segkit.imports.outcome import Outcome as Imported
    from segkit.maps.snap import Snapped
    from segkit.reports.findings import PaletteReport
    from trainer.checkpoints.inspect import Inspection
    from trainer.evaluate.evaluation import Evaluation
    from trainer.loop import Outcome
    from trainer.sample.generate import Picture

PathOrStr = str | PathLike[str]
Settings = TypeVar("Settings")


def build_dataset(photos: PathOrStr, output: PathOrStr, *, progress: Progress = silent, **settings: Any) -> "Dataset":
    """Turn a folder of photos into a dataset of checked triples, or update one: only new photos are processed.

    Args:
        photos: a folder, searched recursively; a URL such as "s3://bucket/photos"; tar files such as
            "photos-{000..009}.tar"; or a list of URLs, .txt. They are never changed.
        output: the dataset's folder: new, empty, or an earlier dataset with the same settings.
        progress: see segkit.progress.
        settings: fields of segkit.build.settings.BuildSettings, such as segmenter="toy" or split="val=0.1".

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
    from segkit.build import pipeline
    from segkit.build.settings import BuildSettings
    from segkit.dataset import Dataset

    chosen = _settings(BuildSettings, settings)
    folder = dataset.local_folder(fspath(_named(output, "output")))
    pipeline.build_dataset(fspath(_named(photos, "photos")), folder, chosen, progress)
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
    chosen = _settings(ImportSettings, settings)
    several = [sources] if isinstance(sources, str | PathLike | Dataset) else list(sources)
    wanted = request.Request(
        [fspath(item.folder if isinstance(item, Dataset) else _named(item, "sources")) for item in several],
        None if photos is None else fspath(_named(photos, "photos")),
        None if maps is None else fspath(_named(maps, "maps")),
        limit,
    )
    return request.run(wanted, local_folder(fspath(_named(output, "output"))), chosen, progress, dry_run)


def check_palette(
    target: PathOrStr | None = None,
    *,
    min_distance: float = 10.0,
    against: Sequence[str] = ("ade20k", "coco_panoptic"),
    palette: PathOrStr = "ade20k",
    suggest: int = 0,
    progress: Progress = silent,
) -> "PaletteReport":
    """Find colours that could be confused, in a palette table, and wrong colours in control maps.

    Args:
        target: a palette table, a control map, a folder of maps, a dataset, a WebDataset shard (.tar), an imagefolder
            or a shipped palette's name; None for ADE20K itself.
        min_distance: RGB L2, 0 to 442; closer colours of a table are reported.
        against: palettes or tables whose colours must not be confused with the table's.
        palette: what maps should be painted with: a shipped palette's name or a table.
        suggest: how many colours to suggest for new classes.
        progress: see segkit.progress.

    Returns:
        The report; its `findings` are Problems, those with severity "known" are quirks of the shipped palettes.

    Raises:
        PaletteError: the target or a palette is invalid.
        DatasetError: the target is a damaged dataset.
        SettingError: a setting has the wrong type or is out of range.
    """
    from segkit.reports import findings

    settings = {"min_distance": min_distance, "against": against, "palette": palette, "suggest": suggest}
    chosen = _settings(PaletteSettings, settings)
    name = None if target is None else fspath(_named(target, "target"))
    report = findings.examine(name, chosen.min_distance, progress, chosen.against, chosen.palette)
    return findings.with_suggestions(report, chosen.suggest)


def snap(
    control_map: "PathOrStr | Image.Image",
    *,
    palette: PathOrStr = "ade20k",
    to: PathOrStr = "",
    cause: Cause = "",
    unsure: Unsure = "nearest",
    first_id: int | None = None,
) -> "Snapped":
    """Repair a control map from another tool: wrong palettes, JPEG, smooth scaling, white outlines.

    Args:
        control_map: the map, as a file or as a picture.
        palette: what the map should be painted with: a shipped palette's name or a table.
        to: the palette whose classes a foreign palette's classes become, by name; "" keeps the map's own.
        cause: what is wrong, if known, such as "jpeg" or "label-ids"; "" to diagnose it.
        unsure: "nearest" gives undecidable pixels the best class, "unlabelled" none.
        first_id: value of the first class in a map of class indices, 0 or 1; None decides by the map.

    Returns:
        The repaired `labels`, the palette that they index, the diagnosis, and the shares of changed and doubtful
        pixels.

    Raises:
        SettingError: a setting has the wrong type or is no such choice.
        MapError: the map cannot be read or repaired.
        PaletteError: a palette is invalid.
    """
    from PIL import Image

    from segkit import maps
    from segkit.maps import snap as repair
    from segkit.palette import Palette

    name = "the map" if isinstance(control_map, Image.Image) else _path(control_map, "control_map")
    chosen = _settings(
        SnapSettings, {"palette": palette, "to": to, "cause": cause, "unsure": unsure, "first_id": first_id}
    )
    target = Palette.load(chosen.to) if chosen.to else None
    try:
        source = control_map if isinstance(control_map, Image.Image) else maps.read_file(Path(control_map))
        painted_with = Palette.load(chosen.palette)
        return repair.snap(
            source,
            painted_with,
            target_palette=target,
            cause=chosen.cause,
            unsure=chosen.unsure,
            first_id=chosen.first_id,
        )
    except MapError as error:  # its text begins with a verb
        raise MapError(f"{name} {error}") from None


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

    chosen = _settings(DraftingSettings, settings)
    DraftSettings(redo=redo)  # checks it
    return captions.draft(_open(dataset), chosen, tools.load_drafting, redo=redo, progress=progress).drafted


def remove(
    dataset: "PathOrStr | Dataset",
    names: str | Sequence[str] = (),
    *,
    where: str = "",
    undo: bool = False,
    delete_files: bool = False,
) -> "Removed":
    """Leave triples out of a dataset: training and every reader of its manifest. No later build brings them back.

    Args:
        dataset: the dataset or its folder.
        names: keys, beginnings of keys, sources or file names; without them, `where` chooses.
        where: conditions, such as "class:person share>0.3"; see segkit.dataset.where.
        undo: put triples back that were left out.
        delete_files: also delete photos and maps, except those that a person changed.

    Returns:
        What was changed.

    Raises:
        UsageError: neither names nor conditions, a malformed condition, or a name that matches no triple or several.
        LockedError: another process is writing the dataset.
    """
    from segkit.dataset import remove as removal
    from segkit.dataset import where as conditions

    opened = _open(dataset)
    names = [names] if isinstance(names, str) else list(names)
    if wrong := next((name for name in names if not isinstance(name, str)), None):
        raise UsageError(f"names holds a {type(wrong).__name__}; expected keys, such as [triple.key].")
    condition = conditions.parse(where, opened.info.palette) if where else None
    if undo:
        return removal.restore(opened, names, condition)
    return removal.remove(opened, names, condition, delete_files=delete_files)


def relabel(
    dataset: "PathOrStr | Dataset",
    key: str = "",
    control_map: "PathOrStr | Image.Image | None" = None,
    *,
    folder: PathOrStr | None = None,
    add_class: Sequence[str] = (),
    progress: Progress = silent,
) -> "list[Taken]":
    """Take over control maps that a person corrected. Each becomes one edit, which `Dataset.relabel`'s undo covers too.

    Args:
        dataset: the dataset or its folder.
        key: key, beginning of a key, source or file name of a triple.
        control_map: its map, painted by a person: a file or a picture. It is read exactly, or repaired if every pixel
            is clear enough.
        folder: maps named after keys or photos, in place of key and control_map.
        add_class: names of classes that are added to the dataset's palette first.
        progress: see segkit.progress.

    Returns:
        What became of each map. A map of a folder that cannot be taken has a `reason`.

    Raises:
        UsageError: neither a map nor a folder nor a class, or a key that matches no triple or several.
        MapError: the map cannot be taken.
        PaletteError: a class exists already, or its name is not usable.
        LockedError: another process is writing the dataset.
    """
    from PIL import Image

    from segkit.dataset import classes, painted

    opened, names = _open(dataset), (add_class,) if isinstance(add_class, str) else tuple(add_class)
    is_single = bool(key) and control_map is not None
    if (bool(key) or control_map is not None) != is_single or not (is_single or folder or names) or (key and folder):
        raise UsageError("nothing to relabel: pass key and control_map, or folder, or add_class.")
    if names:
        classes.add_classes(opened, names)
    if folder:
        return painted.take_folder(opened, _path(folder, "folder"), progress)
    if not is_single:
        return []
    picture = control_map if isinstance(control_map, Image.Image) else _path(control_map, "control_map")
    return [painted.take(opened, key, picture)]


def subset(
    dataset: "PathOrStr | Dataset",
    output: PathOrStr,
    *,
    where: str = "",
    copy: bool = False,
    progress: Progress = silent,
) -> "Dataset":
    """Copy the triples that meet conditions into a new dataset, by hard links where the file system has them.

    Args:
        dataset: the dataset or its folder.
        output: a new folder, or an earlier subset, to which missing triples are added.
        where: conditions, such as "class:bed -split:test"; "" for all triples.
        copy: copy pictures, so that an edit in place does not change both datasets.
        progress: see segkit.progress.

    Returns:
        The new dataset.

    Raises:
        UsageError: a condition is malformed, or the output is the dataset itself.
        DatasetError: the output contains something else.
        LockedError: another process is writing the output.
    """
    from segkit.dataset import Dataset
    from segkit.dataset import subset as subsets
    from segkit.dataset import where as conditions

    opened, folder = _open(dataset), _path(output, "output")
    condition = conditions.parse(where, opened.info.palette) if where else None
    subsets.subset(opened, folder, condition, copy=copy, progress=progress)
    return Dataset.open(folder)


def check(
    dataset: "PathOrStr | Dataset",
    *,
    tokenizer: PathOrStr = "",
    palette: PathOrStr = "",
    check: Check = "full",
    progress: Progress = silent,
    **engine: Any,
) -> "CheckReport":
    """Run every rule over a dataset: files, sizes, classes, colours, prompts, duplicates, splits, stray files.

    Args:
        dataset: the dataset or its folder.
        tokenizer: folder of CLIP's tokenizer, to count prompts again; "" uses the recorded lengths.
        palette: a table that the dataset must be painted with; "" accepts any that its protocol allows.
        check: which photos and maps are read: "full" all, "fast" those that are new or have another size or time than
            when they were checked last, "none" none.
        progress: see segkit.progress.
        engine: fields of segkit.build.settings.EngineSettings, such as engine="ray".

    Returns:
        The report; its `problems` are sorted, errors first.

    Raises:
        SettingError: a setting is neither text nor a path.
        DatasetError: the folder is not a dataset.
        EngineError: Ray is missing, or its cluster fails.
    """
    from segkit.build.engines import checking
    from segkit.build.settings import EngineSettings
    from segkit.dataset import checks
    from segkit.palette import Palette

    chosen = _settings(CheckSettings, {"tokenizer": tokenizer, "palette": palette, "check": check})
    count = None
    if chosen.tokenizer:
        from segkit.models import tokens

        count = tokens.counter(chosen.tokenizer).count
    table = Palette.load(chosen.palette) if chosen.palette else None
    opened = _open(dataset)
    with checking.examiner(opened, _settings(EngineSettings, engine), progress) as examine:
        return checks.check(opened, count, progress, table, checks.Scope(chosen.check, examine=examine))


def train(
    dataset: "PathOrStr | Dataset",
    output: PathOrStr,
    *,
    accept_changes: bool = False,
    progress: Progress = silent,
    **settings: Any,
) -> "Outcome":
    """Finetune a segmentation ControlNet, or resume a run bit for bit.

    For bit-exact resume on a CPU, Intel MKL must be configured before its first computation in the process: set
    the environment variable MKL_CBWR to AUTO,STRICT before PyTorch is used. The command line does so itself.

    Args:
        dataset: a dataset or its folder, a folder or URL of shards, or a folder in the layout of fill50k, an
            imagefolder or kohya's scripts.
        output: the run's folder: new, empty, or a run with the same settings, which is resumed.
        accept_changes: resume even if photos, maps or prompts have changed.
        progress: see segkit.progress.
        settings: fields of trainer.settings.TrainSettings, such as base="toy", controlnet="fresh" or steps=500.

    Returns:
        How the run ended. It can be passed on as `controlnet` to generate, or as `run` to export.

    Raises:
        UsageError: a setting is unknown, out of range, or differs from the run's.
        DatasetError: the dataset is invalid or has errors.
        ModelError: a network is missing, damaged or of another kind.
        TrainingError: the loss is NaN or infinite, or memory is too small.
        StorageError: the disk is full; checkpoints stay.
    """
    from trainer import loop
    from trainer.data import shards
    from trainer.settings import TrainSettings

    chosen = _settings(TrainSettings, settings)
    data = shards.of_text(dataset) if isinstance(dataset, str) else _folder(dataset)
    return loop.train(data, _path(output, "output"), chosen, progress, accept_changes)


def generate(
    maps: "PathOrStr | Triples",
    *,
    prompt: str = "",
    output: PathOrStr = "pictures",
    overwrite: bool = False,
    progress: Progress = silent,
    **settings: Any,
) -> "list[Picture]":
    """Draw pictures from control maps with a Stable Diffusion and a ControlNet.

    Args:
        maps: a map, a folder of maps, a dataset or the folder or URL of its shards (the held-out triples, or all if
            none are held out) or triples, such as rooms.val.
        prompt: for maps without a prompt of their own.
        output: the folder of the pictures, and of their contact sheet strengths.png if there are several strengths.
            Pictures that were drawn before are kept.
        overwrite: replace other files with the same names.
        progress: see segkit.progress.
        settings: fields of trainer.settings.GenerateSettings, such as controlnet=run, base="toy" or seed=0.

    Returns:
        The pictures, whose `image` opens them.

    Raises:
        UsageError: a setting is unknown or out of range, a map has no prompt, or a file is in the way.
        MapError: a map is off the palette.
        ModelError: a network is missing, damaged or of another kind.
        TrainingError: the GPU's memory is too small.
    """
    from segkit.dataset import Dataset
    from segkit.dataset.collection import Triples
    from trainer.data import shards
    from trainer.sample import generate as drawing
    from trainer.sample import requests
    from trainer.settings import GenerateSettings

    chosen = _settings(GenerateSettings, settings)
    DrawSettings(prompt=prompt, overwrite=overwrite)  # checks them
    folder = _path(output, "output")
    if isinstance(maps, Triples) and not isinstance(maps, Dataset):
        drawn = requests.of_triples(maps, prompt)
    else:
        drawn = requests.find(shards.of_text(maps) if isinstance(maps, str) else _folder(maps, "maps"), prompt)
    return drawing.generate(drawn, folder, chosen, progress, overwrite)


def evaluate(
    controlnets: "PathOrStr | Outcome | Sequence[PathOrStr | Outcome]",
    dataset: "PathOrStr | Dataset",
    *,
    output: PathOrStr = "evaluation",
    progress: Progress = silent,
    **settings: Any,
) -> "Evaluation":
    """Measure how well pictures of ControlNets agree with their control maps, as a segmenter sees them.

    Args:
        controlnets: one or several: runs, files, folders or hub ids. Several are compared paired.
        dataset: the dataset or its folder, whose held-out maps are drawn.
        output: the folder of pictures, report and tables. Pictures that were drawn and judged before are kept.
        progress: see segkit.progress.
        settings: fields of trainer.evaluate.settings.EvaluateSettings, such as judge="toy", limit=100 or count=4; and
            of segkit.build.settings.EngineSettings, such as engine="ray".

    Returns:
        All scores with intervals, and the `verdict`; `miou` is that of the first ControlNet. `results.quality` has
        KID or FID, the CLIP score and diversity, as far as features=, clip= and count= allow.

    Raises:
        UsageError: a setting is unknown or out of range, a ControlNet knows other colours, or the output folder
            contains something else.
        DatasetError: the dataset is damaged.
        MapError: a map is off the palette.
        ModelError: a network is missing, damaged or of another kind.
        LockedError: another process is writing the output folder.
        TrainingError: the GPU's memory is too small.
        EngineError: Ray is missing, or its cluster fails; finished pictures are kept.
    """
    from segkit.build.settings import EngineSettings
    from trainer.evaluate import evaluation, presets
    from trainer.evaluate.settings import EvaluateSettings

    engine = {name: settings.pop(name) for name in EngineSettings.__dataclass_fields__ if name in settings}
    execution = evaluation.Execution(_settings(EngineSettings, engine))
    chosen = _settings(EvaluateSettings, presets.complete(settings))
    is_list = isinstance(controlnets, Sequence) and not isinstance(controlnets, str)
    listed: Any = controlnets if is_list else [controlnets]
    names = [fspath(_named(one, "controlnets")) for one in listed]
    return evaluation.evaluate(names, _folder(dataset), _path(output, "output"), chosen, progress, execution)


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

    folder = _path(source, "source")
    if (folder / ".segkit" / "dataset.toml").is_file():
        raise UsageError(f"{folder} is a dataset, which to={to} cannot hold. Use to={' or '.join(get_args(Kind))}.")
    path = None if output is None else _path(output, "output")
    return exports.export(folder, to, path, full, overwrite)  # type: ignore[arg-type]


def _export_dataset(source: Any, output: Any, settings: dict[str, Any], progress: Progress) -> "Exported":
    from segkit.exports import pipeline
    from segkit.remote import is_url

    chosen = _settings(DatasetExportSettings, settings)
    if output is None:
        raise UsageError(f"to={chosen.to} needs an output: a new folder.")
    if isinstance(source, str | PathLike) and (Path(source) / "run.toml").is_file():
        layouts = " or ".join(get_args(Layout))
        raise UsageError(f"{fspath(source)} is a run, which to={chosen.to} cannot hold. Use to={layouts}.")
    where = output if is_url(output) else _path(output, "output")
    return pipeline.export(_open(source), where, chosen, progress)


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

    return inspection.inspect(_path(path, "path"))


def _settings(kind: type[Settings], values: dict[str, Any]) -> Settings:
    """Build settings from keywords; paths are accepted where text is expected, and lists where tuples are."""
    plain = {name: _plain(value) for name, value in values.items()}
    for name, value in plain.items():
        check_field(kind, name, value)
    return kind(**plain)


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(map(_plain, value))
    return fspath(value) if isinstance(value, PathLike) else value


def _open(dataset: "PathOrStr | Dataset") -> "Dataset":
    from segkit.dataset import Dataset

    return dataset if isinstance(dataset, Dataset) else Dataset.open(_path(dataset, "dataset"))


def _folder(source: Any, name: str = "dataset") -> Path:
    from segkit.dataset import Dataset

    return source.folder if isinstance(source, Dataset) else _path(source, name)


def _path(value: Any, name: str) -> Path:
    return Path(_named(value, name))


def _named(value: Any, name: str) -> PathOrStr:
    """Return a path or a name.

    Raises:
        UsageError: the value is not a path.
    """
    if not isinstance(value, str | PathLike):
        from segkit.dataset.collection import Triples

        is_part = isinstance(value, Triples)
        hint = " Pass the whole dataset: its splits are used as they are recorded." if is_part else ""
        raise UsageError(f"{name} is a {type(value).__name__}; expected a path.{hint}")
    return value


__all__ = [
    "build_dataset", "caption", "check", "check_palette", "evaluate", "export", "generate", "import_data", "inspect",
    "relabel", "remove", "snap", "subset", "train",
]  # fmt: skip
