"""Datasets are changed, and parts of them become datasets of their own."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from segkit.api import arguments
from segkit.api.arguments import PathOrStr
from segkit.errors import UsageError
from segkit.progress import Progress, silent

if TYPE_CHECKING:
    from PIL import Image

    from segkit.dataset import Dataset
    from segkit.dataset.painted import Taken
    from segkit.dataset.remove import Removed


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

    opened = arguments.open_dataset(dataset)
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

    opened, names = arguments.open_dataset(dataset), (add_class,) if isinstance(add_class, str) else tuple(add_class)
    is_single = bool(key) and control_map is not None
    if (bool(key) or control_map is not None) != is_single or not (is_single or folder or names) or (key and folder):
        raise UsageError("nothing to relabel: pass key and control_map, or folder, or add_class.")
    if names:
        classes.add_classes(opened, names)
    if folder:
        return painted.take_folder(opened, arguments.path(folder, "folder"), progress)
    if not is_single:
        return []
    picture = control_map if isinstance(control_map, Image.Image) else arguments.path(control_map, "control_map")
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

    opened, folder = arguments.open_dataset(dataset), arguments.path(output, "output")
    condition = conditions.parse(where, opened.info.palette) if where else None
    subsets.subset(opened, folder, condition, copy=copy, progress=progress)
    return Dataset.open(folder)
