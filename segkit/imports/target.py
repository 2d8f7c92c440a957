"""The dataset that data is imported into, and how the maps of each source fit its palette."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segkit import dataset, photos
from segkit.build.settings import BuildSettings
from segkit.build.target import versions
from segkit.dataset import Dataset
from segkit.dataset.formats.items import Collection
from segkit.dataset.info import FIXED, Info
from segkit.errors import DatasetError, PaletteError, UsageError
from segkit.imports import evidence
from segkit.imports.labels import Mapping256, Rules
from segkit.imports.settings import ImportSettings
from segkit.maps import snap
from segkit.palette import PROTOCOLS, UNLABELLED, Palette, protocol
from segkit.words import listed, quote

NO_SEGMENTER = {"name": "", "revision": ""}
"""Info.models["segmenter"] of a dataset whose maps were all imported."""


@dataclass(frozen=True)
class Target:
    """The dataset that is imported into.

    Attributes:
        folder: its folder.
        dataset: the dataset; None if it does not exist yet.
        info: what its triples share, or will.
    """

    folder: Path
    dataset: Dataset | None
    info: Info

    @property
    def limits(self) -> photos.Limits:
        """Size limits of photos, and the size to fit them to."""
        settings = self.info.settings
        size = int(settings["size"])
        least = int(settings["min_size"]) or min(BuildSettings.min_size, size)
        return photos.Limits(least, float(settings["max_megapixels"]), size)

    @property
    def photo_format(self) -> str:
        """Format of photos that are encoded: "jpg" or "png"."""
        return str(self.info.settings["photo_format"])

    def created(self) -> Dataset:
        """Return the dataset, created if necessary. The caller must hold its lock."""
        return self.dataset if self.dataset is not None else Dataset.create(self.folder, self.info)


def remove_empty(dataset: Dataset) -> None:
    """Remove a dataset without triples, and nothing else in its folder. The caller must hold its lock."""
    (dataset.folder / "metadata.jsonl").unlink(missing_ok=True)
    for path in dataset.hidden.iterdir():
        if path.name != "lock":
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def find(output: Path, settings: ImportSettings, collections: Sequence[Collection]) -> Target:
    """Open the dataset, or decide what a new one will share; nothing is written.

    A new one takes protocol, palette, size and format from the settings, else from the first source of segkit, else
    the defaults of build-dataset; only COCO panoptic maps have another protocol.

    Raises:
        UsageError: the settings differ from the dataset's.
        DatasetError: the output folder is neither empty nor a dataset, or is one of the sources.
    """
    for collection in collections:
        _require_apart(collection.place, output)
    if (output / ".segkit" / "dataset.toml").exists():
        target = Dataset.open(output)
        _require_same(target, settings)
        recorded = _completed(target.info.settings, settings)
        return Target(output, target, _with_settings(target.info, recorded))
    dataset.refuse_other_folder(output)
    first = next((collection.info for collection in collections if collection.info), None)
    return Target(output, None, _new_info(settings, collections, first))


def _require_apart(place: Path, output: Path) -> None:
    inside, outside = place.resolve(), output.resolve()
    if inside == outside or outside in inside.parents or inside in outside.parents:
        raise UsageError(
            f"{place} and the output {output} are the same, or one lies in the other. Choose another output."
        )


def _require_same(target: Dataset, settings: ImportSettings) -> None:
    for name in ("protocol", "size", "photo_format"):
        before, now = target.info.settings.get(name, getattr(BuildSettings, name)), getattr(settings, name)
        if now and now != before:
            raise UsageError(
                f"{target.folder} was built with {name}={before}, not {now}. Pass {name}={before} or another output."
            )
    if settings.palette and Palette.load(settings.palette).hash not in (
        target.info.palette.hash,
        target.info.built_with.hash,
    ):
        raise UsageError(
            f"{target.folder} has another palette than {settings.palette}. Add classes to it with: segkit relabel "
            f"{quote(target.folder)} --add-class NAME"
        )


def _with_settings(info: Info, settings: Mapping[str, Any]) -> Info:
    return Info(info.palette, info.models, dict(settings), info.versions, info.added)


def _completed(recorded: Mapping[str, Any], settings: ImportSettings) -> dict[str, Any]:
    """Return recorded settings with what a dataset of an earlier version lacks, and with the limits of this import."""
    names = (*FIXED, "palette", "split")
    defaults = {name: getattr(BuildSettings, name) for name in names}
    limits = {name: getattr(settings, name) for name in ("min_size", "max_megapixels", "keep_duplicates")}
    return {**defaults, **recorded, **limits}


def _new_info(settings: ImportSettings, collections: Sequence[Collection], first: Info | None) -> Info:
    chosen: dict[str, Any] = _completed(first.settings if first else {}, settings)
    chosen |= {name: value for name in ("size", "photo_format") if (value := getattr(settings, name))}
    chosen["protocol"] = settings.protocol or (first.settings.get("protocol") if first else "") or _likely(collections)
    own_palette = bool(settings.palette or settings.protocol)
    if own_palette or first is None:
        chosen["palette"] = settings.palette
        palette, added = protocol.load(str(chosen["protocol"]), settings.palette), 0
    else:
        palette, added = first.palette, first.added
    chosen["split"] = settings.split or chosen["split"]
    chosen["min_size"] = chosen["min_size"] or min(BuildSettings.min_size, int(chosen["size"]))
    chosen |= asdict(settings.style(None))
    models = dict(first.models) if first else {"segmenter": NO_SEGMENTER}
    return Info(palette, models, chosen, versions(), added)


def _likely(collections: Sequence[Collection]) -> str:
    """Return the protocol of the first source that tells: one with named categories; else ADE20K."""
    for collection in collections:
        names = [name for _, name in collection.categories]
        by_protocol = {key: Palette.load(name) for key, name in PROTOCOLS.items()}
        known = {key: sum(bool(table.candidates(name)) for name in names) for key, table in by_protocol.items()}
        if names:
            return max(known, key=lambda key: known[key])
        if collection.palette is not None:
            return next(
                (key for key, table in by_protocol.items() if protocol.extends(collection.palette, table)), "ade20k"
            )
    return "ade20k"


def rules(target: Target, settings: ImportSettings, collection: Collection) -> Rules:
    """Return how the maps of a source become maps of the dataset.

    Raises:
        UsageError: the source has classes that the dataset's palette lacks, and nobody asked for a mapping by name.
    """
    palette = target.info.palette
    source_palette = collection.info.palette if collection.info else collection.palette
    if source_palette is None:
        source_palette = Palette.load(settings.maps_palette) if settings.maps_palette else palette
    asked = bool(settings.palette or settings.protocol or (settings.maps_palette and collection.palette is None))
    mapping = None if protocol.extends(palette, source_palette) else _mapping(collection, source_palette, target, asked)
    if mapping is None:
        source_palette = source_palette if collection.info or collection.palette else palette
    fixed = settings.first_id if settings.first_id is not None else collection.first_id
    first_id = evidence.once(
        lambda: fixed if fixed is not None else evidence.first_id(collection, source_palette, settings.cause)
    )
    shift = evidence.once(lambda: evidence.shift(collection, source_palette))
    categories = (
        _categories(collection, source_palette if collection.info else palette, target, asked)
        if collection.categories
        else None
    )
    return Rules(
        palette, source_palette, mapping, settings.repair, settings.max_doubt, first_id, collection.first_id,
        categories, dict(collection.categories), settings.cause, shift,
    )  # fmt: skip


def _mapping(collection: Collection, source_palette: Palette, target: Target, asked: bool) -> Mapping256:
    """Return the classes of the dataset's palette for those of another, by name."""
    palette = target.info.palette
    mapping = np.full(256, UNLABELLED, np.uint8)
    if asked:
        mapping = snap.class_mapping(source_palette, palette)
    else:
        for swatch in source_palette:
            if known := [other.index for other in palette if other.name == swatch.name]:
                mapping[swatch.index] = known[0]
    missing = [swatch.name for swatch in source_palette if mapping[swatch.index] == UNLABELLED]
    if missing and not asked:
        raise UsageError(
            f"{collection.place} has classes that the dataset's palette {palette.name} lacks: {listed(missing)}. "
            f"Pass a palette that has them: palette=TABLE; {_by_name(target)}"
        )
    return mapping


def _categories(collection: Collection, palette: Palette, target: Target, asked: bool) -> dict[int, int]:
    """Return the class of each category of COCO panoptic maps: by its name, or by that of COCO's class."""
    coco = Palette.load("coco_panoptic")
    by_coco = snap.class_mapping(coco, palette) if asked else None
    classes: dict[int, int] = {}
    missing = []
    for number, name in collection.categories:
        index = _class(name, palette)
        if index == UNLABELLED and by_coco is not None and _class(name, coco) != UNLABELLED:
            index = int(by_coco[_class(name, coco)])
        classes[number] = index
        missing += [name] if index == UNLABELLED else []
    if missing and not asked and len(missing) > len(classes) / 2:
        raise UsageError(
            f"{collection.place} has categories that the dataset's palette {palette.name} lacks: {listed(missing)}. "
            f"Import it into a dataset of its own with protocol=coco; {_by_name(target)}"
        )
    return classes


def _by_name(target: Target) -> str:
    name = target.info.settings["protocol"]
    return f"or map by name those that have a counterpart, and leave the others unlabelled: protocol={name}"


def _class(name: str, palette: Palette) -> int:
    try:
        return palette.find(name).index
    except PaletteError:
        return UNLABELLED


def require_fitting(target: Target, collections: Sequence[Collection]) -> None:
    """Refuse datasets of segkit whose photos are larger than those of the target.

    Raises:
        DatasetError: one is.
    """
    size = int(target.info.settings["size"])
    for collection in collections:
        stored_size = int(collection.info.settings.get("size", size)) if collection.info else size
        if stored_size > size:
            raise DatasetError(
                f"{collection.place} holds photos of size={stored_size}, the dataset {target.folder} of size={size}. "
                "Triples of segkit are imported as they are: choose another output."
            )
