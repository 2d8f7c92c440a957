"""Load the networks of a training: the frozen base from a folder, a single file or the hub, and the ControlNet."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from segkit.errors import ModelError
from segkit.models import hub, tokens
from trainer.checkpoints import configs, identify, ldm, safe_load

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
    from transformers import CLIPTextModel

Prediction = Literal["epsilon", "v_prediction"]
FRESH = "fresh"
_COMPONENTS = ("unet", "vae", "text_encoder", "scheduler")
_HUB_FILES = ["model_index.json", "*/*.json", "*/merges.txt", "*/*.safetensors"]


@dataclass(frozen=True)
class Base:
    """A Stable Diffusion in fp32 and eval mode, without gradients.

    Attributes:
        name: hub id, or name of the folder or file.
        unet, vae, text_encoder, tokenizer: the components.
        prediction: prediction type of the UNet.
        family: "SD1", "SD2", or "" for any other cross-attention width.
    """

    name: str
    unet: "UNet2DConditionModel"
    vae: "AutoencoderKL"
    text_encoder: "CLIPTextModel"
    tokenizer: Any
    prediction: Prediction
    family: str


def load_base(name: str, tokenizer: str = "", prediction: Prediction | None = None) -> Base:
    """Load a Stable Diffusion 1 or 2.

    Args:
        name: a diffusers folder, a .safetensors or .ckpt file, a hub id, or "toy" for the base that segkit ships.
        tokenizer: folder of CLIP's tokenizer, for a base without one; "" looks in the Hugging Face cache and the hub.
        prediction: prediction type; None uses a folder's scheduler configuration, and for files, which do not record
            it, epsilon for SD1 and v_prediction for SD2.

    Raises:
        ModelError: the base is missing, not a Stable Diffusion 1 or 2, incomplete or damaged, or contains NaN; or no
            tokenizer was found.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return _from_file(path, tokenizer, prediction)
    folder = hub.shipped("base") if name == hub.TOY else path if path.is_dir() else _from_hub(name)
    missing = [part for part in _COMPONENTS if not (folder / part).is_dir()]
    if missing:
        raise ModelError(
            f"base={name}: contains no {' and no '.join(missing)}. Expected a diffusers folder of Stable Diffusion, "
            "or a .safetensors file."
        )
    return _from_folder(folder, name if folder is not path else path.resolve().name, tokenizer, prediction)


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download

    advice = f"Use a diffusers folder or a .safetensors file, or on a machine with network access: hf download {name}"
    if name.startswith((".", "~", "/")) or name.count("/") != 1:
        raise ModelError(f"base={name}: no such file or folder. Expected one, or a hub id such as OWNER/NAME.")
    try:
        return Path(snapshot_download(name, allow_patterns=_HUB_FILES, local_files_only=not hub.hub_answers()))
    except Exception as error:  # errors of the hub, the network and the disk share no base class
        raise ModelError(f"base={name}: is neither cached nor available ({hub.unavailable(error)}). {advice}") from None


def _from_folder(folder: Path, name: str, tokenizer: str, prediction: Prediction | None) -> Base:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel

    configs.require_heads(_json(folder / "unet" / "config.json"), f"base={folder}")
    unet = _component(UNet2DConditionModel, folder / "unet")
    text_encoder = _component(CLIPTextModel, folder / "text_encoder")
    vae = _component(AutoencoderKL, folder / "vae")
    stored = _json(folder / "scheduler" / "scheduler_config.json").get("prediction_type", "epsilon")
    if stored not in ("epsilon", "v_prediction"):
        raise ModelError(
            f"base={folder}: its scheduler's prediction_type is {stored!r}; expected epsilon or v_prediction."
        )
    clip_tokenizer = _tokenizer(text_encoder.config.vocab_size, folder / "tokenizer", tokenizer)
    return Base(name, unet, vae, text_encoder, clip_tokenizer, prediction or stored, _family(unet))


def _component(kind: Any, folder: Path) -> Any:
    """Load one component of a diffusers folder; every weight must be present and finite."""
    import torch

    try:
        with hub.quiet():
            model, report = kind.from_pretrained(
                folder, local_files_only=True, output_loading_info=True, torch_dtype=torch.float32
            )
    except Exception as error:  # missing or damaged files and other architectures share no base class
        raise ModelError(f"base={folder}: cannot be loaded ({hub.reason(error)}).") from None
    # from_pretrained initialises such weights at random and only logs a warning
    unusable = sorted([*report["missing_keys"], *map(str, report.get("mismatched_keys", ()))])
    if unusable:
        raise ModelError(
            f"base={folder}: {len(unusable)} weights are missing or of wrong shape, such as {unusable[0]}."
        )
    _require_finite(model, folder)
    return model.eval().requires_grad_(False)


def _require_finite(model: Any, source: Path) -> None:
    broken = [name for name, weight in model.named_parameters() if not bool(weight.isfinite().all())]
    if broken:
        raise ModelError(f"base={source}: {len(broken)} weights are NaN or infinite, such as {broken[0]}.")


def _from_file(path: Path, tokenizer: str, prediction: Prediction | None) -> Base:
    state = safe_load.read(path)
    identity = identify.identify(state)
    if identity.kind not in ("stable-diffusion", "controlldm") or identity.family == "SDXL":
        raise ModelError(
            f"base={path}: {identity.sentence} Expected a Stable Diffusion 1 or 2. {identity.advice}".strip()
        )
    try:
        unet, vae, text_encoder = _unet(state), _vae(state), _text_encoder(state)
    except ModelError as error:
        raise ModelError(f"base={path}: {error}. {identity.sentence} Use another file.") from None
    for network in (unet, vae, text_encoder):
        _require_finite(network, path)
    clip_tokenizer = _tokenizer(text_encoder.config.vocab_size, path.parent / "tokenizer", tokenizer)
    default: Prediction = "v_prediction" if unet.config.use_linear_projection else "epsilon"
    return Base(path.stem, unet, vae, text_encoder, clip_tokenizer, prediction or default, _family(unet))


def _unet(state: safe_load.Tensors) -> Any:
    from diffusers import UNet2DConditionModel
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    config = configs.unet(state)
    weights = {name: state[name] for name in state if name.startswith("model.diffusion_model.")}
    return _filled(UNet2DConditionModel.from_config, config, convert_ldm_unet_checkpoint(weights, config))


def _vae(state: safe_load.Tensors) -> Any:
    from diffusers import AutoencoderKL
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

    config = configs.vae(state)
    weights = {name: state[name] for name in state if name.startswith("first_stage_model.")}
    return _filled(AutoencoderKL.from_config, config, convert_ldm_vae_checkpoint(weights, config))


def _text_encoder(state: safe_load.Tensors) -> Any:
    from diffusers.loaders.single_file_utils import convert_ldm_clip_checkpoint, convert_open_clip_checkpoint
    from transformers import CLIPTextConfig, CLIPTextModel

    weights = {name: state[name] for name in state if name.startswith("cond_stage_model.")}
    config = CLIPTextConfig(**configs.text_encoder(weights))
    if any(name.startswith("cond_stage_model.transformer.") for name in weights):
        state_dict = convert_ldm_clip_checkpoint(weights)
    else:
        unused = f"cond_stage_model.model.transformer.resblocks.{config.num_hidden_layers}."  # OpenCLIP's last layer
        weights = {name: weight for name, weight in weights.items() if not name.startswith(unused)}
        state_dict = convert_open_clip_checkpoint(CLIPTextModel(config), weights)
        state_dict.pop("text_projection.weight", None)
    state_dict = {name.removeprefix("text_model."): weight for name, weight in state_dict.items()}
    state_dict.pop("embeddings.position_ids", None)  # an integer buffer in old files
    return _filled(CLIPTextModel, config, state_dict)


def _filled(build: Any, config: Any, state_dict: Mapping[str, Any]) -> Any:
    """Return a network in fp32 with exactly these weights."""
    import torch

    with torch.device("meta"):
        shapes = {name: tuple(weight.shape) for name, weight in build(config).state_dict().items()}
    faults = identify.faults(state_dict, {name: shape for name, shape in shapes.items() if "position_ids" not in name})
    if text := faults.sentence():
        raise ModelError(text)
    model = build(config)  # not on the meta device: buffers that no file holds must have values
    model.load_state_dict({name: weight.to(torch.float32) for name, weight in state_dict.items()}, strict=False)
    return model.eval().requires_grad_(False)


def _tokenizer(vocab_size: int, bundled: Path, option: str) -> Any:
    """Return CLIP's tokenizer: the base's, else the option's, the Hugging Face cache or the hub, in order."""
    tokenizer = tokens.load(str(bundled)) if bundled.is_dir() and any(bundled.iterdir()) else tokens.find(option)
    if tokenizer is None:
        raise ModelError(
            "CLIP's tokenizer is not cached and the hub does not answer. Pass the folder with vocab.json and "
            f"merges.txt of {tokens.CLIP}: tokenizer=FOLDER"
        )
    if len(tokenizer) != vocab_size:
        raise ModelError(
            f"The tokenizer has {len(tokenizer):,} entries, the text encoder {vocab_size:,}. Use the base's tokenizer."
        )
    return tokenizer


def _family(unet: Any) -> str:
    return {768: "SD1", 1024: "SD2"}.get(unet.config.cross_attention_dim, "")


def load_controlnet(name: str, base: Base, seed: int = 0) -> "ControlNetModel":
    """Load the ControlNet that a training starts from, in fp32.

    Args:
        name: a file in ldm's or diffusers' layout, a diffusers folder, a run of segkit, a hub id, or "fresh" for a copy
            of the base's encoder with zero convolutions, which does not change the base's output yet.
        base: the base that it will steer.
        seed: seed of a fresh ControlNet's hint encoder, the only part that is initialised at random.

    Raises:
        ModelError: the ControlNet is missing or damaged, or was made for a base of another width or number of heads.
    """
    import torch
    from diffusers import ControlNetModel

    if name == FRESH:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            fresh: ControlNetModel = ControlNetModel.from_unet(
                base.unet, conditioning_embedding_out_channels=tuple(configs.hint_channels(base.vae.config))
            )
        return fresh.requires_grad_(True)
    path = find_controlnet(name)
    if path.is_file():
        return ldm.load(safe_load.read(path), configs.controlnet(base.unet.config, base.vae.config))
    stored = controlnet_config(path)
    if stored.get("cross_attention_dim") != base.unet.config.cross_attention_dim:
        raise ModelError(
            f"controlnet={name}: its cross_attention_dim is {stored.get('cross_attention_dim')}, the base's is "
            f"{base.unet.config.cross_attention_dim}. Use a ControlNet of the base's family."
        )
    configs.require_heads(stored, f"controlnet={name}")
    if configs.heads(stored) != configs.heads(base.unet.config):
        raise ModelError(
            f"controlnet={name}: {configs.heads(stored)} attention heads, the base has "
            f"{configs.heads(base.unet.config)}. Use a ControlNet of the base's family."
        )
    return ldm.load(safe_load.read(safe_load.weights_file(path)), stored)


def find_controlnet(name: str) -> Path:
    """Return a ControlNet's file or diffusers folder, so that a wrong name is reported before anything slow starts.

    Args:
        name: as for `load_controlnet`; a fresh ControlNet has no file.

    Raises:
        ModelError: there is no such file or folder, and the hub does not have it or does not answer.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return path
    folder = path if path.is_dir() else _controlnet_from_hub(name)
    return folder / "controlnet" if (folder / "controlnet").is_dir() else folder


def controlnet_config(folder: Path) -> dict[str, Any]:
    """Return the configuration in a ControlNet's diffusers folder.

    Raises:
        ModelError: the folder contains another network, or none.
    """
    if not (folder / "config.json").is_file():
        is_pipeline = (folder / "model_index.json").is_file()
        reason = "is a complete Stable Diffusion; use it as the base" if is_pipeline else "contains no ControlNet"
        raise ModelError(f"controlnet={folder}: {reason}. Expected a finished run, or a ControlNet's diffusers folder.")
    config = _json(folder / "config.json")
    if config.get("_class_name") != "ControlNetModel":
        raise ModelError(
            f"controlnet={folder}: contains {config.get('_class_name', 'no network')}. Expected a ControlNetModel."
        )
    return config


def _controlnet_from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download

    if name.startswith((".", "~", "/")) or name.count("/") != 1:
        raise ModelError(f"controlnet={name}: no such file or folder. Expected one, a hub id, or {FRESH}.")
    patterns = ["config.json", "diffusion_pytorch_model.safetensors"]
    try:
        return Path(snapshot_download(name, allow_patterns=patterns, local_files_only=not hub.hub_answers()))
    except Exception as error:  # errors of the hub, the network and the disk share no base class
        raise ModelError(f"controlnet={name}: is neither cached nor available ({hub.unavailable(error)}).") from None


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read ({hub.reason(error)}).") from None
    return content if isinstance(content, dict) else {}
