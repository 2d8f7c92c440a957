"""FSDP on CPUs, as accelerate launch would start it: accelerate restricts FSDP to GPUs, PyTorch does not."""

from typing import Any

from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType

_original_init = AcceleratorState.__init__
_plugin: list[Any] = [None]


def _sharded_init(self: Any, *args: Any, **kwargs: Any) -> None:
    _original_init(self, *args, **kwargs)
    _plugin[0] = kwargs.get("fsdp_plugin") or _plugin[0]
    self.distributed_type, self.fsdp_plugin = DistributedType.FSDP, _plugin[0]


def install() -> None:
    """Let accelerate shard in this process, configured by the environment variables of accelerate launch."""
    AcceleratorState.__init__ = _sharded_init
