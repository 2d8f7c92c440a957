"""The networks and their optimizer, over one process or several: updated, measured, saved, restored."""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from segkit import storage
from segkit.errors import TrainingError
from trainer.checkpoints import store
from trainer.checkpoints.store import Checkpoint
from trainer.data.batches import Batch, Batches
from trainer.settings import TrainSettings
from trainer.step import cpu, distributed, optimizers
from trainer.step.loss import ControlledUNet, DiffusionLoss

_SHARDS = "shards"


@dataclass(frozen=True)
class StepResult:
    """A step whose numbers the device may still be working on.

    Attributes:
        number: steps taken before.
        rate: the learning rate.
        loss: mean over all batches and processes.
        off: pixels off the palette that this process's ControlNet was given.
        batches: what the step saw.
        at: when the host had sent it off, by time.perf_counter.
    """

    number: int
    rate: float
    loss: torch.Tensor
    off: torch.Tensor
    batches: list[Batch]
    at: float


class Learner:
    """What learns.

    Args:
        settings: of the training.
        accelerator: the processes.
        model: the networks, in fp32; they are taken.
        objective: what is learnt.
        start: where an earlier run was; None for a new one.
    """

    def __init__(
        self, settings: TrainSettings, accelerator: Accelerator, model: ControlledUNet, objective: DiffusionLoss,
        start: Checkpoint | None,
    ) -> None:  # fmt: skip
        self._settings, self._accelerator, self._objective = settings, accelerator, objective
        self._sharded = distributed.is_sharded(accelerator)
        if settings.gradient_checkpointing:
            for part in (model.controlnet, model.unet):
                part.enable_gradient_checkpointing()
        if start and not self._sharded:
            _restore(model, start)
        if not settings.sd_unlocked:
            model.unet.to(dtype=distributed.dtype(accelerator))
        self._begin(self._made_quick(model), start)

    def _made_quick(self, model: ControlledUNet) -> ControlledUNet:
        """Return the networks as their device is fastest with them; what they compute stays, to rounding."""
        on_cpu = self._accelerator.device.type == "cpu"
        if not self._sharded:  # FSDP takes contiguous weights only
            model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if on_cpu and distributed.dtype(self._accelerator) is torch.float32:
            cpu.use_onednn(model)
        if self._settings.compile:
            for part in (model.controlnet, model.unet):
                part.compile()
        return model

    def _begin(self, model: ControlledUNet, start: Checkpoint | None) -> None:
        accelerator = self._accelerator
        optimizer = optimizers.optimizer(self._settings)(
            _groups(model), lr=self._settings.learning_rate, weight_decay=self._settings.weight_decay
        )
        self._model, self._optimizer = accelerator.prepare(model, optimizer)
        if start and self._sharded:
            accelerator.load_state(str(start.folder / _SHARDS))
        elif start:
            self._optimizer.load_state_dict(start.optimizer())
            if accelerator.scaler is not None:
                accelerator.scaler.load_state_dict(start.state()["scaler"])
        self._mean = optimizers.EMA(self._trainable(), self._settings.ema, start) if self._settings.ema else None

    def update(self, stream: Iterator[Batch], step: int) -> StepResult:
        """Take one step; the host does not wait for its numbers.

        Args:
            stream: as many batches are taken of it as settings.accumulate says.
            step: steps taken before.
        """
        settings, accelerator = self._settings, self._accelerator
        highest = (settings.learning_rate, settings.decoder_learning_rate)
        for group, most in zip(self._optimizer.param_groups, highest, strict=False):  # the decoder's may be missing
            group["lr"] = most * optimizers.rate(step, settings)
        total = torch.zeros((), device=accelerator.device)
        off = torch.zeros((), dtype=torch.long, device=accelerator.device)
        batches = [next(stream) for _ in range(settings.accumulate)]
        for batch in batches:
            with accelerator.accumulate(self._model):
                with accelerator.autocast():
                    loss, strange = self._objective.loss(self._model, batch)
                total += accelerator.reduce(loss.detach(), "mean")
                off += strange
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(self._trainable(), settings.clip)
                self._optimizer.step()
                self._optimizer.zero_grad()
        if self._mean:
            self._mean.follow(self._trainable())
        rate = self._optimizer.param_groups[0]["lr"]
        return StepResult(step, rate, total / settings.accumulate, off, batches, time.perf_counter())

    def read_metrics(self, step: StepResult, output: Path) -> dict[str, float]:
        """Wait for a step's numbers, and look at them.

        Args:
            step: taken.
            output: the run's folder, for what a step saw whose loss is no number.

        Returns:
            The loss, its mean over all processes, and the learning rate.

        Raises:
            TrainingError: the loss is no number. No checkpoint was written since.
            MapError: the network was given a pixel off the palette.
        """
        self._objective.require_exact(step.off)
        loss = float(step.loss)
        if not math.isfinite(loss):
            self._give_up(step, output)
        return {"loss": loss, "learning_rate": step.rate}

    def _trainable(self) -> list[torch.Tensor]:
        return [weight for weight in self._model.parameters() if weight.requires_grad]

    def _give_up(self, step: StepResult, output: Path) -> None:
        """Keep what the step saw, and end the run; the last checkpoint stays."""
        from safetensors.torch import save

        name = f"not-finite-step-{step.number + 1}-process-{self._accelerator.process_index}.safetensors"
        seen: dict[str, torch.Tensor] = {}
        for place, batch in enumerate(step.batches):
            parts = {"photos": batch.photos, "moments": batch.moments, "controls": batch.controls}
            seen |= {f"{name}.{place}": tensor for name, tensor in parts.items() if tensor is not None}
        texts = "\n".join(text for batch in step.batches for text in batch.texts)
        storage.write(output / name, save(seen, {"texts": texts}))
        raise TrainingError(
            f"The loss is no number at step {step.number + 1}. What the step saw is kept in {output / name}; the "
            "checkpoints before it stay. Try a lower --learning-rate, or --precision bf16 or fp32."
        )

    def measure(self, batches: Batches, count: int) -> list[float]:
        """Return the losses of the first batches; nothing is learnt. With --ema, those of the mean weights.

        Raises:
            MapError: the network was given a pixel off the palette.
        """
        with self.shown() as model:
            found = [self._objective.loss(model, batches.batch(number)) for number in range(count)]
        for _, off in found:
            self._objective.require_exact(off)
        return [float(loss) for loss, _ in found]

    @contextmanager
    def shown(self) -> Iterator[torch.nn.Module]:
        """Give the networks (Steered) as the run would end with them, for use without gradients."""
        own = [weight.detach().clone() for weight in self._trainable()] if self._mean else []
        if self._mean:
            self._mean.put_into(self._trainable())
        try:
            with torch.no_grad(), self._accelerator.autocast():
                yield self._model
        finally:
            if self._mean:
                with torch.no_grad():
                    torch._foreach_copy_(self._trainable(), own)

    def save(self, folder: Path, step: int, state: Mapping[str, Any]) -> None:
        """Write a checkpoint; all processes call it.

        Args:
            folder: of all checkpoints.
            step: steps taken.
            state: what else a resumed run must know.

        Raises:
            StorageError: the disk is full; the checkpoints before stay.
        """
        accelerator = self._accelerator
        staged = distributed.on_main(accelerator, lambda: store.stage(folder, step))
        if self._sharded:
            accelerator.save_state(str(staged / _SHARDS))
            accelerator.wait_for_everyone()
        distributed.on_main(accelerator, lambda: self._finish(staged, step, state))

    def _finish(self, staged: Path, step: int, state: Mapping[str, Any]) -> None:
        scaler = self._accelerator.scaler.state_dict() if self._accelerator.scaler is not None else {}
        if self._sharded:
            store.finish(staged, step, {}, None, state)
        else:
            parts = self._parts(self._accelerator.unwrap_model(self._model))
            store.finish(staged, step, parts, self._optimizer.state_dict(), {"scaler": scaler, **state})

    def _parts(self, model: ControlledUNet) -> dict[str, dict[str, torch.Tensor]]:
        parts = {"controlnet": model.controlnet.state_dict()}
        if self._settings.sd_unlocked:
            parts["unet"] = {name: weight for name, weight in model.unet.named_parameters() if weight.requires_grad}
        if self._mean:
            parts["ema"] = self._mean.state()
        return parts

    def trained(self) -> ControlledUNet:
        """Return the networks as they are to be used, whole in the main process; all processes call it at the end."""
        if self._mean:
            self._mean.put_into(self._trainable())
        model: ControlledUNet = self._accelerator.unwrap_model(self._model)
        if self._sharded:
            whole = self._accelerator.get_state_dict(self._model)
            if self._accelerator.is_main_process:
                with torch.device("cpu"):
                    model = ControlledUNet(
                        type(model.controlnet).from_config(model.controlnet.config),
                        type(model.unet).from_config(model.unet.config),
                    )
                model.load_state_dict(whole)
        return model


def _groups(model: ControlledUNet) -> list[dict[str, Any]]:
    """Return what is trained: of the ControlNet, and of the base where it is unlocked."""
    parts = (model.controlnet, model.unet)
    groups = [[weight for weight in part.parameters() if weight.requires_grad] for part in parts]
    return [{"params": weights} for weights in groups if weights]


def _restore(model: ControlledUNet, start: Checkpoint) -> None:
    model.controlnet.load_state_dict(start.tensors("controlnet"))
    if (start.folder / "unet.safetensors").is_file():
        model.unet.load_state_dict(start.tensors("unet"), strict=False)
