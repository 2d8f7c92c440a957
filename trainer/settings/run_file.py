"""run.toml: the options of a run, written into it, and read from it or from a --config file."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from segkit import config
from segkit.schema import option
from trainer.settings.training import TrainSettings


@dataclass(frozen=True)
class _Locations:
    """What a run.toml may contain in addition to the settings."""

    dataset: Annotated[str, option("Folder or URL of the training data.", min_length=1)]
    output: Annotated[str, option("Run folder.", min_length=1)]


_PATHS = (
    "dataset",
    "output",
    "base",
    "controlnet",
    "tokenizer",
    "vae",
    "palette",
    "reward",
    "judge",
    "name",
    "cache_dir",
)
"""Settings of a run.toml that are paths, or become part of one."""


def read(path: Path) -> dict[str, Any]:
    """Read the options of a run.toml, which may include "dataset" and "output".

    Returns:
        Option values by field name; only those that the file sets.

    Raises:
        UsageError: the file cannot be read, is not valid TOML, or sets an option that is unknown or of another type.
    """
    return config.read(path, (_Locations, TrainSettings), _PATHS)


def to_toml(settings: TrainSettings, dataset: Path | str, output: Path) -> bytes:
    """Return the run.toml of a run: every option, the dataset and the run folder."""
    import tomli_w

    return tomli_w.dumps({"dataset": str(dataset), "output": str(output), **asdict(settings)}).encode()
