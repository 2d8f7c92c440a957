"""Optimisation of the ControlNet in one or several processes: update, measure, and hand over the final weights."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from segkit import storage
from segkit.errors import TrainingError
from segkit.progress import go_on
from trainer.checkpoints.store import Checkpoint
from trainer.data.batches import Batch, Batches
from trainer.settings import TrainSettings
from trainer.step import cpu, distributed, optimizers, resume, reward
from trainer.step.loss import ControlledUNet, DiffusionLoss
from trainer.step.optimizers import EMA
from trainer.step.resume import TrainingState


@dataclass(frozen=True)
class StepResult:
    """An optimizer step whose numbers the device may still be computing.

    Attributes:
        step: counted from 0.
        learning_rate: of the ControlNet.
        loss: scalar; mean of the diffusion loss over all batches and processes.
        off_palette: scalar; off-palette pixels that this process's ControlNet received.
        reward_sums: (6,) sums over all batches and processes: see loss.Terms; None without a reward.
        batches: the training data of the step.
        submitted_at: time.perf_counter() when the host had queued the step.
    """

    step: int
    learning_rate: float
    loss: torch.Tensor
    off_palette: torch.Tensor
    reward_sums: torch.Tensor | None
    batches: list[Batch]
    submitted_at: float


class Learner:
    """The model, its optimizer and its EMA.

    Args:
        settings: of the training.
        accelerator: the processes.
        model: the networks in fp32; modified in place.
        objective: the loss.
        start: checkpoint to resume from; None for a new run.
    """

    def __init__(
        self, settings: TrainSettings, accelerator: Accelerator, model: ControlledUNet, objective: DiffusionLoss,
        start: Checkpoint | None,
    ) -> None:  # fmt: skip
        self._settings, self._accelerator, self._objective = settings, accelerator, objective
        if settings.gradient_checkpointing:
            for network in (model.controlnet, model.unet):
                network.enable_gradient_checkpointing()
        if start and not distributed.is_sharded(accelerator):
            resume.restore_weights(model, start)  # in fp32, before the next line casts a frozen UNet
        if not settings.sd_unlocked:
            model.unet.to(dtype=distributed.weight_dtype(accelerator))
        optimized = self._optimize_for_device(model)
        optimizer = optimizers.optimizer_class(settings)(
            _parameter_groups(optimized), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self._model, self._optimizer = accelerator.prepare(optimized, optimizer)
        if start:
            TrainingState(accelerator, self._model, self._optimizer).restore(start)
        # after the restore: sharded weights are only there now
        self._ema = EMA(self._trainable(), settings.ema, start) if settings.ema else None

    def _optimize_for_device(self, model: ControlledUNet) -> ControlledUNet:
        """Choose the fastest memory format and kernels; results differ only by rounding."""
        on_cpu = self._accelerator.device.type == "cpu"
        if not distributed.is_sharded(self._accelerator):  # FSDP requires contiguous weights
            model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if on_cpu and distributed.weight_dtype(self._accelerator) is torch.float32:
            cpu.use_onednn(model)
        if self._settings.compile:
            for network in (model.controlnet, model.unet):
                network.compile()
        return model

    def update(self, dataloader: Iterator[Batch], step: int) -> StepResult:
        """Take one optimizer step: batches, loss, backward, step.

        Nothing here waits for the device, so the host can prepare the next step meanwhile.

        Args:
            dataloader: yields the batches, of which settings.accumulate are taken.
            step: number of steps taken before.
        """
        settings, accelerator = self._settings, self._accelerator
        peak_rates = (settings.learning_rate, settings.decoder_learning_rate)
        for group, peak in zip(self._optimizer.param_groups, peak_rates, strict=False):  # no decoder group if locked
            group["lr"] = peak * optimizers.lr_factor(step, settings)
        total_loss = torch.zeros((), device=accelerator.device)
        off_palette = torch.zeros((), dtype=torch.long, device=accelerator.device)
        sums = torch.zeros(6, device=accelerator.device)
        batches = [next(dataloader) for _ in range(settings.accumulate)]
        for batch in batches:
            with accelerator.accumulate(self._model):  # gradients are synchronised at the last batch only
                with accelerator.autocast():
                    terms = self._objective.terms(self._model, batch)
                total_loss += accelerator.reduce(terms.diffusion.detach(), "mean")
                off_palette += terms.off_palette
                accelerator.backward(terms.loss)
                sums += terms.sums
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(self._trainable(), settings.clip)
                self._optimizer.step()  # accelerate makes this and zero_grad no-ops until the last batch
                self._optimizer.zero_grad()
        if self._ema:
            self._ema.update(self._trainable())
        learning_rate = self._optimizer.param_groups[0]["lr"]
        reward_sums = accelerator.reduce(sums, "sum") if settings.reward else None
        return StepResult(
            step,
            learning_rate,
            total_loss / settings.accumulate,
            off_palette,
            reward_sums,
            batches,
            time.perf_counter(),
        )

    def read_metrics(self, result: StepResult, run: Path) -> dict[str, float]:
        """Wait until the device has finished a step, and return its metrics.

        Args:
            result: of update().
            run: the run folder, where the data of a step is saved if its loss is not finite.

        Returns:
            "loss", the mean over all processes, and "learning_rate"; with a reward and photos that earned one, also
            those of `reward.metrics`.

        Raises:
            TrainingError: the loss is NaN or infinite.
            MapError: the network received an off-palette pixel.
        """
        self._objective.require_exact(result.off_palette)
        metrics = {"loss": float(result.loss), "learning_rate": result.learning_rate}
        if result.reward_sums is not None:
            metrics |= reward.metrics(result.reward_sums.tolist())
        if not all(map(math.isfinite, metrics.values())):
            self._report_divergence(result, run)
        return metrics

    def _unwrapped(self) -> ControlledUNet:
        model: ControlledUNet = self._accelerator.unwrap_model(self._model)
        return model

    def _trainable(self) -> list[torch.Tensor]:
        return [weight for weight in self._model.parameters() if weight.requires_grad]

    def _report_divergence(self, result: StepResult, run: Path) -> None:
        """Save the step's data for inspection, and raise TrainingError."""
        from safetensors.torch import save

        step = result.step + 1
        name = f"not-finite-step-{step}-process-{self._accelerator.process_index}.safetensors"
        tensors: dict[str, torch.Tensor] = {}
        for place, batch in enumerate(result.batches):
            parts = {"photos": batch.photos, "moments": batch.moments, "controls": batch.controls}
            tensors |= {f"{key}.{place}": tensor for key, tensor in parts.items() if tensor is not None}
        texts = "\n".join(text for batch in result.batches for text in batch.texts)
        storage.write(run / name, save(tensors, {"texts": texts}))
        raise TrainingError(
            f"The loss is NaN or infinite at step {step}. Its data is saved in {run / name}, and earlier checkpoints "
            "remain. Try a lower learning_rate, or precision=bf16 or fp32."
        )

    def measure(self, batches: Batches, count: int, before_batch: Callable[[], None] = go_on) -> list[float]:
        """Return the losses of the first `count` batches without training on them; uses the EMA weights if any.

        Args:
            batches: what to measure.
            count: number of batches.
            before_batch: called before every batch; it may raise to abandon the measurement.

        Raises:
            MapError: the network received an off-palette pixel.
        """
        results = []
        with self.inference() as model:
            for number in range(count):
                before_batch()
                results.append(self._objective.loss(model, batches.batch(number)))
        for _, off_palette in results:
            self._objective.require_exact(off_palette)
        return [float(loss) for loss, _ in results]

    @contextmanager
    def inference(self) -> Iterator[torch.nn.Module]:
        """Yield the ControlledUNet with the weights that would be exported now (EMA if any), without gradients.

        Only with sharded weights must all processes call it at once.
        """
        weights = [weight.detach().clone() for weight in self._trainable()] if self._ema else []
        if self._ema:
            self._ema.copy_to(self._trainable())
        try:
            with torch.no_grad(), self._accelerator.autocast():
                yield self._model if distributed.is_sharded(self._accelerator) else self._unwrapped()
        finally:
            if self._ema:
                with torch.no_grad():
                    torch._foreach_copy_(self._trainable(), weights)

    def save(self, folder: Path, step: int, record: Mapping[str, Any]) -> None:
        """Write a checkpoint; all processes must call this. See resume.TrainingState.save."""
        TrainingState(self._accelerator, self._model, self._optimizer, self._ema).save(folder, step, record)

    def final_model(self) -> ControlledUNet:
        """Return the networks to export (EMA weights if any); all processes must call this, once, at the end.

        Sharded weights are gathered on the CPU of the main process; other processes get their shards.
        """
        if self._ema:
            self._ema.copy_to(self._trainable())
        model = self._unwrapped()
        if distributed.is_sharded(self._accelerator):
            state_dict = self._accelerator.get_state_dict(self._model)
            if self._accelerator.is_main_process:
                with torch.device("cpu"):
                    model = ControlledUNet(
                        type(model.controlnet).from_config(model.controlnet.config),
                        type(model.unet).from_config(model.unet.config),
                    )
                model.load_state_dict(state_dict)
        return model


def _parameter_groups(model: ControlledUNet) -> list[dict[str, Any]]:
    """Return one group for the ControlNet and, with --sd-unlocked, one for the base's unlocked layers."""
    weights = [
        [weight for weight in network.parameters() if weight.requires_grad]
        for network in (model.controlnet, model.unet)
    ]
    return [{"params": group} for group in weights if group]
