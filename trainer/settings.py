"""Settings of training and generation, each declared once: field name, option, run.toml key and help text."""

from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from segkit.errors import UsageError

SEG = "lllyasviel/control_v11p_sd15_seg"
SD15 = "stable-diffusion-v1-5/stable-diffusion-v1-5"

_NON_NEGATIVE = (
    "warmup", "weight_decay", "seed", "processes", "min_snr", "evaluate_every", "preview_every", "preview_guidance",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """Settings for finetuning a ControlNet.

    Raises:
        UsageError: a value is outside its range, or two settings contradict each other.
    """

    base: Annotated[str, "Base Stable Diffusion: a diffusers folder, .safetensors file, hub id, or toy."] = SD15
    controlnet: Annotated[
        str, "Initial ControlNet: a file, folder, run or hub id; fresh copies the base UNet's encoder."
    ] = SEG
    tokenizer: Annotated[str, "Folder with CLIP's tokenizer, for a base that has none."] = ""
    prediction: Annotated[
        Literal["auto", "epsilon", "v_prediction"], "What the UNet predicts; auto reads it from the base."
    ] = "auto"
    palette: Annotated[str, "Palette of the control maps: a name or a file.  [default: the dataset's]"] = ""
    allow_any_control: Annotated[bool, "Accept control images that are not segmentation maps, such as fill50k's."] = (
        False
    )
    name: Annotated[str, "Name of the exported ControlNet.  [default: the run folder's name]"] = ""
    resolution: Annotated[int, "Side of a square crop; other aspect ratios get the same area, in multiples of 64."] = (
        512
    )
    flip: Annotated[bool, "Mirror half of the photos at random, with their maps."] = True
    prompt_dropout: Annotated[float, "Probability of replacing a prompt by the empty one."] = 0.1
    steps: Annotated[int, "Optimizer steps in total."] = 10_000
    batch_size: Annotated[int, "Photos per batch and process."] = 4
    accumulate: Annotated[int, "Batches per optimizer step (gradient accumulation)."] = 1
    learning_rate: Annotated[float, "AdamW learning rate."] = 1e-5
    schedule: Annotated[Literal["constant", "linear", "cosine"], "Learning-rate schedule after the warm-up."] = (
        "constant"
    )
    warmup: Annotated[int, "Steps of linear learning-rate warm-up."] = 0
    weight_decay: Annotated[float, "AdamW weight decay."] = 1e-2
    clip: Annotated[float, "Maximum gradient norm."] = 1.0
    sd_unlocked: Annotated[bool, "Also train the base UNet's up blocks and output; the run then saves the base."] = (
        False
    )
    decoder_learning_rate: Annotated[float, "Learning rate of the base's layers with --sd-unlocked."] = 2e-6
    only_mid_control: Annotated[bool, "Feed only the ControlNet's middle block into the UNet."] = False
    gradient_checkpointing: Annotated[bool, "Recompute activations in the backward pass: less memory, slower."] = False
    optimizer: Annotated[
        Literal["adamw", "adamw8bit"], "AdamW, or bitsandbytes' AdamW with 8-bit state, which needs less memory."
    ] = "adamw"
    ema: Annotated[float, "Decay of an exponential moving average of the weights, such as 0.9999; 0: no EMA."] = 0.0
    min_snr: Annotated[float, "Gamma of Min-SNR loss weighting, such as 5; 0: uniform weights."] = 0.0
    balance: Annotated[bool, "Sample photos with rare classes more often."] = False
    cache: Annotated[bool, "Cache VAE latents and text embeddings on disk, so that each is computed once."] = True
    compile: Annotated[bool, "Compile the networks with torch.compile: minutes to start, then faster on GPUs."] = False
    precision: Annotated[
        Literal["auto", "fp32", "bf16", "fp16"], "Arithmetic; auto is fp32 on a CPU and bf16 on a GPU."
    ] = "auto"
    device: Annotated[str, "Where to train: auto, cpu, cuda, cuda:1, mps. torchrun gives each process a GPU."] = "auto"
    cpu: Annotated[bool, "Same as --device cpu."] = False
    processes: Annotated[int, "Required number of processes; 0 accepts any."] = 0
    seed: Annotated[int, "Seed for data order, crops, noise and prompt dropout."] = 0
    checkpoint_every: Annotated[int, "Steps between checkpoints."] = 500
    keep: Annotated[int, "Number of recent checkpoints to keep, in addition to the best."] = 3
    best_by: Annotated[
        Literal["held_out_loss", "control_gap"], "Metric for the best checkpoint: lowest loss or highest gap."
    ] = "held_out_loss"
    evaluate_every: Annotated[
        int, "Steps between validations (held-out loss, control gap); every checkpoint is validated too. 0: never."
    ] = 250
    preview_every: Annotated[int, "Steps between preview images for the report. 0: never."] = 300
    preview_guidance: Annotated[float, "Guidance scale of the previews."] = 5.0
    tracker: Annotated[
        Literal["", "tensorboard", "wandb"], "Also log to this tracker; TensorBoard is used whenever it is installed."
    ] = ""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "accumulate", "checkpoint_every", "keep"):
            _require(self, name, getattr(self, name) >= 1, "1 or more")
        for name in ("learning_rate", "decoder_learning_rate", "clip"):
            _require(self, name, 0 < getattr(self, name) < float("inf"), "more than 0")
        for name in _NON_NEGATIVE:
            _require(self, name, 0 <= getattr(self, name) < 2**63, "0 or more")
        _require(self, "ema", 0 <= self.ema < 1, "at least 0 and less than 1")
        _require(self, "prompt_dropout", 0 <= self.prompt_dropout <= 1, "0 to 1")
        _require(self, "resolution", self.resolution >= 64 and self.resolution % 64 == 0, "a multiple of 64")
        for name in ("base", "controlnet"):
            _require(self, name, bool(getattr(self, name)), "a file, a folder or a hub id")
        _require(self, "device", not self.cpu or self.device in ("auto", "cpu"), "cpu, because --cpu is set")

    @property
    def prediction_type(self) -> Literal["epsilon", "v_prediction"] | None:
        """The prediction type to enforce; None uses the base's own."""
        return None if self.prediction == "auto" else self.prediction


@dataclass(frozen=True, kw_only=True)
class GenerateSettings:
    """Settings for drawing pictures from control maps.

    Raises:
        UsageError: a value is outside its range.
    """

    controlnet: Annotated[str, "ControlNet: a segkit train run, a file, a folder or a hub id."] = SEG
    base: Annotated[str, "Base Stable Diffusion: a folder, a file, a hub id, or toy.  [default: the run's]"] = ""
    tokenizer: Annotated[str, "Folder with CLIP's tokenizer, for a base that has none."] = ""
    prediction: Annotated[
        Literal["auto", "epsilon", "v_prediction"], "What the UNet predicts; auto reads it from the base."
    ] = "auto"
    palette: Annotated[str, "Palette of the control maps.  [default: the run's, or ade20k]"] = ""
    allow_any_control: Annotated[bool, "Accept control images that are not segmentation maps."] = False
    negative: Annotated[str, "Negative prompt."] = ""
    seed: Annotated[int, "Seed of each map's first picture."] = 0
    count: Annotated[int, "Pictures per map, with consecutive seeds."] = 1
    resolution: Annotated[int, "Side of a square picture; others get the same area. 0 keeps the map's size."] = 512
    steps: Annotated[int, "Sampling steps (DPM-Solver++ 2M)."] = 30
    guidance: Annotated[float, "Classifier-free guidance scale."] = 7.5
    strength: Annotated[float, "ControlNet conditioning scale."] = 1.0
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


def _require(settings: object, name: str, valid: bool, expected: str) -> None:
    if not valid:
        raise UsageError(f"--{name.replace('_', '-')} {getattr(settings, name)}: expected {expected}.")


def read(path: Path) -> dict[str, Any]:
    """Read the options of a run.toml, which may include "dataset" and "output".

    Returns:
        Option values by field name; only those that the file sets.

    Raises:
        UsageError: the file cannot be read, is not valid TOML, or sets an option that is unknown or of another type.
    """
    import tomllib

    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError(
            f"--config {path}: cannot be read ({error.strerror}). Check the path and its permissions."
        ) from None
    except ValueError as error:
        raise UsageError(f"--config {path}: not valid TOML: {error}.") from None
    types: dict[str, type] = {"dataset": str, "output": str}
    types |= {field.name: type(field.default) for field in fields(TrainSettings)}
    for name, value in values.items():
        if name not in types:
            near = get_close_matches(name, types)
            hint = f"Did you mean {near[0]}?" if near else "segkit train --help lists all options."
            raise UsageError(f"--config {path}: unknown option {name}. {hint}")
        # exact types: bool is a subclass of int, but `steps = true` is a mistake; an int is a valid float
        if type(value) is not types[name] and not (types[name] is float and type(value) is int):
            raise UsageError(f"--config {path}: {name} is {value!r}; expected {types[name].__name__}.")
    return values


def to_toml(settings: TrainSettings, dataset: Path, output: Path) -> bytes:
    """Return the run.toml of a run: every option, the dataset and the run folder."""
    import tomli_w

    return tomli_w.dumps({"dataset": str(dataset), "output": str(output), **asdict(settings)}).encode()
