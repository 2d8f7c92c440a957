"""Settings of sampling and generation, each declared once."""

from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Annotated, Literal

from segkit.errors import SettingError
from segkit.schema import Settings, option
from trainer.settings.networks import SEG, require_mode_of_union


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


_MAX_WEIGHT = 10
"""Largest weight of a LoRA, either way: those in use are about 1, and far larger ones drown the base."""


@dataclass(frozen=True)
class Lora:
    """A LoRA and how strongly it changes the base.

    Attributes:
        path: a .safetensors file.
        weight: factor of what it adds to the base's weights; a negative one subtracts it.
    """

    path: Path
    weight: float

    @classmethod
    def read(cls, text: str) -> "Lora":
        """Read FILE or FILE:WEIGHT, such as "details.safetensors:0.8".

        Raises:
            SettingError: the file is not a .safetensors file, or the weight is not a number from -10 to 10.
        """
        name, _, number = text.rpartition(":")
        try:
            weight = float(number) if name else 1.0
        except ValueError:
            name, weight = "", 1.0  # a colon in the path
        path = Path(name or text).expanduser()
        if path.suffix != ".safetensors":
            expected = "FILE.safetensors or FILE.safetensors:WEIGHT, such as details.safetensors:0.8"
            raise SettingError("lora", text, expected)
        if not abs(weight) <= _MAX_WEIGHT:  # nor NaN
            raise SettingError("lora", text, f"a weight from {-_MAX_WEIGHT} to {_MAX_WEIGHT}, such as 0.8")
        return cls(path, weight)


@dataclass(frozen=True, kw_only=True)
class DrawingSettings(SampleSettings):
    """Which pictures are drawn of a map, with which base, and where.

    Raises:
        UsageError: a value is outside its range, or two settings contradict each other.
    """

    base: Annotated[
        str, option("Base Stable Diffusion: a folder, a file, a hub id, toy, or toy-sdxl.  [default: the run's]")
    ] = ""
    controlnet_mode: Annotated[
        int | None,
        option(
            "Number of segmentation maps among the kinds of a union ControlNet.  [default: as it was trained, or 5]"
        ),
    ] = None
    tokenizer: Annotated[str, option("Folder with CLIP's tokenizer, for a base that has none.")] = ""
    vae: Annotated[
        str, option("VAE in place of the base's own: a .safetensors file or a diffusers folder.  [default: the run's]")
    ] = ""
    prediction: Annotated[
        Literal["auto", "epsilon", "v_prediction"], option("What the UNet predicts; auto reads it from the base.")
    ] = "auto"
    lora: Annotated[
        tuple[str, ...], option("LoRA that changes the base: FILE.safetensors or FILE.safetensors:WEIGHT; repeatable.")
    ] = ()
    seed: Annotated[int, option("Seed of each map's first picture.", ge=0)] = 0
    count: Annotated[int, option("Pictures per map, with consecutive seeds.", ge=1)] = 1
    device: Annotated[str, option("Where networks run: auto, cpu, cuda, cuda:1, mps.", min_length=1)] = "auto"
    precision: Annotated[
        Literal["auto", "fp32", "bf16", "fp16"],
        option("Arithmetic; auto: fp32 on a CPU, bf16 (older: fp16) on CUDA."),
    ] = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "lora", tuple(self.lora))  # a list in Python and in a file
        tuple(map(Lora.read, self.lora))
        if self.controlnet_mode is not None and self.controlnet_mode < 0:
            raise SettingError("controlnet_mode", self.controlnet_mode, "at least 0")
        if not 0 <= self.seed < 2**63 - self.count:
            raise SettingError("seed", self.seed, f"0 to {2**63 - self.count - 1}")

    @property
    def loras(self) -> tuple[Lora, ...]:
        """The LoRAs, in order."""
        return tuple(map(Lora.read, self.lora))


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

    def __post_init__(self) -> None:
        super().__post_init__()
        require_mode_of_union(self.controlnet, self.controlnet_mode)
