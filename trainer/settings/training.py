"""Settings of a training, each declared once: field name, option, run.toml key and help text."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from segkit.errors import SettingError
from segkit.schema import Settings, option
from segkit.settings import to_bytes
from trainer.settings.networks import FRESH, JUDGE, SD15, SEG, UNION_MODE


@dataclass(frozen=True, kw_only=True)
class TrainSettings(Settings):
    """Settings for finetuning a ControlNet.

    Raises:
        UsageError: a value is outside its range, or two settings contradict each other.
    """

    base: Annotated[
        str,
        option("Base Stable Diffusion: a diffusers folder, .safetensors file, hub id, toy, or toy-sdxl.", min_length=1),
    ] = SD15
    controlnet: Annotated[
        str,
        option(
            "Initial ControlNet: a file, folder, run or hub id; fresh copies the base UNet's encoder.", min_length=1
        ),
    ] = SEG
    start_strength: Annotated[
        float,
        option("Start as if the initial ControlNet were drawn at this strength (conditioning scale).", gt=0, le=10),
    ] = 1.0
    controlnet_mode: Annotated[
        int, option("Number of segmentation maps among the kinds of a union ControlNet; others have no kinds.", ge=0)
    ] = UNION_MODE
    tokenizer: Annotated[str, option("Folder with CLIP's tokenizer, for a base that has none.")] = ""
    vae: Annotated[str, option("VAE in place of the base's own: a .safetensors file or a diffusers folder.")] = ""
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
        float, option("Share of the photos that are rewarded; below 1 without reward_steps.", gt=0, le=1)
    ] = 0.25
    reward_steps: Annotated[
        int,
        option(
            "Sampling steps by which rewarded pictures are drawn from noise; 0: they are predicted from noisy photos.",
            ge=0,
            le=1000,
        ),
    ] = 0
    reward_guidance: Annotated[float, option("Guidance scale of those sampling steps.", ge=0)] = 5.0
    reward_gradient_steps: Annotated[
        int,
        option("Last predictions of a drawn picture through which the reward's gradient flows; 0: all of them.", ge=0),
    ] = 1
    reward_views: Annotated[
        bool, option("Show the reward's segmenter random views: shifted, mirrored, in slightly other colours.")
    ] = True
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
        Literal["held_out_loss", "control_gap", "fidelity"],
        option("Metric for the best checkpoint: lowest loss, highest gap or highest fidelity."),
    ] = "held_out_loss"
    evaluate_every: Annotated[
        int,
        option(
            "Steps between validations (held-out loss, control gap); every checkpoint is validated too. 0: never.", ge=0
        ),
    ] = 250
    preview_every: Annotated[int, option("Steps between preview images for the report. 0: never.", ge=0)] = 300
    preview_guidance: Annotated[
        float, option("Guidance scale of the previews, and of the pictures that are judged.", ge=0)
    ] = 5.0
    evaluate_fidelity: Annotated[
        int,
        option("Steps between evaluations, which draw 32 held-out maps and let the judge look: mIoU. 0: never.", ge=0),
    ] = 0
    judge: Annotated[
        str,
        option(
            "Segmenter that looks at those pictures, as for evaluate: one that neither drew the maps nor gives the "
            "reward.",
            min_length=1,
        ),
    ] = JUDGE
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
        if self.controlnet == FRESH and self.start_strength != 1:
            raise SettingError(
                "start_strength",
                self.start_strength,
                f"1, because controlnet={FRESH} begins with zero convolutions, which stay zero at any strength",
            )
        self._check_reward()
        if self.best_by == "fidelity" and not self.evaluate_fidelity:
            raise SettingError("best_by", self.best_by, "held_out_loss or control_gap, because evaluate_fidelity is 0")

    def without_reward(self) -> "TrainSettings":
        """Return the same settings without a reward."""
        return replace(self, reward="", reward_steps=0, reward_gradient_steps=1)

    def _check_reward(self) -> None:
        """Check the settings of a reward, and that there are none without it."""
        for name in ("reward_steps", "reward_gradient_steps") if not self.reward else ():
            value, default = getattr(self, name), getattr(type(self), name)
            if value != default:
                raise SettingError(name, value, f"{default}, because there is no reward: set it too, as in reward=toy")
        drawn = "because no pictures are drawn: set their number of sampling steps too, as in reward_steps=6"
        if self.reward and self.reward_share == 1 and not self.reward_steps:
            raise SettingError("reward_share", self.reward_share, f"less than 1, {drawn}")
        if self.reward_gradient_steps != 1 and not self.reward_steps:
            raise SettingError("reward_gradient_steps", self.reward_gradient_steps, f"1, {drawn}")

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
