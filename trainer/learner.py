"""The networks and their optimizer, over one process or several: updated, measured, saved, restored."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from segkit import storage
from segkit.errors import TrainingError
from segkit.settings import TrainSettings
from trainer import checkpoints, networks, processes
from trainer.batches import Batch, Batches
from trainer.checkpoints import Checkpoint
from trainer.objective import Objective, Steered, require_unchanged

_DTYPES = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_SHARDS = "shards"


class Learner:
    """What learns.

    Args:
        settings: of the training.
        accelerator: the processes.
        start: where an earlier run was; None for a new one.

    Raises:
        ModelError: a network is missing, damaged or of another kind.
    """

    def __init__(self, settings: TrainSettings, accelerator: Accelerator, start: Checkpoint | None) -> None:
        self._settings, self._accelerator = settings, accelerator
        self._sharded = processes.is_sharded(accelerator)
        base = networks.load_base(settings.base, settings.tokenizer, settings.told_prediction)
        controlnet = networks.load_controlnet(settings.controlnet, base, settings.seed)
        if settings.controlnet == networks.FRESH:
            require_unchanged(base, controlnet)
        self.base_name = base.name
        dtype = _DTYPES[accelerator.mixed_precision]
        self._objective = Objective(base, accelerator.device, dtype)
        model = Steered(controlnet, base.unet, settings.only_mid_control, settings.sd_unlocked)
        if settings.gradient_checkpointing:
            controlnet.enable_gradient_checkpointing()
            base.unet.enable_gradient_checkpointing()
        if start and not self._sharded:
            _restore(model, start)
        if not settings.sd_unlocked:
            base.unet.to(dtype=dtype)
        self._begin(model, start)

    def _begin(self, model: Steered, start: Checkpoint | None) -> None:
        accelerator = self._accelerator
        optimizer = torch.optim.AdamW(
            _groups(model), self._settings.learning_rate, weight_decay=self._settings.weight_decay
        )
        self._model, self._optimizer = accelerator.prepare(model, optimizer)
        if start and self._sharded:
            accelerator.load_state(str(start.folder / _SHARDS))
        elif start:
            self._optimizer.load_state_dict(start.optimizer())
            if accelerator.scaler is not None:
                accelerator.scaler.load_state_dict(start.state()["scaler"])

    def update(self, stream: Iterator[Batch], step: int, output: Path) -> dict[str, float]:
        """Take one step.

        Args:
            stream: as many batches are taken of it as settings.accumulate says.
            step: steps taken before.
            output: the run's folder, for what a step saw whose loss is no number.

        Returns:
            The loss, its mean over all processes, and the learning rate.

        Raises:
            TrainingError: the loss is no number.
        """
        settings, accelerator = self._settings, self._accelerator
        highest = (settings.learning_rate, settings.decoder_learning_rate)
        for group, most in zip(self._optimizer.param_groups, highest, strict=False):  # the decoder's may be missing
            group["lr"] = most * rate(step, settings)
        total = torch.zeros((), device=accelerator.device)
        for _ in range(settings.accumulate):
            batch = next(stream)
            with accelerator.accumulate(self._model):
                with accelerator.autocast():
                    loss = self._objective.loss(self._model, batch)
                mean = accelerator.reduce(loss.detach(), "mean")
                if not bool(torch.isfinite(mean)):
                    self._give_up(batch, step, output)
                total += mean
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(self._trainable(), settings.clip)
                self._optimizer.step()
                self._optimizer.zero_grad(set_to_none=True)
        return {"loss": float(total) / settings.accumulate, "learning_rate": self._optimizer.param_groups[0]["lr"]}

    def _trainable(self) -> list[torch.nn.Parameter]:
        return [weight for weight in self._model.parameters() if weight.requires_grad]

    def _give_up(self, batch: Batch, step: int, output: Path) -> None:
        """Keep what the step saw, and end the run; the last checkpoint stays."""
        from safetensors.torch import save

        path = output / f"not-finite-step-{step + 1}-process-{self._accelerator.process_index}.safetensors"
        seen = {"photos": batch.photos, "controls": batch.controls}
        storage.write(path, save(seen, {"texts": "\n".join(batch.texts)}))
        raise TrainingError(
            f"The loss is no number at step {step + 1}. What the step saw is kept in {path}; the checkpoints before it "
            "stay. Try a lower --learning-rate, or --precision bf16 or fp32."
        )

    def cut(self, texts: Sequence[str]) -> int:
        """Return how many prompts are longer than the text encoder reads: their ends are not learnt from."""
        return self._objective.cut(texts)

    @torch.no_grad()
    def measure(self, held_out: Batches) -> float:
        """Return the mean loss of one epoch of batches; nothing is learnt."""
        count = held_out.order.batches
        with self._accelerator.autocast():
            losses = [float(self._objective.loss(self._model, held_out.batch(number))) for number in range(count)]
        return sum(losses) / count

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
        staged = processes.on_main(accelerator, lambda: checkpoints.stage(folder, step))
        if self._sharded:
            accelerator.save_state(str(staged / _SHARDS))
            accelerator.wait_for_everyone()
        processes.on_main(accelerator, lambda: self._finish(staged, step, state))

    def _finish(self, staged: Path, step: int, state: Mapping[str, Any]) -> None:
        scaler = self._accelerator.scaler.state_dict() if self._accelerator.scaler is not None else {}
        if self._sharded:
            checkpoints.finish(staged, step, {}, None, state)
        else:
            parts = self._parts(self._accelerator.unwrap_model(self._model))
            checkpoints.finish(staged, step, parts, self._optimizer.state_dict(), {"scaler": scaler, **state})

    def _parts(self, model: Steered) -> dict[str, dict[str, torch.Tensor]]:
        parts = {"controlnet": model.controlnet.state_dict()}
        if self._settings.sd_unlocked:
            parts["unet"] = {name: weight for name, weight in model.unet.named_parameters() if weight.requires_grad}
        return parts

    def trained(self) -> Steered:
        """Return the networks, whole in the main process; all processes call it."""
        model: Steered = self._accelerator.unwrap_model(self._model)
        if self._sharded:
            whole = self._accelerator.get_state_dict(self._model)
            if self._accelerator.is_main_process:
                with torch.device("cpu"):
                    model = Steered(
                        type(model.controlnet).from_config(model.controlnet.config),
                        type(model.unet).from_config(model.unet.config),
                    )
                model.load_state_dict(whole)
        return model


def rate(step: int, settings: TrainSettings) -> float:
    """Return the share of the learning rate that a step, counted from 0, is taken with."""
    if step < settings.warmup:
        return (step + 1) / settings.warmup
    way = (step - settings.warmup) / max(1, settings.steps - settings.warmup)
    return {"constant": 1.0, "linear": 1 - way, "cosine": 0.5 + 0.5 * math.cos(math.pi * way)}[settings.schedule]


def _groups(model: Steered) -> list[dict[str, Any]]:
    """Return what is trained: of the ControlNet, and of the base where it is unlocked."""
    parts = (model.controlnet, model.unet)
    groups = [[weight for weight in part.parameters() if weight.requires_grad] for part in parts]
    return [{"params": weights} for weights in groups if weights]


def _restore(model: Steered, start: Checkpoint) -> None:
    model.controlnet.load_state_dict(start.tensors("controlnet"))
    if (start.folder / "unet.safetensors").is_file():
        model.unet.load_state_dict(start.tensors("unet"), strict=False)
