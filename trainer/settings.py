"""Settings of training, sampling and generation, each declared once: field name, option, run.toml key and help text."""

from dataclasses import asdict, dataclass
from math import inf
from pathlib import Path
from typing import Annotated, Any, Literal

from segkit import config
from segkit.errors import SettingError
from segkit.schema import Settings, option
from segkit.settings import to_bytes

SEG = "lllyasviel/control_v11p_sd15_seg"
SD15 = "stable-diffusion-v1-5/stable-diffusion-v1-5"


@dataclass(frozen=True, kw_only=True)
class TrainSettings(Settings):
    """Settings for finetuning a ControlNet.

    Raises:
        UsageError: a value is outside its range, or two settings contradict each other.
    """

    base: Annotated[
        str, option("Base Stable Diffusion: a diffusers folder, .safetensors file, hub id, or toy.", min_length=1)
    ] = SD15
    controlnet: Annotated[
        str,
        option(
            "Initial ControlNet: a file, folder, run or hub id; fresh copies the base UNet's encoder.", min_length=1
        ),
    ] = SEG
    tokenizer: Annotated[str, option("Folder with CLIP's tokenizer, for a base that has none.")] = ""
    prediction: Annotated[
        Literal["auto", "epsilon", "v_prediction"], option("What the UNet predicts; auto reads it from the base.")
    ] = "auto"
    palette: Annotated[str, option("Palette of the control maps: a name or a file.  [default: the dataset's]")] = ""
    allow_any_control: Annotated[
        bool, option("Accept control images that are not segmentation maps, such as fill50k's.")
    ] = False
    require_reviewed: Annotated[bool, option("Use only triples that a person accepted in a review.")] = False
    allow_empty_prompts: Annotated[bool, option("Train even if all prompts are empty.")] = False
    check: Annotated[
        Literal["full", "fast", "none"],
        option(
            "Photos and maps of a dataset to read before the first step: all; those that are new or have changed since "
            "they were checked; none."
        ),
    ] = "fast"
    name: Annotated[str, option("Name of the exported ControlNet.  [default: the run folder's name]")] = ""
    resolution: Annotated[
        int,
        option(
            "Side of a square crop; other aspect ratios get the same area, in multiples of 64.", ge=64, multiple_of=64
        ),
    ] = 512
    flip: Annotated[bool, option("Mirror half of the photos at random, with their maps.")] = True
    prompt_dropout: Annotated[float, option("Probability of replacing a prompt by the empty one.", ge=0, le=1)] = 0.1
    steps: Annotated[int, option("Optimizer steps in total.", ge=1)] = 10_000
    batch_size: Annotated[int, option("Photos per batch and process.", ge=1)] = 4
    accumulate: Annotated[int, option("Batches per optimizer step (gradient accumulation).", ge=1)] = 1
    learning_rate: Annotated[float, option("AdamW learning rate.", gt=0)] = 1e-5
    schedule: Annotated[
        Literal["constant", "linear", "cosine"], option("Learning-rate schedule after the warm-up.")
    ] = "constant"
    warmup: Annotated[int, option("Steps of linear learning-rate warm-up.", ge=0)] = 0
    weight_decay: Annotated[float, option("AdamW weight decay.", ge=0)] = 1e-2
    clip: Annotated[float, option("Maximum gradient norm.", gt=0)] = 1.0
    sd_unlocked: Annotated[
        bool, option("Also train the base UNet's up blocks and output; the run then saves the base.")
    ] = False
    decoder_learning_rate: Annotated[float, option("Learning rate of the base's layers with --sd-unlocked.", gt=0)] = (
        2e-6
    )
    only_mid_control: Annotated[bool, option("Feed only the ControlNet's middle block into the UNet.")] = False
    gradient_checkpointing: Annotated[
        bool, option("Recompute activations in the backward pass: less memory, slower.")
    ] = False
    optimizer: Annotated[
        Literal["adamw", "adamw8bit"],
        option("AdamW, or bitsandbytes' AdamW with 8-bit state, which needs less memory."),
    ] = "adamw"
    ema: Annotated[
        float, option("Decay of an exponential moving average of the weights, such as 0.9999; 0: no EMA.", ge=0, lt=1)
    ] = 0.0
    min_snr: Annotated[float, option("Gamma of Min-SNR loss weighting, such as 5; 0: uniform weights.", ge=0)] = 0.0
    reward: Annotated[
        str, option("Segmenter whose view of the predicted picture joins the loss: a name, folder or hub id.")
    ] = ""
    reward_weight: Annotated[float, option("Weight of the reward's loss beside the diffusion loss.", gt=0)] = 0.5
    reward_until: Annotated[
        int, option("Latest timestep from which a picture is predicted for the reward.", ge=0, le=998)
    ] = 200
    reward_share: Annotated[
        float, option("Share of the photos that are drawn up to that timestep, and so rewarded.", gt=0, lt=1)
    ] = 0.25
    balance: Annotated[bool, option("Sample photos with rare classes more often.")] = False
    cache: Annotated[bool, option("Cache VAE latents and text embeddings on disk, so that each is computed once.")] = (
        True
    )
    cache_dir: Annotated[
        str, option("Folder of that cache and of copies of remote shards.  [default: in the dataset, or in the run]")
    ] = ""
    cache_dtype: Annotated[
        Literal["auto", "fp32", "fp16", "bf16"],
        option("Numbers that latents and embeddings are rounded to, cached or not; auto: those of the arithmetic."),
    ] = "auto"
    flip_cache: Annotated[
        bool, option("Cache mirrored photos too; otherwise the VAE stays in memory and encodes them whenever drawn.")
    ] = True
    shard_cache: Annotated[
        str, option("Space for copies of remote shards, such as 50GB or 500MB; 0 keeps none.", min_length=1)
    ] = "50GB"
    compile: Annotated[
        bool, option("Compile the networks with torch.compile: minutes to start, then faster on GPUs.")
    ] = False
    precision: Annotated[
        Literal["auto", "fp32", "bf16", "fp16"],
        option("Arithmetic; auto: fp32 on a CPU, bf16 (older: fp16) on CUDA."),
    ] = "auto"
    device: Annotated[
        str, option("Where to train: auto, cpu, cuda, cuda:1, mps. torchrun gives each process a GPU.", min_length=1)
    ] = "auto"
    cpu: Annotated[bool, option("Same as --device cpu.")] = False
    processes: Annotated[int, option("Required number of processes; 0 accepts any.", ge=0)] = 0
    seed: Annotated[int, option("Seed for data order, crops, noise and prompt dropout.", ge=0)] = 0
    checkpoint_every: Annotated[int, option("Steps between checkpoints.", ge=1)] = 500
    keep: Annotated[int, option("Number of recent checkpoints to keep, in addition to the best.", ge=1)] = 3
    best_by: Annotated[
        Literal["held_out_loss", "control_gap"], option("Metric for the best checkpoint: lowest loss or highest gap.")
    ] = "held_out_loss"
    evaluate_every: Annotated[
        int,
        option(
            "Steps between validations (held-out loss, control gap); every checkpoint is validated too. 0: never.", ge=0
        ),
    ] = 250
    preview_every: Annotated[int, option("Steps between preview images for the report. 0: never.", ge=0)] = 300
    preview_guidance: Annotated[float, option("Guidance scale of the previews.", ge=0)] = 5.0
    tracker: Annotated[
        Literal["", "tensorboard", "wandb"],
        option("Also log to this tracker; TensorBoard is used whenever it is installed."),
    ] = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.cpu and self.device not in ("auto", "cpu"):
            raise SettingError("device", self.device, "cpu, because cpu is set")
        if not to_bytes(self.shard_cache) and self.shard_cache.strip() != "0":
            raise SettingError("shard_cache", self.shard_cache, "a size such as 50GB or 500MB, or 0")

    @property
    def shard_cache_bytes(self) -> int:
        """Bytes that copies of remote shards may take."""
        return to_bytes(self.shard_cache)

    def caches(self, run: Path) -> Path:
        """Return the folder of caches that are not in a dataset."""
        return Path(self.cache_dir).expanduser() if self.cache_dir else run / "cache"

    @property
    def prediction_type(self) -> Literal["epsilon", "v_prediction"] | None:
        """The prediction type to enforce; None uses the base's own."""
        return None if self.prediction == "auto" else self.prediction


@dataclass(frozen=True, kw_only=True)
class SampleSettings(Settings):
    """How pictures are sampled: whatever draws with a ControlNet has these settings.

    Raises:
        UsageError: a value is outside its range, or two settings contradict each other.
    """

    negative: Annotated[str, option("Negative prompt.")] = ""
    resolution: Annotated[
        int, option("Side of a square picture; others get the same area. 0 keeps the map's size.")
    ] = 512
    scheduler: Annotated[
        Literal["dpm++", "unipc", "ddim"], option("Sampling method: DPM-Solver++ 2M, UniPC or DDIM.")
    ] = "dpm++"
    # Stable Diffusion has 1,000 timesteps; with as many steps, DDIM leaves its table and the others divide by zero.
    steps: Annotated[int, option("Sampling steps.", ge=1, le=999)] = 30
    guidance: Annotated[
        float, option("Classifier-free guidance scale; up to 1: no guidance, which halves the work.", ge=0)
    ] = 7.5
    guidance_end: Annotated[
        float,
        option("Share of the steps after which there is no guidance: each later one is half the work.", ge=0, le=1),
    ] = 1.0
    strength: Annotated[float, option("ControlNet conditioning scale.", ge=0)] = 1.0
    strengths: Annotated[
        str, option("Conditioning scales to compare, such as 0.5,1,1.5: a picture for each, and a contact sheet.")
    ] = ""
    control_start: Annotated[float, option("Share of the steps after which the ControlNet steers.", ge=0, le=1)] = 0.0
    control_end: Annotated[float, option("Share of the steps after which it no longer steers.", ge=0, le=1)] = 1.0
    batch_size: Annotated[
        int, option("Pictures of one size to draw at a time; it does not change the pictures.", ge=1)
    ] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.resolution and self.resolution < 64:
            raise SettingError("resolution", self.resolution, "0, or at least 64")
        if self.control_start >= self.control_end:
            raise SettingError("control_start", self.control_start, f"less than control_end={self.control_end}")
        if self.strengths and self.strength != 1.0:
            raise SettingError("strength", self.strength, "only one of strength and strengths")
        _scales(self.strengths)

    @property
    def scales(self) -> tuple[float, ...]:
        """Conditioning scales that each map is drawn with, in order."""
        return _scales(self.strengths) or (self.strength,)


def _scales(text: str) -> tuple[float, ...]:
    """Read numbers that are separated by commas.

    Raises:
        SettingError: one of them is not a conditioning scale, or is listed twice.
    """
    expected = "different numbers of at least 0, such as 0.5,1,1.5"
    try:
        scales = tuple(float(part) for part in text.split(",")) if text.strip() else ()
    except ValueError:
        raise SettingError("strengths", text, expected) from None
    if len(set(scales)) < len(scales) or not all(0 <= scale < inf for scale in scales):
        raise SettingError("strengths", text, expected)
    return scales


@dataclass(frozen=True, kw_only=True)
class DrawingSettings(SampleSettings):
    """Which pictures are drawn of a map, with which base, and where.

    Raises:
        UsageError: a value is outside its range, or two settings contradict each other.
    """

    base: Annotated[str, option("Base Stable Diffusion: a folder, a file, a hub id, or toy.  [default: the run's]")] = (
        ""
    )
    tokenizer: Annotated[str, option("Folder with CLIP's tokenizer, for a base that has none.")] = ""
    prediction: Annotated[
        Literal["auto", "epsilon", "v_prediction"], option("What the UNet predicts; auto reads it from the base.")
    ] = "auto"
    seed: Annotated[int, option("Seed of each map's first picture.", ge=0)] = 0
    count: Annotated[int, option("Pictures per map, with consecutive seeds.", ge=1)] = 1
    device: Annotated[str, option("Where networks run: auto, cpu, cuda, cuda:1, mps.", min_length=1)] = "auto"
    precision: Annotated[
        Literal["auto", "fp32", "bf16", "fp16"],
        option("Arithmetic; auto: fp32 on a CPU, bf16 (older: fp16) on CUDA."),
    ] = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.seed < 2**63 - self.count:
            raise SettingError("seed", self.seed, f"0 to {2**63 - self.count - 1}")


@dataclass(frozen=True, kw_only=True)
class GenerateSettings(DrawingSettings):
    """Settings for drawing pictures from control maps.

    Raises:
        UsageError: a value is outside its range, or two settings contradict each other.
    """

    controlnet: Annotated[
        str, option("ControlNet: a segkit train run, a file, a folder or a hub id.", min_length=1)
    ] = SEG
    palette: Annotated[str, option("Palette of the control maps.  [default: the run's, or ade20k]")] = ""
    allow_any_control: Annotated[bool, option("Accept control images that are not segmentation maps.")] = False


@dataclass(frozen=True)
class _Locations:
    """What a run.toml may contain in addition to the settings."""

    dataset: Annotated[str, option("Folder or URL of the training data.", min_length=1)]
    output: Annotated[str, option("Run folder.", min_length=1)]


_PATHS = ("dataset", "output", "base", "controlnet", "tokenizer", "palette", "name", "cache_dir")
"""Settings of a run.toml that are paths, or become part of one."""


def read(path: Path) -> dict[str, Any]:
    """Read the options of a run.toml, which may include "dataset" and "output".

    Returns:
        Option values by field name; only those that the file sets.

    Raises:
        UsageError: the file cannot be read, is not valid TOML, or sets an option that is unknown or of another type.
    """
    return config.read(path, (_Locations, TrainSettings), _PATHS)


def to_toml(settings: TrainSettings, dataset: Path | str, output: Path) -> bytes:
    """Return the run.toml of a run: every option, the dataset and the run folder."""
    import tomli_w

    return tomli_w.dumps({"dataset": str(dataset), "output": str(output), **asdict(settings)}).encode()
