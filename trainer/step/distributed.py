"""Training in one or several processes: launch, shared results and errors, and a common stop signal."""

import _thread
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any, TypeVar

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType, broadcast_object_list

from segkit.errors import SegkitError, UsageError
from segkit.models import device
from segkit.models.device import Device
from segkit.progress import NOTICE, STOPPING, Progress, silent
from trainer.settings import TrainSettings
from trainer.step import cards, cpu, meeting, rendezvous, trackers, watch
from trainer.step.rendezvous import Rendezvous

Result = TypeVar("Result")

_SHARDED = (DistributedType.FSDP, DistributedType.DEEPSPEED)
_DEVICE_VARIABLE = "ACCELERATE_TORCH_DEVICE"
"""accelerate's only way to choose another GPU than the first in a single process."""


@contextmanager
def launched(settings: TrainSettings, progress: Progress = silent) -> Iterator[Accelerator]:
    """Join the processes that accelerate launch or torchrun started; without a launcher, run as a single process.

    Args:
        settings: of the training.
        progress: called in process 0 with notices about processes that are late or silent.

    Raises:
        UsageError: the number of processes is not the required one, they differ, or the device, its precision or the
            tracker is unavailable.
        TrainingError: another process failed, did not come or was lost.
    """
    with rendezvous.announcing():
        trackers.require_installed(settings.tracker)
        resolved = _resolve(settings)
        place = Rendezvous.from_environment()
        if place:
            _require_number(settings, place.world_size)
    joined = _joined(place, settings, resolved, progress) if place else nullcontext()
    with joined, _accelerated(settings, resolved) as accelerator:
        yield accelerator


@contextmanager
def _joined(place: Rendezvous, settings: TrainSettings, resolved: Device, progress: Progress) -> Iterator[None]:
    """Wait for the other processes, and watch them until the end."""

    def notify(note: str) -> None:
        if place.rank == 0:
            progress(NOTICE, 0, 0, note)

    def last_words(note: str) -> None:
        progress(STOPPING, 0, 0, f"Error: {note}")

    desk = place.store(rendezvous.JOIN)  # stays open: in process 0 it may be what all others are connected to
    card = cards.card(settings, place.world_size, torch.device(resolved.name).type, resolved.precision)
    hosts = rendezvous.gather(desk, place.rank, place.world_size, card, notify)
    with watch.watched(place.store(rendezvous.of_round("watch")), place.rank, hosts, notify, last_words):
        yield


@contextmanager
def _accelerated(settings: TrainSettings, resolved: Device) -> Iterator[Accelerator]:
    """Set accelerate up, and take it down again."""
    on_cpu = torch.device(resolved.name).type == "cpu"
    with _explicit_device(settings.device):
        accelerator = Accelerator(
            mixed_precision="no" if resolved.precision == "fp32" else resolved.precision,
            cpu=on_cpu,
            gradient_accumulation_steps=settings.accumulate,
        )
    if accelerator.distributed_type == DistributedType.DEEPSPEED:
        config = accelerator.state.deepspeed_plugin.deepspeed_config
        config |= {"train_micro_batch_size_per_gpu": settings.batch_size, "gradient_clipping": settings.clip}
    try:
        _require_number(settings, accelerator.num_processes)
        with cpu.keep_freed_memory() if on_cpu else nullcontext():
            yield accelerator
    finally:
        accelerator.end_training()
        # accelerate's state is a process-wide singleton; the next training may use another device or precision
        AcceleratorState._reset_state(reset_partial_state=True)


def _require_number(settings: TrainSettings, number: int) -> None:
    if settings.processes not in (0, number):
        raise UsageError(
            f"processes={settings.processes}, but the number of processes is {number}. "
            f"Run: torchrun --nproc-per-node {settings.processes} -m trainer run.toml"
        )


def _resolve(settings: TrainSettings) -> Device:
    name = "cpu" if settings.cpu else settings.device
    local_rank = int(os.environ.get("LOCAL_RANK", -1))
    if local_rank >= 0 and name != "cpu" and torch.cuda.is_available():
        # accelerate assigns the GPUs (PartialState.set_device); probing another would waste its memory
        name = f"cuda:{local_rank % torch.cuda.device_count()}"
    return device.resolve(name, settings.precision)


@contextmanager
def _explicit_device(name: str) -> Iterator[None]:
    """Make accelerate use a device such as "cuda:1"; it still assigns the devices of several processes."""
    if name in ("auto", "cpu") or "LOCAL_RANK" in os.environ:
        yield
        return
    before = os.environ.get(_DEVICE_VARIABLE)
    os.environ[_DEVICE_VARIABLE] = name
    try:
        yield
    finally:
        if before is None:
            del os.environ[_DEVICE_VARIABLE]
        else:
            os.environ[_DEVICE_VARIABLE] = before


def precision(accelerator: Accelerator) -> str:
    """Return the precision of the arithmetic: "fp32", "bf16" or "fp16"."""
    return str(accelerator.mixed_precision).replace("no", "fp32")


def weight_dtype(accelerator: Accelerator) -> torch.dtype:
    """Return the dtype of frozen weights."""
    return device.dtype(precision(accelerator))


def is_sharded(accelerator: Accelerator) -> bool:
    """Return whether the weights are sharded over the processes (FSDP or DeepSpeed)."""
    return accelerator.distributed_type in _SHARDED


def together(accelerator: Accelerator) -> AbstractContextManager[object]:
    """Return a context that all processes enter to work, for hours if need be, and leave together; see meeting."""
    return meeting.meeting(accelerator.process_index, accelerator.num_processes)


def on_main(accelerator: Accelerator, work: Callable[[], Result]) -> Result:
    """Run a function in the main process only, and return its result in every process; all processes must call this.

    The function may take hours: the others do not wait in a collective.

    Raises:
        SegkitError: raised by the function; every process raises it, so none waits for one that has exited.
        TrainingError: the main process failed otherwise.
    """
    outcome: list[Any] = [None, None]  # result, error
    with together(accelerator):
        if accelerator.is_main_process:
            try:
                outcome[0] = work()
            except SegkitError as error:
                outcome[1] = error
    outcome = broadcast_object_list(outcome)
    if outcome[1] is not None:
        raise outcome[1]
    result: Result = outcome[0]
    return result


class Stopped(Exception):  # noqa: N818 - not an error
    """Validation, an evaluation or previews were abandoned, because the user asked to stop."""


class StopSignal:
    """Whether any process has received SIGTERM or Ctrl-C. Inside this context the first of them only asks to stop.

    A Ctrl-C after that raises KeyboardInterrupt. A SIGTERM after that changes nothing: torchrun sends one to processes
    that have received the terminal's Ctrl-C already.

    Args:
        accelerator: the processes.
        acknowledge: called at once, in a thread of its own, when the first signal arrives.
    """

    def __init__(self, accelerator: Accelerator, acknowledge: Callable[[], None]) -> None:
        self._accelerator, self._acknowledge = accelerator, acknowledge
        self._received = False
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopSignal":
        if threading.current_thread() is threading.main_thread():  # signals belong to it
            numbers = (signal.SIGTERM, signal.SIGINT)
            self._previous = {number: signal.signal(number, self._receive) for number in numbers}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: Any) -> None:
        if self._received and number == signal.SIGINT:
            raise KeyboardInterrupt
        if not self._received:
            self._received = True
            # In a thread, because the signal may have interrupted this one while it was writing to the terminal. The
            # class Thread takes locks that this thread may hold.
            _thread.start_new_thread(self._acknowledge, ())

    @property
    def received(self) -> bool:
        """Whether this process has received a signal; others may not have."""
        return self._received

    def check(self) -> None:
        """Raise Stopped if a signal was received; all processes must call this."""
        if self:
            raise Stopped

    def __bool__(self) -> bool:
        """Return the same value in every process, so that all leave the loop after the same step."""
        if self._accelerator.num_processes == 1:
            return self._received
        flag = torch.tensor(float(self._received), device=self._accelerator.device)
        return bool(self._accelerator.reduce(flag, "sum") > 0)


@contextmanager
def at_own_pace(accelerator: Accelerator, stop: StopSignal) -> Iterator[Callable[[], None]]:
    """Let each process do its share of some work, however long that takes; all enter, and leave together.

    Yields:
        A function to call between parts of the work. It raises Stopped soon after any process has received a signal.
        With sharded weights, whose networks compute in all processes at once, these must call it at the same places.

    Raises:
        Stopped: a process has received a signal: raised in all of them at the end, whatever they have finished.
        TrainingError: another process failed or was lost.
    """

    def check() -> None:
        if should_stop():
            raise Stopped

    rank, world_size = accelerator.process_index, accelerator.num_processes
    with meeting.meeting(rank, world_size, lambda: stop.received) as should_stop, suppress(Stopped):
        yield stop.check if is_sharded(accelerator) else check
    stop.check()
