"""The settings of build-dataset and caption, declared once: a field is option, type, range, default and help."""

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from segkit import config
from segkit.build import slices
from segkit.errors import SettingError
from segkit.schema import Settings, option

if TYPE_CHECKING:
    from segkit.dataset.prompts import Style

_REMEMBERED = ("prefix", "suffix", "template", "palette", "split")
_NOT_RECORDED = (
    "device", "precision", "batch_size", "limit", "retry_rejected", "rehash", "prune", "force",
    "engine", "ray_address", "workers", "gpus_per_worker", "shard",
)  # fmt: skip
"""Settings that say what to do now, and where; the precision that was used is recorded with each network, and which
slice a dataset is by `target`."""

NETWORKS = (
    "segmenter", "ensemble", "store_confidence", "caption", "captioner", "caption_task", "tokenizer", "caption_tokens",
    "beams",
)  # fmt: skip
"""Settings that only new photos or prompts are made with, so they are recorded with them."""

MODEL_HELP = "a folder, a hub id or a short name"


@dataclass(frozen=True, kw_only=True)
class ModelSettings(Settings):
    """Where and how networks run."""

    device: Annotated[str, option("Device: auto, cpu, cuda, cuda:1, mps.", min_length=1)] = "auto"
    precision: Annotated[
        Literal["auto", "fp32", "bf16", "fp16"],
        option("Arithmetic; auto: fp32 on a CPU, bf16 (older: fp16) on CUDA."),
    ] = "auto"
    batch_size: Annotated[str, option("Photos of one size per batch: a number, or auto.")] = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch_size != "auto" and (not self.batch_size.isdecimal() or int(self.batch_size) < 1):
            raise SettingError("batch_size", self.batch_size, "a number from 1, or auto")


@dataclass(frozen=True, kw_only=True)
class EngineSettings(Settings):
    """Which processes do the work."""

    engine: Annotated[
        Literal["inline", "ray"],
        option("Where photos are read and networks run: in this process, or in workers on a Ray cluster."),
    ] = "inline"
    ray_address: Annotated[
        str,
        option("Ray cluster: host:port, or auto on one of its nodes; else RAY_ADDRESS, or a new one."),
    ] = ""
    workers: Annotated[str, option("Workers of the engine ray: a number, or auto for one a GPU, else one a core.")] = (
        "auto"
    )
    gpus_per_worker: Annotated[
        str, option("GPUs of each worker: a number such as 0 or 0.5, or auto for 1 where the cluster has any.")
    ] = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.workers != "auto" and (not self.workers.isdecimal() or int(self.workers) < 1):
            raise SettingError("workers", self.workers, "a number from 1, or auto")
        if self.gpus_per_worker != "auto" and not re.fullmatch(r"\d+(\.\d+)?", self.gpus_per_worker):
            raise SettingError("gpus_per_worker", self.gpus_per_worker, "a number from 0, or auto")
        for name in ("ray_address", "workers", "gpus_per_worker"):
            if self.engine != "ray" and getattr(self, name) != getattr(EngineSettings, name):
                raise SettingError(name, getattr(self, name), "engine='ray' with it, the only engine that it is for")


@dataclass(frozen=True, kw_only=True)
class CaptionSettings(ModelSettings):
    """How prompts are drafted."""

    captioner: Annotated[
        str,
        option(f"Captioning model: {MODEL_HELP} (blip-base, blip2, florence2-base, qwen3-vl, ..., toy).", min_length=1),
    ] = "Salesforce/blip-image-captioning-base"
    caption_task: Annotated[
        str, option('Text prompt for the captioner. Florence-2 needs a task token, such as "<DETAILED_CAPTION>".')
    ] = ""
    prefix: Annotated[str, option("Text before each drafted prompt, remembered; ' ' for none.")] = ""
    suffix: Annotated[str, option("Text after each drafted prompt, remembered; ' ' for none.")] = ""
    template: Annotated[str, option('Template of a prompt, such as "{caption}, {classes}", remembered.')] = ""
    tokenizer: Annotated[str, option("Folder of CLIP's tokenizer, for exact prompt lengths.")] = ""
    caption_tokens: Annotated[int, option("Maximum length of a caption, in the captioner's tokens.", ge=1, le=500)] = 40
    beams: Annotated[int, option("Beam width of the captioner; 1 is greedy.", ge=1, le=16)] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        self.style(None)

    def style(self, recorded: "Style | None") -> "Style":
        """Return how prompts are composed.

        Args:
            recorded: the style that the dataset remembers, of which everything is kept that the settings leave empty;
                None if there is none.

        Raises:
            SettingError: the template is invalid.
        """
        from segkit.dataset.prompts import Style  # not needed to show the options

        kept = recorded or Style()
        prefix, suffix = (self.prefix or kept.prefix).strip(), (self.suffix or kept.suffix).strip()
        return Style(prefix, suffix, self.template or kept.template)

    def recorded(self) -> dict[str, Any]:
        """Return the settings that shape triples as dataset.toml records them, without those that it remembers.

        Remembered are prefix, suffix, template, palette and split: left empty, they keep what was set before.
        """
        return {name: value for name, value in asdict(self).items() if name not in (*_REMEMBERED, *_NOT_RECORDED)}


@dataclass(frozen=True, kw_only=True)
class DraftingSettings(CaptionSettings, EngineSettings):
    """How prompts of a dataset are drafted, and which processes do that."""


@dataclass(frozen=True, kw_only=True)
class BuildSettings(DraftingSettings):
    """How photos become triples."""

    segmenter: Annotated[
        str,
        option(
            f"Segmentation model: {MODEL_HELP} (oneformer-large, segformer-b5, eomt-large, ..., toy).", min_length=1
        ),
    ] = "shi-labs/oneformer_ade20k_swin_large"
    ensemble: Annotated[
        str, option("Further segmenters, separated by commas, whose class probabilities are averaged with the first's.")
    ] = ""
    tiles: Annotated[
        int,
        option(
            "Also segment overlapping tiles, so many along the short side, for small things; 0 is none.", ge=0, le=16
        ),
    ] = 0
    flip_average: Annotated[bool, option("Also segment the mirrored photo, and average class probabilities.")] = False
    protocol: Annotated[Literal["ade20k", "coco"], option("Palette: ADE20K-150 or COCO panoptic-133.")] = "ade20k"
    palette: Annotated[str, option("Palette table with additional classes (segkit check-palette --extend).")] = ""
    size: Annotated[int, option("Short side of photo and map, in pixels; never enlarged.", ge=64, multiple_of=8)] = 512
    min_size: Annotated[int, option("Reject photos with a shorter short side, in pixels.", ge=8)] = 384
    max_megapixels: Annotated[
        float,
        option("Reject larger photos (JPEG: up to 250 megapixels, decoded at a fraction).", gt=0, le=1000),
    ] = 90
    min_confidence: Annotated[
        float, option("Pixels below this segmenter confidence become unlabelled; 0 is off.", ge=0, lt=1)
    ] = 0.0
    store_confidence: Annotated[bool, option("Store the segmenter's confidence, as a heat map for segkit review.")] = (
        False
    )
    photo_format: Annotated[Literal["jpg", "png"], option("Photo format: JPEG quality 95 4:4:4, or PNG.")] = "jpg"
    keep_duplicates: Annotated[bool, option("Keep near-duplicates (in one group, so in one split).")] = False
    follow_links: Annotated[bool, option("Follow symbolic links that lead out of the folder of photos.")] = False
    caption: Annotated[bool, option("Draft prompts; --no-caption leaves them empty.")] = True
    split: Annotated[
        str, option("Held-out shares by group, such as val=0.1 or val=0.1,test=0.05; val=0 undoes an earlier split.")
    ] = ""
    shard: Annotated[
        str,
        option("Build slice I of N only, such as 2/8: its photos are those whose names have one of N hashes."),
    ] = ""
    limit: Annotated[int, option("Process only the first N photos; 0 is all.", ge=0)] = 0
    retry_rejected: Annotated[bool, option("Try photos again that were rejected before.")] = False
    rehash: Annotated[
        bool, option("Read all photos and maps, also those with the size and time that they had in the last build.")
    ] = False
    prune: Annotated[bool, option("Remove the triples whose photos are gone, unless a person worked on them.")] = False
    force: Annotated[bool, option("With --prune: also those that a person worked on, and most of a dataset.")] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        from segkit.dataset import splits  # not needed to show the options

        splits.shares(self.split)
        if self.shard:
            slices.parse(self.shard)
        if self.ensemble and not all(self.segmenters):
            raise SettingError("ensemble", self.ensemble, "names of segmenters, separated by commas")
        if len(set(self.segmenters)) < len(self.segmenters):
            raise SettingError("ensemble", self.ensemble, "other networks than the segmenter, each once")
        if self.force and not self.prune:
            raise SettingError("force", self.force, "prune=True with it, the only thing that it changes")
        if self.prune and self.limit:
            raise SettingError("limit", self.limit, "0 with prune=True: photos beyond the limit would count as gone")

    @property
    def segmenters(self) -> tuple[str, ...]:
        """The segmenter and the others of the ensemble."""
        others = self.ensemble.split(",") if self.ensemble else []
        return self.segmenter, *(name.strip() for name in others)


@dataclass(frozen=True)
class _Locations:
    """What a build.toml may contain in addition to the settings."""

    photos: Annotated[str, option("Folder of the photos.", min_length=1)]
    output: Annotated[str, option("Dataset folder.", min_length=1)]


_PATHS = ("photos", "output", "segmenter", "captioner", "tokenizer", "palette")


def read(path: Path) -> dict[str, Any]:
    """Read the options of a build.toml, which may include "photos" and "output".

    Returns:
        Option values by field name; only those that the file sets.

    Raises:
        UsageError: the file cannot be read, is not valid TOML, or sets an option that is unknown or of another type.
    """
    return config.read(path, (_Locations, BuildSettings), _PATHS)
