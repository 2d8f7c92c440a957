"""The dataset of a build: opened or created, and never mixed from two segmenters, palettes or sizes."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from segkit import dataset
from segkit.build.settings import BuildSettings
from segkit.build.tools import Networks
from segkit.dataset import Dataset
from segkit.dataset.classes import built_with
from segkit.dataset.info import Info
from segkit.errors import DatasetError, UsageError
from segkit.palette import Palette, protocol
from segkit.words import quote

FIXED = ("protocol", "size", "min_confidence", "photo_format")
"""Settings that must be the same for all triples of a dataset."""


def open_or_create(output: Path, settings: BuildSettings, tools: Callable[[], Networks]) -> Dataset:
    """Open the dataset, or create it. The caller must hold its lock. See open_existing for the errors."""
    target = open_existing(output, settings)
    if target is not None:
        return target
    recorded = {name: getattr(settings, name) for name in (*FIXED, "palette", "split")}
    recorded |= asdict(settings.style(None))
    return Dataset.create(output, Info(tools().palette, tools().identities, recorded))


def open_existing(output: Path, settings: BuildSettings) -> Dataset | None:
    """Open the dataset that a build would update; None if the build would create it.

    Raises:
        UsageError: the settings differ from those the dataset was built with.
        DatasetError: the output folder is neither empty nor a dataset.
    """
    if not (output / ".segkit" / "dataset.toml").exists():
        dataset.refuse_other_folder(output)
        return None
    target = Dataset.open(output)
    for name in FIXED:
        before, now = target.info.settings.get(name, getattr(BuildSettings, name)), getattr(settings, name)
        if before != now:
            raise UsageError(
                f"{output} was built with {name}={before}, not {now}. Pass {name}={before} or another output folder."
            )
    palette = protocol.load(settings.protocol, settings.palette)
    # Without a palette file on either side, the dataset's own palette was edited: require_same_segmenter reports that.
    if _differs(target, palette) and (settings.palette or target.info.settings.get("palette")):
        before = target.info.settings.get("palette") or target.info.palette.name
        raise UsageError(
            f"{output} was built with the palette {before}, not {settings.palette or palette.name}. "
            "Pass the same palette or another output folder."
        )
    return target


def _differs(target: Dataset, palette: Palette) -> bool:
    """Return whether a palette is neither the dataset's nor that without the classes that a person added to it."""
    return palette.hash not in (target.info.palette.hash, built_with(target.info).hash)


def require_same_segmenter(target: Dataset, tools: Networks) -> None:
    """Refuse to mix maps of two segmenters or two palettes in one dataset.

    Raises:
        DatasetError: the dataset was segmented by another model or revision, or has another palette.
    """
    if _differs(target, tools.palette):
        raise DatasetError(
            f"The palette of {target.folder} differs from {tools.palette.name}, so one colour could mean two classes. "
            f"Run: segkit check {quote(target.folder)}"
        )
    before = target.info.models["segmenter"]
    if before["revision"] != tools.revision:
        raise DatasetError(
            f"{target.folder} was segmented by {before['name']} ({before['revision']}), not by {tools.model} "
            f"({tools.revision}). Pass the same segmenter or another output folder."
        )
