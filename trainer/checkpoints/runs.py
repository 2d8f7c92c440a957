"""Which weights of a run are its ControlNet: the verified result, or the newest whole checkpoint of an unfinished run.

Whichever has more steps is used, so that a finished run that trains on is represented by its newest state. The record
result.json is written last and has the hash of every file of the result: half a result is never used.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segkit import storage
from segkit.errors import ModelError
from segkit.models import hub
from trainer import settings as run_settings
from trainer.checkpoints import store
from trainer.checkpoints.store import Checkpoint

FOLDER = "controlnet"
"""Folder of a run's result, in diffusers' layout."""

_RECORD = "result.json"

DIRECTORY = "directory"
"""Key of a run.json: the folder in which the run was started, to which its options' relative paths belong."""


@dataclass(frozen=True)
class Weights:
    """Where the weights of a ControlNet are.

    Attributes:
        name: what the user called it.
        path: a file, or a diffusers folder.
        averages: file with the moving averages that replace the weights of a checkpoint; None for none.
        only_mid: the training left the zero convolutions of the down blocks as they were: they have no averages.
        note: which step of which run they are, as a sentence; "" for weights that are not of a run.
        mode: mode in which a run trained a union ControlNet; None where the file itself records it, or nothing does.
    """

    name: str
    path: Path
    averages: Path | None = None
    only_mid: bool = False
    note: str = ""
    mode: int | None = None


def record(run: Path, steps: int) -> None:
    """Record that the result of a run is complete.

    Args:
        run: the run's folder.
        steps: optimizer steps that its weights have taken.
    """
    files = sorted(path for path in (run / FOLDER).iterdir() if path.is_file())
    hashes = {f"{FOLDER}/{path.name}": store.digest(path) for path in files}
    storage.write(run / _RECORD, json.dumps({"steps": steps, "sha256": hashes}, indent=2).encode())


def forget(run: Path) -> None:
    """Remove the record of a result, before its files are replaced."""
    (run / _RECORD).unlink(missing_ok=True)


def containing(path: Path) -> Path | None:
    """Return the run that a path is, or is a result or a checkpoint of; None for any other path."""
    folders = [path, path.parent, *([path.parent.parent] if path.parent.name == "checkpoints" else [])]
    return next((folder for folder in folders if (folder / "run.toml").is_file()), None)


def facts(run: Path) -> dict[str, Any]:
    """Return what a run was started with, in short: initial ControlNet, dataset, palette and reward.

    Raises:
        ModelError: its run.json is missing or damaged.
    """
    try:
        content: dict[str, Any] = json.loads((run / "run.json").read_text("utf-8"))["told"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{run / 'run.json'} is damaged ({error}).") from None
    return content


def steps(run: Path) -> int:
    """Return the optimizer steps that the weights of a run's result have taken; 0 without a result.

    Raises:
        ModelError: its record is damaged.
    """
    return _result(run)[0]


def located(run: Path, name: str) -> str:
    """Return where a file or folder is that an option of a run names, from whatever folder it is looked for.

    Args:
        run: the run's folder, whose run.json has the folder in which it was started last.
        name: the option: a relative path, or anything else, which is returned as it is.
    """
    try:
        directory = json.loads((run / "run.json").read_text("utf-8"))[DIRECTORY]
        place = Path(directory) / name
    except (OSError, ValueError, KeyError, TypeError):  # of an earlier version, or damaged: see facts
        return name
    return str(place) if name not in ("", hub.TOY) and place.exists() else name


def of_run(run: Path, name: str) -> Weights:
    """Return the weights of a run.

    Args:
        run: a folder with a run.toml.
        name: what the user called it.

    Raises:
        ModelError: the run has neither a result nor a whole checkpoint, or the result is damaged.
        UsageError: its run.toml is damaged.
    """
    total = run_settings.read(run / "run.toml").get("steps", 0)
    taken, hashes = _result(run)
    if not hashes or any(step > taken for step in store.steps(run / "checkpoints")):
        newest = store.newest(run / "checkpoints")
        if newest and newest.step > taken:
            return _of_unfinished(run, newest, total, name)
    if not hashes:
        raise ModelError(
            f"controlnet={name}: a run without a finished result or a whole checkpoint. Run segkit train again with "
            "the same options: it resumes, and writes the result at its end."
        )
    for file, expected in hashes.items():
        if not (run / file).is_file() or store.digest(run / file) != expected:
            raise ModelError(
                f"controlnet={name}: {run / file} is missing or was changed after the training. Run segkit train again "
                "with the same options: it writes the result again from the last checkpoint."
            )
    return Weights(name, run / FOLDER, note=f"ControlNet: {name}, step {taken:,}, the result of a finished run.")


def of_checkpoint(checkpoint: Checkpoint, name: str, note: str = "") -> Weights:
    """Return the weights of a whole checkpoint.

    Raises:
        ModelError: they are sharded over processes.
    """
    path, averages = (checkpoint.folder / f"{part}.safetensors" for part in ("controlnet", "ema"))
    if not path.is_file():
        raise ModelError(
            f"controlnet={name}: the checkpoint is sharded over processes. Finish the run: its result is not sharded."
        )
    if not note:
        note = f"ControlNet: {name}, the checkpoint of step {checkpoint.step:,}."
    run = containing(checkpoint.folder)
    options = run_settings.read(run / "run.toml") if run else {}
    only_mid, mode = bool(options.get("only_mid_control")), options.get("controlnet_mode")
    return Weights(name, path, averages if averages.is_file() else None, only_mid, note, mode)


def _of_unfinished(run: Path, checkpoint: Checkpoint, total: int, name: str) -> Weights:
    if run_settings.read(run / "run.toml").get("sd_unlocked"):
        raise ModelError(
            f"controlnet={name}: an unfinished run that also trains the base, which is written at the end of the "
            "training. Resume it first: run segkit train again with the same options."
        )
    of_all = f" of {total:,}" if total else ""
    note = f"ControlNet: {name}, step {checkpoint.step:,}{of_all}, the newest checkpoint of an unfinished run."
    return of_checkpoint(checkpoint, name, note)


def _result(run: Path) -> tuple[int, dict[str, str]]:
    """Return the steps and the hashes of a run's result; (0, {}) without a complete one."""
    try:
        content: dict[str, Any] = json.loads((run / _RECORD).read_text("utf-8"))
        return int(content["steps"]), {str(file): str(digest) for file, digest in content["sha256"].items()}
    except FileNotFoundError:
        return 0, {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{run / _RECORD} is damaged ({error}). Run segkit train again with the same options: it writes the result "
            "again."
        ) from None
