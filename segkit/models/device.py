"""The device that networks run on, and the precision of the arithmetic: resolved here for build, generate and train.

What "auto" chooses:

| device              | precision                                                                   |
|---------------------|-----------------------------------------------------------------------------|
| CUDA, ROCm          | bf16 where the GPU computes in it (NVIDIA: Ampere and newer), otherwise fp16 |
| MPS (Apple silicon) | fp32                                                                        |
| CPU                 | fp32                                                                        |

bf16 can be requested everywhere (MPS: macOS 14 or newer; older NVIDIA GPUs emulate it, slowly), fp16 on CUDA only.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from segkit import threads
from segkit.errors import UsageError

if TYPE_CHECKING:
    import torch

Precision = Literal["auto", "fp32", "bf16", "fp16"]


def weight_bytes(network: Any) -> int:
    """Return the size of a network's weights in bytes."""
    return sum(weight.numel() * weight.element_size() for weight in network.parameters())


def dtype(precision: str) -> "torch.dtype":
    """Return the dtype of a precision: "fp32", "bf16" or "fp16"."""
    import torch

    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]


@dataclass(frozen=True)
class Device:
    """A device and the precision of the arithmetic on it.

    Weights stay fp32, and bf16 and fp16 run under autocast: OneFormer's masks become NaN with bf16 weights.

    Attributes:
        name: a torch device such as "cpu", "cuda:0" or "mps".
        precision: "fp32", "bf16" or "fp16".
    """

    name: str
    precision: str

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context in which to run a network."""
        import torch

        if self.precision == "fp32":
            return self.exact()
        device_type = self.name.split(":")[0]
        return torch.autocast(device_type, dtype(self.precision))

    @contextmanager
    def exact(self) -> Iterator[None]:
        """Disable TF32 convolutions within the context if the precision is fp32; otherwise do nothing.

        By default, PyTorch's cuDNN convolutions multiply in TF32, which has a mantissa of only 10 bits.
        """
        import torch

        before = torch.backends.cudnn.allow_tf32
        if self.precision == "fp32":
            torch.backends.cudnn.allow_tf32 = False
        try:
            yield
        finally:
            torch.backends.cudnn.allow_tf32 = before


def cpu_threads() -> int:
    """Return how many threads PyTorch computes with on the CPU of this process, of which last bits may depend."""
    import torch

    return threads.at_most(torch.get_num_threads()) or 1


def resolve(name: str = "auto", precision: Precision = "auto") -> Device:
    """Resolve "auto" and check that the device exists and supports the precision.

    PyTorch's threads on the CPU are limited to `threads.limit()`, if that is set.

    Args:
        name: a torch device, or "auto": the first CUDA GPU, else MPS, else the CPU.
        precision: "fp32", "bf16", "fp16", or "auto": see the table in the module's docstring.

    Raises:
        UsageError: the device is not available, or it does not support the precision.
    """
    import torch

    threads.apply_to_library(torch.get_num_threads, torch.set_num_threads)
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.zeros(1, device=name).item()  # reading the value back also rejects "meta", which holds no data
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise UsageError(
            f"device {name or 'with an empty name'} is not available ({reason}). "
            "Use device=auto, cpu or another device of this machine."
        ) from None
    return Device(name, _resolve_precision(name, precision))


def _resolve_precision(name: str, precision: Precision) -> str:
    import torch

    device_type = name.split(":")[0]
    if precision == "auto":
        return _auto_precision(name) if device_type == "cuda" else "fp32"
    if precision == "fp16" and device_type != "cuda":
        raise UsageError(f"precision fp16 needs a CUDA device, not {name}. Use precision=fp32 or bf16.")
    if precision == "bf16" and device_type == "mps" and not torch.backends.mps.is_macos_or_newer(14, 0):
        raise UsageError("precision bf16 on device mps needs macOS 14 or newer. Use precision=fp32.")
    return precision


def _auto_precision(name: str) -> str:
    import torch

    with torch.cuda.device(name):
        # Without including_emulation=False, torch answers yes for every GPU, and bf16 on a Turing or Volta card is
        # emulated and slow.
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
