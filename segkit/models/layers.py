"""Layers of networks on a CPU, without gradients: the same results within rounding, in less time and memory.

A perceptron's hidden values are computed for a block of rows at a time and stay in the CPU's cache; as a whole, they
would be large tensors that the system maps anew for each layer. Products with weights are oneDNN's, with bias and
activation in the same pass. The operator is private to torch: it is limited to versions that were compared.
"""

from functools import cache
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import Tensor

TORCH = ("2.13", "2.13")
"""First and last minor version of torch whose operator was compared."""

Activation = Literal["none", "relu", "gelu"]

_BLOCK = 1024
"""Rows at a time on a CPU; a GPU gets all at once."""
_FEW = 256
"""Below so many rows, preparing oneDNN's product takes longer than the product."""


@cache
def _operator() -> Any:
    """Return oneDNN's linear layer with an activation; None where it is not available."""
    import torch

    installed = tuple(map(int, torch.__version__.split(".")[:2]))
    first, last = (tuple(map(int, version.split("."))) for version in TORCH)
    if not first <= installed <= last:
        return None
    return getattr(torch.ops.mkldnn, "_linear_pointwise", None)


def linear(inputs: "Tensor", weight: "Tensor", bias: "Tensor | None", activation: Activation = "none") -> "Tensor":
    """Return a linear layer's output, (..., N) of (..., C), after an activation; "gelu" is the exact one."""
    import torch
    from torch.nn import functional

    outputs: Tensor
    rows = inputs.reshape(-1, inputs.shape[-1])
    is_plain = rows.dtype == weight.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    if rows.device.type == "cpu" and is_plain and len(rows) >= _FEW and (operator := _operator()):
        outputs = operator(rows, weight, bias, activation, [], "none" if activation == "gelu" else "")
    else:
        outputs = functional.linear(rows, weight, bias)
        if activation != "none":
            outputs = outputs.relu_() if activation == "relu" else functional.gelu(outputs)
    return outputs.view(*inputs.shape[:-1], len(weight))


def perceptron(inputs: "Tensor", first: Any, second: Any, activation: Activation) -> "Tensor":
    """Return the output of two linear layers with an activation between them.

    Args:
        inputs: (..., C).
        first: torch.nn.Linear.
        second: torch.nn.Linear.
        activation: between them.
    """
    rows = inputs.reshape(-1, inputs.shape[-1])
    block = _BLOCK if rows.device.type == "cpu" else max(1, len(rows))
    outputs = None
    for start in range(0, len(rows), block):
        hidden = linear(rows[start : start + block], first.weight, first.bias, activation)
        part = linear(hidden, second.weight, second.bias)
        if outputs is None:
            outputs = part.new_empty(len(rows), part.shape[1])
        outputs[start : start + block] = part
    return second(first(inputs)) if outputs is None else outputs.view(*inputs.shape[:-1], outputs.shape[-1])


def pointwise(inputs: "Tensor", weight: "Tensor", bias: "Tensor | None") -> "Tensor":
    """Return the output of a 1x1 convolution in torch's channels_last format.

    Args:
        inputs: (B, C, H, W), in either format.
        weight: (N, C, 1, 1).
        bias: (N,).
    """
    import torch

    batch, _, height, width = inputs.shape
    if inputs.is_contiguous(memory_format=torch.channels_last) or bias is None:
        return linear(inputs.permute(0, 2, 3, 1), weight.flatten(1), bias).permute(0, 3, 1, 2)
    # the product reads the other format transposed, without a copy
    pictures = [torch.addmm(bias, picture.flatten(1).t(), weight.flatten(1).t()) for picture in inputs]
    return torch.stack(pictures).view(batch, height, width, -1).permute(0, 3, 1, 2)


def attend(module: Any, inputs: "tuple[Tensor, Tensor, Tensor]", masked: "Tensor | None") -> "Tensor":
    """Return the output of multi-head attention.

    Args:
        module: torch.nn.MultiheadAttention, whose weights are used.
        inputs: query (Q, B, C), key and value (K, B, C).
        masked: (B, Q, K) bool, True where no head of a query attends; not all of a row.

    Returns:
        (Q, B, C).
    """
    import torch
    from torch.nn import functional

    parts = zip(inputs, module.in_proj_weight.chunk(3), module.in_proj_bias.chunk(3), strict=True)
    query, key, value = (_heads(linear(*part), module.num_heads) for part in parts)
    bias = None
    if masked is not None:  # one for all heads
        bias = torch.zeros_like(masked, dtype=query.dtype).masked_fill_(masked, -torch.inf)[:, None]
    context = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
    return linear(context.permute(2, 0, 1, 3).flatten(2), module.out_proj.weight, module.out_proj.bias)


def _heads(rows: "Tensor", number: int) -> "Tensor":
    """Split the channels of (N, B, C) among heads: (B, heads, N, C / heads)."""
    return rows.view(*rows.shape[:2], number, -1).permute(1, 2, 0, 3)
