"""Checkpoints in 8-bit floating point, plain or "scaled", decoded to weights that every operation of torch supports."""

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from segkit.errors import ModelError
from trainer.checkpoints.safe_load import Tensors

if TYPE_CHECKING:
    from torch import Tensor

_FORMATS = ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz")
_SCALES = ("scale_weight", "weight_scale")
"""Names of a weight's scale in place of "weight": ComfyUI's first and second layout."""
_UNUSED = ("scale_input", "input_scale", "scaled_fp8", "comfy_quant")
"""Names of scales for activations and of marks, which the decoded weights do not need."""


def decoded(tensors: Tensors) -> Tensors:
    """Return a checkpoint with its 8-bit weights decoded; one without such weights is returned as it is.

    Plain 8-bit weights become fp16, which represents them exactly; scaled ones are multiplied by their scale in fp32.

    Raises:
        ModelError: the 8-bit format is unknown, or a scale is missing or does not fit.
    """
    eight_bit = [name for name in tensors if _format(tensors[name]).startswith("float8")]
    if not eight_bit:
        return tensors
    scales = {name: scale for name in eight_bit if (scale := _scale(name, tensors))}
    dropped = {*scales.values(), *(name for name in tensors if name.rpartition(".")[2] in _UNUSED)}
    view = _Decoded(tensors, [name for name in tensors if name not in dropped], scales)
    is_scaled = any(name.rpartition(".")[2] == "scaled_fp8" for name in tensors) or bool(scales)
    for name in eight_bit:
        _require_known(tensors, name, is_scaled and name not in scales and name not in dropped)
    return Tensors(tensors.path, view, tensors.metadata)


class _Decoded(Mapping[str, "Tensor"]):
    """Tensors decoded on access."""

    def __init__(self, tensors: Tensors, names: list[str], scales: Mapping[str, str]) -> None:
        self._tensors, self._names, self._scales = tensors, dict.fromkeys(names), scales

    def __getitem__(self, name: str) -> "Tensor":
        import torch

        if name not in self._names:
            raise KeyError(name)
        weight = self._tensors[name]
        if name in self._scales:
            return weight.to(torch.float32) * _fitted(self._tensors, self._scales[name], weight)
        return weight.to(torch.float16) if _format(weight).startswith("float8") else weight

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _format(tensor: "Tensor") -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _scale(name: str, tensors: Tensors) -> str:
    """Return the name of a weight's scale; "" if there is none."""
    stem = name.removesuffix("weight")
    return next((stem + scale for scale in _SCALES if name.endswith("weight") and stem + scale in tensors), "")


def _fitted(tensors: Tensors, scale_name: str, weight: "Tensor") -> "Tensor":
    """Return a scale in a shape that multiplies its weight: one number, or one per row."""
    scale = tensors[scale_name].float()
    if scale.numel() == 1:
        return scale.reshape(())
    if scale.numel() == weight.shape[0] and scale.shape[0] == weight.shape[0]:
        return scale.reshape(-1, *[1] * (weight.ndim - 1))
    raise ModelError(
        f"{tensors.path}: {scale_name} has shape {tuple(scale.shape)}; expected one scale, or one per row of the "
        "weight. Use the fp16 file of the same network."
    )


def _require_known(tensors: Tensors, name: str, lacks_scale: bool) -> None:
    """Refuse an 8-bit weight of an unknown format, or one whose scale has another name or is missing."""
    kind, stem = _format(tensors[name]), name.removesuffix("weight")
    mark = f"{stem}comfy_quant"
    if mark in tensors and name.endswith("weight"):
        kind = _declared(tensors[mark])
    scale = next((f"{stem}{end}" for end in ("weight_scale_inv", "scales", "absmax") if f"{stem}{end}" in tensors), "")
    if kind in _FORMATS and not scale and not lacks_scale:
        return
    fault = f"{kind}" if kind not in _FORMATS else f"fp8 with scales in {scale}" if scale else "fp8 without its scale"
    raise ModelError(
        f"{tensors.path}: {name} is quantised as {fault}. Expected plain fp8, or fp8 with scale_weight or "
        "weight_scale. Use the fp16 file of the same network."
    )


def _declared(mark: "Tensor") -> str:
    """Return the format that ComfyUI's mark declares: JSON as bytes."""
    try:
        return str(json.loads(bytes(mark.flatten().tolist()))["format"])
    except (ValueError, TypeError, KeyError):
        return "an unreadable format"
