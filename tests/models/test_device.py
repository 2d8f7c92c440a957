"""models.device: which device and precision, and what is refused."""

import pytest
import torch

from segkit.errors import UsageError
from segkit.models import device
from segkit.models.device import Device


def test_a_cpu_takes_fp32_unless_told() -> None:
    """On a CPU auto is fp32, and bf16 is there for the asking."""
    assert device.resolve("cpu") == Device("cpu", "fp32")
    assert device.resolve("cpu", "bf16") == Device("cpu", "bf16")


@pytest.mark.parametrize(
    ("name", "precision", "message"),
    [
        ("cpu", "fp16", "--precision fp16 needs a CUDA device, not cpu"),
        ("tpu9", "auto", "--device tpu9: "),
        ("cuda:99", "auto", "--device cuda:99: "),
        ("meta", "auto", "--device meta: "),
        ("", "auto", "--device : "),
    ],
)
def test_what_is_not_there_is_refused(name: str, precision: device.Precision, message: str) -> None:
    """Unknown devices, absent GPUs and fp16 on a CPU are refused in one line."""
    with pytest.raises(UsageError, match=message) as refused:
        device.resolve(name, precision)

    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("precision", "kind"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_autocast_sets_the_precision(precision: str, kind: torch.dtype) -> None:
    """Matrix products run in the precision chosen."""
    with Device("cpu", precision).autocast():
        product = torch.ones(2, 2) @ torch.ones(2, 2)

    assert product.dtype == kind


def test_fp32_is_not_tf32() -> None:
    """In fp32 convolutions do not round to TF32; the caller's setting comes back, after an error too."""
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
