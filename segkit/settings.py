"""Settings of the commands that have only a few, each declared once for the command line and for Python.

Those of build-dataset and caption are in segkit.build.settings, those of train and generate in trainer.settings.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from segkit.errors import SettingError
from segkit.schema import Settings, option

Cause = Literal["", "exact", "shifted", "bgr", "coco", "golden-angle", "outlined", "jpeg", "resized", "label-ids"]
Layout = Literal["ldm", "diffusers", "pth"]
Kind = Literal["webdataset", "imagefolder", "parquet", "fill50k", "kohya", "coco-panoptic", "label-ids"]
Check = Literal["full", "fast", "none"]
Unsure = Literal["nearest", "unlabelled"]


@dataclass(frozen=True, kw_only=True)
class PaletteSettings(Settings):
    """How palettes and the colours of maps are examined."""

    min_distance: Annotated[float, option("Report colours closer than this (RGB, L2).", ge=0, le=442)] = 10.0
    against: Annotated[tuple[str, ...], option("Palettes or tables whose colours must also stay distinct.")] = (
        "ade20k",
        "coco_panoptic",
    )
    palette: Annotated[str, option("Palette that maps should use: a name or a table.", min_length=1)] = "ade20k"
    suggest: Annotated[int, option("Suggest this many colours for new classes.", ge=0, le=100)] = 0


@dataclass(frozen=True, kw_only=True)
class SnapSettings(Settings):
    """How maps of other tools are repaired."""

    palette: Annotated[str, option("Palette that the maps should use: a name or a table.", min_length=1)] = "ade20k"
    to: Annotated[str, option("Palette whose classes replace those of a foreign one, matched by name.")] = ""
    cause: Annotated[Cause, option("Cause of the damage, instead of detecting it.")] = ""
    unsure: Annotated[Unsure, option("How to label ambiguous pixels.")] = "nearest"
    first_id: Annotated[Literal[0, 1] | None, option("Value of the first class in maps of class indices.")] = None


@dataclass(frozen=True, kw_only=True)
class CheckSettings(Settings):
    """What a dataset is checked with."""

    tokenizer: Annotated[str, option("Folder of CLIP's tokenizer, to recount prompt lengths.")] = ""
    palette: Annotated[str, option("Palette table that the dataset was built with, if it is a custom one.")] = ""
    check: Annotated[
        Check,
        option("Photos and maps to read: all; those that are new or have changed since they were checked; none."),
    ] = "full"


@dataclass(frozen=True, kw_only=True)
class DraftSettings(Settings):
    """Which prompts are drafted."""

    redo: Annotated[bool, option("Redraft all prompts except hand-written ones.")] = False


@dataclass(frozen=True, kw_only=True)
class DrawSettings(Settings):
    """What is drawn, and what may be replaced."""

    prompt: Annotated[str, option("Prompt for maps that have none of their own.")] = ""
    overwrite: Annotated[bool, option("Replace existing files of the same names.")] = False


@dataclass(frozen=True, kw_only=True)
class ExportSettings(Settings):
    """How a ControlNet is exported."""

    to: Annotated[Layout, option("Output format.")]
    full: Annotated[bool, option("Write fp32 files instead of fp16; diffusers folders are always fp32.")] = False
    overwrite: Annotated[bool, option("Replace an existing file or folder.")] = False


_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
"""Bytes of the units of shard sizes."""


def to_bytes(size: str) -> int:
    """Read a size such as "500MB" or "1.5 GB" in bytes; 0 if it is none. Units are powers of 1000."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?b?)", size.strip().lower())
    unit = match and (match[2] if match[2] in _UNITS else f"{match[2]}b")
    return round(float(match[1]) * _UNITS[unit]) if match and unit in _UNITS else 0


@dataclass(frozen=True, kw_only=True)
class SelectionSettings(Settings):
    """Which triples of a dataset are exported, and how their maps and shards are written."""

    split: Annotated[Literal["all", "train", "val", "test"], option("Export one split only.")] = "all"
    accepted_only: Annotated[bool, option("Export only triples that a person accepted.")] = False
    sample: Annotated[int, option("Export this many triples, drawn at random; 0 exports all.", ge=0)] = 0
    seed: Annotated[int, option("Seed of the random sample.")] = 0
    maps: Annotated[Literal["indexed", "rgb"], option("Control maps as indexed PNGs, or as RGB.")] = "indexed"
    shard_size: Annotated[str, option("Size of shards.  [default: 1GB for webdataset, 500MB for parquet]")] = ""

    def __post_init__(self) -> None:
        """Check every field; see Settings.

        Raises:
            SettingError: the first value that does not fit.
        """
        super().__post_init__()
        if self.shard_size and not to_bytes(self.shard_size):
            raise SettingError("shard_size", self.shard_size, "a size such as 500MB or 1GB")


@dataclass(frozen=True, kw_only=True)
class DatasetExportSettings(SelectionSettings):
    """How a dataset is exported."""

    to: Annotated[Kind, option("Output format.")]
    overwrite: Annotated[bool, option("Replace an earlier export.")] = False
    verify: Annotated[bool, option("Compare the hashes of all files of an earlier export, not only sizes.")] = False
