"""Inspect a checkpoint: what it contains and what is wrong with it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from segkit.errors import ModelError
from segkit.models import hub
from trainer.checkpoints import (
    configs,
    find,
    fitting,
    fp8,
    identify,
    layers,
    ldm,
    prediction,
    quiet,
    runs,
    safe_load,
    single_file,
    soundness,
    union,
)
from trainer.checkpoints.components import read_json
from trainer.checkpoints.identify import Identity
from trainer.checkpoints.safe_load import Tensors
from trainer.checkpoints.soundness import Faults
from trainer.settings import UNION_MODE

_RELEASED = {"SD1": "sd15", "SD2": "sd21", "SDXL": "sdxl"}
_DISTILLED = re.compile(r"turbo|lightning|hyper-?sd|(?<![a-z])lcm|dmd2", re.IGNORECASE)
_TRAINED = ("controlnet", "union", "controlldm", "stable-diffusion", "unet", "vae", "text-encoder")
"""Kinds whose layers no training leaves at one value; a fresh LoRA, for one, is zero in half of them."""


@dataclass(frozen=True)
class Inspection:
    """The result of inspecting one checkpoint.

    Attributes:
        path: the file.
        identity: what it contains.
        faults: what is wrong with its tensors; names and shapes are checked only if `compared`.
        compared: whether the expected names and shapes are known: by config.json for a ControlNet's folder, by the
            released network for other ControlNets.
        metadata: metadata of a .safetensors file.
        notes: what else its values tell: that a ControlNet is fresh, or what a base predicts.
        is_configured: whether there is a config.json, which is compared at the latest when the network is loaded.
    """

    path: Path
    identity: Identity
    faults: Faults
    compared: bool
    metadata: dict[str, str]
    notes: tuple[str, ...] = ()
    is_configured: bool = False

    @property
    def completeness(self) -> str:
        """What is known of a sound checkpoint's names and shapes, as sentences."""
        if self.compared:
            return "Complete; all shapes are as expected and all values are finite."
        if self.is_configured:
            return "All values are finite. Names and shapes are compared with config.json when it is loaded."
        return "All values are finite. Completeness cannot be determined from the file alone."

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
        path: a .safetensors, .pth, .pt, .ckpt or .bin file; a diffusers folder of one network, with all its shards; the
            diffusers folder of a base; a run of segkit train, or "toy", the base that segkit ships.

    Raises:
        ModelError: the file is not a checkpoint, is damaged, or is a pickle that asks for code.
    """
    if str(path) == hub.TOY and not path.exists():
        path = hub.shipped("base")
    if (path / "model_index.json").is_file():
        return _pipeline(path)
    tensors, origin = _read(path)
    identity = identify.identify(tensors)
    tensors = fp8.decoded(tensors)
    config = tensors.path.with_name("config.json")
    is_configured = path.is_dir() and config.is_file()
    expected = _configured(identity, config.parent) if is_configured else _expected(identity, tensors)
    faults = soundness.faults(tensors, expected, identity.prefix)
    if identity.kind == "controlldm":  # the base beside the ControlNet
        values = soundness.faults(tensors, {})
        faults = replace(values, missing=faults.missing, extra=faults.extra, shapes=faults.shapes)
    if identity.kind not in _TRAINED:
        faults = replace(faults, zero=(), constant=(), integers=())  # alphas of LoRAs may be integers
    notes = (*origin, *(() if faults.sentence() else _notes(tensors, identity)))
    return Inspection(tensors.path, identity, faults, bool(expected), tensors.metadata, notes, is_configured)


def _pipeline(folder: Path) -> Inspection:
    """Inspect the networks of a base's diffusers folder as one checkpoint; names begin with the network's.

    Raises:
        ModelError: a network is missing or damaged.
    """
    find.find_base(str(folder))
    encoders = sorted(path.name for path in folder.glob("text_encoder*") if path.is_dir())
    parts = {name: safe_load.read_folder(folder / name) for name in ("unet", *encoders, "vae")}
    unet, *others = (identify.identify(part) for part in parts.values())
    identity = replace(
        unet,
        kind="stable-diffusion",
        precision="+".join(sorted({unet.precision, *(other.precision for other in others)})),
        tensors=unet.tensors + sum(other.tensors for other in others),
        parameters=unet.parameters + sum(other.parameters for other in others),
    )
    return Inspection(folder, identity, _joined(parts), False, {}, tuple(_components(folder)), True)


def _joined(parts: Mapping[str, Tensors]) -> Faults:
    """Return the faults of several networks, each named with its network."""
    faults = {name: asdict(soundness.faults(fp8.decoded(tensors), {})) for name, tensors in parts.items()}
    return Faults(
        **{
            fault: tuple(f"{name}: {tensor}" for name, fault_names in faults.items() for tensor in fault_names[fault])
            for fault in asdict(Faults())
        }
    )


def _components(folder: Path) -> Iterator[str]:
    """Yield what a base's folder has, and what its scheduler says that it predicts."""
    present = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    yield f"A diffusers folder with {', '.join(present)}."
    stored = read_json(folder / "scheduler" / "scheduler_config.json").get("prediction_type", "epsilon")
    yield f"Prediction type: {stored}, as its scheduler says."


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
    if identity.kind in ldm.CONTROLNETS and layers.is_fresh(tensors):
        yield "Its zero convolutions are zero: it is fresh and does not change a picture yet."
    if identity.kind == "union":
        yield _modes(tensors)
    if identity.kind in ("stable-diffusion", "controlldm") and not identity.purpose:
        yield from _predicted(identify.base(tensors))
        yield from _distilled(tensors)


def _modes(tensors: Tensors) -> str:
    """Return how many modes a union ControlNet has, and which of them segkit uses."""
    kinds, recorded = union.kinds(tensors), union.recorded(tensors.metadata)
    text = f"It has {kinds} kinds of control images, modes 0 to {kinds - 1}"
    if recorded is not None:
        return f"{text}; segkit trained it with segmentation maps in mode {recorded}."
    if kinds <= UNION_MODE:
        return f"{text}; which one segmentation maps have must be set (controlnet_mode=N)."
    return f"{text}; segmentation maps have mode {UNION_MODE} unless another one is set (controlnet_mode=N)."


def _predicted(base: Tensors) -> Iterator[str]:
    """Yield what a base predicts, as its file records or as is measured."""
    try:
        with quiet.diffusers():
            unet, text_encoders = single_file.unet(base), single_file.text_encoders(base)
            recorded = prediction.recorded(base)
            yield recorded.sentence if recorded else prediction.guess(unet, text_encoders).sentence
    except ModelError as error:
        yield f"It cannot be used as a base: {error}."


def _distilled(tensors: Tensors) -> Iterator[str]:
    """Yield that a base's name says that it was distilled; its weights have the names and shapes of any other."""
    title = f"{tensors.path.stem} {tensors.metadata.get('modelspec.title', '')}"
    if match := _DISTILLED.search(title):
        yield (
            f"Its name says that it is distilled ({match[0]}): it draws in few steps without guidance. Train on the "
            "full base of its family; the ControlNet fits both."
        )


def _configured(identity: Identity, folder: Path) -> Mapping[str, Sequence[int]]:
    """Return the shape of each weight of a ControlNet by its folder's config.json; empty for other networks."""
    if identity.kind not in ("controlnet", "union"):
        return {}
    return ldm.shapes(ldm.empty(fitting.controlnet_config(folder)), identity)


def _expected(identity: Identity, tensors: Tensors) -> Mapping[str, Sequence[int]]:
    """Return the shape of each weight of a ControlNet of a released family; empty for everything else."""
    if identity.kind not in ldm.CONTROLNETS or identity.family not in _RELEASED:
        return {}
    config = configs.released(_RELEASED[identity.family])
    if identity.width != config["cross_attention_dim"]:
        return {}  # a small network of the family's structure
    model = ldm.empty(ldm.fitted(config, tensors, identity))
    return ldm.shapes(model, identity)
