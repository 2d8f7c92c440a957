"""Where a network runs, and in which precision."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Literal

from segkit.errors import UsageError

Precision = Literal["auto", "fp32", "bf16", "fp16"]


@dataclass(frozen=True)
class Device:
    """A device and the precision of the arithmetic on it.

    Weights stay fp32 and bf16/fp16 is autocast: OneFormer's masks become NaN with bf16 weights.

    Attributes:
        name: a torch device such as "cpu", "cuda:0" or "mps".
        precision: "fp32", "bf16" or "fp16".
    """

    name: str
    precision: str

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context in which the network runs."""
        import torch

        if self.precision == "fp32":
            return self.exact()
        kind = self.name.split(":")[0]
        return torch.autocast(kind, torch.bfloat16 if self.precision == "bf16" else torch.float16)

    @contextmanager
    def exact(self) -> Iterator[None]:
        """Let fp32 mean fp32 on a GPU: PyTorch's convolutions would multiply in TF32, which has 10 bits."""
        import torch

        before = torch.backends.cudnn.allow_tf32
        if self.precision == "fp32":
            torch.backends.cudnn.allow_tf32 = False
        try:
            yield
        finally:
            torch.backends.cudnn.allow_tf32 = before


def resolve(name: str = "auto", precision: Precision = "auto") -> Device:
    """Resolve "auto": the first GPU or else the CPU; bf16 (fp16 on older cards) on CUDA, fp32 elsewhere.

    Raises:
        UsageError: a device that is not there, or fp16 on a CPU.
    """
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.zeros(1, device=name).item()  # "meta" holds no values
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise UsageError(f"--device {name}: {reason}. Leave it out to use what is there.") from None
    on_cuda = name.startswith("cuda")
    if precision == "auto":
        precision = ("bf16" if torch.cuda.is_bf16_supported() else "fp16") if on_cuda else "fp32"
    if precision == "fp16" and not on_cuda:
        raise UsageError(f"--precision fp16 needs a CUDA device, not {name}; use fp32 or bf16.")
    return Device(name, precision)
