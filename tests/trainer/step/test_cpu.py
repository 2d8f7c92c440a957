"""oneDNN matrix products, reuse of freed memory, and reproducible sums on a CPU."""

import os
import platform
import resource
import subprocess
import sys
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

BLOCK = 256 << 20
"""A block of this many bytes returns to the kernel as soon as it is freed."""


def _page_faults() -> int:
    """Allocate, fill and free a block; return the number of page faults."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(BLOCK, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def _resident() -> int:
    """Return this process's resident memory in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _output_and_gradients(layer: nn.Module, inputs: torch.Tensor) -> list[torch.Tensor]:
    """Return a layer's output, and the gradients of its input and weights."""
    leaf = inputs.clone(memory_format=torch.preserve_format).requires_grad_()
    output = layer(leaf)
    if output.requires_grad:
        output.square().sum().backward()
    gradients = [weight.grad for weight in layer.parameters() if weight.grad is not None]
    return [output.detach(), *([] if leaf.grad is None else [leaf.grad]), *gradients]


def _require_equal(layer: nn.Module, inputs: torch.Tensor) -> None:
    onednn = deepcopy(layer)
    cpu.use_onednn(onednn)
    assert type(onednn) is not type(layer)

    expected, actual = _output_and_gradients(layer, inputs), _output_and_gradients(onednn, inputs)

    assert len(expected) == len(actual)
    for one, other in zip(expected, actual, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-4 * float(one.abs().max()))


@pytest.mark.skipif(not hasattr(torch.ops.mkldnn, "_linear_pointwise"), reason="PyTorch without oneDNN")
class TestOneDnn:
    """With a PyTorch that has oneDNN."""

    @settings(max_examples=30)
    @given(
        shape=st.lists(st.integers(1, 9), min_size=0, max_size=3), bias=st.booleans(), frozen=st.booleans(),
        outputs=st.integers(256, 300), inputs=st.integers(256, 300),
    )  # fmt: skip
    def test_linear_layers_and_their_gradients_are_equal(
        self, shape: list[int], bias: bool, frozen: bool, outputs: int, inputs: int
    ) -> None:
        """Outputs and all gradients equal PyTorch's for inputs of any number of dimensions."""
        torch.manual_seed(0)
        layer = nn.Linear(inputs, outputs, bias).requires_grad_(not frozen)

        _require_equal(layer, torch.randn(*shape, inputs))

    @pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
    @pytest.mark.parametrize("frozen", [False, True])
    def test_pointwise_convolutions_and_their_gradients_are_equal(
        self, layout: torch.memory_format, frozen: bool
    ) -> None:
        """Outputs and all gradients equal PyTorch's in either memory format."""
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
    def test_other_layers_are_unchanged(self, layer: nn.Module) -> None:
        """Small layers and convolutions that are not pointwise stay PyTorch's."""
        before = type(layer)

        cpu.use_onednn(layer)

        assert type(layer) is before

    def test_state_dict_and_layer_types_are_unchanged(self) -> None:
        """A converted network has the same state_dict, and its layers are still nn.Linear and nn.Conv2d."""
        network = nn.Sequential(nn.Linear(256, 256), nn.Conv2d(256, 256, 1))
        before = {name: weight.clone() for name, weight in network.state_dict().items()}

        cpu.use_onednn(network)

        assert isinstance(network[0], nn.Linear)
        assert isinstance(network[1], nn.Conv2d)
        after = network.state_dict()
        assert list(after) == list(before)
        assert all(torch.equal(after[name], before[name]) for name in before)


def test_without_onednn_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """If PyTorch was built without oneDNN, layers stay PyTorch's."""
    monkeypatch.setattr(torch.ops, "mkldnn", SimpleNamespace())
    layer = nn.Linear(256, 256)

    cpu.use_onednn(layer)

    assert type(layer) is nn.Linear


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="not glibc")
def test_freed_memory_is_reused_and_returned_at_the_end() -> None:
    """A second block causes almost no page faults inside the context; afterwards memory returns to the kernel."""
    before = _resident()

    with cpu.keep_freed_memory():
        first, second = _page_faults(), _page_faults()
        held = _resident()
    returned = _resident()
    _page_faults()

    assert second < first / 10
    assert held > before + BLOCK * 3 // 4
    assert returned < before + BLOCK // 4
    assert _resident() < before + BLOCK // 4


def test_other_c_libraries_are_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the C library is not glibc, it is not called."""
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr("ctypes.CDLL", lambda name: pytest.fail("loaded"))

    with cpu.keep_freed_memory():
        pass


@pytest.mark.parametrize("value", [None, "COMPATIBLE"])
def test_the_environment_is_restored(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    """MKL_CBWR is set inside the context unless the caller has set it, and is as before at its end."""
    monkeypatch.delenv("MKL_CBWR")
    if value:
        monkeypatch.setenv("MKL_CBWR", value)

    with cpu.reproducible():
        inside = os.environ.get("MKL_CBWR")

    assert inside == (value or "AUTO,STRICT")
    assert os.environ.get("MKL_CBWR") == value


def test_mkl_sums_reproducibly_after_torch_was_imported() -> None:
    """MKL reads the variable at its first computation, so the context works although torch is imported already."""
    script = """
import torch
from trainer.step import cpu
with cpu.reproducible():
    torch.ones(8, 8) @ torch.ones(8, 8)
"""
    environment = {name: value for name, value in os.environ.items() if name != "MKL_CBWR"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env=environment | {"MKL_VERBOSE": "1"},
    )

    lines = [line for line in done.stdout.splitlines() if "CNR:" in line]
    if not lines:
        pytest.skip("PyTorch without MKL")
    assert all("CNR:AUTO,STRICT" in line for line in lines)
