"""What a checkpoint holds, and how it is saved and restored, so that a resumed run repeats every bit.

Unsharded, a checkpoint has the trained weights, the optimizer's state, the EMA and the fp16 loss scale. Sharded over
processes (FSDP, DeepSpeed), accelerate writes all of it but the EMA into the folder shards/.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from torch import Tensor

from trainer.checkpoints import store
from trainer.checkpoints.store import Checkpoint
from trainer.step import distributed
from trainer.step.loss import ControlledUNet
from trainer.step.optimizers import EMA

_SHARDS = "shards"


def restore_weights(model: ControlledUNet, start: Checkpoint) -> None:
    """Load the fp32 weights of an unsharded checkpoint; call it before weights are cast or moved."""
    model.controlnet.load_state_dict(start.tensors("controlnet"))
    if (start.folder / "unet.safetensors").is_file():  # the unlocked layers only
        model.unet.load_state_dict(start.tensors("unet"), strict=False)


@dataclass(frozen=True)
class TrainingState:
    """The objects whose state a checkpoint holds.

    Attributes:
        accelerator: the processes, and the fp16 loss scale.
        model: the ControlledUNet as accelerate prepared it.
        optimizer: as accelerate prepared it.
        ema: None without --ema.
    """

    accelerator: Accelerator
    model: Any
    optimizer: Any
    ema: EMA | None = None

    def restore(self, start: Checkpoint) -> None:
        """Load the optimizer's state and the loss scale, and sharded weights; the EMA restores itself."""
        if distributed.is_sharded(self.accelerator):
            self.accelerator.load_state(str(start.folder / _SHARDS))
            return
        self.optimizer.load_state_dict(start.optimizer())
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(start.state()["scaler"])

    def save(self, folder: Path, step: int, record: Mapping[str, Any]) -> None:
        """Write a checkpoint; all processes must call this.

        Args:
            folder: the folder of all checkpoints.
            step: optimizer steps taken.
            record: further values for state.json.

        Raises:
            StorageError: the disk is full; earlier checkpoints are unharmed.
        """
        staged = distributed.on_main(self.accelerator, lambda: store.stage(folder, step))
        if distributed.is_sharded(self.accelerator):
            self.accelerator.save_state(str(staged / _SHARDS))
            self.accelerator.wait_for_everyone()
        distributed.on_main(self.accelerator, lambda: self._finish(staged, step, record))

    def _finish(self, staged: Path, step: int, record: Mapping[str, Any]) -> None:
        if distributed.is_sharded(self.accelerator):
            store.finish(staged, step, {}, None, record)
            return
        scaler = self.accelerator.scaler.state_dict() if self.accelerator.scaler is not None else {}
        store.finish(staged, step, self._weights(), self.optimizer.state_dict(), {"scaler": scaler, **record})

    def _weights(self) -> dict[str, dict[str, Tensor]]:
        model: ControlledUNet = self.accelerator.unwrap_model(self.model)
        parts = {"controlnet": model.controlnet.state_dict()}
        unlocked = {name: weight for name, weight in model.unet.named_parameters() if weight.requires_grad}
        if unlocked:
            parts["unet"] = unlocked
        if self.ema:
            parts["ema"] = self.ema.state_dict()
        return parts
