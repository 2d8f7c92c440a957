"""Union ControlNets, which serve several kinds of control images, used as the ControlNet of one kind: segmentation.

xinsir's union ControlNets of SDXL add an embedding of the kind to the control image's features, and one of all kinds in
use to the timestep's. Everything else is shared by the kinds, and is what a training changes; both embeddings stay as
they are, so that the other kinds still have theirs. diffusers' ControlNetUnionModel calls a kind's number its mode.
"""

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from segkit.errors import ModelError
from trainer.checkpoints import families
from trainer.settings.networks import UNION_MODE

if TYPE_CHECKING:
    from torch import Tensor

CLASS = "ControlNetUnionModel"
"""Name of the class in diffusers, as config.json says it."""

KINDS = (
    "openpose", "depth", "hed/pidi/scribble/ted", "canny/lineart/anime_lineart/mlsd", "normal", "segment", "tile",
    "repaint",
)  # fmt: skip
"""The kinds of released networks by their mode, as ComfyUI names them."""

RECORD = "controlnet_mode"
"""Key of the mode in the metadata of a .safetensors file."""

_HEADS = 8
"""Attention heads over the conditions in released networks; no weight's shape tells."""

_FROZEN = ("task_embedding", "control_add_embedding")


def config(tensors: "Mapping[str, Tensor]", fitting: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return the configuration of a union ControlNet.

    Args:
        tensors: its weights, in diffusers' layout.
        fitting: configuration of a ControlNet that fits the base.
        prefix: prefix of the weights' names.
    """
    kinds, channels = tensors[f"{prefix}task_embedding"].shape
    layers = [name for name in tensors if name.startswith(f"{prefix}transformer_layes.") and ".ln_1.w" in name]
    return {
        **{name: value for name, value in fitting.items() if name != "mid_block_type"},  # always one with attention
        "_class_name": CLASS,
        "num_control_type": kinds,
        "num_trans_channel": channels,
        "num_trans_head": fitting.get("num_trans_head", _HEADS),
        "num_trans_layer": len(layers),
        "num_proj_channel": tensors[f"{prefix}spatial_ch_projs.weight"].shape[0],
    }


def kinds(tensors: "Mapping[str, Tensor]") -> int:
    """Return the number of kinds of control images that a checkpoint's ControlNet serves; 0 if it is not a union's."""
    name = next((name for name in tensors if name.rpartition(".")[2] == "task_embedding"), "")
    return int(tensors[name].shape[0]) if name else 0


def require_sized(config: Mapping[str, Any], source: str) -> None:
    """Refuse a union ControlNet that is not conditioned on sizes, as those of SDXL are.

    Args:
        config: configuration of the base, or of the ControlNet.
        source: what the ControlNet is called or where it lies, for the message.

    Raises:
        ModelError: union ControlNets of its family are not known.
    """
    if not families.of(config).is_sized:
        raise ModelError(
            f"{source}: a union ControlNet for {families.of(config)}; those that segkit knows are of {families.SDXL}. "
            "Use one for segmentation maps alone, or a fresh one (controlnet=fresh)."
        )


@cache
def model_class() -> Any:
    """Return diffusers' class, called like a ControlNetModel; it has the same name, which config.json records.

    Its attribute `mode` is the kind of control images that it is called with.
    """
    import diffusers

    def forward(
        self: Any, sample: "Tensor", timestep: "Tensor", encoder_hidden_states: "Tensor", controlnet_cond: "Tensor",
        **options: Any,
    ) -> Any:  # fmt: skip
        """Return the residuals for segmentation maps, (B, 3, H, W) in 0 to 1. See ControlNetModel.forward."""
        control_type = sample.new_zeros(len(sample), self.config.num_control_type)
        control_type[:, self.mode] = 1
        return diffusers.ControlNetUnionModel.forward(
            self, sample, timestep, encoder_hidden_states, [controlnet_cond], control_type, [self.mode], **options
        )

    return type(CLASS, (diffusers.ControlNetUnionModel,), {"forward": forward, "mode": UNION_MODE})


def mode(model: Any) -> int | None:
    """Return the mode in which a ControlNet is called; None for one that has no modes."""
    number: int | None = getattr(model, "mode", None)
    return number


def require_mode(kinds: int, number: int | None, recorded: int | None, name: str) -> int:
    """Return the mode in which a ControlNet is called with segmentation maps.

    Args:
        kinds: number of its kinds of control images; 0 for one that is not a union ControlNet.
        number: the mode to use; None for the recorded one, or else that of released networks.
        recorded: the mode that a training recorded; None if none did.
        name: of the ControlNet, for messages.

    Raises:
        ModelError: it has no such mode, or was trained in another one.
    """
    if not kinds and number not in (None, UNION_MODE):
        raise ModelError(
            f"controlnet={name}: not a union ControlNet, so it has no mode. Leave out controlnet_mode={number}."
        )
    if kinds and number is not None and recorded is not None and number != recorded:
        raise ModelError(
            f"controlnet={name}: segkit trained it in mode {recorded}, not {number}. Use controlnet_mode={recorded}."
        )
    chosen = next((choice for choice in (number, recorded) if choice is not None), UNION_MODE)
    if 0 < kinds <= chosen:
        raise ModelError(
            f"controlnet={name}: a union ControlNet with {kinds} kinds of control images, modes 0 to {kinds - 1}, and "
            f"controlnet_mode={chosen} is none of them. Set it to the number that segmentation maps have in this one."
        )
    return chosen


def set_mode(model: Any, number: int | None, recorded: int | None, name: str) -> None:
    """Set the mode in which a ControlNet is called, if it has modes; see require_mode."""
    kinds = 0 if mode(model) is None else model.config.num_control_type
    chosen = require_mode(kinds, number, recorded, name)
    if kinds:
        model.mode = chosen


def record(model: Any) -> dict[str, str]:
    """Return what the metadata of a .safetensors file says of a ControlNet's mode; {} for one that has no modes."""
    return {} if mode(model) is None else {RECORD: str(mode(model))}


def recorded(metadata: Mapping[str, str]) -> int | None:
    """Return the mode in the metadata of a .safetensors file; None if it has none."""
    number = metadata.get(RECORD, "")
    return int(number) if number.isdecimal() else None


def usage(model: Any) -> tuple[str, str]:
    """Return how a union ControlNet is used in diffusers, and in A1111, Forge and ComfyUI, as Markdown."""
    number = mode(model) or 0
    kind = f', with its type set to "{KINDS[number]}"' if number < len(KINDS) else f", in its mode {number}"
    pipeline = f"in `StableDiffusionXLControlNetUnionPipeline`, called with `control_mode=[{number}]`"
    return f'`{CLASS}.from_pretrained("controlnet")`, {pipeline}', kind


def freeze_others(model: Any) -> None:
    """Leave what tells the kinds apart out of the training: see the module's docstring."""
    for name, weight in model.named_parameters():
        if name.startswith(_FROZEN):
            weight.requires_grad_(False)
