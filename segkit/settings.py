"""The settings of each command, declared once: a field is the option, the key in TOML and the documentation."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from segkit.errors import UsageError

if TYPE_CHECKING:
    from segkit.prompts import Style

MODEL_HELP = "a folder, a hub id or a short name"
SEG = "lllyasviel/control_v11p_sd15_seg"
SD15 = "stable-diffusion-v1-5/stable-diffusion-v1-5"


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
        from segkit.prompts import Style  # not needed to show the options

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
        from segkit import splits  # not needed to show the options

        splits.shares(self.split)


_FROM_NOTHING = (
    "warmup", "weight_decay", "seed", "processes", "min_snr", "evaluate_every", "preview_every", "preview_guidance",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """How a ControlNet is finetuned."""

    base: Annotated[str, "The Stable Diffusion to steer: a folder of diffusers, a .safetensors, a hub id, or toy."] = (
        SD15
    )
    controlnet: Annotated[str, "Where to start: a file, folder, run or hub id, or fresh for the base's encoder."] = SEG
    tokenizer: Annotated[str, "Folder of CLIP's tokenizer, for a base without one."] = ""
    prediction: Annotated[
        Literal["auto", "epsilon", "v_prediction"], "What the base predicts; auto is what its folder says."
    ] = "auto"
    palette: Annotated[str, "What the maps are painted with, if not with the dataset's own: a name or a table."] = ""
    allow_any_control: Annotated[bool, "Take control pictures that are no segmentation maps, such as fill50k's."] = (
        False
    )
    name: Annotated[str, "What to call the result.  [default: the run folder's name]"] = ""
    resolution: Annotated[int, "Side of a square photo's crop; others get as many pixels, in multiples of 64."] = 512
    flip: Annotated[bool, "Mirror every other photo, with its map."] = True
    prompt_dropout: Annotated[float, "Share of prompts left empty, drawn anew each step."] = 0.1
    steps: Annotated[int, "Updates of the weights."] = 10_000
    batch_size: Annotated[int, "Photos at once, for each process."] = 4
    accumulate: Annotated[int, "Batches whose gradients make one update."] = 1
    learning_rate: Annotated[float, "Of AdamW."] = 1e-5
    schedule: Annotated[Literal["constant", "linear", "cosine"], "How the learning rate falls after the warm-up."] = (
        "constant"
    )
    warmup: Annotated[int, "Updates over which the learning rate rises."] = 0
    weight_decay: Annotated[float, "Of AdamW."] = 1e-2
    clip: Annotated[float, "Largest norm of the gradient."] = 1.0
    sd_unlocked: Annotated[bool, "Train the base's up blocks and output too; the base is saved with the run."] = False
    decoder_learning_rate: Annotated[float, "Of those, with --sd-unlocked."] = 2e-6
    only_mid_control: Annotated[bool, "Steer through the middle block alone."] = False
    gradient_checkpointing: Annotated[bool, "Less memory, more time."] = False
    optimizer: Annotated[Literal["adamw", "adamw8bit"], "AdamW, or bitsandbytes' with 8-bit state: less memory."] = (
        "adamw"
    )
    ema: Annotated[
        float, "Keep a running mean of the weights with this decay, such as 0.9999, and save that; 0: no."
    ] = 0.0
    min_snr: Annotated[float, "Weigh times by Min-SNR with this gamma, such as 5; 0 weighs all alike."] = 0.0
    balance: Annotated[bool, "See photos with rare classes more often."] = False
    cache: Annotated[bool, "Keep what VAE and text encoder say on the disk, so that they work but once."] = True
    compile: Annotated[bool, "Compile the networks: minutes to start, then faster on GPUs."] = False
    precision: Annotated[
        Literal["auto", "fp32", "bf16", "fp16"], "Arithmetic; auto is fp32 on a CPU and bf16 on a GPU."
    ] = "auto"
    cpu: Annotated[bool, "Leave the GPU alone."] = False
    processes: Annotated[int, "Refuse to run with another number of processes; 0 takes what there is."] = 0
    seed: Annotated[int, "Of the order, the crops, the noise and the dropout."] = 0
    checkpoint_every: Annotated[int, "Updates between checkpoints."] = 500
    keep: Annotated[int, "Newest checkpoints that are kept, beside the best."] = 3
    best_by: Annotated[
        Literal["held_out_loss", "control_gap"], "What the best is chosen by: the lowest loss, or the highest gap."
    ] = "held_out_loss"
    evaluate_every: Annotated[
        int, "Updates between looks at held-out photos: loss and control gap; also at checkpoints. 0: never."
    ] = 250
    preview_every: Annotated[int, "Updates between pictures drawn for the run's report. 0: never."] = 300
    preview_guidance: Annotated[float, "How closely their prompts are followed."] = 5.0
    tracker: Annotated[
        Literal["", "tensorboard", "wandb"], "Log there too; TensorBoard needs no asking where it is installed."
    ] = ""

    def __post_init__(self) -> None:
        positive = ("steps", "batch_size", "accumulate", "checkpoint_every", "keep")
        for name in positive:
            _require(self, name, getattr(self, name) >= 1, "1 or more")
        for name in ("learning_rate", "decoder_learning_rate", "clip"):
            _require(self, name, 0 < getattr(self, name) < float("inf"), "more than 0")
        for name in _FROM_NOTHING:
            _require(self, name, 0 <= getattr(self, name) < 2**63, "0 or more")
        _require(self, "ema", 0 <= self.ema < 1, "0 up to 1")
        _require(self, "prompt_dropout", 0 <= self.prompt_dropout <= 1, "0 to 1")
        _require(self, "resolution", self.resolution >= 64 and self.resolution % 64 == 0, "a multiple of 64")
        for name in ("base", "controlnet"):
            _require(self, name, bool(getattr(self, name)), "a file, a folder or a hub id")

    @property
    def told_prediction(self) -> Literal["epsilon", "v_prediction"] | None:
        """What the base predicts; None leaves it to the base."""
        return None if self.prediction == "auto" else self.prediction


@dataclass(frozen=True, kw_only=True)
class GenerateSettings:
    """How pictures are drawn from control maps."""

    controlnet: Annotated[str, "What steers: a run of segkit train, a file, a folder or a hub id."] = SEG
    base: Annotated[str, "The Stable Diffusion: a folder, a file, a hub id, or toy.  [default: the run's]"] = ""
    tokenizer: Annotated[str, "Folder of CLIP's tokenizer, for a base without one."] = ""
    prediction: Annotated[
        Literal["auto", "epsilon", "v_prediction"], "What the base predicts; auto is what its folder says."
    ] = "auto"
    palette: Annotated[str, "What the maps are painted with.  [default: the run's, or ade20k]"] = ""
    allow_any_control: Annotated[bool, "Take control pictures that are no segmentation maps."] = False
    negative: Annotated[str, "What not to draw."] = ""
    seed: Annotated[int, "Of the first picture of each map."] = 0
    count: Annotated[int, "Pictures of each map, with the seeds that follow."] = 1
    resolution: Annotated[int, "As many pixels as a square of this side; 0 keeps the map's size."] = 512
    steps: Annotated[int, "Steps of the sampler, DPM-Solver++ 2M."] = 30
    guidance: Annotated[float, "How closely the prompt is followed."] = 7.5
    strength: Annotated[float, "How closely the map is followed."] = 1.0
    device: Annotated[str, "Where networks run: auto, cpu, cuda, cuda:1, mps."] = "auto"
    precision: Annotated[
        Literal["auto", "fp32", "bf16", "fp16"], "Arithmetic; auto is fp32 on a CPU and bf16 on a GPU."
    ] = "auto"

    def __post_init__(self) -> None:
        for name in ("count", "steps"):
            _require(self, name, getattr(self, name) >= 1, "1 or more")
        for name in ("guidance", "strength"):
            _require(self, name, 0 <= getattr(self, name) < float("inf"), "0 or more")
        _require(self, "seed", 0 <= self.seed < 2**63 - self.count, "0 or more")
        _require(self, "resolution", self.resolution == 0 or self.resolution >= 64, "0, or 64 or more")
        _require(self, "controlnet", bool(self.controlnet), "a run, a file, a folder or a hub id")


def _require(given: object, name: str, holds: bool, expected: str) -> None:
    """Refuse a value outside its range."""
    if not holds:
        raise UsageError(f"--{name.replace('_', '-')} {getattr(given, name)}: expected {expected}.")
