"""Refuse a ControlNet or a VAE that does not fit its base, before anything slow begins.

Networks are compared by configurations, and by names and shapes in headers of safetensors files. Pickles can only be
read whole, so those of bases and ControlNets are compared when they are loaded, and so are all values.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segkit.errors import ModelError
from trainer.checkpoints import components, configs, families, identify, ldm, safe_load, single_file, union
from trainer.checkpoints.components import read_json
from trainer.checkpoints.families import Family
from trainer.checkpoints.find import find_base
from trainer.checkpoints.runs import Weights
from trainer.settings import FRESH

_Config = Mapping[str, Any]


def require_fitting(base: str, weights: Weights | None, vae: str, mode: int | None) -> None:
    """Refuse a ControlNet or a VAE that does not fit the base; see the module's docstring.

    Args:
        base: as for load.load_base.
        weights: of the ControlNet; None for a fresh one.
        vae: as for load.load_base.
        mode: as for load.load_controlnet.

    Raises:
        ModelError: one of them does not fit, or is missing or damaged; or the ControlNet has no such mode.
    """
    source = find_base(base)
    unet, latents = _base(source, vae)
    if vae:
        latents = _replacement(vae, unet, latents)
    if weights and {"block_out_channels", "cross_attention_dim"} <= unet.keys():
        _require_controlnet(weights, unet, latents)
    _require_mode(weights, mode)


def _base(source: Path, vae: str) -> tuple[_Config, _Config]:
    """Return the configurations of a base's UNet and VAE; {} for those that are not known before it is loaded."""
    if source.is_dir():
        return read_json(source / "unet" / "config.json"), read_json(source / "vae" / "config.json")
    if not safe_load.has_header(source):
        return {}, {}
    state, identity = single_file.open_base(source)
    try:
        return configs.unet(state), {} if vae else configs.vae(state)
    except ModelError as error:
        raise single_file.unusable_base(source, identity, error) from None


def _replacement(vae: str, unet: _Config, latents: _Config) -> _Config:
    """Return the configuration of a VAE that replaces a base's own.

    Args:
        vae: file or folder.
        unet: configuration of the base's UNet; {} if it is not known.
        latents: configuration of the base's VAE; {} if it is not known.
    """
    path = find_vae(vae)
    if not unet:
        return {}
    family = families.of(unet)
    config = single_file.require_replacement_vae(path, latents.get("scaling_factor", family.scaling_factor))
    components.require_plain_vae(config, f"vae={vae}")
    if latents:
        require_same_sides(config, latents, family, vae)
    return config


def find_vae(name: str) -> Path:
    """Return the file or folder of a VAE.

    Raises:
        ModelError: there is none.
    """
    path = Path(name).expanduser()
    if not path.exists():
        raise ModelError(f"vae={name}: no such file or folder. Expected a .safetensors file or a diffusers folder.")
    return path


def require_same_sides(vae: _Config, latents: _Config, family: Family, name: str) -> None:
    """Refuse a VAE that downsamples otherwise than the base's own; both are configurations."""
    if configs.vae_scale_factor(vae) != configs.vae_scale_factor(latents):
        raise ModelError(f"vae={name}: downsamples otherwise than the base's VAE. Use one of {family}.")


def _require_controlnet(weights: Weights, unet: _Config, latents: _Config) -> None:
    if weights.path.is_dir():
        require_configured(controlnet_config(weights.path), unet, weights.name)
    elif safe_load.has_header(weights.path):
        tensors = safe_load.read(weights.path)
        require_family(tensors, unet, weights.name)
        if "block_out_channels" in latents:
            ldm.require_fitting(tensors, configs.controlnet(unet, latents))


def _require_mode(weights: Weights | None, mode: int | None) -> None:
    """Refuse a mode that the ControlNet does not have: see union.require_mode."""
    if weights is None:
        union.require_mode(0, mode, None, FRESH)
    elif weights.path.is_dir():
        config = controlnet_config(weights.path)
        kinds = int(config.get("num_control_type", 0)) if config["_class_name"] == union.CLASS else 0
        metadata = safe_load.read_folder(weights.path).metadata if kinds else {}
        union.require_mode(kinds, mode, union.recorded(metadata), weights.name)
    elif safe_load.has_header(weights.path):
        tensors = safe_load.read(weights.path)
        recorded = union.recorded(tensors.metadata) if weights.mode is None else weights.mode
        union.require_mode(union.kinds(tensors), mode, recorded, weights.name)


def require_family(tensors: safe_load.Tensors, unet: _Config, name: str) -> None:
    """Refuse the weights of a ControlNet of another family than the base's, if they tell their family.

    Args:
        tensors: the weights.
        unet: configuration of the base's UNet.
        name: of the ControlNet, for the message.

    Raises:
        ModelError: the family differs.
    """
    identity, family = identify.identify(tensors), families.of(unet)
    known = next((one for one in families.FAMILIES if one.name == identity.family), family)
    if identity.kind in ldm.CONTROLNETS and known != family:
        raise ModelError(f"controlnet={name}: made for {known}, the base is of {family}. {_cure(unet)}")


def _cure(unet: _Config) -> str:
    """Return which ControlNets fit a base, by its UNet's configuration; no released one fits a toy base."""
    family = families.of(unet)
    if unet["cross_attention_dim"] != family.width:
        return f"Use a ControlNet that was trained on this base, or controlnet={FRESH}."
    released = f", such as {family.controlnet}" if family.controlnet else ""
    return f"Use a ControlNet of the base's family, {family}{released}."


def require_configured(stored: _Config, unet: _Config, name: str) -> None:
    """Refuse a ControlNet whose configuration does not fit that of the base's UNet.

    Args:
        stored: configuration of the ControlNet.
        unet: configuration of the base's UNet.
        name: of the ControlNet, for the message.

    Raises:
        ModelError: it was made for another task, family or size.
    """
    if purpose := configs.purpose(int(stored.get("in_channels", 4))):
        raise ModelError(f"controlnet={name}: made for {purpose}. Use a ControlNet of a text-to-image base.")
    family, other = families.of(unet), families.of(stored)
    cure = _cure(unet)
    if stored.get("_class_name") == union.CLASS:
        union.require_sized(stored, f"controlnet={name}")
    if other != family:
        raise ModelError(f"controlnet={name}: made for {other}, the base is of {family}. {cure}")
    if stored.get("cross_attention_dim") != unet["cross_attention_dim"]:
        raise ModelError(
            f"controlnet={name}: its cross_attention_dim is {stored.get('cross_attention_dim')}, the base's is "
            f"{unet['cross_attention_dim']}. {cure}"
        )
    configs.require_heads(stored, f"controlnet={name}")
    if configs.heads(stored) != configs.heads(unet):
        raise ModelError(
            f"controlnet={name}: {configs.heads(stored)} attention heads, the base has {configs.heads(unet)}. {cure}"
        )
    if families.conditioning(stored) != families.conditioning(unet):
        raise ModelError(f"controlnet={name}: not conditioned on the prompt and the size as the base is. {cure}")


def controlnet_config(folder: Path) -> dict[str, Any]:
    """Return the configuration in a ControlNet's diffusers folder.

    Raises:
        ModelError: the folder contains another network, or none.
    """
    if not (folder / "config.json").is_file():
        is_pipeline = (folder / "model_index.json").is_file()
        reason = "is a complete Stable Diffusion; use it as the base" if is_pipeline else "contains no ControlNet"
        raise ModelError(f"controlnet={folder}: {reason}. Expected a finished run, or a ControlNet's diffusers folder.")
    config = read_json(folder / "config.json")
    if config.get("_class_name") not in ("ControlNetModel", union.CLASS):
        raise ModelError(
            f"controlnet={folder}: contains {config.get('_class_name', 'no network')}. Expected a ControlNetModel."
        )
    return config
