"""Inspect a checkpoint: what it contains and what is wrong with it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trainer.checkpoints import configs, identify, ldm, safe_load
from trainer.checkpoints.identify import Faults, Identity

_RELEASED = {"SD1": "sd15", "SD2": "sd21"}


@dataclass(frozen=True)
class Inspection:
    """The result of inspecting one checkpoint.

    Attributes:
        path: the file.
        identity: what it contains.
        faults: what is wrong with its tensors; names and shapes are checked only if `compared`.
        compared: whether the expected names and shapes are known, as for ControlNets of SD1 and SD2.
        metadata: metadata of a .safetensors file.
    """

    path: Path
    identity: Identity
    faults: Faults
    compared: bool
    metadata: dict[str, str]

    @property
    def is_sound(self) -> bool:
        """Whether no fault was found."""
        return not self.faults.sentence()

    def to_json(self) -> dict[str, Any]:
        """Return the attributes as plain values."""
        return {
            "file": str(self.path),
            **self.identity.to_json(),
            "sound": self.is_sound,
            "compared": self.compared,
            "faults": asdict(self.faults),
            "metadata": self.metadata,
        }


def inspect(path: Path) -> Inspection:
    """Identify a checkpoint and check the values of every tensor.

    Args:
        path: a .safetensors, .pth, .pt, .ckpt or .bin file, or a diffusers folder of one network.

    Raises:
        ModelError: the file is not a checkpoint, is damaged, or is a pickle that asks for code.
    """
    tensors = safe_load.read(safe_load.weights_file(path) if path.is_dir() else path)
    identity = identify.identify(tensors)
    expected = _expected(identity)
    faults = identify.faults(tensors, expected, identity.prefix)
    return Inspection(tensors.path, identity, faults, bool(expected), tensors.metadata)


def _expected(identity: Identity) -> Mapping[str, Sequence[int]]:
    """Return the shape of each weight of a ControlNet of a released family; empty for everything else."""
    if identity.kind not in ("controlnet", "controlldm") or identity.family not in _RELEASED:
        return {}
    model = ldm.empty(configs.released(_RELEASED[identity.family]))
    return ldm.shapes(model, identity)
