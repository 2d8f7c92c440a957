"""Checkpoints that survive any kill: staged, flushed, hashed, renamed, and only then are old ones removed."""

import hashlib
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segkit import storage
from segkit.errors import StorageError

if TYPE_CHECKING:
    from torch import Tensor

_NAME = re.compile(r"step-(\d{8})")
_HASHES = "sha256.json"
_STAGED = ".part-"


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint. Attributes: its folder, and after how many steps it was made."""

    folder: Path
    step: int

    def tensors(self, name: str) -> "dict[str, Tensor]":
        """Return the weights of a part."""
        from safetensors.torch import load_file

        return load_file(self.folder / f"{name}.safetensors")

    def state(self) -> dict[str, Any]:
        """Return what state.json holds."""
        content: dict[str, Any] = json.loads((self.folder / "state.json").read_text("utf-8"))
        return content

    def optimizer(self) -> Any:
        """Return the optimizer's state: numbers and tensors, no code."""
        import torch

        return torch.load(self.folder / "optimizer.pt", map_location="cpu", weights_only=True)


def stage(folder: Path, step: int) -> Path:
    """Make the folder in which a checkpoint comes to be.

    Args:
        folder: of all checkpoints.
        step: steps that were taken.

    Raises:
        StorageError: the disk refuses.
    """
    staged = folder / f"{_STAGED}{step:08}"
    shutil.rmtree(staged, ignore_errors=True)
    storage.make_folder(staged)
    return staged


def finish(
    staged: Path, step: int, parts: Mapping[str, "Mapping[str, Tensor]"], optimizer: Any, state: Mapping[str, Any]
) -> Checkpoint:
    """Write a checkpoint into its stage, and give it its name: it is there whole or not at all.

    Args:
        staged: what stage() made; what stands in it already becomes a part of the checkpoint.
        step: steps that were taken.
        parts: weights by the name of their part.
        optimizer: its state; None if it stands in the folder already.
        state: what else a resumed run must know.

    Raises:
        StorageError: the disk is full; nothing of it remains, and the checkpoints before stay.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    final = staged.with_name(f"step-{step:08}")
    try:
        for name, tensors in parts.items():
            plain = {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
            save_file(plain, staged / f"{name}.safetensors")
        if optimizer is not None:
            with (staged / "optimizer.pt").open("wb") as file:
                torch.save(optimizer, file)
        (staged / "state.json").write_text(json.dumps({**state, "step": step}), "utf-8")
        files = [path for path in sorted(staged.rglob("*")) if path.is_file()]
        hashes = {path.relative_to(staged).as_posix(): _digest(path) for path in files}
        storage.flush(staged)
        storage.write(staged / _HASHES, json.dumps(hashes).encode())
        shutil.rmtree(final, ignore_errors=True)  # of a run that was resumed before it: the same, or not whole
        staged.rename(final)
        storage.sync_folder(final.parent)
    except (OSError, RuntimeError, SafetensorError, StorageError) as error:  # torch and safetensors raise their own
        shutil.rmtree(staged, ignore_errors=True)
        why = (error.strerror if isinstance(error, OSError) else "") or str(error).strip().partition("\n")[0]
        raise StorageError(f"{final}: cannot be written ({why}). The checkpoints before it stay.") from None
    return Checkpoint(final, step)


def newest(folder: Path) -> Checkpoint | None:
    """Return the newest whole checkpoint: every file is there with the hash that it was written with."""
    for found in sorted(_all(folder), key=lambda each: -each.step):
        if _is_whole(found.folder):
            return found
    return None


def _all(folder: Path) -> list[Checkpoint]:
    if not folder.is_dir():
        return []
    matches = ((path, _NAME.fullmatch(path.name)) for path in folder.iterdir() if path.is_dir())
    return [Checkpoint(path, int(match[1])) for path, match in matches if match]


def _is_whole(folder: Path) -> bool:
    try:
        hashes = json.loads((folder / _HASHES).read_text("utf-8"))
        return all(_digest(folder / name) == digest for name, digest in hashes.items()) and "state.json" in hashes
    except (OSError, ValueError, AttributeError, TypeError):
        return False


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def prune(folder: Path, keep: int, best: Sequence[int] = ()) -> None:
    """Remove all but the newest checkpoints and the best ones, and what a killed run left unfinished.

    Args:
        folder: of all checkpoints.
        keep: how many of the newest stay.
        best: steps whose checkpoints stay too.
    """
    found = sorted(_all(folder), key=lambda each: each.step)
    for old in found[:-keep]:
        if old.step not in best:
            _remove(old.folder)
    for path in folder.glob(f"{_STAGED}*"):
        shutil.rmtree(path, ignore_errors=True)


def _remove(folder: Path) -> None:
    """Take a checkpoint away: first its name, so that a kill in between leaves no half of it under a whole one's."""
    gone = folder.with_name(f"{_STAGED}{folder.name}")
    folder.replace(gone)
    shutil.rmtree(gone, ignore_errors=True)
