"""Convert weights between the ldm layout (A1111, Forge, ComfyUI, released files) and diffusers' layout.

The two layouts differ only in names, so that weights are preserved bit for bit. Rules translate diffusers' names to
ldm's; the inverse is the same mapping over a network's names, read backwards.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segkit import storage
from segkit.errors import ModelError, UsageError
from segkit.words import are
from trainer.checkpoints import blocks, fp8, identify, safe_load, soundness, union
from trainer.checkpoints.families import FileLayout

if TYPE_CHECKING:
    import torch
    from diffusers import ControlNetModel
    from torch import Tensor

CONTROLNETS = ("controlnet", "union", "controlldm")
"""Kinds of checkpoints that have a ControlNet."""

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
    r"add_embedding\.linear_1": "label_emb.0.0",
    r"add_embedding\.linear_2": "label_emb.0.2",
    r"conv_in": "input_blocks.0.0",
    r"down_blocks\.(?P<level>\d+)\.resnets\.(?P<index>\d+)\.(?P<part>\w+)": "input_blocks.{block}.0.{part}",
    r"down_blocks\.(?P<level>\d+)\.attentions\.(?P<index>\d+)": "input_blocks.{block}.1",
    r"down_blocks\.(?P<level>\d+)\.downsamplers\.0\.conv": "input_blocks.{block}.0.op",
    r"mid_block\.resnets\.(?P<twice>\d+)\.(?P<part>\w+)": "middle_block.{twice}.{part}",
    r"mid_block\.attentions\.0": "middle_block.1",
    r"up_blocks\.(?P<level>\d+)\.resnets\.(?P<index>\d+)\.(?P<part>\w+)": "output_blocks.{output}.0.{part}",
    r"up_blocks\.(?P<level>\d+)\.attentions\.(?P<index>\d+)": "output_blocks.{output}.1",
    r"up_blocks\.(?P<level>\d+)\.upsamplers\.0": "output_blocks.{output}.{upsampler}",
    r"conv_norm_out": "out.0",
    r"conv_out": "out.2",
    r"controlnet_down_blocks\.(?P<same>\d+)": "zero_convs.{same}.0",
    r"controlnet_mid_block": "middle_block_out.0",
    r"controlnet_cond_embedding\.conv_in": "input_hint_block.0",
    r"controlnet_cond_embedding\.blocks\.(?P<between>\d+)": "input_hint_block.{between}",
    r"controlnet_cond_embedding\.conv_out": "input_hint_block.{last}",
}
"""Prefixes of diffusers' names (left) and of ldm's (right); the rest of a name is the same in both."""


@dataclass(frozen=True)
class Numbering:
    """What the numbers in ldm's names depend on, beside those in diffusers'.

    Attributes:
        layers: residual blocks per level (the configuration's layers_per_block).
        hints: convolutions between the first and the last of the hint encoder: 2 * (len(channels) - 1).
        plain: levels of the decoder (up_blocks) without attention.
    """

    layers: int = 2
    hints: int = 6
    plain: frozenset[int] = frozenset({0})


_SD = Numbering()


def to_ldm(name: str, numbering: Numbering = _SD) -> str:
    """Translate the name of one weight from diffusers' layout to ldm's.

    Args:
        name: such as "down_blocks.0.resnets.1.conv1.weight".
        numbering: that of the network; by default that of Stable Diffusion 1 and 2.

    Raises:
        KeyError: not the name of a weight of a UNet or ControlNet.
    """
    for pattern, target in _RULES.items():
        match = re.match(rf"{pattern}\.(?=.)", name)
        if match:
            groups = match.groupdict()
            level, per_level = int(groups.get("level", 0)), numbering.layers + 1
            place = per_level * level + int(groups.get("index") or numbering.layers)
            # ldm numbers blocks through all levels: conv_in is block 0, then each level has its residual blocks and a
            # downsampler; the decoder's upsampler is part of a level's last block. Its nn.Sequentials also count
            # activations, hence the factors of 2.
            numbers = {
                "block": place + 1,
                "output": place,
                "upsampler": 1 if level in numbering.plain else 2,
                "twice": 2 * int(groups.get("twice", 0)),
                "between": 2 * int(groups.get("between", 0)) + 2,
                "last": 2 * numbering.hints + 2,
                "same": groups.get("same"),
                "part": _RESNET.get(groups.get("part", "")),
            }
            return f"{target.format(**numbers)}.{name[match.end() :]}"
    raise KeyError(name)


def names(model: Any) -> dict[str, str]:
    """Return a mapping from ldm's to diffusers' name of every weight of a ControlNet or UNet."""
    weights = list(model.state_dict())
    attending = {int(level) for name in weights for level in re.findall(r"^up_blocks\.(\d+)\.attentions", name)}
    numbering = Numbering(
        layers=model.config.layers_per_block,
        hints=sum(bool(re.fullmatch(r"controlnet_cond_embedding\.blocks\.\d+\.weight", name)) for name in weights),
        plain=frozenset(range(len(model.config.block_out_channels))) - attending,
    )
    return {to_ldm(name, numbering): name for name in weights}


def load_ldm(path: Path | str, config: Mapping[str, Any]) -> "ControlNetModel":
    """Load a ControlNet from a file: in ldm's layout bare, prefixed, nested or inside a ControlLDM, or in diffusers'.

    Args:
        path: .safetensors, .pth or .ckpt file.
        config: diffusers' configuration of the network.

    Returns:
        The network in fp32 (which represents fp16 and bf16 exactly), in eval mode.

    Raises:
        ModelError: the file is not a ControlNet, is damaged, incomplete or of another size, or contains NaN.
    """
    return load(safe_load.read(Path(path)), config)


def load(tensors: safe_load.Tensors, config: Mapping[str, Any]) -> "ControlNetModel":
    """Load a ControlNet from tensors in either layout; SDXL's may have fewer blocks than configured. See load_ldm."""
    import torch

    identity = identify.identify(tensors)
    tensors = fp8.decoded(tensors)
    model = _fitting(config, tensors, identity, values=True)
    names_in_file = _names_in_file(model, identity)
    state = {name: tensors[in_file].to(torch.float32).clone() for in_file, name in names_in_file.items()}
    model.load_state_dict(state, assign=True)
    network: ControlNetModel = model.eval().requires_grad_(True)
    if identity.kind == "union":
        union.freeze_others(network)
    return network


def require_fitting(tensors: safe_load.Tensors, config: Mapping[str, Any]) -> None:
    """Refuse what `load` refuses, but for values: of a safetensors file, only the header is read."""
    _fitting(config, fp8.decoded(tensors), identify.identify(tensors), values=False)


def _fitting(
    config: Mapping[str, Any], tensors: safe_load.Tensors, identity: identify.Identity, values: bool
) -> "ControlNetModel":  # fmt: skip
    """Return the network of a checkpoint, without weights, after comparing those with its own; see load.

    Args:
        config: of a ControlNet that fits the base.
        tensors: of the checkpoint.
        identity: of the checkpoint.
        values: check them too.
    """
    if identity.kind not in CONTROLNETS:
        raise ModelError(f"{tensors.path}: {identity.sentence} Expected a ControlNet. {identity.advice}".strip())
    model = empty(fitted(config, tensors, identity))
    soundness.require(tensors, shapes(model, identity), identity, values)
    return model


def fitted(config: Mapping[str, Any], tensors: safe_load.Tensors, identity: identify.Identity) -> dict[str, Any]:
    """Return the configuration of a ControlNet, corrected by what the names and shapes of its weights say."""
    fitting = blocks.controlnet(tensors, config, identity.layout, identity.prefix)
    if identity.kind != "union":
        return fitting
    union.require_sized(config, str(tensors.path))
    return union.config(tensors, fitting, identity.prefix)


def empty(config: Mapping[str, Any]) -> "ControlNetModel":
    """Return a ControlNet on the meta device: weights with shapes but no values."""
    import torch
    from diffusers import ControlNetModel

    kind = union.model_class() if config.get("_class_name") == union.CLASS else ControlNetModel
    with torch.device("meta"):
        model: ControlNetModel = kind.from_config(dict(config))
    return model


def shapes(model: "ControlNetModel", identity: identify.Identity) -> dict[str, tuple[int, ...]]:
    """Return the shape of each of a network's weights by its name in a checkpoint of that identity."""
    state = model.state_dict()
    return {in_file: tuple(state[name].shape) for in_file, name in _names_in_file(model, identity).items()}


def _names_in_file(model: "ControlNetModel", identity: identify.Identity) -> dict[str, str]:
    """Return a mapping from the checkpoint's to diffusers' name of every weight."""
    by_name = names(model) if identity.layout == "ldm" else {name: name for name in model.state_dict()}
    return {identity.prefix + in_file: name for in_file, name in by_name.items()}


def to_state(
    model: "ControlNetModel", dtype: "torch.dtype | None" = None, layout: FileLayout = "ldm"
) -> dict[str, "Tensor"]:
    """Return a network's weights under the names of a layout, on the CPU.

    Args:
        model: the network, on any device.
        dtype: dtype to convert to; None keeps each weight's.
        layout: "ldm", or "diffusers" for the network's own names.

    Raises:
        ModelError: a weight is NaN or infinite, or overflows dtype.
    """
    weights = model.state_dict()
    targets = names(model) if layout == "ldm" else {name: name for name in weights}
    state = {target: weights[name].detach().to("cpu", dtype).contiguous() for target, name in targets.items()}
    broken = [name for name, weight in state.items() if not bool(weight.isfinite().all())]
    if broken:
        raise ModelError(f"{are(len(broken), 'weight')} NaN or infinite, such as {broken[0]}; nothing was written.")
    return state


def save_ldm(
    model: "ControlNetModel",
    path: Path | str,
    dtype: "torch.dtype | None" = None,
    metadata: Mapping[str, str] | None = None,
    layout: FileLayout = "ldm",
) -> None:
    """Write a ControlNet as one file, replacing an existing one atomically.

    Args:
        model: the network.
        path: .safetensors (bare names), or .pth or .ckpt (prefix "control_model.", as in released files).
        dtype: dtype to convert to; None keeps each weight's.
        metadata: metadata of a .safetensors file.
        layout: names of the weights: see to_state.

    Raises:
        UsageError: the extension is none of these.
        ModelError: a weight is NaN or infinite, or overflows dtype.
        StorageError: the disk is full.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in (".safetensors", ".pth", ".ckpt"):
        raise UsageError(f"{path}: expected a name that ends in .safetensors, .pth or .ckpt.")
    state = to_state(model, dtype, layout)
    if suffix == ".safetensors":
        from safetensors.torch import save

        storage.write(path, save(state, {"format": "pt", **(metadata or {}), **union.record(model)}))
        return
    storage.write(path, _pickled({f"control_model.{name}": weight for name, weight in state.items()}))


def _pickled(state: dict[str, "Tensor"]) -> bytes:
    from io import BytesIO

    import torch

    buffer = BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def safe_name(name: str) -> str:
    """Return a safe file stem that does not mislead A1111, which guesses a ControlNet's kind from its file name."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "segkit"
    return re.sub("shuffle|instant_id", "seg", plain, flags=re.IGNORECASE)
