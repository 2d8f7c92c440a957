"""Identify a checkpoint by the names and shapes of its tensors."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from segkit.words import count
from trainer.checkpoints import configs, families
from trainer.checkpoints.safe_load import Tensors

if TYPE_CHECKING:
    from torch import Tensor

Kind = Literal[
    "controlnet", "union", "controlldm", "stable-diffusion", "unet", "vae", "text-encoder", "lora", "lycoris", "lllite",
    "control-lora", "difference", "t2i-adapter", "unknown",
]  # fmt: skip
Layout = Literal["ldm", "diffusers", ""]

KINDS: dict[Kind, str] = {
    "controlnet": "a ControlNet",
    "union": "a union ControlNet, which serves several kinds of control images",
    "controlldm": "a complete ControlLDM: a Stable Diffusion including a ControlNet",
    "stable-diffusion": "a Stable Diffusion, without a ControlNet",
    "unet": "a UNet only",
    "vae": "a VAE only",
    "text-encoder": "a text encoder only",
    "lora": "a LoRA",
    "lycoris": "a LyCORIS network (LoHa, LoKr or another relative of LoRA)",
    "lllite": "a ControlNet-LLLite, which is not a ControlNet but small layers inside a UNet",
    "control-lora": "a Control-LoRA, the low-rank difference between a ControlNet and its base's encoder",
    "difference": "the difference between a ControlNet and its base, without the base added",
    "t2i-adapter": "a T2I-Adapter, which is not a ControlNet but a small network of its own",
    "unknown": "not a network that segkit knows",
}
_NOT_TRAINED = "segkit neither trains it nor draws with it."
_FRESH = "Use a ControlNet of the same family, or a fresh one (controlnet=fresh)."
_ADVICE: dict[Kind, str] = {
    "stable-diffusion": "Use it as the base, with a ControlNet or with a fresh one.",
    "controlnet": "Use it as the ControlNet.",
    "union": "Use it as the ControlNet: its mode for segmentation maps is drawn with and trained.",
    "difference": "Use the full ControlNet instead.",
    "lora": "It only modifies a base: draw with segkit generate --lora FILE. It is neither a base nor a ControlNet.",
    "lycoris": "segkit draws with plain LoRAs only: merge it into its base with the tool that made it.",
    "lllite": f"{_NOT_TRAINED} {_FRESH}",
    "control-lora": f"{_NOT_TRAINED} {_FRESH}",
    "t2i-adapter": f"{_NOT_TRAINED} {_FRESH}",
    "text-encoder": "It is a part of a base: use the whole base.",
    "unet": "It is a part of a base: use the whole base.",
    "vae": "It is a part of a base; to use it instead of a base's own, pass it as the VAE.",
}
_REFINER_WIDTH = 1280
_FAMILIES = {family.width: family.name for family in families.FAMILIES} | {_REFINER_WIDTH: families.SDXL.name}
"""Families by cross-attention width, that of SDXL's refiner included."""


POSITION_IDS = "position_ids"  # an integer buffer in old CLIP files, not a weight
_DTYPES = {
    "float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "float64": "fp64", "float8_e4m3fn": "fp8 (e4m3fn)",
    "float8_e5m2": "fp8 (e5m2)",
}  # fmt: skip

_WRAPPERS = re.compile(r"((module|state_dict|model|control_model|controlnet|adapter)\.)*")
"""Prefixes that trainers put before a network's names, in any combination."""
_BASE = "model.diffusion_model.input_blocks.0.0.weight"
_INPUTS = (_BASE, "input_blocks.0.0.weight", "conv_in.weight")
"""Names of a UNet's or ControlNet's first convolution."""

# Tensor names that only one kind of network has. The first match wins, so the order matters: a ControlLDM also contains
# everything that a Stable Diffusion does, and a LoRA may contain names of the network that it modifies.
_MARKS: Sequence[tuple[Kind, Layout, str]] = (
    ("lllite", "", "lllite_"),
    ("control-lora", "", "lora_controlnet"),
    ("lycoris", "", ".hada_w1_a"),
    ("lycoris", "", ".lokr_w"),
    ("lora", "", "lora_down"),
    ("lora", "", "lora_A"),
    ("lora", "", "lora.down"),
    ("lora", "", "lora_linear_layer.down"),
    ("union", "diffusers", "task_embedding"),
    ("difference", "ldm", "difference"),
    ("controlnet", "ldm", "zero_convs.0.0.weight"),
    ("controlnet", "diffusers", "controlnet_mid_block.weight"),
    ("stable-diffusion", "ldm", _BASE),
    ("unet", "ldm", "input_blocks.0.0.weight"),
    ("unet", "diffusers", "down_blocks.0.resnets.0.conv1.weight"),
    ("t2i-adapter", "ldm", "body.0.block1.weight"),
    ("t2i-adapter", "ldm", "body.0.in_conv.weight"),
    ("t2i-adapter", "diffusers", "body.0.resnets.0.block1.weight"),
    ("vae", "", "decoder.conv_in.weight"),
    ("text-encoder", "", "embeddings.token_embedding.weight"),
)


_ANYWHERE = ("lllite", "control-lora", "lycoris", "lora", "vae", "text-encoder")
"""Kinds whose marks may be any part of a name."""


@dataclass(frozen=True)
class Identity:
    """What a checkpoint contains.

    Attributes:
        kind: a member of KINDS.
        layout: naming scheme of the weights.
        prefix: prefix of the network's names, such as "control_model."; that of the ControlNet for a ControlLDM.
        family: "SD1", "SD2", "SDXL", "SD1 or SD2" where nothing tells them apart, or "" if it is unknown.
        width: cross-attention width; 0 without cross-attention.
        precision: "fp32", "fp16", "bf16" or torch's name of another dtype; several are joined by "+".
        tensors: number of tensors.
        parameters: number of values in all tensors.
        purpose: what a network was made for other than text-to-image, such as "inpainting (9 input channels)"; else "".
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
        name, comma, remark = KINDS[self.kind].partition(",")
        kind = f"{name}{family}{comma}{remark}"
        return f"This is {kind}{purpose}, {self.precision}, {count(self.tensors, 'tensor')}."

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
    dtypes = {str(tensor.dtype) for name, tensor in named.items() if not name.endswith(POSITION_IDS)}
    precision = {_DTYPES.get(dtype.removeprefix("torch."), dtype) for dtype in dtypes}
    family = _family(named, kind, width)
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
        if kind in _ANYWHERE and any(mark in name for name in tensors):
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


_SIZED = ("label_emb.0.0.weight", "add_embedding.linear_1.weight")
"""Names of the weight that reads sizes and the pooled prompt, in both layouts."""


def _family(tensors: Mapping[str, "Tensor"], kind: Kind, width: int) -> str:
    """Return the family: by the cross-attention width, or by what else its networks have in common."""
    if kind == "t2i-adapter":  # SDXL's packs 16 x 16 pixels of its input into channels, the others 8 x 8
        unshuffled = next((weight.shape[1] for name, weight in tensors.items() if name.endswith("conv_in.weight")), 0)
        return families.SDXL.name if unshuffled in (256, 768) else f"{families.SD1.name} or {families.SD2.name}"
    if width in _FAMILIES:
        return _FAMILIES[width]
    is_sdxl = any(name.startswith(("conditioner.embedders.1.", "lora_te2_")) for name in tensors)
    return families.SDXL.name if is_sdxl or any(name.endswith(_SIZED) for name in tensors) else ""


def _purpose(tensors: Mapping[str, "Tensor"], kind: Kind, family: str) -> str:
    if kind not in ("stable-diffusion", "controlldm", "unet", "controlnet", "union"):
        return ""
    if _width(tensors) == _REFINER_WIDTH:
        return "refining pictures of the SDXL base"
    if "edm_mean" in tensors or "edm_vpred.sigma_max" in tensors:
        return "EDM sampling (as Playground v2.5 and CosXL), which predicts neither noise nor velocity"
    inputs = (tensors[prefix + mark] for mark in _INPUTS if (prefix := _prefix(tensors, mark)) is not None)
    convolution = next((weight for weight in inputs if weight.ndim == 4), None)
    has_classes = family == families.SD2.name and any(
        "label_emb." in name or "class_embedding." in name for name in tensors
    )
    return configs.purpose(4 if convolution is None else convolution.shape[1], has_classes)


_CROSS_ATTENTION = re.compile(
    r".*attn2[._](processor\.)?to_k(_lora)?(\.lora)?\.(weight|(lora_down|lora_A|down)\.weight)"
)
"""Names of weights that read the prompt: of networks, and of LoRAs in kohya's, PEFT's and diffusers' layouts."""


def _width(tensors: Mapping[str, "Tensor"]) -> int:
    """Return the cross-attention width; 0 if no weight reads prompts."""
    widths = [tensor.shape[-1] for name, tensor in tensors.items() if _CROSS_ATTENTION.fullmatch(name)]
    return Counter(widths).most_common(1)[0][0] if widths else 0
