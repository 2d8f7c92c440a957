"""Layers by their values: those that no training made, zero or constant throughout, and what scales a ControlNet."""

import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

_DOWN = re.compile(r"(.*\.)?(zero_convs\.\d+\.0|controlnet_down_blocks\.\d+)\.(weight|bias)")
_MID = re.compile(r"(.*\.)?(middle_block_out\.0|controlnet_mid_block)\.(weight|bias)")
_HINT = re.compile(r"(.*\.)?(input_hint_block\.(?P<place>\d+)|controlnet_cond_embedding\.conv_out)\.(weight|bias)")

_SMALL = 64
"""Values of a vector that can become equal by chance: the first step of Adam changes each by plus or minus the rate."""


def is_learned(name: str, weight: "Tensor") -> bool:
    """Return whether a tensor is a layer's weight that training makes uneven.

    Biases start at zero and scales of normalisations at one, and both may stay there.

    Args:
        name: the tensor's name.
        weight: the tensor, which has a single value throughout.
    """
    if weight.numel() < 2 or not name.endswith(".weight") or "lora" in name:
        return False
    value = float(weight.flatten()[0])
    return weight.ndim > 1 or value == 0 or (value != 1 and weight.numel() >= _SMALL)


def is_zero_initialised(name: str) -> bool:
    """Return whether a ControlNet's layer starts at zero: the zero convolutions, and the last of the hint encoder."""
    return any(pattern.fullmatch(name) for pattern in (_DOWN, _MID, _HINT))


def unexplained_zeros(flat: Mapping[str, float], names: Collection[str]) -> list[str]:
    """Return the layers that are zero throughout and should not be.

    The zero convolutions of a fresh ControlNet are zero, and with `only_mid_control` all but the middle one stay so; a
    part of them is not zero after any training.

    Args:
        flat: the single value of each learned layer that has one.
        names: all names of the network.
    """
    zero = [name for name, value in flat.items() if value == 0]
    down, mid = _weights(names, _DOWN), _weights(names, _MID)
    no_down = set(down) <= set(zero)
    last_hint = max((name for name in names if _HINT.fullmatch(name)), key=_place, default="")

    def is_explained(name: str) -> bool:
        if _HINT.fullmatch(name):
            return _place(name) == _place(last_hint)
        if _MID.fullmatch(name):
            return no_down
        return bool(_DOWN.fullmatch(name)) and no_down

    return [] if not zero else [name for name in zero if not (is_explained(name) and (down or mid))]


def is_fresh(tensors: "Mapping[str, Tensor]") -> bool:
    """Return whether a ControlNet's zero convolutions are still zero, so that it changes nothing yet."""
    convolutions = [*_weights(tensors, _DOWN), *_weights(tensors, _MID)]
    return bool(convolutions) and not any(bool(tensors[name].any()) for name in convolutions)


def scale_residuals(controlnet: Any, strength: float) -> None:
    """Make a ControlNet steer as if it were drawn at a strength, diffusers' controlnet_conditioning_scale.

    Its residuals are what its zero convolutions return, weight and bias, so that scaling both scales the residuals.

    Args:
        controlnet: a network of diffusers, of one kind of control images or a union; modified in place.
        strength: factor of the residuals.
    """
    convolutions = [*controlnet.controlnet_down_blocks, controlnet.controlnet_mid_block]
    for parameter in (parameter for layer in convolutions for parameter in layer.parameters()):
        parameter.data.mul_(strength)


def _weights(names: Collection[str], pattern: re.Pattern[str]) -> list[str]:
    return [name for name in names if name.endswith(".weight") and pattern.fullmatch(name)]


def _place(name: str) -> int:
    """Return the number of a layer of the hint encoder in ldm's layout; 0 for the last one in diffusers'."""
    match = _HINT.fullmatch(name)
    return int(match["place"] or 0) if match else -1
