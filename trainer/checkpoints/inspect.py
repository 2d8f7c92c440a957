"""What a checkpoint file or folder is, and what is wrong with it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trainer.checkpoints import configs, identify, ldm, safe_load
from trainer.checkpoints.identify import Faults, Identity

_SIZES = {"SD1": "sd15", "SD2": "sd21"}


@dataclass(frozen=True)
class Inspection:
    """One file, looked at.

    Attributes:
        path: the file.
        identity: what it is.
        faults: of its tensors; missing ones and shapes are judged where it is known what should be there.
        compared: whether that was known.
        metadata: what the file says of itself.
    """

    path: Path
    identity: Identity
    faults: Faults
    compared: bool
    metadata: dict[str, str]

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong with it."""
        return not self.faults.sentence()

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "file": str(self.path),
            **self.identity.to_json(),
            "sound": self.is_sound,
            "compared": self.compared,
            "faults": asdict(self.faults),
            "metadata": self.metadata,
        }


def inspect(path: Path) -> Inspection:
    """Look at a checkpoint: its kind, family and precision, and every tensor's values.

    Args:
        path: a .safetensors, .pth, .pt, .ckpt or .bin file, or a diffusers folder of one network.

    Raises:
        ModelError: it is none, damaged, or asks for code.
    """
    tensors = safe_load.read(safe_load.weights_file(path) if path.is_dir() else path)
    found = identify.identify(tensors)
    expected = _expected(found)
    wrong = identify.faults(tensors, expected, found.prefix)
    return Inspection(tensors.path, found, wrong, bool(expected), tensors.metadata)


def _expected(found: Identity) -> Mapping[str, Sequence[int]]:
    """Return the shapes that a ControlNet of a known family has; empty for what is not known."""
    if found.kind not in ("controlnet", "controlldm") or found.family not in _SIZES:
        return {}
    model = ldm.empty(configs.released(_SIZES[found.family]))
    return ldm.shapes(model, found)
