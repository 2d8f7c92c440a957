"""segkit: a folder of photos becomes a ControlNet that obeys segmentation maps.

The public API is loaded when a name is first used, so that importing segkit costs nothing. See docs/python.md.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_EXPORTS = {
    **dict.fromkeys(
        (
            "build_dataset", "caption", "check", "check_palette", "evaluate", "export", "generate", "import_data",
            "inspect", "relabel", "remove", "snap", "subset", "train",
        ),
        "segkit.api",
    ),
    "Dataset": "segkit.dataset.dataset",
    "Palette": "segkit.palette.palette",
    "Problem": "segkit.problem",
    "Triple": "segkit.dataset.triple",
    **dict.fromkeys(
        (
            "ConflictError", "DatasetError", "LockedError", "MapError", "ModelError", "PaletteError", "PhotoError",
            "SegkitError", "SettingError", "SheetError", "StorageError", "TrainingError", "UsageError",
        ),
        "segkit.errors",
    ),
}  # fmt: skip

if TYPE_CHECKING:
    from segkit.api import (
        build_dataset,
        caption,
        check,
        check_palette,
        evaluate,
        export,
        generate,
        import_data,
        inspect,
        relabel,
        remove,
        snap,
        subset,
        train,
    )
    from segkit.dataset.dataset import Dataset
    from segkit.dataset.triple import Triple
    from segkit.errors import (
        ConflictError,
        DatasetError,
        LockedError,
        MapError,
        ModelError,
        PaletteError,
        PhotoError,
        SegkitError,
        SettingError,
        SheetError,
        StorageError,
        TrainingError,
        UsageError,
    )
    from segkit.palette.palette import Palette
    from segkit.problem import Problem

__all__ = [
    "ConflictError",
    "Dataset",
    "DatasetError",
    "LockedError",
    "MapError",
    "ModelError",
    "Palette",
    "PaletteError",
    "PhotoError",
    "Problem",
    "SegkitError",
    "SettingError",
    "SheetError",
    "StorageError",
    "TrainingError",
    "Triple",
    "UsageError",
    "build_dataset",
    "caption",
    "check",
    "check_palette",
    "evaluate",
    "export",
    "generate",
    "import_data",
    "inspect",
    "relabel",
    "remove",
    "snap",
    "subset",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'segkit' has no attribute {name!r}")
    value = getattr(import_module(_EXPORTS[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
