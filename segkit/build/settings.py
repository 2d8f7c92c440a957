"""The settings of each command, declared once: a field is the option, the key in TOML and the documentation."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from segkit.errors import UsageError

if TYPE_CHECKING:
    from segkit.dataset.prompts import Style

MODEL_HELP = "a folder, a hub id or a short name"


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """Where and how networks run."""

    device: Annotated[str, "Where networks run: auto, cpu, cuda, cuda:1, mps."] = "auto"
    precision: Annotated[
        Literal["auto", "fp32", "bf16", "fp16"], "Arithmetic; auto is fp32 on a CPU and bf16 on a GPU."
    ] = "auto"
    batch_size: Annotated[str, "Photos of one size at a time: a number, or auto."] = "auto"

    def __post_init__(self) -> None:
        if self.batch_size != "auto" and (not self.batch_size.isdecimal() or int(self.batch_size) < 1):
            raise UsageError(f"--batch-size {self.batch_size}: expected a number from 1, or auto.")


@dataclass(frozen=True, kw_only=True)
class CaptionSettings(ModelSettings):
    """How prompts are drafted."""

    captioner: Annotated[str, f"The captioning model: {MODEL_HELP} (blip-base, blip-large, blip2, toy)."] = (
        "Salesforce/blip-image-captioning-base"
    )
    caption_task: Annotated[
        str, 'Text prompt for the captioner. Florence-2 needs a task token, such as "<DETAILED_CAPTION>".'
    ] = ""
    prefix: Annotated[str, "Text before each drafted prompt."] = ""
    suffix: Annotated[str, "Text after each drafted prompt."] = ""
    template: Annotated[str, 'How a prompt is made, such as "{caption}, {classes}".'] = "{caption}"
    tokenizer: Annotated[str, "Folder of CLIP's tokenizer, to count prompts exactly."] = ""
    caption_tokens: Annotated[int, "Length of a caption, at most, in the captioner's tokens."] = 40
    beams: Annotated[int, "Width of the captioner's beam search; 1 is greedy."] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.caption_tokens <= 500:
            raise UsageError(f"--caption-tokens {self.caption_tokens}: expected 1 to 500.")
        if not 1 <= self.beams <= 16:
            raise UsageError(f"--beams {self.beams}: expected 1 to 16.")
        self.style()

    def style(self) -> "Style":
        """Return how prompts are made.

        Raises:
            UsageError: the template is no template.
        """
        from segkit.dataset.prompts import Style  # not needed to show the options

        return Style(self.prefix, self.suffix, self.template)


@dataclass(frozen=True, kw_only=True)
class BuildSettings(CaptionSettings):
    """How photos become triples."""

    segmenter: Annotated[
        str, f"The segmentation model: {MODEL_HELP} (oneformer-large, oneformer-tiny, segformer-b5, ..., toy)."
    ] = "shi-labs/oneformer_ade20k_swin_large"
    protocol: Annotated[Literal["ade20k", "coco"], "The palette: ADE20K-150, or COCO panoptic-133."] = "ade20k"
    palette: Annotated[str, "A table that adds classes to it (segkit check-palette --extend)."] = ""
    size: Annotated[int, "Short side of the stored photo and map, in pixels; never enlarged."] = 512
    min_size: Annotated[int, "Refuse photos with a shorter short side, in pixels."] = 384
    max_megapixels: Annotated[float, "Refuse larger photos (JPEG: up to 250 megapixels, decoded at a fraction)."] = 90
    min_confidence: Annotated[float, "Pixels that the segmenter is less sure of become unlabelled; 0 is off."] = 0.0
    photo_format: Annotated[Literal["jpg", "png"], "How photos are stored: JPEG quality 95 4:4:4, or PNG."] = "jpg"
    keep_duplicates: Annotated[bool, "Keep near-duplicates (in one group, so in one split)."] = False
    caption: Annotated[bool, "Draft prompts; --no-caption leaves them empty."] = True
    split: Annotated[
        str, "Held-out shares by group, such as val=0.1 or val=0.1,test=0.05; val=0 lifts an earlier split."
    ] = ""
    limit: Annotated[int, "Look at the first N photos only; 0 is all."] = 0
    retry_rejected: Annotated[bool, "Try photos again that were rejected before."] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.max_megapixels <= 1000:
            raise UsageError(f"--max-megapixels {self.max_megapixels:g}: expected more than 0, up to 1000.")
        if self.size < 64 or self.size % 8:
            raise UsageError(f"--size {self.size}: expected a multiple of 8 from 64, such as 512 or 768.")
        if self.min_size < 8:
            raise UsageError(f"--min-size {self.min_size}: expected 8 or more.")
        if not 0 <= self.min_confidence < 1:
            raise UsageError(f"--min-confidence {self.min_confidence:g}: expected 0 up to 1.")
        if self.limit < 0:
            raise UsageError(f"--limit {self.limit}: expected 0 (all) or more.")
        from segkit.dataset import splits  # not needed to show the options

        splits.shares(self.split)
