"""models.device: "auto" is resolved, and unavailable devices and precisions are refused."""

from contextlib import nullcontext

import pytest
import torch

from segkit import threads
from segkit.errors import UsageError
from segkit.models import device
from segkit.models.device import Device


def test_a_cpu_computes_in_fp32_by_default() -> None:
    """On a CPU, auto is fp32, and bf16 is available on request."""
    assert device.resolve("cpu") == Device("cpu", "fp32")
    assert device.resolve("cpu", "bf16") == Device("cpu", "bf16")


def test_a_limit_of_threads_reaches_torch() -> None:
    """Within the limit PyTorch computes with so many threads, afterwards with as many as before."""
    before = torch.get_num_threads()
    with threads.limited(before + 1):
        device.resolve("cpu")
        device.resolve("cpu")
        assert torch.get_num_threads() == before + 1

    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("name", "precision", "message"),
    [
        ("cpu", "fp16", "precision fp16 needs a CUDA device, not cpu"),
        ("tpu9", "auto", r"device tpu9 is not available \(.*device=auto"),
        ("cuda:99", "auto", r"device cuda:99 is not available \(.*device=auto"),
        ("meta", "auto", r"device meta is not available \(.*device=auto"),
        ("", "auto", r"device with an empty name is not available \(.*device=auto"),
    ],
)
def test_what_is_not_available_is_refused(name: str, precision: device.Precision, message: str) -> None:
    """Unknown devices, absent GPUs and fp16 on a CPU are refused in one line."""
    with pytest.raises(UsageError, match=message) as refused:
        device.resolve(name, precision)

    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("native", "precision"), [(True, "bf16"), (False, "fp16")])
def test_auto_is_fp16_on_gpus_that_only_emulate_bf16(
    monkeypatch: pytest.MonkeyPatch, native: bool, precision: str
) -> None:
    """A GPU older than Ampere runs in fp16, although torch counts its emulation of bf16 as support."""
    monkeypatch.setattr(torch.cuda, "device", lambda name: nullcontext())
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or native)

    assert device._resolve_precision("cuda:1", "auto") == precision


@pytest.mark.parametrize("macos_14", [True, False])
def test_mps_computes_in_fp32_by_default_and_bf16_needs_macos_14(
    monkeypatch: pytest.MonkeyPatch, macos_14: bool
) -> None:
    """On MPS, auto is fp32, bf16 depends on the version of macOS, and fp16 is refused."""
    monkeypatch.setattr(torch.backends.mps, "is_macos_or_newer", lambda *version: macos_14)

    assert device._resolve_precision("mps", "auto") == "fp32"
    with pytest.raises(UsageError, match="needs a CUDA device, not mps"):
        device._resolve_precision("mps", "fp16")
    with nullcontext() if macos_14 else pytest.raises(UsageError, match="needs macOS 14"):
        assert device._resolve_precision("mps", "bf16") == "bf16"


@pytest.mark.parametrize(("precision", "kind"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_autocast_sets_the_precision(precision: str, kind: torch.dtype) -> None:
    """Matrix products run in the chosen precision."""
    with Device("cpu", precision).autocast():
        product = torch.ones(2, 2) @ torch.ones(2, 2)

    assert product.dtype == kind


def test_fp32_is_not_tf32() -> None:
    """In fp32, convolutions do not use TF32, and the caller's setting is restored, even after an exception."""
    before = torch.backends.cudnn.allow_tf32

    def fail() -> None:
        with Device("cuda", "fp32").autocast():
            assert not torch.backends.cudnn.allow_tf32
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert torch.backends.cudnn.allow_tf32 == before
    with Device("cuda", "bf16").exact():
        assert torch.backends.cudnn.allow_tf32 == before


@pytest.mark.parametrize(("dtype", "size"), [(torch.float32, 64), (torch.float16, 32)])
def test_weights_are_measured_in_bytes(dtype: torch.dtype, size: int) -> None:
    """A layer of 3 inputs and 4 outputs has 16 weights."""
    assert device.weight_bytes(torch.nn.Linear(3, 4, dtype=dtype)) == size
