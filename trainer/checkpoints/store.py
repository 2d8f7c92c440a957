"""Checkpoints of a run that survive a kill at any moment.

A checkpoint is written into a staging folder, flushed and hashed, then renamed to step-N; older ones are pruned only
after that. A folder counts as a checkpoint if every file matches its hash.
"""

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
    """A complete checkpoint.

    Attributes:
        folder: its folder.
        step: optimizer steps taken before it was written.
    """

    folder: Path
    step: int

    @property
    def hashes(self) -> Path:
        """The file with the hashes of all others, which identifies the checkpoint."""
        return self.folder / _HASHES

    def tensors(self, name: str) -> "dict[str, Tensor]":
        """Return the weights of a part, on the CPU."""
        from safetensors.torch import load_file

        return load_file(self.folder / f"{name}.safetensors")

    def state(self) -> dict[str, Any]:
        """Return the content of state.json."""
        content: dict[str, Any] = json.loads((self.folder / "state.json").read_text("utf-8"))
        return content

    def optimizer(self) -> Any:
        """Return the optimizer's state_dict."""
        import torch

        return torch.load(self.folder / "optimizer.pt", map_location="cpu", weights_only=True)


def stage(folder: Path, step: int) -> Path:
    """Create the empty staging folder of a checkpoint.

    Args:
        folder: the folder of all checkpoints.
        step: optimizer steps taken.

    Raises:
        StorageError: the folder cannot be created.
    """
    staged = folder / f"{_STAGED}{step:08}"
    shutil.rmtree(staged, ignore_errors=True)
    storage.make_folder(staged)
    return staged


def finish(
    staged: Path, step: int, parts: Mapping[str, "Mapping[str, Tensor]"], optimizer: Any, state: Mapping[str, Any]
) -> Checkpoint:
    """Complete a checkpoint in its staging folder and rename it, atomically.

    Args:
        staged: the folder that stage() returned; files already in it become part of the checkpoint.
        step: optimizer steps taken.
        parts: weights by the name of their part.
        optimizer: the optimizer's state_dict; None if it is in the folder already.
        state: JSON values that a resumed run needs.

    Raises:
        StorageError: the disk is full or fails; the staging folder is removed and earlier checkpoints stay.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    final = staged.with_name(f"step-{step:08}")
    try:
        for name, tensors in parts.items():
            on_cpu = {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
            save_file(on_cpu, staged / f"{name}.safetensors")
        if optimizer is not None:
            with (staged / "optimizer.pt").open("wb") as file:
                torch.save(optimizer, file)
        (staged / "state.json").write_text(json.dumps({**state, "step": step}), "utf-8")
        files = [path for path in sorted(staged.rglob("*")) if path.is_file()]
        hashes = {path.relative_to(staged).as_posix(): digest(path) for path in files}
        storage.flush(staged)
        storage.write(staged / _HASHES, json.dumps(hashes).encode())
        # a run resumed from before this step finds the same checkpoint here, or an incomplete one
        shutil.rmtree(final, ignore_errors=True)
        staged.rename(final)
        storage.sync_folder(final.parent)
    except (OSError, RuntimeError, SafetensorError, StorageError) as error:  # torch raises RuntimeError on a full disk
        shutil.rmtree(staged, ignore_errors=True)
        reason = (error.strerror if isinstance(error, OSError) else "") or str(error).strip().partition("\n")[0]
        raise StorageError(
            f"{final}: cannot be written ({reason}). Earlier checkpoints are kept; free some space and run the same "
            "command again."
        ) from None
    return Checkpoint(final, step)


def newest(folder: Path) -> Checkpoint | None:
    """Return the newest complete checkpoint, or None; one with a missing or changed file is skipped."""
    for checkpoint in sorted(_all(folder), key=lambda candidate: -candidate.step):
        if _is_complete(checkpoint.folder):
            return checkpoint
    return None


def opened(folder: Path) -> Checkpoint | None:
    """Return the checkpoint in a folder; None if it is not one, or not a complete one."""
    match = _NAME.fullmatch(folder.resolve().name)
    return Checkpoint(folder, int(match[1])) if match and _is_complete(folder) else None


def steps(folder: Path) -> list[int]:
    """Return the steps of all checkpoints in a folder, complete or not."""
    return [checkpoint.step for checkpoint in _all(folder)]


def _all(folder: Path) -> list[Checkpoint]:
    if not folder.is_dir():
        return []
    matches = ((path, _NAME.fullmatch(path.name)) for path in folder.iterdir() if path.is_dir())
    return [Checkpoint(path, int(match[1])) for path, match in matches if match]


def _is_complete(folder: Path) -> bool:
    try:
        hashes = json.loads((folder / _HASHES).read_text("utf-8"))
        return all(digest(folder / name) == expected for name, expected in hashes.items()) and "state.json" in hashes
    except (OSError, ValueError, AttributeError, TypeError):
        return False


def digest(path: Path) -> str:
    """Return the SHA-256 of a file in hex, without reading it into memory as a whole."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def prune(folder: Path, keep: int, best: Sequence[int] = ()) -> None:
    """Remove old checkpoints, and staging folders that a killed run left.

    Args:
        folder: the folder of all checkpoints.
        keep: number of newest checkpoints to keep.
        best: steps whose checkpoints are kept too.
    """
    checkpoints = sorted(_all(folder), key=lambda checkpoint: checkpoint.step)
    for checkpoint in checkpoints[:-keep]:
        if checkpoint.step not in best:
            _remove(checkpoint.folder)
    for path in folder.glob(f"{_STAGED}*"):
        shutil.rmtree(path, ignore_errors=True)


def _remove(folder: Path) -> None:
    """Remove a checkpoint; it is renamed first, so that a kill never leaves half of one under a valid name."""
    renamed = folder.with_name(f"{_STAGED}{folder.name}")
    folder.replace(renamed)
    shutil.rmtree(renamed, ignore_errors=True)
