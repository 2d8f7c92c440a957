"""The networks of a base: built from their configuration and filled with exactly the weights of a file or folder."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segkit.errors import ModelError
from segkit.models import hub
from segkit.words import are, count
from trainer.checkpoints import configs, families, folders, fp8, safe_load, soundness
from trainer.checkpoints.families import Conditioning, Family

if TYPE_CHECKING:
    from torch import Tensor

_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
"""Names in VAEs that diffusers wrote before 0.12, and today's."""

_TEXT_MODEL = "text_model."
"""Prefix of a text encoder's names that depends on the version of transformers, and on the class."""


def fill(build: Callable[[Any], Any], config: Any, weights: "Mapping[str, Tensor]") -> Any:
    """Return a network in fp32 and eval mode, without gradients, with exactly these weights.

    Args:
        build: returns the network of a configuration.
        config: the configuration.
        weights: every weight by the network's name, in any floating-point precision.

    Raises:
        ModelError: a weight is missing, unexpected, of wrong shape, NaN, infinite, or zero or constant throughout.
    """
    return _filled(require_names(build, config, weights, values=True), weights)


def require_names(build: Callable[[Any], Any], config: Any, weights: "Mapping[str, Tensor]", values: bool) -> Any:
    """Return a network without weights, after comparing these with its own; see fill.

    Args:
        build: returns the network of a configuration.
        config: the configuration.
        weights: every weight by the network's name.
        values: check them too; without, of a safetensors file only the header is read.

    Raises:
        ModelError: a weight is missing, unexpected or of wrong shape; if values are checked, or unusable.
    """
    model = _empty(build, config)
    if text := soundness.faults(weights, _shapes(model), values=values).sentence():
        raise ModelError(text)
    return model


def from_folder(kind: Any, folder: Path) -> Any:
    """Load one component of a diffusers folder, whatever its weights' format, precision, variant or number of shards.

    Args:
        kind: UNet2DConditionModel, AutoencoderKL or CLIPTextModel.
        folder: the component's folder.

    Returns:
        The network in fp32 and eval mode, without gradients. Weights that it does not have are ignored, as diffusers
        and transformers ignore them.

    Raises:
        ModelError: the folder is incomplete or damaged, or a weight is unusable.
    """
    model = _unfilled(kind, folder)
    return _filled(model, _fitting_weights(model, folder))


def require_complete(kind: Any, folder: Path) -> Any:
    """Compare the names and shapes of a component's weights with its configuration, which is returned.

    Values are not read; weights in pickles, which can only be read whole, not at all. See from_folder.
    """
    model = _unfilled(kind, folder)
    if all(map(safe_load.has_header, folders.weights_files(folder))):
        _fitting_weights(model, folder, values=False)
    return model.config


def _unfilled(kind: Any, folder: Path) -> Any:
    """Return the network that a folder's configuration describes, without weights."""
    try:
        with hub.quiet():
            return _empty(*_configured(kind, folder))
    except ModelError:
        raise
    except Exception as error:  # errors of both libraries on missing, damaged or foreign configurations
        raise ModelError(f"base={folder}: cannot be loaded ({hub.reason(error)}).") from None


def _fitting_weights(model: Any, folder: Path, values: bool = True) -> safe_load.Tensors:
    """Return the weights in a folder under a network's names.

    Raises:
        ModelError: one of them is missing, or of wrong shape; if values are checked, or unusable.
    """
    weights, shapes = _weights(folder), _shapes(model)
    bare = {name.removeprefix(_TEXT_MODEL): name for name in shapes}
    weights = weights.renamed({bare[name]: name for name in weights if name in bare})
    faults = soundness.faults(weights, shapes, values=values)
    for names, fault in (
        ((*faults.missing, *faults.shapes), "missing or of wrong shape"),
        (faults.broken, "NaN or infinite"),
        (faults.integers, "not floating point"),
        ((*faults.zero, *faults.constant), "zero or of a single value throughout, which no training leaves"),
    ):
        if names:
            raise ModelError(f"base={folder}: {are(len(names), 'weight')} {fault}, such as {names[0]}.")
    return weights


def _configured(kind: Any, folder: Path) -> tuple[Callable[[Any], Any], Any]:
    """Return what builds a network of a kind, and the configuration in a folder."""
    if not hasattr(kind, "from_config"):  # transformers'
        return kind, kind.config_class.from_pretrained(folder, local_files_only=True)
    config = read_json(folder / "config.json")
    if config.get("_class_name", kind.__name__) != kind.__name__:
        raise ModelError(f"base={folder}: contains {config['_class_name']}; expected {kind.__name__}.")
    return kind.from_config, config


def _weights(folder: Path) -> safe_load.Tensors:
    """Return a component's weights under today's names, without the prefix of text encoders."""
    try:
        weights = fp8.decoded(safe_load.read_folder(folder))
    except ModelError as error:
        raise ModelError(f"base={folder}: cannot be loaded ({error}).") from None
    names = {name.removeprefix(_TEXT_MODEL): name for name in weights}
    return weights.renamed({modern(new): name for new, name in names.items()})


def modern(name: str) -> str:
    """Return today's name of a VAE's weight that an older diffusers wrote; other names as they are."""
    attention = rf"(?<=\.)({'|'.join(_OLD_ATTENTION)})(?=\.(weight|bias)$)"
    return re.sub(attention, lambda match: _OLD_ATTENTION[match[0]], name)


def _empty(build: Callable[[Any], Any], config: Any) -> Any:
    """Return a network without weights; its buffers, which no file holds, have their values."""
    from accelerate import init_empty_weights

    with init_empty_weights(include_buffers=False):
        return build(config)


def _shapes(model: Any) -> dict[str, tuple[int, ...]]:
    return {name: tuple(weight.shape) for name, weight in model.state_dict().items() if "position_ids" not in name}


def _filled(model: Any, weights: "Mapping[str, Tensor]") -> Any:
    import torch

    # a copy: the tensors of a safetensors file are views of the file, which may change
    state_dict = {name: weights[name].to(torch.float32, copy=True).contiguous() for name in _shapes(model)}
    model.load_state_dict(state_dict, strict=False, assign=True)
    return model.eval().requires_grad_(False)


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; {} for another value.

    Raises:
        ModelError: the file is missing or damaged.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read ({hub.reason(error)}).") from None
    return content if isinstance(content, dict) else {}


def require_text_to_image(config: Mapping[str, Any], source: str) -> None:
    """Refuse a UNet that was made for another task than text-to-image, by name.

    Args:
        config: configuration of the UNet.
        source: where it was read, for the error message.

    Raises:
        ModelError: the UNet is conditioned on more than text.
    """
    has_classes = bool(config.get("class_embed_type") or config.get("num_class_embeds"))
    purpose = configs.purpose(int(config.get("in_channels", 4)), has_classes)
    if purpose:
        raise ModelError(f"{source}: this base was made for {purpose}. {configs.PURPOSE_ADVICE}")


def require_fitting_text(family: Family, unet: Mapping[str, Any], text_encoders: Sequence[Any], source: str) -> None:
    """Refuse a UNet whose prompts other text encoders encode, such as SDXL's refiner.

    Args:
        family: of the UNet.
        unet: configuration of the UNet.
        text_encoders: the base's.
        source: where they were read, for the error message.

    Raises:
        ModelError: the widths differ.
    """
    expected = families.conditioning(unet)
    if len(text_encoders) != len(family.text_encoders):
        raise ModelError(
            f"{source}: {count(len(text_encoders), 'text encoder')}; expected {len(family.text_encoders)}. Use a "
            f"complete {family}."
        )
    parts = list(zip(family.text_encoders, (network.config for network in text_encoders), strict=True))
    width = sum(config.hidden_size for _, config in parts)
    pooled = sum(config.projection_dim for part, config in parts if part.is_pooled)
    if Conditioning(width, pooled) != expected:
        raise ModelError(
            f"{source}: its text encoders return {width} values a token and {pooled} a prompt, its UNet expects "
            f"{expected.width} and {expected.pooled}. Use a complete text-to-image {family}."
        )


def require_plain_vae(config: Mapping[str, Any], source: str) -> None:
    """Refuse a VAE whose latents are shifted or normalised by channel, as no released one of these families does.

    Args:
        config: configuration of the VAE.
        source: where it was read, for the error message.

    Raises:
        ModelError: its configuration has a shift_factor, latents_mean or latents_std.
    """
    for key in ("shift_factor", "latents_mean", "latents_std"):
        if config.get(key):
            raise ModelError(
                f"{source}: its VAE has {key} = {config[key]}; expected latents that are only scaled, as in "
                f"{', '.join(map(str, families.FAMILIES))}. Use another base."
            )
