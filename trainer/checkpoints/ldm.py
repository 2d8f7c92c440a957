"""ControlNet weights between the ldm layout (A1111, Forge, ComfyUI, released files) and diffusers', bit by bit.

The two differ in names alone. A name is translated by rules; the way back is the same table read from the other side.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segkit import storage
from segkit.errors import ModelError, UsageError
from trainer.checkpoints import identify, safe_load

if TYPE_CHECKING:
    import torch
    from diffusers import ControlNetModel
    from torch import Tensor

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_RULES = {
    r"time_embedding\.linear_1": "time_embed.0",
    r"time_embedding\.linear_2": "time_embed.2",
    r"conv_in": "input_blocks.0.0",
    r"down_blocks\.(?P<level>\d+)\.resnets\.(?P<place>\d+)\.(?P<part>\w+)": "input_blocks.{step}.0.{part}",
    r"down_blocks\.(?P<level>\d+)\.attentions\.(?P<place>\d+)": "input_blocks.{step}.1",
    r"down_blocks\.(?P<level>\d+)\.downsamplers\.0\.conv": "input_blocks.{step}.0.op",
    r"mid_block\.resnets\.(?P<twice>\d+)\.(?P<part>\w+)": "middle_block.{twice}.{part}",
    r"mid_block\.attentions\.0": "middle_block.1",
    r"controlnet_down_blocks\.(?P<same>\d+)": "zero_convs.{same}.0",
    r"controlnet_mid_block": "middle_block_out.0",
    r"controlnet_cond_embedding\.conv_in": "input_hint_block.0",
    r"controlnet_cond_embedding\.blocks\.(?P<between>\d+)": "input_hint_block.{between}",
    r"controlnet_cond_embedding\.conv_out": "input_hint_block.{last}",
}
"""How the beginning of diffusers' names (left) is called by ldm (right); what follows stays as it is."""


def to_ldm(name: str, layers: int = 2, hints: int = 6) -> str:
    """Translate the name of one weight from diffusers' layout to ldm's.

    Args:
        name: such as "down_blocks.0.resnets.1.conv1.weight".
        layers: residual blocks a level (the config's layers_per_block).
        hints: convolutions in the middle of the embedding of the control map: 2 * (channels - 1).

    Raises:
        KeyError: no weight of a ControlNet is called so.
    """
    for pattern, theirs in _RULES.items():
        match = re.match(rf"{pattern}\.(?=.)", name)
        if match:
            found = match.groupdict()
            numbers = {
                "step": (layers + 1) * int(found.get("level", 0)) + int(found.get("place") or layers) + 1,
                "twice": 2 * int(found.get("twice", 0)),
                "between": 2 * int(found.get("between", 0)) + 2,
                "last": 2 * hints + 2,
                "same": found.get("same"),
                "part": _RESNET.get(found.get("part", "")),
            }
            return f"{theirs.format(**numbers)}.{name[match.end() :]}"
    raise KeyError(name)


def names(model: "ControlNetModel") -> dict[str, str]:
    """Return diffusers' name by ldm's of every weight of a network."""
    hints = len(model.controlnet_cond_embedding.blocks)
    return {to_ldm(name, model.config.layers_per_block, hints): name for name in model.state_dict()}


def load_ldm(path: Path | str, config: Mapping[str, Any]) -> "ControlNetModel":
    """Load a ControlNet from a file in ldm's layout: bare, prefixed, nested, or inside a whole ControlLDM.

    Args:
        path: .safetensors, .pth or .ckpt.
        config: diffusers' configuration of the network.

    Returns:
        The network in fp32 (which holds fp16 and bf16 exactly), in eval mode.

    Raises:
        ModelError: the file is no ControlNet, damaged, of another size, incomplete, or holds NaN.
    """
    return load(safe_load.read(Path(path)), config)


def load(tensors: safe_load.Tensors, config: Mapping[str, Any]) -> "ControlNetModel":
    """Load a ControlNet from tensors in either layout. See load_ldm."""
    import torch

    found = identify.identify(tensors)
    if found.kind not in ("controlnet", "controlldm"):
        raise ModelError(f"{tensors.path}: {found.sentence} Expected a ControlNet. {found.advice}".strip())
    model = empty(config)
    identify.require(tensors, shapes(model, found), found)
    table = _table(model, found)
    state = {own: tensors[theirs].to(torch.float32).clone() for theirs, own in table.items()}
    model.load_state_dict(state, assign=True)
    network: ControlNetModel = model.eval().requires_grad_(True)
    return network


def empty(config: Mapping[str, Any]) -> "ControlNetModel":
    """Return a ControlNet whose weights have shapes and no values."""
    import torch
    from diffusers import ControlNetModel

    with torch.device("meta"):
        model: ControlNetModel = ControlNetModel.from_config(dict(config))
    return model


def shapes(model: "ControlNetModel", found: identify.Identity) -> dict[str, tuple[int, ...]]:
    """Return the shape of each weight by the name that it has in a file."""
    state = model.state_dict()
    return {theirs: tuple(state[own].shape) for theirs, own in _table(model, found).items()}


def _table(model: "ControlNetModel", found: identify.Identity) -> dict[str, str]:
    own = names(model) if found.layout == "ldm" else {name: name for name in model.state_dict()}
    return {found.prefix + theirs: name for theirs, name in own.items()}


def to_state(model: "ControlNetModel", dtype: "torch.dtype | None" = None) -> dict[str, "Tensor"]:
    """Return the weights under ldm's names, on the CPU.

    Args:
        model: the network.
        dtype: what to convert them to; None keeps theirs.

    Raises:
        ModelError: a weight is not finite, or does not fit into dtype.
    """
    weights = model.state_dict()
    state = {theirs: weights[own].detach().to("cpu", dtype).contiguous() for theirs, own in names(model).items()}
    broken = [name for name, weight in state.items() if not bool(weight.isfinite().all())]
    if broken:
        raise ModelError(f"{len(broken)} weights are NaN or infinite, such as {broken[0]}; they were not written.")
    return state


def save_ldm(
    model: "ControlNetModel",
    path: Path | str,
    dtype: "torch.dtype | None" = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a ControlNet in ldm's layout; a file of that name is replaced as a whole.

    Args:
        model: the network.
        path: .safetensors (bare names), or .pth or .ckpt ("control_model." before them, as released files have).
        dtype: what to convert the weights to; None keeps theirs.
        metadata: what a .safetensors file is to say of itself.

    Raises:
        UsageError: another ending.
        ModelError: a weight is not finite, or does not fit into dtype.
        StorageError: the disk is full.
    """
    path = Path(path)
    ending = path.suffix.lower()
    if ending not in (".safetensors", ".pth", ".ckpt"):
        raise UsageError(f"{path}: expected a name that ends in .safetensors, .pth or .ckpt.")
    state = to_state(model, dtype)
    if ending == ".safetensors":
        from safetensors.torch import save

        storage.write(path, save(state, {"format": "pt", **(metadata or {})}))
        return
    storage.write(path, _pickled({f"control_model.{name}": weight for name, weight in state.items()}))


def _pickled(state: dict[str, "Tensor"]) -> bytes:
    from io import BytesIO

    import torch

    buffer = BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def safe_name(name: str) -> str:
    """Return a file's stem that A1111 takes for nothing else: it guesses what a network does from its name."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "segkit"
    return re.sub("shuffle|instant_id", "seg", plain, flags=re.IGNORECASE)
