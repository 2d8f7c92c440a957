"""The dataset of a build: opened or created, and never mixed from two segmenters, palettes or sizes."""

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from msgspec.structs import replace

from segkit import dataset
from segkit.build import remote_photos, tools
from segkit.build.engines import Identified
from segkit.build.settings import NETWORKS, BuildSettings, CaptionSettings
from segkit.dataset import Dataset
from segkit.dataset.info import FIXED, Info
from segkit.errors import DatasetError, UsageError
from segkit.models import hub
from segkit.palette import Palette, protocol
from segkit.remote.faults import shown
from segkit.words import quote


def open_or_create(output: Path, settings: BuildSettings, networks: Callable[[], Identified]) -> Dataset:
    """Open the dataset, or create it. The caller must hold its lock. See open_existing for the errors."""
    target = open_existing(output, settings)
    if target is not None:
        return target
    recorded = settings.recorded() | {"palette": settings.palette, "split": settings.split}
    recorded |= asdict(settings.style(None)) | ({"shard": settings.shard} if settings.shard else {})
    return Dataset.create(output, Info(networks().palette, networks().identities, recorded, versions()))


def default_output(source: Path | str) -> Path:
    """Return the folder of the dataset of some photos if none is named: beside them, or here for a URL."""
    if remote_photos.is_remote(source):
        name = shown(str(source)).rstrip("/").rpartition("/")[2]
        return Path(f"{re.sub(r'[^A-Za-z0-9_-]+', '-', name).strip('-') or 'photos'}-dataset")
    folder = Path(source).resolve()
    return folder.with_name(f"{folder.name}-dataset")


def record(target: Dataset, settings: CaptionSettings, networks: Mapping[str, dict[str, str]] | None = None) -> None:
    """Record the settings of a build, or of drafting, in dataset.toml. The caller must hold the dataset's lock.

    Args:
        target: the dataset.
        settings: replace those that were recorded before; those in NETWORKS only if networks worked with them.
        networks: those that worked, in the form of Info.models; the versions of the libraries are recorded with them.
    """
    before = target.info
    changed = {name: value for name, value in settings.recorded().items() if networks or name not in NETWORKS}
    info = replace(before, settings={**before.settings, **changed})
    if networks:
        info = replace(info, models={**before.models, **networks}, versions=versions())
    if info != before:
        target.save_info(info)


def versions() -> dict[str, str]:
    """Return the versions of segkit and of the libraries that a triple depends on."""
    from importlib.metadata import PackageNotFoundError, version

    from segkit import __version__

    installed = {"segkit": __version__}
    for name in ("torch", "transformers", "pillow", "numpy"):
        with suppress(PackageNotFoundError):  # installed without metadata
            installed[name] = version(name)
    return installed


def open_existing(output: Path, settings: BuildSettings) -> Dataset | None:
    """Open the dataset that a build would update; None if the build would create it.

    Raises:
        UsageError: the settings differ from those the dataset was built with.
        DatasetError: the output folder is neither empty nor a dataset.
        UnknownModelError: there is no network of a name.
    """
    if not (output / ".segkit" / "dataset.toml").exists():
        dataset.refuse_other_folder(output)
        tools.require_known(settings, {})
        return None
    target = Dataset.open(output)
    tools.require_known(settings, target.info.settings)
    for name in FIXED:
        before, now = target.info.settings.get(name, getattr(BuildSettings, name)), getattr(settings, name)
        if before != now:
            other = f"{name}={now}" if isinstance(now, bool) else now  # a command words it as "without --flag"
            raise UsageError(
                f"{output} was built with {name}={before}, not {other}. Pass {name}={before} or another output folder."
            )
    _require_same_slice(target, settings.shard)
    _require_same_ensemble(target, settings.ensemble)
    _require_same_name(target, settings.segmenter)
    palette = protocol.load(settings.protocol, settings.palette)
    # Without a palette file on either side, the dataset's own palette was edited: require_same_segmenter reports that.
    if _differs(target, palette) and (settings.palette or target.info.settings.get("palette")):
        before = target.info.settings.get("palette") or target.info.palette.name
        raise UsageError(
            f"{output} was built with the palette {before}, not {settings.palette or palette.name}. "
            "Pass the same palette or another output folder."
        )
    return target


def _require_same_slice(target: Dataset, shard: str) -> None:
    before = target.info.settings.get("shard", "")
    if before != shard:
        actual = f"slice {before} of a build" if before else "no slice of a build"
        cure = f"Pass shard={before} or another output folder" if before else "Pass another output folder"
        wanted = f"slice {shard}" if shard else "all of it"
        raise UsageError(f"{target.folder} is {actual}, not {wanted}. {cure}.")


def _require_same_ensemble(target: Dataset, ensemble: str) -> None:
    """Compare the names of an ensemble's networks, which are not loaded if there are no new photos."""
    before = target.info.settings.get("ensemble", "")
    names = [[Path(name.strip()).name for name in text.split(",")] for text in (before, ensemble)]  # folders may move
    if names[0] == names[1] or not target.info.models.get("segmenter", {}).get("name"):  # all maps were imported
        return
    cure = f"Pass ensemble={before}" if before else "Leave it out"
    raise UsageError(
        f"{target.folder} was built {_with_ensemble(before)}, not {_with_ensemble(ensemble)}. {cure} or pass another "
        "output folder."
    )


def _require_same_name(target: Dataset, segmenter: str) -> None:
    """Compare the segmenter's name, since it is not loaded if there are no new photos; see require_same_segmenter.

    Raises:
        UsageError: the dataset was segmented by another one.
        UnknownModelError: there is none of that name.
    """
    recorded, before = target.info.settings.get("segmenter", ""), target.info.models["segmenter"]
    name, revision = (before[part].partition(" + ")[0] for part in ("name", "revision"))  # of an ensemble the first
    if not name or segmenter == recorded or not recorded or _name(segmenter) == name:  # no name: maps were imported
        return
    if _name(segmenter).count("/") != 1:
        hub.find(segmenter, "segmenter")  # no hub id: is there such a folder?
    if _is_renamed(segmenter, revision):
        return
    same = recorded if _name(recorded) == name else name
    raise UsageError(
        f"{target.folder} was segmented by {name}, not by {_name(segmenter)}. Pass segmenter={same} or another output "
        "folder."
    )


def _name(segmenter: str) -> str:
    """Return the name that records have of a segmenter: a hub id, or that of its folder."""
    folder = Path(segmenter).expanduser()
    return folder.resolve().name if folder.is_dir() else hub.SHORT_NAMES["segmenter"].get(segmenter, segmenter)


def _is_renamed(segmenter: str, revision: str) -> bool:
    """Return whether a folder holds the network of a revision under another name."""
    is_folder = Path(segmenter).expanduser().is_dir()
    return is_folder and hub.locate(segmenter, "segmenter").revision == revision


def _with_ensemble(names: str) -> str:
    return f"with ensemble={names}" if names else "without an ensemble"


def _differs(target: Dataset, palette: Palette) -> bool:
    """Return whether a palette is neither the dataset's nor that without the classes that a person added to it."""
    return palette.hash not in (target.info.palette.hash, target.info.built_with.hash)


def require_same_segmenter(target: Dataset, networks: Identified) -> None:
    """Refuse to mix maps of two segmenters or two palettes in one dataset.

    Raises:
        DatasetError: the dataset was segmented by another model or revision, or has another palette.
    """
    if _differs(target, networks.palette):
        raise DatasetError(
            f"The palette of {target.folder} differs from {networks.palette.name}, so one colour could mean two "
            f"classes. Run: segkit check {quote(target.folder)}"
        )
    before, now = target.info.models["segmenter"], networks.identities["segmenter"]
    if before["name"] and before["revision"] != now["revision"]:  # all maps of a dataset without a name were imported
        raise DatasetError(
            f"{target.folder} was segmented by {before['name']} ({before['revision']}), not by {now['name']} "
            f"({now['revision']}). Pass the same segmenter or another output folder."
        )
