"""Text encoders in a base's single file: their names, and their configurations inferred from the shapes of weights.

Stable Diffusion 1 and 2 have one, CLIP's or OpenCLIP's; SDXL has both.
"""

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from segkit.errors import ModelError
from trainer.checkpoints import configs

if TYPE_CHECKING:
    from torch import Tensor

_SD, _SDXL = ("cond_stage_model.",), ("conditioner.embedders.0.", "conditioner.embedders.1.")
_CLIP, _OPEN_CLIP = "transformer.text_model.", "model."
"""What follows the prefix of a text encoder in the names of CLIP's weights and of OpenCLIP's."""

_HUGGING_FACE = rf"{re.escape(_OPEN_CLIP)}transformer\."
_NAMES = {
    r"transformer\.(?=embeddings\.|encoder\.|final_layer_norm\.)": _CLIP,
    rf"{_HUGGING_FACE}encoder\.layers\.": f"{_OPEN_CLIP}transformer.resblocks.",
    rf"{_HUGGING_FACE}embeddings\.token_embedding\.": f"{_OPEN_CLIP}token_embedding.",
    rf"{_HUGGING_FACE}embeddings\.position_embedding\.weight$": f"{_OPEN_CLIP}positional_embedding",
    rf"{_HUGGING_FACE}final_layer_norm\.": f"{_OPEN_CLIP}ln_final.",
}
"""Names of text encoders that lack "text_model.", and what released files call them."""

_PROJECTION = f"{_OPEN_CLIP}text_projection"
_UNUSED = re.compile(r"(.*\.)?(logit_scale|position_ids)")  # in old and in merged files

_LAYERS: dict[str, dict[int, tuple[int, ...]]] = {
    "cond_stage_model.": {768: (12,), 1024: (23, 24)}, _SDXL[0]: {768: (12,)}, _SDXL[1]: {1280: (32,)},
}  # fmt: skip
"""Numbers of layers in released files by the encoder's width; the first is how many are used.

SD2 does not use the last of OpenCLIP's 24 layers. Stability's files hold it, those that diffusers wrote do not.
"""


def prefixes(state: Mapping[str, "Tensor"]) -> tuple[str, ...]:
    """Return the prefix of the names of each text encoder in a file, in the order in which the family uses them."""
    return _SDXL if configs.is_sdxl(state) else _SD


def weights(state: Mapping[str, "Tensor"], prefix: str) -> dict[str, "Tensor"]:
    """Return the weights of one text encoder with the names of released files, without the prefix.

    NovelAI's files, and those that diffusers' script writes with transformers 5, lack parts of the names. That script
    also stores OpenCLIP's projection as a linear layer's weight, which is transposed.
    """
    named = {name.removeprefix(prefix): state[name] for name in state if name.startswith(prefix)}
    for pattern, replacement in _NAMES.items():
        named = {re.sub(rf"^{pattern}", replacement, name): weight for name, weight in named.items()}
    if (linear := named.pop(f"{_PROJECTION}.weight", None)) is not None:
        named[_PROJECTION] = linear.T
    return {name: weight for name, weight in named.items() if not _UNUSED.fullmatch(name)}


def config(named: Mapping[str, "Tensor"], prefix: str) -> dict[str, Any]:
    """Return the configuration of a text encoder: CLIP's (SD1, the first of SDXL) or OpenCLIP's (SD2, the second).

    Args:
        named: what `weights` returned.
        prefix: prefix of its names in the file.

    Raises:
        ModelError: the file has neither, or one with another number of layers than the released ones of its width.
    """
    is_clip = f"{_CLIP}embeddings.token_embedding.weight" in named
    tokens = f"{_CLIP}embeddings.token_embedding.weight" if is_clip else f"{_OPEN_CLIP}token_embedding.weight"
    positions = f"{_CLIP}embeddings.position_embedding.weight" if is_clip else f"{_OPEN_CLIP}positional_embedding"
    layer = _layer(is_clip)
    first_mlp = f"{layer}0.mlp.{'fc1' if is_clip else 'c_fc'}.weight"
    entries, width = _shape(named, tokens, prefix)
    layers = len({name.removeprefix(layer).split(".")[0] for name in named if name.startswith(layer)})
    return {
        "vocab_size": entries,
        "bos_token_id": entries - 2,
        "eos_token_id": entries - 1,
        "hidden_size": width,
        "intermediate_size": _shape(named, first_mlp, prefix)[0],
        "num_hidden_layers": _used_layers(layers, width, is_clip, prefix),
        "num_attention_heads": max(1, width // 64),
        "max_position_embeddings": _shape(named, positions, prefix)[0],
        "hidden_act": "quick_gelu" if is_clip and width != 1024 else "gelu",
        "projection_dim": _shape(named, _PROJECTION, prefix)[1] if has_projection(prefix) else width,
    }


def has_projection(prefix: str) -> bool:
    """Return whether the family uses the projected output of a text encoder: SDXL that of its second one."""
    return prefix == _SDXL[1]


def converted(named: Mapping[str, "Tensor"], prefix: str, layers: int) -> dict[str, "Tensor"]:
    """Return the weights of a text encoder under transformers' names; CLIPTextModel's lack "text_model.".

    Args:
        named: what `weights` returned.
        prefix: prefix of its names in the file.
        layers: how many layers are used.
    """
    is_clip = f"{_CLIP}embeddings.token_embedding.weight" in named
    used = {name: weight for name, weight in named.items() if _is_used(name, _layer(is_clip), layers)}
    state: dict[str, Tensor] = {}
    for name, weight in used.items():
        state |= _clip(name, weight) if is_clip else _open_clip(name, weight)
    if has_projection(prefix):
        return state
    return {name.removeprefix("text_model."): state[name] for name in state if name != "text_projection.weight"}


def _clip(name: str, weight: "Tensor") -> dict[str, "Tensor"]:
    return {name.removeprefix("transformer."): weight}


_OPEN_CLIP_NAMES = {
    r"token_embedding\.": "embeddings.token_embedding.",
    r"positional_embedding$": "embeddings.position_embedding.weight",
    r"ln_final\.": "final_layer_norm.",
    r"transformer\.resblocks\.": "encoder.layers.",
}
_OPEN_CLIP_PARTS = {
    ".ln_1.": ".layer_norm1.", ".ln_2.": ".layer_norm2.", ".mlp.c_fc.": ".mlp.fc1.", ".mlp.c_proj.": ".mlp.fc2.",
    ".attn.out_proj.": ".self_attn.out_proj.",
}  # fmt: skip


def _open_clip(name: str, weight: "Tensor") -> dict[str, "Tensor"]:
    """Return the weights of transformers that one of OpenCLIP's becomes: three for queries, keys and values."""
    name = name.removeprefix(_OPEN_CLIP)
    if name == "text_projection":
        return {"text_projection.weight": weight.T}  # a matrix that rows are multiplied with, not a linear layer's
    for pattern, replacement in _OPEN_CLIP_NAMES.items():
        name = re.sub(rf"^{pattern}", replacement, name)
    for part, replacement in _OPEN_CLIP_PARTS.items():
        name = name.replace(part, replacement)
    block, joined, kind = name.partition(".attn.in_proj_")
    if not joined:
        return {f"text_model.{name}": weight}
    parts = zip("qkv", weight.chunk(3), strict=True)
    return {f"text_model.{block}.self_attn.{letter}_proj.{kind}": part for letter, part in parts}


def _layer(is_clip: bool) -> str:
    """Return what precedes the number of a layer in a weight's name."""
    return f"{_CLIP}encoder.layers." if is_clip else f"{_OPEN_CLIP}transformer.resblocks."


def _is_used(name: str, layer: str, layers: int) -> bool:
    number = name.removeprefix(layer).split(".")[0]
    return not name.startswith(layer) or int(number) < layers


def _used_layers(layers: int, width: int, is_clip: bool, prefix: str) -> int:
    """Return how many of a file's layers are used.

    Raises:
        ModelError: the number differs from that of the released text encoders.
    """
    released = _LAYERS[prefix]
    if width not in released:
        if width >= min(released):
            raise ModelError(f"its text encoder has width {width}; expected {_either(released)}")
        return layers - (0 if is_clip or prefix in _SDXL else 1)  # a small model: in the layout of a released file
    if layers not in released[width]:
        raise ModelError(f"its text encoder of width {width} has {layers} layers; expected {_either(released[width])}")
    return released[width][0]


def _either(numbers: Iterable[int]) -> str:
    return " or ".join(map(str, numbers))


def _shape(named: Mapping[str, "Tensor"], name: str, prefix: str) -> tuple[int, int]:
    rows, columns = configs.get(named, name, prefix).shape
    return rows, columns
