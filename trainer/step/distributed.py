"""One process or several: how they agree on what one of them did, and on when to stop."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType, broadcast_object_list

from segkit.errors import SegkitError, UsageError
from trainer.settings import TrainSettings
from trainer.step import cpu

Found = TypeVar("Found")

_SHARDED = (DistributedType.FSDP, DistributedType.DEEPSPEED)


@contextmanager
def launched(settings: TrainSettings) -> Iterator[Accelerator]:
    """Join the processes that accelerate launch or torchrun started; without them, be the only one.

    Raises:
        UsageError: another number of processes than was asked for, or an arithmetic that this machine lacks.
    """
    on_cpu = settings.cpu or not torch.cuda.is_available()
    precision = settings.precision
    if precision == "auto":
        precision = "fp32" if on_cpu else "bf16"
    if precision == "fp16" and on_cpu:
        raise UsageError("--precision fp16 needs a GPU; use fp32 or bf16.")
    accelerator = Accelerator(
        mixed_precision="no" if precision == "fp32" else precision,
        cpu=on_cpu,
        gradient_accumulation_steps=settings.accumulate,
    )
    if accelerator.distributed_type == DistributedType.DEEPSPEED:
        plan = accelerator.state.deepspeed_plugin.deepspeed_config
        plan |= {"train_micro_batch_size_per_gpu": settings.batch_size, "gradient_clipping": settings.clip}
    try:
        if settings.processes not in (0, accelerator.num_processes):
            raise UsageError(
                f"--processes {settings.processes}, but {accelerator.num_processes} run. Start them with: torchrun "
                f"--nproc-per-node {settings.processes} -m trainer run.toml"
            )
        with cpu.keep_freed_memory() if on_cpu else nullcontext():
            yield accelerator
    finally:
        accelerator.end_training()
        AcceleratorState._reset_state(reset_partial_state=True)  # a second training in one process may differ


def dtype(accelerator: Accelerator) -> torch.dtype:
    """Return the arithmetic of what is frozen."""
    return {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[accelerator.mixed_precision]


def is_sharded(accelerator: Accelerator) -> bool:
    """Tell whether weights are spread over the processes: FSDP or DeepSpeed."""
    return accelerator.distributed_type in _SHARDED


def on_main(accelerator: Accelerator, work: Callable[[], Found]) -> Found:
    """Do what one process alone may do, and let all have what it found, or the error that it met.

    Raises:
        SegkitError: the main process met it; all processes end alike, none waits for one that has gone.
    """
    told: list[Any] = [None, None]
    if accelerator.is_main_process:
        try:
            told[0] = work()
        except SegkitError as error:
            told[1] = error
    told = broadcast_object_list(told)
    if told[1] is not None:
        raise told[1]
    found: Found = told[0]
    return found


class Stop:
    """Whether SIGTERM or Ctrl-C came to any process. Use it as a context: within, neither ends the process."""

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator
        self._came = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Stop":
        self._before = {which: signal.signal(which, self._hear) for which in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *error: object) -> None:
        for which, handler in self._before.items():
            signal.signal(which, handler)

    def _hear(self, number: int, frame: Any) -> None:
        self._came = True

    def __bool__(self) -> bool:
        """Return the same in every process, so that all leave after the same step."""
        if self._accelerator.num_processes == 1:
            return self._came
        flag = torch.tensor(float(self._came), device=self._accelerator.device)
        return bool(self._accelerator.reduce(flag, "sum") > 0)
