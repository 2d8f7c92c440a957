"""Protocols: what makes the figures of two evaluations comparable.

A protocol is a name and every value that defines it. Figures of different protocols do not compare, so that the folder
of an evaluation has the pictures of one.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segkit import storage
from segkit.errors import SettingError, UsageError
from segkit.models import config, hub
from segkit.models.segment import ROLE
from trainer.checkpoints import lora
from trainer.evaluate.judging import Judge
from trainer.evaluate.plan import Scene
from trainer.evaluate.presets import PRESETS
from trainer.settings import SampleSettings

if TYPE_CHECKING:
    from trainer.evaluate.settings import EvaluateSettings

CUSTOM = "custom"
"""Name of a protocol that is not a preset."""

FILE = "protocol.json"
"""Records, before the first picture, how those of an evaluation's folder are drawn and judged."""

_OF_CONTENDERS = ("strength", "strengths")
"""Settings in which what is compared differs."""

_DRAWN = tuple(field.name for field in fields(SampleSettings) if field.name not in (*_OF_CONTENDERS, "batch_size"))
"""Settings that decide how a picture is drawn, whatever draws it."""


def require_judge(settings: "EvaluateSettings") -> None:
    """Find the judge before anything slow begins; that of a preset has its name or its architecture.

    Raises:
        ModelError: it is missing, or its config.json is damaged.
        SettingError: it is not the preset's.
    """
    name, folder = hub.find(settings.judge, ROLE, "judge")
    if not settings.preset or name == _hub_id(PRESETS[settings.preset].values["judge"]):
        return
    preset = PRESETS[settings.preset]
    if not _agrees(preset.architecture, config.load(folder, ROLE).to_dict()):
        raise SettingError(
            "judge", settings.judge,
            f"{preset.values['judge']} or {preset.others}, as preset={settings.preset} fixes it",
        )  # fmt: skip


def _hub_id(judge: str) -> str:
    return hub.SHORT_NAMES[ROLE].get(judge, judge)


def _agrees(expected: Mapping[str, Any], content: Any) -> bool:
    """Return whether a configuration contains everything that is expected."""
    return isinstance(content, Mapping) and all(
        _agrees(value, content.get(key)) if isinstance(value, Mapping) else _plain(content.get(key)) == value
        for key, value in expected.items()
    )


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def describe(settings: "EvaluateSettings") -> dict[str, Any]:
    """Return a protocol as JSON values: its name, how pictures are drawn, and how they are judged."""
    judge = Path(settings.judge).name if Path(settings.judge).expanduser().is_dir() else _hub_id(settings.judge)
    drawn = {name: getattr(settings, name) for name in _DRAWN}
    return {
        "name": settings.preset or CUSTOM, **drawn, "precision": settings.precision, "judge": judge,
        "judge_size": settings.judge_size, **lora.record(settings.loras),
    }  # fmt: skip


def of_results(settings: "EvaluateSettings", scenes: Sequence[Scene], judge: Judge) -> dict[str, Any]:
    """Return the protocol of results as JSON values: see describe; the judge's weights, and what is averaged over."""
    digests = "".join(storage.sha256(scene.request.control_map.read_bytes()) for scene in scenes)
    return {
        **describe(settings), "judge_weights": judge.identity["weights"], "count": settings.count, "maps": len(scenes),
        "maps_sha256": storage.sha256(digests.encode()),
    }  # fmt: skip


def notes(settings: "EvaluateSettings", maps: int) -> list[str]:
    """Return how an evaluation differs from its preset's published figures, as sentences.

    Args:
        settings: of the evaluation.
        maps: number of maps that are drawn.
    """
    if not settings.preset:
        return []
    preset = PRESETS[settings.preset]
    other = f"{settings.preset} has {preset.maps:,} maps of ADE20K's validation split, this evaluation {maps:,}."
    return [*([other] if preset.maps and preset.maps != maps else []), preset.caveat]


def require_same(folder: Path, settings: "EvaluateSettings") -> None:
    """Refuse a folder of another protocol: its pictures would be replaced one by one.

    Raises:
        UsageError: the pictures there were drawn or judged otherwise.
    """
    before, now = _recorded(folder / FILE), {lora.KEY: [], **describe(settings)}
    if before:  # a folder without a protocol accepts any
        before = {lora.KEY: [], **before}
    changed = [
        f"{name}={before[name]!r} became {name}={value!r}"
        for name, value in now.items()
        if name != "name" and name in before and before[name] != value
    ]
    if changed:
        raise UsageError(
            f"{folder} has pictures of another protocol: {'; '.join(changed)}. Restore the settings, or choose a new "
            "folder."
        )


def record(folder: Path, settings: "EvaluateSettings") -> None:
    """Record the protocol of a folder, before the first picture is drawn.

    Raises:
        UsageError: the folder has pictures of another one, see require_same: it may have been written since.
        StorageError: the disk is full.
    """
    require_same(folder, settings)
    storage.write(folder / FILE, (json.dumps(describe(settings), indent=2) + "\n").encode())


def _recorded(path: Path) -> dict[str, Any]:
    """Return a recorded protocol; {} if there is none, or it is damaged."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
