"""Identify a checkpoint by tensor names and shapes, and compare its tensors with what a network expects."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from segkit.errors import ModelError
from segkit.words import count
from trainer.checkpoints import configs, layers
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
_DTYPES = {
    "float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "float64": "fp64", "float8_e4m3fn": "fp8 (e4m3fn)",
    "float8_e5m2": "fp8 (e5m2)",
}  # fmt: skip

_WRAPPERS = re.compile(r"((module|state_dict|model|control_model|controlnet)\.)*")
"""Prefixes that trainers put before a network's names, in any combination."""
_BASE = "model.diffusion_model.input_blocks.0.0.weight"
_INPUTS = (_BASE, "input_blocks.0.0.weight", "conv_in.weight")
"""Names of a UNet's or ControlNet's first convolution."""

# Tensor names that only one kind of network has. The first match wins, so the order matters: a ControlLDM also contains
# everything that a Stable Diffusion does, and a LoRA may contain names of the network that it modifies.
_MARKS: Sequence[tuple[Kind, Layout, str]] = (
    ("lora", "", "lora_down"),
    ("lora", "", "lora_A"),
    ("difference", "ldm", "difference"),
    ("controlnet", "ldm", "zero_convs.0.0.weight"),
    ("controlnet", "diffusers", "controlnet_mid_block.weight"),
    ("stable-diffusion", "ldm", _BASE),
    ("unet", "ldm", "input_blocks.0.0.weight"),
    ("unet", "diffusers", "down_blocks.0.resnets.0.conv1.weight"),
    ("t2i-adapter", "ldm", "body.0.block1.weight"),
    ("vae", "", "decoder.conv_in.weight"),
    ("text-encoder", "", "embeddings.token_embedding.weight"),
)


@dataclass(frozen=True)
class Identity:
    """What a checkpoint contains.

    Attributes:
        kind: a member of KINDS.
        layout: naming scheme of the weights.
        prefix: prefix of the network's names, such as "control_model."; that of the ControlNet for a ControlLDM.
        family: "SD1", "SD2", "SDXL", or "" for any other cross-attention width.
        width: cross-attention width; 0 without cross-attention.
        precision: "fp32", "fp16", "bf16" or torch's name of another dtype; several are joined by "+".
        tensors: number of tensors.
        parameters: number of values in all tensors.
        purpose: what a UNet was made for other than text-to-image, such as "inpainting (9 input channels)"; else "".
    """

    kind: Kind
    layout: Layout
    prefix: str
    family: str
    width: int
    precision: str
    tensors: int
    parameters: int
    purpose: str = ""

    @property
    def sentence(self) -> str:
        """The kind, family, precision and size as a sentence."""
        family = (
            f" of {self.family}" if self.family else f" with cross-attention width {self.width}" if self.width else ""
        )
        purpose = f", made for {self.purpose}" if self.purpose else ""
        return f"This is {KINDS[self.kind]}{family}{purpose}, {self.precision}, {count(self.tensors, 'tensor')}."

    @property
    def advice(self) -> str:
        """How to use the checkpoint; "" if there is nothing to advise."""
        return configs.PURPOSE_ADVICE if self.purpose else _ADVICE.get(self.kind, "")

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
    precisions = "+".join(sorted(precision))
    return Identity(
        kind, layout, prefix, family, width, precisions, len(named), parameters, _purpose(named, kind, family)
    )


def _kind(tensors: Mapping[str, "Tensor"]) -> tuple[Kind, Layout, str]:
    for kind, layout, mark in _MARKS:
        prefix = _prefix(tensors, mark)
        if prefix is not None:
            is_whole = kind == "controlnet" and _prefix(tensors, _BASE) is not None
            return "controlldm" if is_whole else kind, layout, prefix
        if kind in ("lora", "vae", "text-encoder") and any(mark in name for name in tensors):
            return kind, layout, ""
    return "unknown", "", ""


def _prefix(names: Iterable[str], mark: str) -> str | None:
    """Return the shortest combination of wrappers before a name that marks a network; None without such a name."""
    prefixes = (name.removesuffix(mark) for name in names if name.endswith(mark))
    return min((prefix for prefix in prefixes if _WRAPPERS.fullmatch(prefix)), key=len, default=None)


def base(tensors: Tensors) -> Tensors:
    """Return the tensors of a Stable Diffusion's single file without the prefix that a trainer put before all names."""
    prefix = _prefix(tensors, _BASE)
    if not prefix:
        return tensors
    return tensors.renamed({name.removeprefix(prefix): name for name in tensors if name.startswith(prefix)})


def _purpose(tensors: Mapping[str, "Tensor"], kind: Kind, family: str) -> str:
    if kind not in ("stable-diffusion", "controlldm", "unet", "controlnet"):
        return ""
    inputs = (tensors[prefix + mark] for mark in _INPUTS if (prefix := _prefix(tensors, mark)) is not None)
    convolution = next((weight for weight in inputs if weight.ndim == 4), None)
    has_classes = family == "SD2" and any("label_emb." in name or "class_embedding." in name for name in tensors)
    return configs.purpose(4 if convolution is None else convolution.shape[1], has_classes)


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
        zero: weights that are zero throughout, which training does not leave.
        constant: weights that have one value throughout, which training does not leave either.
    """

    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    shapes: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    integers: tuple[str, ...] = ()
    zero: tuple[str, ...] = ()
    constant: tuple[str, ...] = ()

    def sentence(self) -> str:
        """Summarise the faults in one line; "" for none."""
        groups = {
            "missing": self.missing,
            "of wrong shape": self.shapes,
            "not part of this network": self.extra,
            "NaN or infinite": self.broken,
            "not floating point": self.integers,
            "all zero": self.zero,
            "of a single value": self.constant,
        }
        return "; ".join(
            f"{count(len(names), 'tensor')} {fault}, such as {names[0]}" for fault, names in groups.items() if names
        )


def faults(tensors: Mapping[str, "Tensor"], expected: Mapping[str, Sequence[int]], prefix: str = "") -> Faults:
    """Compare a checkpoint's tensors with the weights of a network, and check every value.

    Args:
        tensors: the checkpoint's tensors.
        expected: shape of each weight by its name in the checkpoint; empty checks the values only.
        prefix: prefix of the network's names; other tensors are ignored.
    """
    import torch

    names = {name for name in tensors if name.startswith(prefix) and not name.endswith(_POSITION_IDS)}
    shapes, broken, integers, flat = [], [], [], {}
    for name in sorted(names):
        weight = tensors[name]
        if not weight.is_floating_point() or weight.layout is not torch.strided:
            integers.append(name)
        elif weight.numel():
            low, high = (float(bound) for bound in weight.aminmax())  # NaN if any value is
            if not math.isfinite(low) or not math.isfinite(high):
                broken.append(name)
            elif low == high and layers.is_learned(name, weight):
                flat[name] = low
        if name in expected and tuple(weight.shape) != tuple(expected[name]):
            shapes.append(f"{name} {tuple(weight.shape)} instead of {tuple(expected[name])}")
    return Faults(
        tuple(sorted(set(expected) - names)),
        tuple(sorted(names - set(expected))) if expected else (),
        tuple(shapes),
        tuple(broken),
        tuple(integers),
        tuple(name for name in layers.unexplained_zeros(flat, names)),
        tuple(name for name, value in flat.items() if value and not layers.is_zero_initialised(name)),
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
    elif report.zero or report.constant:
        cure = "No training leaves such weights: the file is a placeholder or damaged; use another."
    else:
        cure = "The file is incomplete or belongs to another network; download it again."
    raise ModelError(f"{tensors.path}: {identity.sentence} {text}. {cure}")
