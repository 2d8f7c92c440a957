"""Trackers that a run is also logged to: TensorBoard where it is installed, Weights & Biases on request.

A resumed run continues where its trackers stopped: TensorBoard's files lie in the run folder, and so does the id of the
W&B run.
"""

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelerate import tracking, utils

from segkit import storage
from segkit.errors import UsageError

_PROJECT = "segkit"
_TENSORBOARD = "tensorboard"
_WANDB_ID = "wandb-id"


def require_installed(name: str) -> None:
    """Refuse a tracker that is not installed. Call this before anything slow.

    Raises:
        UsageError: it is not installed.
    """
    if name and not _installed()[name]:
        raise UsageError(f"tracker={name}: not installed. Run: pip install 'segkit[{name}]', or leave the option out.")


def start(name: str, run: Path, step: int, settings: Mapping[str, Any]) -> list[Any]:
    """Start the trackers of a run, or continue them.

    Args:
        name: "", "tensorboard" or "wandb".
        run: the run folder.
        step: steps of the checkpoint that the run resumes from; 0 for a run that begins, also at W&B. What TensorBoard
            has of later steps, which are repeated, is hidden; W&B keeps it and ignores the repetition.
        settings: shown by the trackers.

    Raises:
        UsageError: the tracker is not installed.
    """
    require_installed(name)
    trackers: list[Any] = []
    if _installed()["tensorboard"]:
        is_new = not (run / _TENSORBOARD).exists()
        tensorboard = tracking.TensorBoardTracker(_TENSORBOARD, run, purge_step=step + 1 if step else 0)
        tensorboard.start()
        if is_new:  # each call adds an entry to TensorBoard's list of runs
            tensorboard.store_init_configuration(dict(settings))
        trackers.append(tensorboard)
    if name == "wandb":
        # https://docs.wandb.ai/guides/runs/resuming: an id that W&B knows is continued, another is created
        wandb = tracking.WandBTracker(_PROJECT, id=_wandb_id(run, step), name=run.name, dir=str(run), resume="allow")
        wandb.start()
        wandb.store_init_configuration(dict(settings))
        trackers.append(wandb)
    return trackers


def _wandb_id(run: Path, step: int) -> str:
    """Return the id of a run at W&B: that in its folder if it is resumed, otherwise a new one, stored there."""
    path = run / _WANDB_ID
    if step and path.is_file() and (stored := path.read_text("utf-8").strip()):
        return stored
    created = secrets.token_hex(8)
    storage.write(path, created.encode())
    return created


def _installed() -> dict[str, bool]:
    return {"tensorboard": utils.is_tensorboard_available(), "wandb": utils.is_wandb_available()}
