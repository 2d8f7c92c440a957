"""What accelerate launch does with an FSDP config, on CPUs: accelerate takes FSDP for GPUs only, torch does not."""

from typing import Any

from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType

_begin = AcceleratorState.__init__
_plugin: list[Any] = [None]


def _begin_sharded(self: Any, *arguments: Any, **named: Any) -> None:
    _begin(self, *arguments, **named)
    _plugin[0] = named.get("fsdp_plugin") or _plugin[0]
    self.distributed_type, self.fsdp_plugin = DistributedType.FSDP, _plugin[0]


def install() -> None:
    """Let accelerate shard in this process, by the settings that accelerate launch puts into the environment."""
    AcceleratorState.__init__ = _begin_sharded
