"""Inspect a checkpoint: what it contains and what is wrong with it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from segkit.errors import ModelError
from trainer.checkpoints import configs, fp8, identify, layers, ldm, prediction, quiet, runs, safe_load, single_file
from trainer.checkpoints.identify import Faults, Identity
from trainer.checkpoints.safe_load import Tensors

_RELEASED = {"SD1": "sd15", "SD2": "sd21"}
_TRAINED = ("controlnet", "controlldm", "stable-diffusion", "unet", "vae", "text-encoder")
"""Kinds whose layers no training leaves at one value; a fresh LoRA, for one, is zero in half of them."""


@dataclass(frozen=True)
class Inspection:
    """The result of inspecting one checkpoint.

    Attributes:
        path: the file.
        identity: what it contains.
        faults: what is wrong with its tensors; names and shapes are checked only if `compared`.
        compared: whether the expected names and shapes are known, as for ControlNets of SD1 and SD2.
        metadata: metadata of a .safetensors file.
        notes: what else its values tell: that a ControlNet is fresh, or what a base predicts.
    """

    path: Path
    identity: Identity
    faults: Faults
    compared: bool
    metadata: dict[str, str]
    notes: tuple[str, ...] = ()

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
            "notes": list(self.notes),
        }


def inspect(path: Path) -> Inspection:
    """Identify a checkpoint and check the values of every tensor.

    Args:
        path: a .safetensors, .pth, .pt, .ckpt or .bin file, or a diffusers folder of one network, with all its shards.

    Raises:
        ModelError: the file is not a checkpoint, is damaged, or is a pickle that asks for code.
    """
    tensors, origin = _read(path)
    identity = identify.identify(tensors)
    tensors = fp8.decoded(tensors)
    expected = _expected(identity)
    faults = identify.faults(tensors, expected, identity.prefix)
    if identity.kind == "controlldm":  # the base beside the ControlNet
        values = identify.faults(tensors, {})
        faults = replace(values, missing=faults.missing, extra=faults.extra, shapes=faults.shapes)
    if identity.kind not in _TRAINED:
        faults = replace(faults, zero=(), constant=())
    notes = (*origin, *(() if faults.sentence() else _notes(tensors, identity)))
    return Inspection(tensors.path, identity, faults, bool(expected), tensors.metadata, notes)


def _read(path: Path) -> tuple[Tensors, tuple[str, ...]]:
    """Open a file, a network's folder or the ControlNet of a run; return its tensors and which step of a run it is."""
    if not path.is_dir():
        return safe_load.read(path), ()
    if not (path / "run.toml").is_file():
        return safe_load.read_folder(path), ()
    weights = runs.of_run(path, str(path))
    tensors = safe_load.read_folder(weights.path) if weights.path.is_dir() else safe_load.read(weights.path)
    return tensors, (weights.note,)


def _notes(tensors: Tensors, identity: Identity) -> Iterator[str]:
    """Yield what the values of a sound checkpoint tell."""
    if identity.kind in ("controlnet", "controlldm") and layers.is_fresh(tensors):
        yield "Its zero convolutions are zero: it is fresh and does not change a picture yet."
    if identity.kind in ("stable-diffusion", "controlldm") and identity.family != "SDXL" and not identity.purpose:
        base = identify.base(tensors)
        try:
            with quiet.diffusers():
                yield prediction.guess(single_file.unet(base), single_file.text_encoder(base)).sentence
        except ModelError as error:
            yield f"It cannot be used as a base: {error}."


def _expected(identity: Identity) -> Mapping[str, Sequence[int]]:
    """Return the shape of each weight of a ControlNet of a released family; empty for everything else."""
    if identity.kind not in ("controlnet", "controlldm") or identity.family not in _RELEASED:
        return {}
    model = ldm.empty(configs.released(_RELEASED[identity.family]))
    return ldm.shapes(model, identity)
