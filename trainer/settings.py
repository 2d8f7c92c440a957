"""The settings of training and generation, declared once: a field is the option, the key in run.toml and its help."""

from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from segkit.errors import UsageError

SEG = "lllyasviel/control_v11p_sd15_seg"
SD15 = "stable-diffusion-v1-5/stable-diffusion-v1-5"

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
    def prediction_type(self) -> Literal["epsilon", "v_prediction"] | None:
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


def read(path: Path) -> dict[str, Any]:
    """Read the options of a run.toml; "dataset" and "output" may stand among them.

    Raises:
        UsageError: it cannot be read, is no TOML, or names an option that does not exist or has another type.
    """
    import tomllib

    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"--config {path}: cannot be read ({error.strerror}).") from None
    except ValueError as error:
        raise UsageError(f"--config {path}: no TOML: {error}.") from None
    types: dict[str, type] = {"dataset": str, "output": str}
    types |= {field.name: type(field.default) for field in fields(TrainSettings)}
    for name, value in values.items():
        if name not in types:
            near = get_close_matches(name, types)
            raise UsageError(f"--config {path}: no option {name}." + (f" Did you mean {near[0]}?" if near else ""))
        fits = type(value) is types[name] or (types[name] is float and type(value) is int)
        if not fits:
            raise UsageError(f"--config {path}: {name} is {value!r}; expected {types[name].__name__}.")
    return values


def to_toml(settings: TrainSettings, dataset: Path, output: Path) -> bytes:
    """Return the run.toml of a run: every option, and where the dataset and the run are."""
    import tomli_w

    return tomli_w.dumps({"dataset": str(dataset), "output": str(output), **asdict(settings)}).encode()
