"""What a checkpoint is, told from its names and shapes before anything is loaded from it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from segkit.errors import ModelError
from trainer.checkpoints.safe_load import Tensors

if TYPE_CHECKING:
    from torch import Tensor

Kind = Literal[
    "controlnet", "controlldm", "stable-diffusion", "unet", "vae", "text-encoder", "lora", "difference", "t2i-adapter",
    "unknown",
]  # fmt: skip
Layout = Literal["ldm", "diffusers", ""]

KINDS: dict[Kind, str] = {
    "controlnet": "a ControlNet",
    "controlldm": "a whole ControlLDM: a Stable Diffusion with a ControlNet in it",
    "stable-diffusion": "a Stable Diffusion, without a ControlNet",
    "unet": "a UNet alone",
    "vae": "a VAE alone",
    "text-encoder": "a text encoder alone",
    "lora": "a LoRA",
    "difference": "the difference of a ControlNet and its base, which no base was added to",
    "t2i-adapter": "a T2I adapter",
    "unknown": "no network that segkit knows",
}
_ADVICE: dict[Kind, str] = {
    "stable-diffusion": "Give it as --base; for a fresh ControlNet on it: --controlnet fresh.",
    "controlnet": "Give it as --controlnet.",
    "difference": "Take the full ControlNet instead.",
    "lora": "A LoRA changes a network, it is none: take the base or ControlNet itself.",
}
_FAMILIES = {768: "SD1", 1024: "SD2", 2048: "SDXL"}
_COUNTS = "position_ids"  # whole numbers that old files of CLIP hold; no weights
_DTYPES = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "float64": "fp64"}

# What only a network of a kind has. The first that fits counts: a ControlLDM holds all that a Stable Diffusion does.
_MARKS: Sequence[tuple[Kind, Layout, str]] = (
    ("lora", "", "lora_down"),
    ("lora", "", "lora_A"),
    ("difference", "ldm", "difference"),
    ("controlnet", "ldm", "zero_convs.0.0.weight"),
    ("controlnet", "diffusers", "controlnet_mid_block.weight"),
    ("stable-diffusion", "ldm", "model.diffusion_model.input_blocks.0.0.weight"),
    ("unet", "ldm", "input_blocks.0.0.weight"),
    ("unet", "diffusers", "down_blocks.0.resnets.0.conv1.weight"),
    ("t2i-adapter", "ldm", "body.0.block1.weight"),
    ("vae", "", "decoder.conv_in.weight"),
    ("text-encoder", "", "embeddings.token_embedding.weight"),
)
_PREFIXES = ("control_model.", "module.control_model.", "controlnet.", "")


@dataclass(frozen=True)
class Identity:
    """What a file holds.

    Attributes:
        kind: a member of KINDS.
        layout: whose names the weights have.
        prefix: what stands before the names of a ControlNet.
        family: "SD1", "SD2", "SDXL", or "" where the shapes are of none of them.
        width: of the cross-attention; 0 where there is none.
        precision: "fp32", "fp16", "bf16", several joined by "+", or other types by torch's name.
        tensors: their number.
        parameters: numbers in all of them.
    """

    kind: Kind
    layout: Layout
    prefix: str
    family: str
    width: int
    precision: str
    tensors: int
    parameters: int

    @property
    def sentence(self) -> str:
        """What it is, as a sentence."""
        family = (
            f" of {self.family}" if self.family else f" with cross-attention {self.width} wide" if self.width else ""
        )
        return f"This is {KINDS[self.kind]}{family}, {self.precision}, {self.tensors:,} tensors."

    @property
    def advice(self) -> str:
        """What it can be used for; "" for nothing."""
        return _ADVICE.get(self.kind, "")

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


def identify(tensors: Tensors) -> Identity:
    """Tell what a file holds. Shapes and types are looked at, values are not."""
    shapes = {name: tensors[name] for name in tensors}
    kind, layout, prefix = _kind(shapes)
    width = _width(shapes)
    numbers = {name: str(each.dtype).removeprefix("torch.") for name, each in shapes.items()}
    precision = {_DTYPES.get(each, f"torch.{each}") for name, each in numbers.items() if not name.endswith(_COUNTS)}
    family = "SDXL" if any(name.startswith("conditioner.embedders") for name in shapes) else _FAMILIES.get(width, "")
    parameters = sum(each.numel() for each in shapes.values())
    return Identity(kind, layout, prefix, family, width, "+".join(sorted(precision)), len(shapes), parameters)


def _kind(shapes: Mapping[str, "Tensor"]) -> tuple[Kind, Layout, str]:
    for kind, layout, mark in _MARKS:
        for prefix in _PREFIXES:
            if prefix + mark not in shapes:
                continue
            if kind == "controlnet" and "model.diffusion_model.input_blocks.0.0.weight" in shapes:
                return "controlldm", layout, prefix
            return kind, layout, prefix
        if kind in ("lora", "vae", "text-encoder") and any(mark in name for name in shapes):
            return kind, layout, ""
    return "unknown", "", ""


def _width(shapes: Mapping[str, "Tensor"]) -> int:
    found = [each.shape[-1] for name, each in shapes.items() if name.endswith("attn2.to_k.weight")]
    return Counter(found).most_common(1)[0][0] if found else 0


@dataclass(frozen=True)
class Faults:
    """What is wrong with a file's tensors: names, and for those of wrong shape what was expected and found."""

    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    shapes: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    integers: tuple[str, ...] = ()

    def sentence(self) -> str:
        """Word them in one line; "" for none."""
        told = {
            "missing": self.missing,
            "of another shape": self.shapes,
            "that belong elsewhere": self.extra,
            "NaN or infinite": self.broken,
            "no floating-point numbers": self.integers,
        }
        return "; ".join(f"{len(each)} tensors {what}, such as {each[0]}" for what, each in told.items() if each)


def faults(tensors: Mapping[str, "Tensor"], expected: Mapping[str, Sequence[int]], prefix: str = "") -> Faults:
    """Compare a file's tensors with what a network needs.

    Args:
        tensors: of the file.
        expected: the shape of each weight by its name in the file.
        prefix: names that begin so belong to the network; others are not looked at.
    """
    own = {name for name in tensors if name.startswith(prefix) and not name.endswith(_COUNTS)}
    shapes, broken, integers = [], [], []
    for name in sorted(own):
        weight = tensors[name]
        if not weight.is_floating_point():
            integers.append(name)
        elif not bool(weight.isfinite().all()):
            broken.append(name)
        if name in expected and tuple(weight.shape) != tuple(expected[name]):
            shapes.append(f"{name} {tuple(weight.shape)} instead of {tuple(expected[name])}")
    return Faults(
        tuple(sorted(set(expected) - own)),
        tuple(sorted(own - set(expected))) if expected else (),
        tuple(shapes),
        tuple(broken),
        tuple(integers),
    )


def require(tensors: Tensors, expected: Mapping[str, Sequence[int]], found: Identity) -> None:
    """Refuse a file whose tensors are not those of the network that is to be loaded.

    Raises:
        ModelError: weights are missing, too many, of another shape or not finite.
    """
    wrong = faults(tensors, expected, found.prefix)
    if not (text := wrong.sentence()):
        return
    if wrong.shapes:
        cure = "It is of another size than the base; take the ControlNet that was made for this base."
    elif wrong.broken:
        cure = "The file is damaged, or its training diverged; take another."
    else:
        cure = "The file is incomplete or of another network; download it again."
    raise ModelError(f"{tensors.path}: {found.sentence} {text}. {cure}")
