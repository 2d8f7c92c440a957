"""The networks in a base's single file (ldm's layout), configured from the shapes of its weights."""

import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segkit.errors import ModelError
from trainer.checkpoints import components, configs, fp8, identify, safe_load, text_layout

if TYPE_CHECKING:
    from diffusers import AutoencoderKL
    from torch import Tensor

_UNET, _VAE = "model.diffusion_model.", "first_stage_model."
_VAE_PARTS = re.compile(rf"({re.escape(_VAE)})?(encoder|decoder|quant_conv|post_quant_conv)\.")
"""Names of a VAE's weights; files of its training also hold its discriminator."""

_Converted = tuple[dict[str, Any], "Mapping[str, Tensor]"]
"""A network's configuration, and its weights under the names of diffusers or transformers."""


def open_base(path: Path) -> tuple[safe_load.Tensors, identify.Identity]:
    """Return the weights of a base's file, without a trainer's prefix and 8-bit numbers, and what the file is.

    Raises:
        ModelError: it is damaged, or not a text-to-image Stable Diffusion.
    """
    tensors = safe_load.read(path)
    identity = identify.identify(tensors)
    if identity.kind not in ("stable-diffusion", "controlldm") or identity.purpose:
        raise ModelError(f"base={path}: {identity.sentence} Expected a Stable Diffusion. {identity.advice}".strip())
    return fp8.decoded(identify.base(tensors)), identity


def unusable_base(path: Path, identity: identify.Identity, error: ModelError) -> ModelError:
    """Return the error that says what is wrong with the networks in a base's file."""
    return ModelError(f"base={path}: {error}. {identity.sentence} Use another file.")


def unet(state: "Mapping[str, Tensor]") -> Any:
    """Return the UNet of a single file.

    Raises:
        ModelError: the UNet is incomplete, or not one of Stable Diffusion 1, 2 or XL.
    """
    from diffusers import UNet2DConditionModel

    return components.fill(UNet2DConditionModel.from_config, *unet_weights(state))


def unet_weights(state: "Mapping[str, Tensor]") -> _Converted:
    """Return the UNet's configuration and weights, whose values are not examined. See unet."""
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    config = configs.unet(state)
    return config, convert_ldm_unet_checkpoint(_part(state, _UNET), config)


def vae(state: "Mapping[str, Tensor]") -> Any:
    """Return the VAE of a single file.

    Raises:
        ModelError: the VAE is incomplete, or not one of Stable Diffusion 1, 2 or XL.
    """
    from diffusers import AutoencoderKL

    return components.fill(AutoencoderKL.from_config, *vae_weights(state))


def vae_weights(state: "Mapping[str, Tensor]") -> _Converted:
    """Return the VAE's configuration and weights, in ldm's or diffusers' layout; values are not examined. See vae."""
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

    config, part = configs.vae(state), _part(state, _VAE)
    if configs.is_diffusers_vae(state):
        weights = {name.removeprefix(_VAE): weight for name, weight in part.items()}
        return config, {components.modern(name): weight for name, weight in weights.items()}
    return config, convert_ldm_vae_checkpoint(part, config)


def text_encoders(state: "Mapping[str, Tensor]") -> tuple[Any, ...]:
    """Return the text encoders of a single file: CLIP's (SD1), OpenCLIP's (SD2), or both (SDXL).

    Raises:
        ModelError: a text encoder is incomplete, or has another number of layers than the released ones.
    """
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    networks = []
    for prefix in text_layout.prefixes(state):
        kind = CLIPTextModelWithProjection if text_layout.has_projection(prefix) else CLIPTextModel
        config, weights = text_encoder_weights(state, prefix)
        networks.append(components.fill(kind, CLIPTextConfig(**config), weights))
    return tuple(networks)


def text_encoder_weights(state: "Mapping[str, Tensor]", prefix: str) -> _Converted:
    """Return a text encoder's configuration and weights, whose values are not examined. See text_encoders."""
    named = text_layout.weights(state, prefix)
    config = text_layout.config(named, prefix)
    return config, text_layout.converted(named, prefix, config["num_hidden_layers"])


def _part(state: "Mapping[str, Tensor]", prefix: str) -> "dict[str, Tensor]":
    return {name: state[name] for name in state if name.startswith(prefix)}


def replacement_vae(path: Path, scaling_factor: float) -> "AutoencoderKL":
    """Load a VAE that replaces a base's, such as SDXL's in the version that does not overflow in fp16.

    Args:
        path: a file with a VAE, alone or in a base, in ldm's or diffusers' layout; or a VAE's diffusers folder, or that
            of a base.
        scaling_factor: factor of the base's latents. A file does not record that of its VAE, and the VAEs of SDXL and
            of the families before have equal shapes.

    Raises:
        ModelError: there is no VAE, or a damaged one, or one for other latents than the base's.
    """
    from diffusers import AutoencoderKL

    network: AutoencoderKL
    if path.is_dir():
        network = components.from_folder(AutoencoderKL, _vae_folder(path))
    else:
        network = _from_vae_file(path, scaling_factor, components.fill)
    _require_latents(network.config, path, scaling_factor)
    return network


def require_replacement_vae(path: Path, scaling_factor: float) -> Mapping[str, Any]:
    """Refuse what `replacement_vae` refuses, but for values, which are not read; return the VAE's configuration.

    Weights in pickles are read whole if they are in a file, and not compared if they are in a folder.
    """
    from diffusers import AutoencoderKL

    config: Mapping[str, Any]
    if path.is_dir():
        config = components.require_complete(AutoencoderKL, _vae_folder(path))
    else:
        config = _from_vae_file(path, scaling_factor, partial(components.require_names, values=False)).config
    _require_latents(config, path, scaling_factor)
    return config


def _require_latents(config: Mapping[str, Any], path: Path, scaling_factor: float) -> None:
    """Refuse a VAE for other latents than the base's."""
    for name, expected in (("scaling_factor", scaling_factor), ("latent_channels", 4)):
        if config[name] != expected:
            raise ModelError(
                f"vae={path}: its {name} is {config[name]}, that of the base's latents {expected}. Use a "
                "VAE of the base's family."
            )


def _vae_folder(path: Path) -> Path:
    return path / "vae" if (path / "vae").is_dir() else path


def _from_vae_file(path: Path, scaling_factor: float, network: Callable[..., Any]) -> Any:
    """Return the VAE of a file, as it is built of a class, a configuration and weights: see components.fill."""
    from diffusers import AutoencoderKL

    tensors = safe_load.read(path)
    identity = identify.identify(tensors)
    state = fp8.decoded(identify.base(tensors))
    if identity.kind == "vae":
        state = state.renamed({_VAE + name.removeprefix(_VAE): name for name in state if _VAE_PARTS.match(name)})
    try:
        if not any(name.startswith(_VAE) for name in state):
            raise ModelError("it contains no VAE")
        config, weights = vae_weights(state)
        return network(AutoencoderKL.from_config, config | {"scaling_factor": scaling_factor}, weights)
    except ModelError as error:
        raise ModelError(f"vae={path}: {error}. {identity.sentence} Use another file.") from None
