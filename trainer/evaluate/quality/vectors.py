"""Vectors of pictures and prompts, kept in files beside them, so that no network looks at a picture twice."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segkit import storage
from segkit.errors import ModelError
from segkit.progress import Progress
from trainer.evaluate import judging
from trainer.evaluate.judging import Exhibit
from trainer.evaluate.quality.networks import Clip, Extractor, Vector

FOLDER = "features"
"""Folder of all vectors within an evaluation; each network has a folder in it, and in that each contender."""

_PROMPTS = "prompts"
_TENSOR, _RECIPE = "features", "segkit"
"""Names of the tensor and of the metadata in a file."""


@dataclass(frozen=True)
class Item:
    """A vector to compute: its file, what it depends on, and the computation.

    Attributes:
        file: where it is kept.
        recipe: returns what decides the vector, as JSON values; this reads the picture.
        compute: returns the vector.
    """

    file: Path
    recipe: Callable[[], dict[str, Any]]
    compute: Callable[[], Vector]


def of_picture(exhibit: Exhibit, extractor: Extractor, folder: Path) -> Item:
    """Return the item of a picture, or of a photo in the pictures' size.

    Args:
        exhibit: the picture.
        extractor: the network.
        folder: of the network's vectors.
    """
    judged = exhibit.judged
    return Item(
        folder / judged.parent.name / f"{judged.stem}.safetensors",
        lambda: {
            "picture_sha256": storage.sha256(exhibit.picture.read_bytes()), "size": list(exhibit.size),
            "network": extractor.identity,
        },
        lambda: extractor.embed(judging.opened(exhibit.picture.read_bytes(), exhibit.size)),
    )  # fmt: skip


def of_prompt(key: str, prompt: str, clip: Clip, folder: Path) -> Item:
    """Return the item of a map's prompt."""
    recipe = {"prompt": prompt, "network": clip.pictures.identity}
    return Item(folder / _PROMPTS / f"{key}.safetensors", lambda: recipe, lambda: clip.embed_text(prompt))


def compute_all(items: Sequence[Item], progress: Progress) -> None:
    """Compute the vectors that are not in their files yet, one at a time, so that none depends on others.

    Args:
        items: the vectors.
        progress: called with ("features", done, total).

    Raises:
        PhotoError: a photo cannot be read.
        ModelError: a network returned NaN.
        StorageError: the disk is full.
    """
    from safetensors.numpy import save

    for done, item in enumerate(items):
        progress("features", done, len(items))
        recipe = item.recipe()
        if _stored_recipe(item.file) != recipe:
            metadata = {_RECIPE: json.dumps(recipe, sort_keys=True)}
            storage.write(item.file, save({_TENSOR: item.compute()}, metadata))
    progress("features", len(items), len(items))


def _stored_recipe(file: Path) -> Any:
    """Return the recipe in a file; None if it is missing or damaged."""
    from safetensors import safe_open

    try:
        with safe_open(file, "np") as content:
            return json.loads(content.metadata()[_RECIPE])
    except Exception:  # safetensors raises many types on damaged files; none of them is of ours
        return None


def read(items: Sequence[Item]) -> Vector:
    """Return stored vectors, (N, D) float32.

    Raises:
        ModelError: one is missing or damaged.
    """
    from safetensors.numpy import load_file

    rows = []
    for item in items:
        try:
            rows.append(load_file(item.file)[_TENSOR])
        except Exception as error:
            raise ModelError(f"{item.file} cannot be read ({error}). Run the same evaluation again.") from None
    return np.stack(rows)
