"""The training itself, from the settings to the results; one process or several run the same function."""

import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast_object_list

from segkit import storage
from segkit.errors import SegkitError, TrainingError, UsageError
from segkit.settings import TrainSettings
from trainer import checkpoints, examples, networks, results, runs
from trainer.batches import Batch, Batches
from trainer.checkpoints import Checkpoint
from trainer.examples import Examples
from trainer.journal import Journal
from trainer.objective import Objective, Steered, require_unchanged

HELD_OUT = 64
"""Photos of the split val whose loss is measured at each checkpoint."""

Told = Callable[[int, int, str], None]
"""Hears of each step: steps taken, their total, and the loss and more in words."""

Found = TypeVar("Found")

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        steps: updates taken in all.
        resumed: the step that it went on from; 0 for a new run.
        loss: mean of the last steps; NaN without any.
        file: for A1111, Forge and ComfyUI; None if the run was stopped before its end.
    """

    steps: int
    resumed: int
    loss: float
    file: Path | None


def train(
    dataset: Path, output: Path, settings: TrainSettings, told: Told = lambda done, total, words: None
) -> Outcome:
    """Finetune a ControlNet, or go on with a run that was stopped.

    Args:
        dataset: what to train on (see examples.find).
        output: the run's folder; one that holds a run with the same options is gone on with, exactly.
        settings: how.
        told: hears of each step.

    Raises:
        SegkitError: the dataset, a network, an option or the machine does not do; one line with the cure.
    """
    from diffusers.utils import logging

    logging.set_verbosity_error()
    with _accelerator(settings) as accelerator:
        return _Training(dataset, output, settings, accelerator, told).run()


@contextmanager
def _accelerator(settings: TrainSettings) -> Iterator[Accelerator]:
    precision = settings.precision
    if precision == "auto":
        precision = "fp32" if settings.cpu or not torch.cuda.is_available() else "bf16"
    if precision == "fp16" and (settings.cpu or not torch.cuda.is_available()):
        raise UsageError("--precision fp16 needs a GPU; use fp32 or bf16.")
    accelerator = Accelerator(
        mixed_precision="no" if precision == "fp32" else precision, cpu=settings.cpu or not torch.cuda.is_available()
    )
    try:
        if settings.processes not in (0, accelerator.num_processes):
            raise UsageError(
                f"--processes {settings.processes}, but {accelerator.num_processes} run. Start them with: torchrun "
                f"--nproc-per-node {settings.processes} -m trainer run.toml"
            )
        yield accelerator
    finally:
        accelerator.end_training()
        AcceleratorState._reset_state(reset_partial_state=True)  # a second training in one process may differ


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


class _Training:
    """One run: what it works with, and the steps."""

    def __init__(
        self, dataset: Path, output: Path, settings: TrainSettings, accelerator: Accelerator, told: Told
    ) -> None:
        self.settings, self.output, self.accelerator, self.told = settings, output, accelerator, told
        self.found = on_main(accelerator, lambda: examples.find(dataset, settings.palette, settings.allow_any_control))
        self.facts = runs.facts(settings, dataset, self.found, accelerator.num_processes)
        self.stopping = False
        self.losses: list[float] = []

    def run(self) -> Outcome:
        """Take the steps that are left, and write the results."""
        main = self.accelerator.is_main_process
        with ExitStack() as held:
            start = on_main(self.accelerator, lambda: self._claim(held))
            self._prepare(start)
            if main:
                runs.start(self.output, self.settings, self.facts)
            step = start.step if start else 0
            try:
                with self._stoppable(), self._journal(step) as journal:
                    taken = self._steps(step, journal)
            except torch.OutOfMemoryError:
                raise TrainingError(_too_large(self.settings)) from None
            file = self._finish(taken) if taken == self.settings.steps else None
            recent = self.losses[-50:]
            return Outcome(taken, step, sum(recent) / len(recent) if recent else math.nan, file)

    def _claim(self, held: ExitStack) -> Checkpoint | None:
        """Hold the run's folder, and return the checkpoint to go on from."""
        held.enter_context(runs.claimed(self.output))
        start = checkpoints.newest(self.output / "checkpoints")
        if start:
            runs.require_same(self.output, self.facts)
        return start

    def _journal(self, step: int) -> Any:
        if not self.accelerator.is_main_process:
            return nullcontext(None)
        return Journal(self.output, step, self.settings.tracker, asdict(self.settings))

    def _prepare(self, start: Checkpoint | None) -> None:
        """Load the networks, and bring them to where the checkpoint left them."""
        settings, accelerator = self.settings, self.accelerator
        prediction = None if settings.prediction == "auto" else settings.prediction
        base = networks.load_base(settings.base, settings.tokenizer, prediction)
        controlnet = networks.load_controlnet(settings.controlnet, base, settings.seed)
        if settings.controlnet == networks.FRESH:
            require_unchanged(base, controlnet)
        self.base_name = base.name
        dtype = _DTYPES[{"no": "fp32"}.get(accelerator.mixed_precision, accelerator.mixed_precision)]
        self.objective = Objective(base, accelerator.device, dtype)
        unlocked = settings.sd_unlocked
        model = Steered(controlnet, base.unet, settings.only_mid_control, unlocked)
        if settings.gradient_checkpointing:
            controlnet.enable_gradient_checkpointing()
            base.unet.enable_gradient_checkpointing()
        if start:
            _restore(model, start)
        if not unlocked:
            base.unet.to(dtype=dtype)
        optimizer = torch.optim.AdamW(_groups(model, settings), weight_decay=settings.weight_decay)
        self.model, self.optimizer = accelerator.prepare(model, optimizer)
        if start:
            self.optimizer.load_state_dict(start.optimizer())
            if accelerator.scaler is not None:
                accelerator.scaler.load_state_dict(start.state()["scaler"])
        rank, world = accelerator.process_index, accelerator.num_processes
        self.batches = Batches(self.found.train, self.found.palette, settings, rank, world)
        self.held_out = _held_out(self.found, settings)

    def _steps(self, step: int, journal: Journal | None) -> int:
        settings = self.settings
        saved = step
        stream = self.batches.starting_at(step * settings.accumulate)
        while step < settings.steps and not self._asked_to_stop():
            began = time.perf_counter()
            loss = self._update(stream, step)
            step += 1
            numbers = {"loss": loss, "learning_rate": self.optimizer.param_groups[0]["lr"]}
            if step % settings.checkpoint_every == 0 or step == settings.steps:
                numbers |= self._checkpoint(step)
                saved = step
            seconds = time.perf_counter() - began
            self._tell(step, numbers, seconds, journal)
        if saved != step:
            self._checkpoint(step)
        return step

    def _update(self, stream: Iterator[Batch], step: int) -> float:
        """Take one step of the optimizer; return the loss, the mean over all processes."""
        settings, accelerator = self.settings, self.accelerator
        for group in self.optimizer.param_groups:
            group["lr"] = group["highest"] * rate(step, settings)
        total = torch.zeros((), device=accelerator.device)
        for part in range(settings.accumulate):
            last = part == settings.accumulate - 1
            batch = next(stream)
            with nullcontext() if last else accelerator.no_sync(self.model), accelerator.autocast():
                loss = self.objective.loss(self.model, batch) / settings.accumulate
                total += loss.detach()
                if not bool(torch.isfinite(accelerator.reduce(loss.detach(), "mean"))):
                    self._give_up(batch, step)
                accelerator.backward(loss)
        accelerator.clip_grad_norm_(
            [weight for weight in self.model.parameters() if weight.requires_grad], settings.clip
        )
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return float(accelerator.reduce(total, "mean"))

    def _give_up(self, batch: Batch, step: int) -> None:
        """Keep what the step saw, and end the run; the last checkpoint stays."""
        from safetensors.torch import save

        path = self.output / f"not-finite-step-{step + 1}-process-{self.accelerator.process_index}.safetensors"
        seen = {"photos": batch.photos, "controls": batch.controls}
        storage.write(path, save(seen, {"texts": "\n".join(batch.texts)}))
        raise TrainingError(
            f"The loss is no number at step {step + 1}. What the step saw is kept in {path}; the checkpoints before it "
            "stay. Try a lower --learning-rate, or --precision bf16 or fp32."
        )

    def _checkpoint(self, step: int) -> dict[str, float]:
        """Write a checkpoint, measure the loss of held-out photos, and remove old checkpoints."""
        numbers = self._measured()
        accelerator = self.accelerator
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            folder = self.output / "checkpoints"
            scaler = accelerator.scaler.state_dict() if accelerator.scaler is not None else {}
            state = {"scaler": scaler, **self.facts, **numbers}
            model = accelerator.unwrap_model(self.model)
            checkpoints.save(folder, step, _parts(model, self.settings), self.optimizer.state_dict(), state)
            best = runs.best(self.output, step, numbers.get("held_out_loss"))
            checkpoints.prune(folder, self.settings.keep, best)
        accelerator.wait_for_everyone()
        return numbers

    @torch.no_grad()
    def _measured(self) -> dict[str, float]:
        if self.held_out is None:
            return {}
        model = self.accelerator.unwrap_model(self.model)
        count = self.held_out.order.batches
        with self.accelerator.autocast():
            losses = [float(self.objective.loss(model, self.held_out.batch(number))) for number in range(count)]
        return {"held_out_loss": sum(losses) / count}

    def _tell(self, step: int, numbers: dict[str, float], seconds: float, journal: Journal | None) -> None:
        settings = self.settings
        photos = settings.batch_size * settings.accumulate * self.accelerator.num_processes
        numbers["photos_per_second"] = photos / seconds
        if self.accelerator.device.type == "cuda":
            numbers["memory_gb"] = torch.cuda.max_memory_allocated() / 1e9
        self.losses.append(numbers["loss"])
        if journal:
            journal.write(step, numbers)
            memory = f", {numbers['memory_gb']:.1f} GB" if "memory_gb" in numbers else ""
            recent = self.losses[-50:]
            words = f"loss {sum(recent) / len(recent):.4f}, {numbers['photos_per_second']:.2f} photos/s{memory}"
            self.told(step, settings.steps, words)

    def _finish(self, step: int) -> Path | None:
        if not self.accelerator.is_main_process:
            return None
        model = self.accelerator.unwrap_model(self.model)
        facts = {"base": self.base_name, "steps": step, **self.facts["told"]}
        name = self.settings.name or self.output.resolve().name
        return results.write(
            self.output, name, model.controlnet, facts, model.unet if self.settings.sd_unlocked else None
        )

    def _asked_to_stop(self) -> bool:
        """Whether any process was asked to: all leave after the same step."""
        if self.accelerator.num_processes == 1:
            return self.stopping
        flag = torch.tensor(float(self.stopping), device=self.accelerator.device)
        return bool(self.accelerator.reduce(flag, "sum") > 0)

    @contextmanager
    def _stoppable(self) -> Iterator[None]:
        """Let SIGTERM and Ctrl-C end the run after the step at hand, with a checkpoint."""

        def stop(number: int, frame: Any) -> None:
            self.stopping = True

        before = {which: signal.signal(which, stop) for which in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for which, handler in before.items():
                signal.signal(which, handler)


def rate(step: int, settings: TrainSettings) -> float:
    """Return the share of the learning rate that a step, counted from 0, is taken with."""
    if step < settings.warmup:
        return (step + 1) / settings.warmup
    way = (step - settings.warmup) / max(1, settings.steps - settings.warmup)
    return {"constant": 1.0, "linear": 1 - way, "cosine": 0.5 + 0.5 * math.cos(math.pi * way)}[settings.schedule]


def _groups(model: Steered, settings: TrainSettings) -> list[dict[str, Any]]:
    control = [weight for weight in model.controlnet.parameters() if weight.requires_grad]
    decoder = [weight for weight in model.unet.parameters() if weight.requires_grad]
    groups = [{"params": control, "lr": settings.learning_rate, "highest": settings.learning_rate}]
    if decoder:
        groups.append(
            {"params": decoder, "lr": settings.decoder_learning_rate, "highest": settings.decoder_learning_rate}
        )
    return groups


def _parts(model: Steered, settings: TrainSettings) -> dict[str, dict[str, torch.Tensor]]:
    parts = {"controlnet": model.controlnet.state_dict()}
    if settings.sd_unlocked:
        parts["unet"] = {name: weight for name, weight in model.unet.named_parameters() if weight.requires_grad}
    return parts


def _restore(model: Steered, start: Checkpoint) -> None:
    model.controlnet.load_state_dict(start.tensors("controlnet"))
    if (start.folder / "unet.safetensors").is_file():
        model.unet.load_state_dict(start.tensors("unet"), strict=False)


def _held_out(found: Examples, settings: TrainSettings) -> Batches | None:
    """Return batches of one photo each of the split val, the same ones at every checkpoint."""
    from dataclasses import replace

    if not found.val:
        return None
    single = replace(settings, batch_size=1, flip=False, prompt_dropout=0.0, seed=0)
    return Batches(found.val[:HELD_OUT], found.palette, single)


def _too_large(settings: TrainSettings) -> str:
    words = []
    if settings.batch_size > 1:
        half = settings.batch_size // 2
        words.append(f"--batch-size {half} --accumulate {-(-settings.batch_size * settings.accumulate // half)}")
    if not settings.gradient_checkpointing:
        words.append("--gradient-checkpointing")
    if settings.precision == "fp32":
        words.append("--precision bf16")
    if settings.resolution > 512:
        words.append("--resolution 512")
    cure = f"Try {', or '.join(words)}" if words else "A GPU with more memory is needed"
    return f"The GPU's memory is too small for this. {cure}; the run goes on from its last checkpoint."
