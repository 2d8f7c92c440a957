"""Configuration files: the options of a command in a TOML file that a person writes, such as a run.toml."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_type_hints

from segkit import toml
from segkit.errors import SettingError, UsageError
from segkit.schema import check_field


def read(path: Path, kinds: Sequence[type], paths: Iterable[str] = ()) -> dict[str, Any]:
    """Read options from a TOML file.

    Args:
        path: the file.
        kinds: dataclasses whose annotated fields are the options that it may set.
        paths: options whose values are paths, or become part of one.

    Returns:
        Option values by field name; only those that the file sets.

    Raises:
        UsageError: the file cannot be read, is not valid TOML, or sets an option that is unknown or of another type.
    """
    try:
        document = toml.read(path)
        document.require_paths(paths)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}). Check the path and its permissions.") from None
    except toml.TomlError as error:
        raise UsageError(f"{path}: not valid TOML: {error}.") from None
    owners = {name: kind for kind in kinds for name in get_type_hints(kind)}
    for name, value in document.values.items():
        try:
            check_field(_owner(name, owners), name, value)
        except SettingError as error:
            reason = f"{name} = {value!r}: expected {error.expected}."  # as the file has it, not as an option
            raise UsageError(f"{path}, line {document.line(name)}: {reason}") from None
        except UsageError as error:
            raise UsageError(f"{path}, line {document.line(name)}: {error}") from None
    return document.values


def _owner(name: str, owners: dict[str, type]) -> type:
    """Return the class that declares an option.

    Raises:
        UsageError: none does; the message names the most similar option.
    """
    if name not in owners:
        near = get_close_matches(name, owners)
        raise UsageError(f"unknown setting {name!r}." + (f" Did you mean {near[0]}?" if near else ""))
    return owners[name]
