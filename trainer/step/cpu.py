"""Training on a CPU: oneDNN for matrix products, and freed memory kept for the next step.

PyTorch multiplies fp32 matrices with MKL, which on AMD processors stays at the speed of AVX2, and convolutions with
oneDNN, which uses AVX-512: on Zen 5 a product then takes less than half the time. With AVX2 alone the gain is a tenth.
"""

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable

WORTH = 1 << 16
"""Weights from which on a layer is worth the way through Python, about 20 microseconds."""

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
"""Names of glibc's settings, from its malloc.h; see mallopt(3)."""

_USUAL = {_TRIM_THRESHOLD: 64 << 20, _MMAP_THRESHOLD: 32 << 20, _MMAP_MAX: 65536}
"""Where glibc's own adjusting ends, once large pieces were freed."""


@contextmanager
def keep_freed_memory() -> Iterator[None]:
    """Keep freed memory for what is next asked for, and give it back at the end.

    A training step on a CPU takes and frees gigabytes. glibc gives large pieces back to the kernel at once, which must
    clear every page anew: a third of a step's time. Where the C library is another one nothing changes.
    """
    libc = ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
    try:
        if libc:
            libc.mallopt(_MMAP_MAX, 0)
            libc.mallopt(_TRIM_THRESHOLD, -1)
        yield
    finally:
        if libc:
            for name, value in _USUAL.items():
                libc.mallopt(name, value)
            libc.malloc_trim(0)


def use_onednn(network: nn.Module) -> None:
    """Let the large linear layers and pointwise convolutions of a network on a CPU in fp32 multiply by oneDNN.

    Weights, their names and, to rounding, all results and gradients stay. Where PyTorch lacks oneDNN nothing changes.
    """
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return
    for module in network.modules():
        if type(module) is nn.Linear and module.weight.numel() >= WORTH:
            module.__class__ = _Linear
        elif type(module) is nn.Conv2d and _is_pointwise(module) and module.weight.numel() >= WORTH:
            module.__class__ = _Pointwise


def _is_pointwise(layer: nn.Conv2d) -> bool:
    return (layer.kernel_size, layer.stride, layer.padding, layer.groups) == ((1, 1), (1, 1), (0, 0), 1)


class _Linear(nn.Linear):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return _rows_through(self, input)


class _Pointwise(nn.Conv2d):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        rows = input.permute(0, 2, 3, 1)  # channels-last tensors lie so already
        return _rows_through(self, rows).permute(0, 3, 1, 2)


def _rows_through(layer: nn.Linear | nn.Conv2d, given: torch.Tensor) -> torch.Tensor:
    """Return (..., outputs) for (..., inputs)."""
    rows = given.reshape(-1, given.shape[-1])
    found: torch.Tensor = _Product.apply(rows, layer.weight.flatten(1), layer.bias)  # type: ignore[no-untyped-call]
    return found.view(*given.shape[:-1], -1)


class _Product(torch.autograd.Function):
    """Rows (n, inputs) times weights (outputs, inputs) transposed, plus a bias (outputs) or None."""

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        to_rows, to_weight, _ = ctx.needs_input_grad
        ctx.save_for_backward(rows if to_weight else None, weight if to_rows else None)
        return _product(rows, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        rows, weight = ctx.saved_tensors
        return (
            _product(gradient, weight.t()) if weight is not None else None,
            _product(gradient.t(), rows.t()) if rows is not None else None,
            gradient.sum(0) if ctx.needs_input_grad[2] else None,
        )


def _product(rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    found: torch.Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")
    return found
