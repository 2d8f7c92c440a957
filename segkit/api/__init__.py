"""The public API: what the commands do, as functions.

Functions and keywords have the names of the commands and flags. Paths may be `str` or `PathLike`, settings are keywords
(see the classes of settings for their types, ranges and defaults), results are values. Nothing is printed. Every error
is a SegkitError.
"""

from segkit.api.building import build_dataset, caption, import_data
from segkit.api.checking import check, check_palette, snap
from segkit.api.editing import relabel, remove, subset
from segkit.api.files import export, inspect
from segkit.api.training import evaluate, generate, train

__all__ = [
    "build_dataset", "caption", "check", "check_palette", "evaluate", "export", "generate", "import_data", "inspect",
    "relabel", "remove", "snap", "subset", "train",
]  # fmt: skip
