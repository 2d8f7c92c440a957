"""LoRAs merged into a base's weights: W + weight * alpha / rank * B A, in fp32.

Merged weights need no further library, cost nothing while drawing, and are part of the hash of the networks, so that a
picture's recipe tells them apart. Layouts: kohya's names, with ldm's or diffusers' modules, those of PEFT, and those of
earlier versions of diffusers.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segkit.errors import ModelError
from segkit.words import count
from trainer.checkpoints import identify, ldm, safe_load, soundness, store
from trainer.settings import Lora

if TYPE_CHECKING:
    from torch import Tensor

    from trainer.checkpoints.load import Base

_ENDINGS = {
    ".lora_down.weight": "down", ".lora_A.weight": "down", ".lora.down.weight": "down",
    ".lora_linear_layer.down.weight": "down", ".lora_up.weight": "up", ".lora_B.weight": "up", ".lora.up.weight": "up",
    ".lora_linear_layer.up.weight": "up", ".alpha": "alpha",
}  # fmt: skip
"""Ends of names: of the two factors of a layer, A (down) and B (up), and of its scale times the rank."""

_PROCESSOR = re.compile(r"\.processor\.(to_[qkv]|to_out)_lora\.(down|up)\.weight$")
"""Names of the first version in diffusers, with the layer's name in an attention processor."""

_METADATA = "lora_adapter_metadata"
"""Key of the configurations of PEFT in the metadata of files that diffusers writes."""

_TEXT_MODEL = "text_model."

KEY = "lora"
"""Name of the setting, and of what is recorded of it."""


def record(loras: Sequence[Lora]) -> dict[str, Any]:
    """Return what is recorded of the LoRAs that help to draw pictures, as JSON values; {} if there are none.

    Raises:
        ModelError: a file is missing.
    """
    if missing := next((lora.path for lora in loras if not lora.path.is_file()), None):
        raise ModelError(f"lora={missing}: no such file. Expected a .safetensors file.")
    records = [{"file": lora.path.name, "sha256": store.digest(lora.path), "weight": lora.weight} for lora in loras]
    return {KEY: records} if records else {}


def merge(base: "Base", loras: Sequence[Lora]) -> None:
    """Add LoRAs to the weights of a base's UNet and text encoders, in place.

    Raises:
        ModelError: a file is missing, damaged, not a plain LoRA, or was made for another family than the base's.
    """
    if not loras:
        return
    layers = dict(_layers(base))
    for lora in loras:
        _merge(base, layers, lora)


def _merge(base: "Base", layers: Mapping[str, Any], lora: Lora) -> None:
    import torch

    tensors = safe_load.read(lora.path)
    identity = identify.identify(tensors)
    if identity.kind != "lora":
        raise ModelError(f"lora={lora.path}: {identity.sentence} Expected a LoRA. {identity.advice}".strip())
    if identity.family and identity.family != base.family.name:
        raise ModelError(
            f"lora={lora.path}: made for {identity.family}, the base {base.name} is of {base.family.name}. Use a LoRA "
            "of the base's family."
        )
    factors = {name: tensors[name] for name in tensors if not name.endswith(".alpha")}  # which may be an integer
    if text := soundness.faults(factors, {}).sentence():
        raise ModelError(f"lora={lora.path}: {text}. Use another file.")
    parts, alphas = _parts(tensors, lora.path), _alphas(tensors)
    if unknown := [name for name in parts if name not in layers]:
        raise ModelError(
            f"lora={lora.path}: {count(len(unknown), 'layer')} of {len(parts):,} not in the base {base.name}, such as "
            f"{unknown[0]}. Use a LoRA that was made for it."
        )
    with torch.no_grad():
        for name, part in parts.items():
            weight = layers[name].weight
            rank = part["down"].shape[0]
            alpha = float(part["alpha"]) if "alpha" in part else alphas.get(name, float(rank))
            weight += (lora.weight * alpha / rank * _product(part, weight, name, lora.path)).to(weight.dtype)


def _layers(base: "Base") -> Iterator[tuple[str, Any]]:
    """Yield each layer that a LoRA can change, by each of its names in files."""
    ldm_names = {name: in_file for in_file, name in ldm.names(base.unet).items()}
    for name, module in _modules(base.unet):
        in_file = ldm_names[f"{name}.weight"].removesuffix(".weight")
        for known in (f"unet.{name}", name, f"lora_unet_{_joined(name)}", f"lora_unet_{_joined(in_file)}"):
            yield known, module
    several = len(base.text_encoders) > 1
    for number, (part, encoder) in enumerate(zip(base.family.text_encoders, base.text_encoders, strict=True), 1):
        for full_name, module in _modules(encoder):
            name = full_name.removeprefix(_TEXT_MODEL)
            kohya = f"lora_te{number if several else ''}_"
            for in_file in (name, _TEXT_MODEL + name):  # transformers 5 drops the prefix, and so do newer files
                yield f"{part.folder}.{in_file}", module
                yield f"{kohya}{_joined(in_file)}", module


def _joined(name: str) -> str:
    return name.replace(".", "_")


def _modules(network: Any) -> Iterator[tuple[str, Any]]:
    import torch

    for name, module in network.named_modules():
        if isinstance(module, torch.nn.Linear | torch.nn.Conv2d):
            yield name, module


def _parts(tensors: safe_load.Tensors, path: Path) -> "dict[str, dict[str, Tensor]]":
    """Return the factors, and the alpha where there is one, of each layer by its name.

    Raises:
        ModelError: a tensor is neither, or a layer lacks a factor.
    """
    parts: dict[str, dict[str, Tensor]] = {}
    for name in tensors:
        layer, part = _split(name)
        if not part:
            raise ModelError(f"lora={path}: {name} is not part of a plain LoRA. Merge it with the tool that made it.")
        parts.setdefault(layer, {})[part] = tensors[name]
    if broken := [layer for layer, part in parts.items() if not {"down", "up"} <= part.keys()]:
        raise ModelError(f"lora={path}: {broken[0]} lacks a factor. Download the file again.")
    return parts


def _split(name: str) -> tuple[str, str]:
    """Return the layer that a tensor belongs to, and which part of it the tensor is; "" if it is none."""
    name = name.removeprefix("base_model.model.")
    if match := _PROCESSOR.search(name):
        layer = match[1].replace("to_out", "to_out.0")
        return f"{name[: match.start()]}.{layer}", match[2]
    ending = next((ending for ending in _ENDINGS if name.endswith(ending)), "")
    return name.removesuffix(ending) if ending else name, _ENDINGS.get(ending, "")


def _alphas(tensors: safe_load.Tensors) -> dict[str, float]:
    """Return the alphas that are recorded in the metadata of a file of diffusers, by the name of the layer."""
    try:
        config: dict[str, Any] = json.loads(tensors.metadata[_METADATA])
    except (KeyError, ValueError):
        return {}
    alphas = {}
    for name in tensors:
        layer, _ = _split(name)
        network, _, rest = layer.partition(".")
        pattern = config.get(f"{network}.alpha_pattern") or {}
        if (alpha := pattern.get(rest, config.get(f"{network}.lora_alpha"))) is not None:
            alphas[layer] = float(alpha)
    return alphas


def _product(part: "Mapping[str, Tensor]", weight: "Tensor", name: str, path: Path) -> "Tensor":
    """Return B A of a layer in the shape of its weight, fp32.

    Raises:
        ModelError: the factors have other shapes than the weight.
    """
    down, up = part["down"].float(), part["up"].float()
    try:
        return (up.flatten(1) @ down.flatten(1)).reshape(weight.shape)
    except RuntimeError:
        raise ModelError(
            f"lora={path}: {name} has factors of shapes {tuple(up.shape)} and {tuple(down.shape)}, which do not fit "
            f"the base's {tuple(weight.shape)}. Use a LoRA that was made for this base."
        ) from None
