"""Fast, reproducible training on a CPU: oneDNN matrix products, reuse of freed memory, a fixed order of summation.

PyTorch multiplies fp32 matrices with MKL, which is limited to AVX2 on AMD processors, but computes convolutions with
oneDNN, which uses AVX-512. On Zen 5, a matrix product takes less than half the time with oneDNN; with AVX2 alone the
gain is 10 %.
"""

import ctypes
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable

MIN_WEIGHTS = 1 << 16
"""Smallest layer that gains from oneDNN: the detour through Python costs about 20 microseconds per call."""

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
"""Parameters of glibc's mallopt(3), from malloc.h."""

_DEFAULTS = {_TRIM_THRESHOLD: 64 << 20, _MMAP_THRESHOLD: 32 << 20, _MMAP_MAX: 65536}
"""Restored at the end; the thresholds are the limits of glibc's dynamic adjustment once large blocks were freed."""


@contextmanager
def reproducible() -> Iterator[None]:
    """Set MKL_CBWR=AUTO,STRICT inside the context, unless the caller has set it; restore the environment at its end.

    Without it MKL sums in an order that depends on memory alignment, and a resumed run differs in the last bit (seen
    with a batch of one). It costs nothing measurable. MKL reads the variable once, before its first computation in a
    process: in a process that has already multiplied matrices on the CPU this has no effect.
    """
    before = os.environ.get("MKL_CBWR")
    os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("MKL_CBWR", None)


@contextmanager
def keep_freed_memory() -> Iterator[None]:
    """Keep freed memory in the process for reuse, and return it to the kernel at the end.

    A training step on a CPU allocates and frees gigabytes. glibc returns large blocks to the kernel at once, and the
    kernel must zero each page again: a third of the step's time. Does nothing with other C libraries.
    """
    libc = ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
    try:
        if libc:
            libc.mallopt(_MMAP_MAX, 0)
            libc.mallopt(_TRIM_THRESHOLD, -1)
        yield
    finally:
        if libc:
            for parameter, value in _DEFAULTS.items():
                libc.mallopt(parameter, value)
            libc.malloc_trim(0)


def use_onednn(network: nn.Module) -> None:
    """Compute the large linear layers and pointwise convolutions of an fp32 network on a CPU with oneDNN, in place.

    Weights and their names are unchanged; outputs and gradients differ only by rounding. Does nothing if PyTorch was
    built without oneDNN.
    """
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return
    for module in network.modules():
        # only exact types: a subclass, such as LoRA's, may compute something else
        if type(module) is nn.Linear and module.weight.numel() >= MIN_WEIGHTS:
            module.__class__ = _Linear
        elif type(module) is nn.Conv2d and _is_pointwise(module) and module.weight.numel() >= MIN_WEIGHTS:
            module.__class__ = _PointwiseConv2d


def _is_pointwise(layer: nn.Conv2d) -> bool:
    return (layer.kernel_size, layer.stride, layer.padding, layer.groups) == ((1, 1), (1, 1), (0, 0), 1)


class _Linear(nn.Linear):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return _apply_to_rows(self, input)


class _PointwiseConv2d(nn.Conv2d):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        rows = input.permute(0, 2, 3, 1)  # (B, H, W, C): contiguous already if the input is channels-last
        return _apply_to_rows(self, rows).permute(0, 3, 1, 2)


def _apply_to_rows(layer: nn.Linear | nn.Conv2d, inputs: torch.Tensor) -> torch.Tensor:
    """Map (..., inputs) to (..., outputs)."""
    rows = inputs.reshape(-1, inputs.shape[-1])
    outputs: torch.Tensor = _MatMul.apply(rows, layer.weight.flatten(1), layer.bias)  # type: ignore[no-untyped-call]
    return outputs.view(*inputs.shape[:-1], -1)


class _MatMul(torch.autograd.Function):
    """rows @ weight.T + bias, for rows (N, inputs), weight (outputs, inputs) and bias (outputs,) or None."""

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        rows_need_grad, weight_needs_grad, _ = ctx.needs_input_grad
        # each gradient needs the other operand: saving no more frees the activations of frozen layers
        ctx.save_for_backward(rows if weight_needs_grad else None, weight if rows_need_grad else None)
        return _matmul(rows, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        rows, weight = ctx.saved_tensors
        return (
            _matmul(gradient, weight.t()) if weight is not None else None,
            _matmul(gradient.t(), rows.t()) if rows is not None else None,
            gradient.sum(0) if ctx.needs_input_grad[2] else None,
        )


def _matmul(rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")
    return product
