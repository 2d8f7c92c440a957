"""trainer.step.cpu: matrix products by oneDNN, and freed memory that is kept."""

import platform
import resource
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from trainer.step import cpu

PIECE = 256 << 20
"""Bytes; what glibc gives back to the kernel as soon as it is freed."""


def _taken() -> int:
    """Take a piece of memory, write to all of it and free it; return how many pages the kernel had to clear for it."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(PIECE, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def _resident() -> int:
    """Return the bytes that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _seen(layer: nn.Module, given: torch.Tensor) -> list[torch.Tensor]:
    """Return what a layer makes of an input, and the gradients of the input and of the layer's weights."""
    seen = given.clone(memory_format=torch.preserve_format).requires_grad_()
    found = layer(seen)
    if found.requires_grad:
        found.square().sum().backward()
    gradients = [weight.grad for weight in layer.parameters() if weight.grad is not None]
    return [found.detach(), *([] if seen.grad is None else [seen.grad]), *gradients]


def _require_equal(layer: nn.Module, given: torch.Tensor) -> None:
    quick = deepcopy(layer)
    cpu.use_onednn(quick)
    assert type(quick) is not type(layer)

    plain, found = _seen(layer, given), _seen(quick, given)

    assert len(plain) == len(found)
    for each, other in zip(plain, found, strict=True):
        torch.testing.assert_close(other, each, rtol=1e-4, atol=1e-4 * float(each.abs().max()))


@pytest.mark.skipif(not hasattr(torch.ops.mkldnn, "_linear_pointwise"), reason="PyTorch without oneDNN")
class TestOneDnn:
    """Where PyTorch has oneDNN."""

    @settings(max_examples=30)
    @given(
        shape=st.lists(st.integers(1, 9), min_size=0, max_size=3), bias=st.booleans(), frozen=st.booleans(),
        outputs=st.integers(256, 300), inputs=st.integers(256, 300),
    )  # fmt: skip
    def test_linear_layers_and_their_gradients_are_equal(
        self, shape: list[int], bias: bool, frozen: bool, outputs: int, inputs: int
    ) -> None:
        """Inputs of any number of dimensions give what PyTorch's layer gives, and so do all gradients."""
        torch.manual_seed(0)
        layer = nn.Linear(inputs, outputs, bias).requires_grad_(not frozen)

        _require_equal(layer, torch.randn(*shape, inputs))

    @pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
    @pytest.mark.parametrize("frozen", [False, True])
    def test_pointwise_convolutions_and_their_gradients_are_equal(
        self, layout: torch.memory_format, frozen: bool
    ) -> None:
        """Weights and inputs of either layout give what PyTorch's layer gives, and so do all gradients."""
        torch.manual_seed(0)
        layer = nn.Conv2d(256, 320, 1).requires_grad_(not frozen)
        layer = layer.to(memory_format=layout)  # type: ignore[call-overload]

        _require_equal(layer, torch.randn(2, 256, 5, 7).to(memory_format=layout))

    @pytest.mark.parametrize(
        "layer",
        [
            nn.Linear(8, 8), nn.Conv2d(256, 256, 3), nn.Conv2d(256, 256, 1, stride=2),
            nn.Conv2d(256, 256, 1, padding=1), nn.Conv2d(1024, 1024, 1, groups=2),
        ],
    )  # fmt: skip
    def test_other_layers_are_left_alone(self, layer: nn.Module) -> None:
        """Small layers, and convolutions that are more than a product, stay PyTorch's."""
        before = type(layer)

        cpu.use_onednn(layer)

        assert type(layer) is before

    def test_names_and_kinds_of_weights_stay(self) -> None:
        """A network that multiplies by oneDNN has the same state, and its layers are still linear layers."""
        network = nn.Sequential(nn.Linear(256, 256), nn.Conv2d(256, 256, 1))
        before = {name: weight.clone() for name, weight in network.state_dict().items()}

        cpu.use_onednn(network)

        assert isinstance(network[0], nn.Linear)
        assert isinstance(network[1], nn.Conv2d)
        after = network.state_dict()
        assert list(after) == list(before)
        assert all(torch.equal(after[name], before[name]) for name in before)


def test_without_onednn_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where PyTorch was built without oneDNN, layers stay PyTorch's."""
    monkeypatch.setattr(torch.ops, "mkldnn", SimpleNamespace())
    layer = nn.Linear(256, 256)

    cpu.use_onednn(layer)

    assert type(layer) is nn.Linear


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_freed_memory_is_kept_and_given_back_at_the_end() -> None:
    """Inside, a second piece costs the kernel next to nothing; afterwards all is given back, what comes next too."""
    before = _resident()

    with cpu.keep_freed_memory():
        first, second = _taken(), _taken()
        held = _resident()
    given_back = _resident()
    _taken()

    assert second < first / 10
    assert held > before + PIECE * 3 // 4
    assert given_back < before + PIECE // 4
    assert _resident() < before + PIECE // 4


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the C library is not glibc, nothing is asked of it."""
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr("ctypes.CDLL", lambda name: pytest.fail("loaded"))

    with cpu.keep_freed_memory():
        pass
