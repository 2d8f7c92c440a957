"""Identify a checkpoint by tensor names and shapes, and compare its tensors with what a network expects."""

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
    "controlldm": "a complete ControlLDM: a Stable Diffusion including a ControlNet",
    "stable-diffusion": "a Stable Diffusion, without a ControlNet",
    "unet": "a UNet only",
    "vae": "a VAE only",
    "text-encoder": "a text encoder only",
    "lora": "a LoRA",
    "difference": "the difference between a ControlNet and its base, without the base added",
    "t2i-adapter": "a T2I adapter",
    "unknown": "not a network that segkit knows",
}
_ADVICE: dict[Kind, str] = {
    "stable-diffusion": "Use it as the base, with a ControlNet or with a fresh one.",
    "controlnet": "Use it as the ControlNet.",
    "difference": "Use the full ControlNet instead.",
    "lora": "A LoRA only modifies a network: use the base or ControlNet itself.",
}
_FAMILIES = {768: "SD1", 1024: "SD2", 2048: "SDXL"}
_POSITION_IDS = "position_ids"  # an integer buffer in old CLIP files, not a weight
_DTYPES = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "float64": "fp64"}

# Tensor names that only one kind of network has. The first match wins, so the order matters: a ControlLDM also contains
# everything that a Stable Diffusion does, and a LoRA may contain names of the network that it modifies.
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
    """What a checkpoint contains.

    Attributes:
        kind: a member of KINDS.
        layout: naming scheme of the weights.
        prefix: prefix of the ControlNet's names, such as "control_model.".
        family: "SD1", "SD2", "SDXL", or "" for any other cross-attention width.
        width: cross-attention width; 0 without cross-attention.
        precision: "fp32", "fp16", "bf16" or torch's name of another dtype; several are joined by "+".
        tensors: number of tensors.
        parameters: number of values in all tensors.
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
        """The kind, family, precision and size as a sentence."""
        family = (
            f" of {self.family}" if self.family else f" with cross-attention width {self.width}" if self.width else ""
        )
        return f"This is {KINDS[self.kind]}{family}, {self.precision}, {self.tensors:,} tensors."

    @property
    def advice(self) -> str:
        """How to use the checkpoint; "" if there is nothing to advise."""
        return _ADVICE.get(self.kind, "")

    def to_json(self) -> dict[str, Any]:
        """Return the attributes as plain values."""
        return asdict(self)


def identify(tensors: Tensors) -> Identity:
    """Identify a checkpoint by the names, shapes and dtypes of its tensors; values are not examined."""
    named = {name: tensors[name] for name in tensors}
    kind, layout, prefix = _kind(named)
    width = _width(named)
    dtypes = {str(tensor.dtype) for name, tensor in named.items() if not name.endswith(_POSITION_IDS)}
    precision = {_DTYPES.get(dtype.removeprefix("torch."), dtype) for dtype in dtypes}
    family = "SDXL" if any(name.startswith("conditioner.embedders") for name in named) else _FAMILIES.get(width, "")
    parameters = sum(tensor.numel() for tensor in named.values())
    return Identity(kind, layout, prefix, family, width, "+".join(sorted(precision)), len(named), parameters)


def _kind(tensors: Mapping[str, "Tensor"]) -> tuple[Kind, Layout, str]:
    for kind, layout, mark in _MARKS:
        for prefix in _PREFIXES:
            if prefix + mark not in tensors:
                continue
            if kind == "controlnet" and "model.diffusion_model.input_blocks.0.0.weight" in tensors:
                return "controlldm", layout, prefix
            return kind, layout, prefix
        if kind in ("lora", "vae", "text-encoder") and any(mark in name for name in tensors):
            return kind, layout, ""
    return "unknown", "", ""


def _width(tensors: Mapping[str, "Tensor"]) -> int:
    widths = [tensor.shape[-1] for name, tensor in tensors.items() if name.endswith("attn2.to_k.weight")]
    return Counter(widths).most_common(1)[0][0] if widths else 0


@dataclass(frozen=True)
class Faults:
    """What is wrong with a checkpoint's tensors.

    Attributes:
        missing: expected names that are absent.
        extra: names that the network does not have.
        shapes: name, actual and expected shape, as text, of each tensor of wrong shape.
        broken: tensors with NaN or infinite values.
        integers: tensors that should be floating point and are not.
    """

    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    shapes: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    integers: tuple[str, ...] = ()

    def sentence(self) -> str:
        """Summarise the faults in one line; "" for none."""
        groups = {
            "missing": self.missing,
            "of wrong shape": self.shapes,
            "not part of this network": self.extra,
            "NaN or infinite": self.broken,
            "not floating point": self.integers,
        }
        return "; ".join(
            f"{len(names)} tensors {fault}, such as {names[0]}" for fault, names in groups.items() if names
        )


def faults(tensors: Mapping[str, "Tensor"], expected: Mapping[str, Sequence[int]], prefix: str = "") -> Faults:
    """Compare a checkpoint's tensors with the weights of a network, and check every value.

    Args:
        tensors: the checkpoint's tensors.
        expected: shape of each weight by its name in the checkpoint; empty checks the values only.
        prefix: prefix of the network's names; other tensors are ignored.
    """
    names = {name for name in tensors if name.startswith(prefix) and not name.endswith(_POSITION_IDS)}
    shapes, broken, integers = [], [], []
    for name in sorted(names):
        weight = tensors[name]
        if not weight.is_floating_point():
            integers.append(name)
        elif not bool(weight.isfinite().all()):
            broken.append(name)
        if name in expected and tuple(weight.shape) != tuple(expected[name]):
            shapes.append(f"{name} {tuple(weight.shape)} instead of {tuple(expected[name])}")
    return Faults(
        tuple(sorted(set(expected) - names)),
        tuple(sorted(names - set(expected))) if expected else (),
        tuple(shapes),
        tuple(broken),
        tuple(integers),
    )


def require(tensors: Tensors, expected: Mapping[str, Sequence[int]], identity: Identity) -> None:
    """Refuse a checkpoint whose tensors differ from the weights of the network to be loaded.

    Args:
        tensors: the checkpoint's tensors.
        expected: shape of each weight by its name in the checkpoint.
        identity: what the checkpoint was identified as.

    Raises:
        ModelError: weights are missing, unexpected, of wrong shape or not finite.
    """
    report = faults(tensors, expected, identity.prefix)
    if not (text := report.sentence()):
        return
    if report.shapes:
        cure = "Its size differs from the base's; use a ControlNet made for this base."
    elif report.broken:
        cure = "The file is damaged or its training diverged; use another."
    else:
        cure = "The file is incomplete or belongs to another network; download it again."
    raise ModelError(f"{tensors.path}: {identity.sentence} {text}. {cure}")
