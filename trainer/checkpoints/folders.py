"""Which files hold the weights in a diffusers or transformers folder of one network."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from segkit.errors import ModelError

SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt", ".bin")
"""File extensions of checkpoints."""

_STEMS = ("diffusion_pytorch_model", "model", "pytorch_model")
"""File names that diffusers and transformers give weights."""

_NAME = re.compile(
    r"(?P<stem>[^.]+?)(\.(?P<early>[^.]+?))?(-(?P<number>\d{5})-of-(?P<count>\d{5}))?(\.(?P<late>[^.]+))?"
)
"""A file's name without its extension; a variant such as fp16 comes before or after the number of a shard."""

_INDEX = re.compile(r"(?P<name>.+)\.index(\.(?P<variant>[^.]+))?\.json")

_VARIANTS = ("fp32", "ema", "bf16", "fp16", "non_ema")
"""Variants, the one to prefer first."""

_Rank = tuple[bool, int, bool, bool]


def weights_files(folder: Path) -> list[Path]:
    """Return the file with a folder's weights, or its shards.

    The full weights are preferred to a variant such as fp16, then .safetensors to other files, then one file to shards.

    Raises:
        ModelError: the folder has no weights, shards are missing, or an index is damaged.
    """
    candidates = list(_candidates(folder))
    if not candidates and (folder / "model_index.json").is_file():
        raise ModelError(
            f"{folder}: a whole pipeline. Name the folder of one network in it, such as {folder / 'unet'}."
        )
    if not candidates:
        raise ModelError(f"{folder}: contains no weights. Expected a file such as diffusion_pytorch_model.safetensors.")
    _, names = min(candidates)
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise ModelError(
            f"{folder}: {len(missing)} of {len(names)} shards are missing, such as {missing[0]}. Download them again."
        )
    return [folder / name for name in names]


def _candidates(folder: Path) -> Iterator[tuple[_Rank, list[str]]]:
    """Yield each complete set of weights with its rank: sets with an index, numbered shards without one, files."""
    taken: set[str] = set()
    for path in sorted(folder.glob("*.index*.json")):
        if match := _INDEX.fullmatch(path.name):
            names = _indexed(path)
            taken |= set(names)
            yield _rank(match["name"], match["variant"] or "", is_sharded=True), names
    for path in sorted(folder.iterdir()):
        if path.suffix not in SUFFIXES or path.name.startswith(".") or path.name in taken:
            continue
        names = _numbered(path.name)
        taken |= set(names)
        yield _rank(path.name, is_sharded=len(names) > 1), names


def _rank(name: str, variant: str = "", is_sharded: bool = False) -> _Rank:
    """Return the place of a file, or of the file that an index stands for; smaller is better."""
    path = Path(name)
    match = _NAME.fullmatch(path.stem)
    if match:
        variant = variant or match["early"] or match["late"] or ""
    place = 0 if not variant else 1 + (_VARIANTS.index(variant) if variant in _VARIANTS else len(_VARIANTS))
    is_known = match is not None and match["stem"] in _STEMS
    return not is_known, place, path.suffix != ".safetensors", is_sharded


def _numbered(name: str) -> list[str]:
    """Return the names of all shards of a set by the name of one; a name without a number stands for itself."""
    match = _NAME.fullmatch(Path(name).stem)
    if match is None or not match["count"]:
        return [name]
    start, end = name[: match.start("number")], name[match.end("number") :]
    return [f"{start}{number:05}{end}" for number in range(1, int(match["count"]) + 1)]


def _indexed(index: Path) -> list[str]:
    """Return the names of the shards that an index lists.

    Raises:
        ModelError: the index is damaged, or names a file outside its folder.
    """
    try:
        names = sorted(set(json.loads(index.read_text("utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{index}: damaged ({type(error).__name__}: {error}). Download it again.") from None
    if not names or any(not isinstance(name, str) or Path(name).name != name for name in names):
        raise ModelError(f"{index}: expected the names of files in the same folder. Download it again.")
    return names
