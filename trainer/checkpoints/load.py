"""Load the networks of a training: the frozen base from a folder, a single file or the hub, and the ControlNet."""

from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segkit.errors import ModelError
from segkit.models import hub, tokens
from trainer.checkpoints import components, configs, fp8, identify, ldm, safe_load, single_file
from trainer.checkpoints.components import read_json
from trainer.checkpoints.prediction import Guess, Prediction
from trainer.checkpoints.prediction import guess as guess_prediction

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
    from transformers import CLIPTextModel

FRESH = "fresh"
_COMPONENTS = ("unet", "vae", "text_encoder", "scheduler")
_HUB_FILES = ["model_index.json", "*/*.json", "*/merges.txt"]


@dataclass(frozen=True)
class Base:
    """A Stable Diffusion in fp32 and eval mode, without gradients.

    Attributes:
        name: hub id, or name of the folder or file.
        unet, vae, text_encoder, tokenizer: the components.
        prediction: prediction type of the UNet.
        family: "SD1", "SD2", or "" for any other cross-attention width.
        guess: how the prediction type was guessed; None if it was recorded or passed.
    """

    name: str
    unet: "UNet2DConditionModel"
    vae: "AutoencoderKL"
    text_encoder: "CLIPTextModel"
    tokenizer: Any
    prediction: Prediction
    family: str
    guess: Guess | None = None


def load_base(name: str, tokenizer: str = "", prediction: Prediction | None = None) -> Base:
    """Load a Stable Diffusion 1 or 2.

    Args:
        name: a diffusers folder, a .safetensors or .ckpt file, a hub id, or "toy" for the base that segkit ships.
        tokenizer: folder of CLIP's tokenizer, for a base without one; "" looks in the Hugging Face cache and the hub.
        prediction: prediction type; None uses a folder's scheduler configuration. Files do not record it: for them it
            is measured, see trainer.checkpoints.prediction.

    Raises:
        ModelError: the base is missing, not a text-to-image Stable Diffusion 1 or 2, incomplete or damaged, or contains
            NaN or untrained layers; or no tokenizer was found.
    """
    path = Path(name).expanduser()
    if tokenizer and not Path(tokenizer).expanduser().is_dir():
        raise ModelError(f"tokenizer={tokenizer}: no such folder. Expected one with CLIP's vocab.json and merges.txt.")
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
        patterns = [*_HUB_FILES, *_weights_patterns(_files_on_hub(name), "*/*")]
        return Path(snapshot_download(name, allow_patterns=patterns, local_files_only=not hub.hub_answers()))
    except Exception as error:  # errors of the hub, the network and the disk share no base class
        raise ModelError(f"base={name}: is neither cached nor available ({hub.unavailable(error)}). {advice}") from None


def _from_folder(folder: Path, name: str, tokenizer: str, prediction: Prediction | None) -> Base:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel

    config = read_json(folder / "unet" / "config.json")
    components.require_text_to_image(config, f"base={folder}")
    configs.require_heads(config, f"base={folder}")
    unet = components.from_folder(UNet2DConditionModel, folder / "unet")
    text_encoder = components.from_folder(CLIPTextModel, folder / "text_encoder")
    vae = components.from_folder(AutoencoderKL, folder / "vae")
    stored = read_json(folder / "scheduler" / "scheduler_config.json").get("prediction_type", "epsilon")
    if stored not in ("epsilon", "v_prediction"):
        raise ModelError(
            f"base={folder}: its scheduler's prediction_type is {stored!r}; expected epsilon or v_prediction."
        )
    clip_tokenizer = _tokenizer(text_encoder.config.vocab_size, folder / "tokenizer", tokenizer)
    return Base(name, unet, vae, text_encoder, clip_tokenizer, prediction or stored, _family(unet))


def _from_file(path: Path, tokenizer: str, prediction: Prediction | None) -> Base:
    tensors = safe_load.read(path)
    identity = identify.identify(tensors)
    if identity.kind not in ("stable-diffusion", "controlldm") or identity.family == "SDXL" or identity.purpose:
        raise ModelError(
            f"base={path}: {identity.sentence} Expected a Stable Diffusion 1 or 2. {identity.advice}".strip()
        )
    state = fp8.decoded(identify.base(tensors))
    try:
        unet, vae, text_encoder = single_file.unet(state), single_file.vae(state), single_file.text_encoder(state)
    except ModelError as error:
        raise ModelError(f"base={path}: {error}. {identity.sentence} Use another file.") from None
    clip_tokenizer = _tokenizer(text_encoder.config.vocab_size, path.parent / "tokenizer", tokenizer)
    guess = None if prediction else guess_prediction(unet, text_encoder)
    chosen = guess.prediction if guess else prediction or "epsilon"
    return Base(path.stem, unet, vae, text_encoder, clip_tokenizer, chosen, _family(unet), guess)


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
    _require_fitting(stored, base, name)
    return ldm.load(safe_load.read_folder(path), stored)


def _require_fitting(stored: dict[str, Any], base: Base, name: str) -> None:
    """Refuse a ControlNet whose configuration does not fit the base."""
    if purpose := configs.purpose(int(stored.get("in_channels", 4))):
        raise ModelError(f"controlnet={name}: made for {purpose}. Use a ControlNet of a text-to-image base.")
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
    config = read_json(folder / "config.json")
    if config.get("_class_name") != "ControlNetModel":
        raise ModelError(
            f"controlnet={folder}: contains {config.get('_class_name', 'no network')}. Expected a ControlNetModel."
        )
    return config


def _controlnet_from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download

    if name.startswith((".", "~", "/")) or name.count("/") != 1:
        raise ModelError(f"controlnet={name}: no such file or folder. Expected one, a hub id, or {FRESH}.")
    try:
        patterns = ["config.json", *_weights_patterns(_files_on_hub(name), "diffusion_pytorch_model*")]
        return Path(snapshot_download(name, allow_patterns=patterns, local_files_only=not hub.hub_answers()))
    except Exception as error:  # errors of the hub, the network and the disk share no base class
        raise ModelError(f"controlnet={name}: is neither cached nor available ({hub.unavailable(error)}).") from None


def _files_on_hub(name: str) -> list[str]:
    """Return the names of a repository's files; none without a network, where only the cache counts."""
    from huggingface_hub import HfApi

    return HfApi().list_repo_files(name) if hub.hub_answers() else []


def _weights_patterns(files: list[str], stem: str) -> list[str]:
    """Return patterns of the weights to download: .safetensors if the repository has them, else pickles.

    Args:
        files: the repository's files.
        stem: pattern of a weights file without its extension; a whole, full file of that name is enough.
    """
    whole = f"{stem.rstrip('*')}.safetensors"
    if whole in files:
        return [whole]
    suffix = (
        ".safetensors" if any(name.endswith(".safetensors") and fnmatch(name, f"{stem}*") for name in files) else ".bin"
    )
    return [f"{stem}{suffix}", f"{stem}.index*.json"]
