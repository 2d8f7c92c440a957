"""run.toml: every option of a training in one file."""

from dataclasses import asdict, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from segkit.errors import UsageError
from segkit.settings import TrainSettings


def read(path: Path) -> dict[str, Any]:
    """Read the options of a run.toml; "dataset" and "output" may stand among them.

    Raises:
        UsageError: it cannot be read, is no TOML, or names an option that does not exist or has another type.
    """
    import tomllib

    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"--config {path}: cannot be read ({error.strerror}).") from None
    except ValueError as error:
        raise UsageError(f"--config {path}: no TOML: {error}.") from None
    types: dict[str, type] = {"dataset": str, "output": str}
    types |= {field.name: type(field.default) for field in fields(TrainSettings)}
    for name, value in values.items():
        if name not in types:
            near = get_close_matches(name, types)
            raise UsageError(f"--config {path}: no option {name}." + (f" Did you mean {near[0]}?" if near else ""))
        fits = type(value) is types[name] or (types[name] is float and type(value) is int)
        if not fits:
            raise UsageError(f"--config {path}: {name} is {value!r}; expected {types[name].__name__}.")
    return values


def to_toml(settings: TrainSettings, dataset: Path, output: Path) -> bytes:
    """Return the run.toml of a run: every option, and where the dataset and the run are."""
    import tomli_w

    return tomli_w.dumps({"dataset": str(dataset), "output": str(output), **asdict(settings)}).encode()
