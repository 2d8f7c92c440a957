"""What callers pass: paths, datasets and settings, checked."""

from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from segkit.errors import UsageError
from segkit.schema import check_field

if TYPE_CHECKING:
    from segkit.dataset import Dataset

PathOrStr = str | PathLike[str]
Settings = TypeVar("Settings")


def settings(kind: type[Settings], values: dict[str, Any]) -> Settings:
    """Build settings from keywords; paths are accepted where text is expected, and lists where tuples are."""
    plain = {name: _plain(value) for name, value in values.items()}
    for name, value in plain.items():
        check_field(kind, name, value)
    return kind(**plain)


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(map(_plain, value))
    return fspath(value) if isinstance(value, PathLike) else value


def open_dataset(dataset: "PathOrStr | Dataset") -> "Dataset":
    """Return a dataset, opened if its folder was passed."""
    from segkit.dataset import Dataset

    return dataset if isinstance(dataset, Dataset) else Dataset.open(path(dataset, "dataset"))


def folder(source: Any, name: str = "dataset") -> Path:
    """Return a dataset's folder, or a path as it is."""
    from segkit.dataset import Dataset

    return source.folder if isinstance(source, Dataset) else path(source, name)


def path(value: Any, name: str) -> Path:
    """Return a path; see `path_or_name`."""
    return Path(path_or_name(value, name))


def path_or_name(value: Any, name: str) -> str:
    """Return a path, or a name such as a hub id, as text.

    Args:
        value: what was passed.
        name: the parameter's name, for the message.

    Raises:
        UsageError: the value is not a path.
    """
    if not isinstance(value, str | PathLike):
        from segkit.dataset.collection import Triples

        is_part = isinstance(value, Triples)
        hint = " Pass the whole dataset: its splits are used as they are recorded." if is_part else ""
        raise UsageError(f"{name} is a {type(value).__name__}; expected a path.{hint}")
    return fspath(value)
