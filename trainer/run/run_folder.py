"""A run's folder: what was asked for, so that going on with other options or another dataset is told, not done."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from segkit import storage
from segkit.errors import TrainingError, UsageError
from segkit.palette import Palette, extend
from trainer import settings as options
from trainer.checkpoints import store
from trainer.checkpoints.store import Checkpoint
from trainer.data.examples import Examples
from trainer.settings import TrainSettings

_LOCK = ".lock"

MAY_CHANGE = frozenset(
    "steps checkpoint_every keep best_by evaluate_every preview_every preview_guidance tracker name processes "
    "gradient_checkpointing cache".split()
)
"""Options that a run may be gone on with in another value: none of them changes a step."""


def facts(settings: TrainSettings, dataset: Path, found: Examples, processes: int) -> dict[str, Any]:
    """Return what a run depends on: the options, the dataset, the palette, the number of processes."""
    table = found.palette
    free = MAY_CHANGE if settings.schedule == "constant" else MAY_CHANGE - {"steps"}  # other ends, other rates
    return {
        "options": {name: value for name, value in asdict(settings).items() if name not in free},
        "dataset": str(dataset),
        "processes": processes,
        "told": {
            "controlnet": settings.controlnet,
            "dataset_hash": found.hash,
            "triples": len(found.train),
            "palette": table.name if table else "none",
            "palette_hash": table.hash if table else "none",
        },
    }


@contextmanager
def claimed(run: Path) -> Iterator[None]:
    """Hold a run's folder: new, empty, or a run's; nobody else may write it.

    Raises:
        UsageError: other things are in it.
        LockedError: another process trains there.
    """
    if run.exists() and not run.is_dir():
        raise UsageError(f"-o {run}: a file. Name a new folder.")
    if run.is_dir() and not (run / "run.toml").is_file() and not all(map(_is_of_a_start, run.iterdir())):
        raise UsageError(f"-o {run}: other things are in it than a run. Name a new folder.")
    storage.make_folder(run)
    with storage.locked(run / _LOCK):
        storage.remove_unfinished(run)
        try:
            yield
        finally:
            if not (run / "run.toml").exists():
                with suppress(OSError):  # nothing came to be
                    (run / _LOCK).unlink(missing_ok=True)
                    run.rmdir()


def _is_of_a_start(path: Path) -> bool:
    """Tell whether a run that was killed before run.toml was written may have left this."""
    return path.name in (_LOCK, "palette.csv", "run.json") or path.name.startswith(storage.TEMPORARY)


def newest(run: Path, given: dict[str, Any], steps: int) -> Checkpoint | None:
    """Return the checkpoint that a run goes on from; None for a new one.

    Args:
        run: the run's folder.
        given: see facts.
        steps: asked for.

    Raises:
        UsageError: it was started otherwise (require_same), or has taken more steps.
    """
    start = store.newest(run / "checkpoints")
    if start:
        require_same(run, given)
        if start.step > steps:
            raise UsageError(f"{run} has taken {start.step:,} steps; --steps {steps} is fewer.")
    return start


def require_same(run: Path, given: dict[str, Any]) -> None:
    """Compare with the run that is gone on with.

    Raises:
        UsageError: an option, the dataset or the palette is another than the run was started with.
    """
    if (run / "run.json").is_file():
        _compare(run, _read(run / "run.json"), given)


def start(run: Path, settings: TrainSettings, given: dict[str, Any], table: Palette | None) -> None:
    """Write what the run depends on, the maps' palette, and run.toml."""
    if table:
        storage.write(run / "palette.csv", extend.encode(table))
    storage.write(run / "run.json", json.dumps(given, indent=2).encode())
    storage.write(run / "run.toml", options.to_toml(settings, Path(given["dataset"]), run))


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return content
    except (OSError, ValueError) as error:
        raise TrainingError(f"{path} is damaged ({error}). Start a new run with another -o.") from None


def _compare(run: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    told = [
        f"--{name.replace('_', '-')} was {value!r}, now {now['options'].get(name)!r}"
        for name, value in before.get("options", {}).items()
        if now["options"].get(name) != value
    ]
    names = {"dataset_hash": "the dataset has changed", "palette_hash": "the palette has changed"}
    told += [words for key, words in names.items() if before["told"][key] != now["told"][key]]
    if before["processes"] != now["processes"]:
        told.append(f"there were {before['processes']} processes, now {now['processes']}")
    if told:
        raise UsageError(f"{run} was started otherwise: {'; '.join(told)}. Take the same again, or another -o.")


def best(run: Path, step: int, by: str, found: float | None = None) -> int | None:
    """Note what a checkpoint is judged by, and return the step of the best so far.

    Args:
        run: the run's folder.
        step: of the checkpoint.
        by: "held_out_loss", of which less is better, or "control_gap", of which more is.
        found: its value; None where nothing was measured.

    Returns:
        None where nothing was measured yet.
    """
    path = run / "best.json"
    held = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    if by not in held or held["step"] > step:  # chosen otherwise before, or a step that is taken again
        held = {}
    better = found is not None and (not held or (found > held[by]) == (by == "control_gap"))
    if better:
        held = {"step": step, by: found}
        storage.write(path, json.dumps(held).encode())
    return held.get("step")
