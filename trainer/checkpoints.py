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


def save(
    folder: Path, step: int, parts: Mapping[str, "Mapping[str, Tensor]"], optimizer: Any, state: Mapping[str, Any]
) -> Checkpoint:
    """Write a checkpoint; it is there whole or not at all.

    Args:
        folder: of all checkpoints.
        step: steps that were taken.
        parts: weights by the name of their part.
        optimizer: its state.
        state: what else a resumed run must know.

    Raises:
        StorageError: the disk is full; nothing of it remains, and the checkpoints before stay.
    """
    from io import BytesIO

    import torch
    from safetensors.torch import save as to_bytes

    storage.make_folder(folder)
    final, staged = folder / f"step-{step:08}", folder / f".part-{step:08}"
    shutil.rmtree(staged, ignore_errors=True)
    try:
        storage.make_folder(staged)
        buffer = BytesIO()
        torch.save(optimizer, buffer)
        hashes = _written(staged, {"optimizer.pt": buffer.getvalue()})
        del buffer
        for name, tensors in parts.items():
            plain = {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
            hashes |= _written(staged, {f"{name}.safetensors": to_bytes(plain)})
        hashes |= _written(staged, {"state.json": json.dumps({**state, "step": step}).encode()})
        storage.write(staged / _HASHES, json.dumps(hashes).encode())
        shutil.rmtree(final, ignore_errors=True)  # of a run that was resumed before it: the same, or not whole
        staged.rename(final)
        storage.sync_folder(folder)
    except OSError as error:
        shutil.rmtree(staged, ignore_errors=True)
        raise StorageError(f"{final}: cannot be written ({error.strerror}). The checkpoints before it stay.") from None
    except StorageError:
        shutil.rmtree(staged, ignore_errors=True)
        raise
    return Checkpoint(final, step)


def _written(folder: Path, files: Mapping[str, bytes]) -> dict[str, str]:
    for name, data in files.items():
        storage.write(folder / name, data)
    return {name: storage.sha256(data) for name, data in files.items()}


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
    for path in folder.glob(".part-*"):
        shutil.rmtree(path, ignore_errors=True)


def _remove(folder: Path) -> None:
    """Take a checkpoint away: first its name, so that a kill in between leaves no half of it under a whole one's."""
    gone = folder.with_name(f".part-{folder.name}")
    folder.replace(gone)
    shutil.rmtree(gone, ignore_errors=True)
