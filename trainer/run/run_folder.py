"""The run folder: its lock, and the facts a run depends on, so that it never resumes with other settings or data."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from segkit import locks, storage
from segkit.errors import TrainingError, UsageError
from segkit.models import hub
from segkit.palette import extend
from segkit.words import count
from trainer import settings as options
from trainer.checkpoints import rewards, runs, store
from trainer.checkpoints.store import Checkpoint
from trainer.data.examples import Examples
from trainer.data.shards import Data
from trainer.settings import TrainSettings

_LOCK = ".lock"
_DIGESTS = "examples.json"

MAY_CHANGE = frozenset(
    "steps checkpoint_every keep best_by evaluate_every evaluate_fidelity judge preview_every preview_guidance tracker "
    "name processes gradient_checkpointing cache cache_dir flip_cache shard_cache device allow_empty_prompts "
    "check".split()
)
"""Options that a resumed run may change: none of them alters what a step computes."""


def facts(settings: TrainSettings, dataset: Data, examples: Examples, processes: int) -> dict[str, Any]:
    """Return what the steps of a run depend on: options, dataset, palette and number of processes."""
    palette = examples.palette
    # linear and cosine schedules depend on the number of steps
    free = MAY_CHANGE if settings.schedule == "constant" else MAY_CHANGE - {"steps"}
    segmenter = hub.locate(settings.reward, "segmenter") if settings.reward else None
    earlier = rewards.of_controlnet(settings.controlnet)
    return {
        "options": {name: value for name, value in asdict(settings).items() if name not in free},
        "dataset": str(dataset),
        "processes": processes,
        "told": {
            **({"vae": Path(settings.vae).name} if settings.vae else {}),
            "controlnet": settings.controlnet,
            **({"start_strength": settings.start_strength} if settings.start_strength != 1 else {}),
            "dataset_hash": examples.hash,
            "triples": len(examples.train),
            "palette": palette.name if palette else "none",
            "palette_hash": palette.hash if palette else "none",
            **({"reward": segmenter.name, rewards.WEIGHTS: segmenter.weights} if segmenter else {}),
            **({rewards.EARLIER: " ".join(earlier)} if earlier else {}),
        },
    }


def require_free(run: Path) -> None:
    """Refuse a path at which no run may be, before anything is written there.

    Raises:
        UsageError: the path is a file, or a folder of something else.
    """
    if run.exists() and not run.is_dir():
        raise UsageError(f"{run} is a file. Choose a new folder.")
    if run.is_dir() and not (run / "run.toml").is_file() and not all(map(_is_of_unstarted_run, run.iterdir())):
        raise UsageError(f"{run} contains files that are not a run's. Choose a new folder.")


@contextmanager
def claimed(run: Path) -> Iterator[None]:
    """Lock a run folder, which is created if it is missing and removed again if no run began.

    Raises:
        UsageError: as `require_free`.
        LockedError: another process trains there.
        StorageError: the disk is read-only, or its file system cannot rename files.
    """
    require_free(run)
    storage.make_folder(run)
    with locks.locked(run / _LOCK):
        storage.remove_unfinished(run)
        try:
            yield
        finally:
            if not (run / "run.toml").exists():
                with suppress(OSError):  # not empty: palette.csv or run.json may exist, and the next run reuses it
                    (run / _LOCK).unlink(missing_ok=True)
                    run.rmdir()


def _is_of_unstarted_run(path: Path) -> bool:
    """Return whether a run that was killed before it wrote run.toml may have left this file."""
    return path.name in (_LOCK, _DIGESTS, "palette.csv", "run.json", "cache") or path.name.startswith(storage.TEMPORARY)


def newest(run: Path, facts: dict[str, Any], examples: Examples, steps: int, accept_changes: bool) -> Checkpoint | None:
    """Return the checkpoint to resume from; None for a new run.

    Args:
        run: the run folder.
        facts: of this training: see `facts`.
        examples: the training data.
        steps: total number of steps requested.
        accept_changes: resume even if the training data has changed.

    Raises:
        UsageError: the run has other facts, or has taken more steps.
    """
    checkpoint = store.newest(run / "checkpoints")
    if checkpoint:
        require_same(run, facts, examples, accept_changes)
        if checkpoint.step > steps:
            raise UsageError(
                f"{run} has already taken {count(checkpoint.step, 'step')}; steps={steps} is fewer. Pass a "
                "larger number."
            )
    return checkpoint


def require_same(run: Path, facts: dict[str, Any], examples: Examples, accept_changes: bool) -> None:
    """Compare this training's facts with those that the run was started with.

    Raises:
        UsageError: an option, the dataset, the palette or the number of processes differs.
        TrainingError: run.json is damaged.
    """
    if not (run / "run.json").is_file():
        return
    before = _read(run / "run.json")
    differences = _differences(before, facts)
    changed = before["told"]["dataset_hash"] != facts["told"]["dataset_hash"]
    cure = "Restore them, or start a new run in another folder."
    if changed and not accept_changes:
        differences.append(f"the dataset has changed: {changes(run, examples)}")
        cure = f"Resume with the changed data: accept_changes=True. {cure}" if len(differences) == 1 else cure
    if differences:
        raise UsageError(f"{run} was started with other settings or data: {'; '.join(differences)}. {cure}")


def changes(run: Path, examples: Examples) -> str:
    """Return in words how the training data differs from that which a run was started with; "" if it does not."""
    before = _read(run / _DIGESTS) if (run / _DIGESTS).is_file() else {}
    now = _digests(examples)
    groups = {
        "added": sorted(now.keys() - before.keys()),
        "removed": sorted(before.keys() - now.keys()),
    }
    for number, part in enumerate(("photo", "map", "prompt")):
        groups[f"with another {part}"] = [
            name for name, parts in now.items() if name in before and before[name][number] != parts[number]
        ]
    listed = [f"{len(names):,} {what}, such as {names[0]}" for what, names in groups.items() if names]
    return ", ".join(listed) or ("the order of the triples" if list(before) != list(now) else "")


def _digests(examples: Examples) -> dict[str, list[str]]:
    """Return short hashes of photo, map and prompt by the photo's file and folder; repeated names are numbered."""
    digests: dict[str, list[str]] = {}
    numbers: Counter[str] = Counter()
    for example in examples.train:
        name = "/".join(example.photo.parts[-2:])
        numbers[name] += 1
        unique = name if numbers[name] == 1 else f"{name} ({numbers[name]})"
        text = hashlib.sha256(example.text.encode()).hexdigest()
        digests[unique] = [example.photo_hash[:16], example.map_hash[:16], text[:16]]
    return digests


def start(run: Path, settings: TrainSettings, facts: dict[str, Any], examples: Examples) -> None:
    """Write palette.csv, the facts and hashes of the data and, last, run.toml, which makes the folder a run."""
    if examples.palette:
        storage.write(run / "palette.csv", extend.encode(examples.palette))
    storage.write(run / _DIGESTS, json.dumps(_digests(examples)).encode())
    record = {**facts, runs.DIRECTORY: str(Path.cwd())}
    storage.write(run / "run.json", json.dumps(record, indent=2).encode())
    storage.write(run / "run.toml", options.to_toml(settings, facts["dataset"], run))


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return content
    except (OSError, ValueError) as error:
        raise TrainingError(f"{path} is damaged ({error}). Start a new run in another folder.") from None


def _differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Return in words how facts differ, apart from the training data."""
    # A run that began before an option existed did what its default does.
    newer = {name: getattr(TrainSettings, name, None) for name in now["options"] if name not in MAY_CHANGE}
    options = newer | before.get("options", {})
    differences = [
        _difference(name, value, now["options"].get(name))
        for name, value in options.items()
        if now["options"].get(name) != value
    ]
    if before["told"]["palette_hash"] != now["told"]["palette_hash"]:
        differences.append("the palette has changed")
    is_same_reward = options.get("reward") == now["options"].get("reward")
    if is_same_reward and before["told"].get(rewards.WEIGHTS) != now["told"].get(rewards.WEIGHTS):
        differences.append("the weights of the reward's segmenter have changed")
    if before["processes"] != now["processes"]:
        differences.append(f"the number of processes was {before['processes']}, now {now['processes']}")
    return differences


def _difference(name: str, before: Any, now: Any) -> str:
    """Return how an option differs; "" is an option that is not set."""
    if now == "":
        return f"{name}={before} was left out"
    if before == "":
        return f"{name}={now} was added"
    return f"{name}={before} became {name}={now}"


def best(run: Path, step: int, settings: TrainSettings, value: float | None = None) -> int | None:
    """Update best.json with a checkpoint's metric, and return the step of the best checkpoint so far.

    Args:
        run: the run folder.
        step: of the checkpoint.
        settings: best_by is the metric: "held_out_loss", where lower is better, or "control_gap" or "fidelity", where
            higher is better. Fidelity is compared only with that of the same judge at the same guidance.
        value: of the metric; None if it was not measured.

    Returns:
        None if nothing has been measured yet.
    """
    path, metric = run / "best.json", settings.best_by
    conditions = {"judge": settings.judge, "guidance": settings.preview_guidance} if metric == "fidelity" else {}
    record = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    comparable = metric in record and all(record.get(name) == wanted for name, wanted in conditions.items())
    if not comparable or record["step"] > step:  # chosen by something else before, or the step is repeated
        record = {}
    better = value is not None and (not record or (value > record[metric]) == (metric != "held_out_loss"))
    if better:
        record = {"step": step, metric: value, **conditions}
        storage.write(path, json.dumps(record).encode())
    return record.get("step")
