"""The settings of build-dataset and caption, declared once: a field is option, type, range, default and help."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta

from segkit.errors import SettingError
from segkit.schema import Settings

if TYPE_CHECKING:
    from segkit.dataset.prompts import Style

MODEL_HELP = "a folder, a hub id or a short name"


def _text(description: str) -> Meta:
    return Meta(description=description)


@dataclass(frozen=True, kw_only=True)
class ModelSettings(Settings):
    """Where and how networks run."""

    device: Annotated[str, _text("Device: auto, cpu, cuda, cuda:1, mps.")] = "auto"
    precision: Annotated[
        Literal["auto", "fp32", "bf16", "fp16"], _text("Arithmetic; auto is fp32 on a CPU and bf16 on a GPU.")
    ] = "auto"
    batch_size: Annotated[str, _text("Photos of one size per batch: a number, or auto.")] = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch_size != "auto" and (not self.batch_size.isdecimal() or int(self.batch_size) < 1):
            raise SettingError("batch_size", self.batch_size, "a number from 1, or auto")


@dataclass(frozen=True, kw_only=True)
class CaptionSettings(ModelSettings):
    """How prompts are drafted."""

    captioner: Annotated[
        str,
        _text(f"Captioning model: {MODEL_HELP} (blip-base, blip2, florence2-base, qwen3-vl, ..., toy)."),
    ] = "Salesforce/blip-image-captioning-base"
    caption_task: Annotated[
        str, _text('Text prompt for the captioner. Florence-2 needs a task token, such as "<DETAILED_CAPTION>".')
    ] = ""
    prefix: Annotated[str, _text("Text before each drafted prompt.")] = ""
    suffix: Annotated[str, _text("Text after each drafted prompt.")] = ""
    template: Annotated[str, _text('Template of a prompt, such as "{caption}, {classes}".')] = "{caption}"
    tokenizer: Annotated[str, _text("Folder of CLIP's tokenizer, for exact prompt lengths.")] = ""
    caption_tokens: Annotated[
        int, Meta(ge=1, le=500, description="Maximum length of a caption, in the captioner's tokens.")
    ] = 40
    beams: Annotated[int, Meta(ge=1, le=16, description="Beam width of the captioner; 1 is greedy.")] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        self.style()

    def style(self) -> "Style":
        """Return how prompts are composed.

        Raises:
            UsageError: the template is invalid.
        """
        from segkit.dataset.prompts import Style  # not needed to show the options

        return Style(self.prefix, self.suffix, self.template)


@dataclass(frozen=True, kw_only=True)
class BuildSettings(CaptionSettings):
    """How photos become triples."""

    segmenter: Annotated[
        str,
        _text(f"Segmentation model: {MODEL_HELP} (oneformer-large, segformer-b5, eomt-large, ..., toy)."),
    ] = "shi-labs/oneformer_ade20k_swin_large"
    protocol: Annotated[Literal["ade20k", "coco"], _text("Palette: ADE20K-150 or COCO panoptic-133.")] = "ade20k"
    palette: Annotated[str, _text("Palette table with additional classes (segkit check-palette --extend).")] = ""
    size: Annotated[
        int, Meta(ge=64, multiple_of=8, description="Short side of photo and map, in pixels; never enlarged.")
    ] = 512
    min_size: Annotated[int, Meta(ge=8, description="Reject photos with a shorter short side, in pixels.")] = 384
    max_megapixels: Annotated[
        float,
        Meta(gt=0, le=1000, description="Reject larger photos (JPEG: up to 250 megapixels, decoded at a fraction)."),
    ] = 90
    min_confidence: Annotated[
        float, Meta(ge=0, lt=1, description="Pixels below this segmenter confidence become unlabelled; 0 is off.")
    ] = 0.0
    photo_format: Annotated[Literal["jpg", "png"], _text("Photo format: JPEG quality 95 4:4:4, or PNG.")] = "jpg"
    keep_duplicates: Annotated[bool, _text("Keep near-duplicates (in one group, so in one split).")] = False
    caption: Annotated[bool, _text("Draft prompts; --no-caption leaves them empty.")] = True
    split: Annotated[
        str, _text("Held-out shares by group, such as val=0.1 or val=0.1,test=0.05; val=0 undoes an earlier split.")
    ] = ""
    limit: Annotated[int, Meta(ge=0, description="Process only the first N photos; 0 is all.")] = 0
    retry_rejected: Annotated[bool, _text("Try photos again that were rejected before.")] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        from segkit.dataset import splits  # not needed to show the options

        splits.shares(self.split)
