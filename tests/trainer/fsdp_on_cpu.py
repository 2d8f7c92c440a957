"""What accelerate launch starts with an FSDP config, on CPUs: accelerate takes FSDP for GPUs only, torch does not.

Type: FSDP's settings in the environment, as accelerate launch puts them there, and torchrun ... fsdp_on_cpu.py run.toml
"""

import runpy
from typing import Any

from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType

_begin = AcceleratorState.__init__
_plugin: list[Any] = [None]


def _begin_sharded(self: Any, *arguments: Any, **named: Any) -> None:
    _begin(self, *arguments, **named)
    _plugin[0] = named.get("fsdp_plugin") or _plugin[0]
    self.distributed_type, self.fsdp_plugin = DistributedType.FSDP, _plugin[0]


if __name__ == "__main__":
    AcceleratorState.__init__ = _begin_sharded
    runpy.run_module("trainer", run_name="__main__", alter_sys=True)
