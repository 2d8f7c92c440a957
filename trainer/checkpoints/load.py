"""The networks of a training: the frozen base, from a folder, a single file or the hub, and the ControlNet."""

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
    """A Stable Diffusion, in fp32 and eval mode.

    Attributes:
        name: the hub id, or the folder's or file's name.
        unet, vae, text_encoder, tokenizer: its parts.
        prediction: what the UNet predicts.
        family: "SD1", "SD2", or "" for another width.
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
        name: a diffusers folder, a .safetensors or .ckpt file, a hub id, or "toy" for the one of the toy world.
        tokenizer: folder of CLIP's tokenizer, for a base without one.
        prediction: None takes what the folder says; of files, SD1 predicts noise, SD2 velocity.

    Raises:
        ModelError: it is none, incomplete, damaged, or holds NaN; or there is no tokenizer for it.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return _from_file(path, tokenizer, prediction)
    folder = hub.shipped("base") if name == hub.TOY else path if path.is_dir() else _from_hub(name)
    missing = [part for part in _COMPONENTS if not (folder / part).is_dir()]
    if missing:
        raise ModelError(
            f"--base {name}: no {' and no '.join(missing)} in it. Expected a diffusers folder of Stable Diffusion, "
            "or a .safetensors file."
        )
    return _from_folder(folder, name if folder is not path else path.resolve().name, tokenizer, prediction)


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download

    advice = f"Give a diffusers folder or a .safetensors file, or where there is a network: hf download {name}"
    if name.startswith((".", "~", "/")) or name.count("/") != 1:
        raise ModelError(f"--base {name}: no such file or folder. Expected one, or a hub id such as OWNER/NAME.")
    try:
        return Path(snapshot_download(name, allow_patterns=_HUB_FILES, local_files_only=not hub.hub_answers()))
    except Exception as error:  # the hub's, the network's and the disk's errors have no common base
        raise ModelError(f"--base {name}: is not here and cannot be had ({_why(error)}). {advice}") from None


def _why(error: Exception) -> str:
    return hub.reason(error) if hub.hub_answers() else "the hub does not answer"


def _from_folder(folder: Path, name: str, tokenizer: str, prediction: Prediction | None) -> Base:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel

    configs.require_heads(_json(folder / "unet" / "config.json"), f"--base {folder}")
    unet = _component(UNet2DConditionModel, folder / "unet")
    text_encoder = _component(CLIPTextModel, folder / "text_encoder")
    vae = _component(AutoencoderKL, folder / "vae")
    told = _json(folder / "scheduler" / "scheduler_config.json").get("prediction_type", "epsilon")
    if told not in ("epsilon", "v_prediction"):
        raise ModelError(f"--base {folder}: its scheduler predicts {told!r}; expected epsilon or v_prediction.")
    words = _tokenizer(text_encoder.config.vocab_size, folder / "tokenizer", tokenizer)
    return Base(name, unet, vae, text_encoder, words, prediction or told, _family(unet))


def _component(kind: Any, folder: Path) -> Any:
    """Load one network of a folder, complete and finite."""
    import torch

    try:
        with hub.quiet():
            model, report = kind.from_pretrained(
                folder, local_files_only=True, output_loading_info=True, torch_dtype=torch.float32
            )
    except Exception as error:  # missing files, damaged ones, other architectures: no common base
        raise ModelError(f"--base {folder}: cannot be loaded ({hub.reason(error)}).") from None
    lacking = sorted([*report["missing_keys"], *map(str, report.get("mismatched_keys", ()))])
    if lacking:
        raise ModelError(
            f"--base {folder}: {len(lacking)} weights are missing or of wrong shape, such as {lacking[0]}."
        )
    _require_finite(model, folder)
    return model.eval().requires_grad_(False)


def _require_finite(model: Any, source: Path) -> None:
    broken = [name for name, weight in model.named_parameters() if not bool(weight.isfinite().all())]
    if broken:
        raise ModelError(f"--base {source}: {len(broken)} weights are NaN or infinite, such as {broken[0]}.")


def _from_file(path: Path, tokenizer: str, prediction: Prediction | None) -> Base:
    state = safe_load.read(path)
    found = identify.identify(state)
    if found.kind not in ("stable-diffusion", "controlldm") or found.family == "SDXL":
        raise ModelError(f"--base {path}: {found.sentence} Expected a Stable Diffusion 1 or 2. {found.advice}".strip())
    try:
        unet, vae, text_encoder = _unet(state), _vae(state), _text_encoder(state)
    except ModelError as error:
        raise ModelError(f"--base {path}: {error}. {found.sentence} Take another file.") from None
    for part in (unet, vae, text_encoder):
        _require_finite(part, path)
    words = _tokenizer(text_encoder.config.vocab_size, path.parent / "tokenizer", tokenizer)
    guess: Prediction = "v_prediction" if unet.config.use_linear_projection else "epsilon"
    return Base(path.stem, unet, vae, text_encoder, words, prediction or guess, _family(unet))


def _unet(state: safe_load.Tensors) -> Any:
    from diffusers import UNet2DConditionModel
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    config = configs.unet(state)
    own = {name: state[name] for name in state if name.startswith("model.diffusion_model.")}
    return _filled(UNet2DConditionModel.from_config, config, convert_ldm_unet_checkpoint(own, config))


def _vae(state: safe_load.Tensors) -> Any:
    from diffusers import AutoencoderKL
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

    config = configs.vae(state)
    own = {name: state[name] for name in state if name.startswith("first_stage_model.")}
    return _filled(AutoencoderKL.from_config, config, convert_ldm_vae_checkpoint(own, config))


def _text_encoder(state: safe_load.Tensors) -> Any:
    from diffusers.loaders.single_file_utils import convert_ldm_clip_checkpoint, convert_open_clip_checkpoint
    from transformers import CLIPTextConfig, CLIPTextModel

    own = {name: state[name] for name in state if name.startswith("cond_stage_model.")}
    config = CLIPTextConfig(**configs.text_encoder(own))
    if any(name.startswith("cond_stage_model.transformer.") for name in own):
        content = convert_ldm_clip_checkpoint(own)
    else:
        left_out = f"cond_stage_model.model.transformer.resblocks.{config.num_hidden_layers}."
        kept = {name: weight for name, weight in own.items() if not name.startswith(left_out)}
        content = convert_open_clip_checkpoint(CLIPTextModel(config), kept)
        content.pop("text_projection.weight", None)
    content = {name.removeprefix("text_model."): weight for name, weight in content.items()}
    content.pop("embeddings.position_ids", None)  # a count that old files hold
    return _filled(CLIPTextModel, config, content)


def _filled(make: Any, config: Any, content: Mapping[str, Any]) -> Any:
    """Return a network with these weights in fp32, all of them and no others."""
    import torch

    with torch.device("meta"):
        shapes = {name: tuple(weight.shape) for name, weight in make(config).state_dict().items()}
    wrong = identify.faults(content, {name: shape for name, shape in shapes.items() if "position_ids" not in name})
    if text := wrong.sentence():
        raise ModelError(text)
    model = make(config)  # not on meta: buffers that no file holds must have values
    model.load_state_dict({name: weight.to(torch.float32) for name, weight in content.items()}, strict=False)
    return model.eval().requires_grad_(False)


def _tokenizer(entries: int, own: Path, given: str) -> Any:
    """Return CLIP's tokenizer: the base's own, that of --tokenizer, of the Hugging Face cache, or of the hub."""
    tokenizer = tokens.load(str(own)) if own.is_dir() and any(own.iterdir()) else tokens.find(given)
    if tokenizer is None:
        raise ModelError(
            "CLIP's tokenizer is not here and the hub does not answer. Give its folder (vocab.json and merges.txt of "
            f"{tokens.CLIP}): --tokenizer FOLDER"
        )
    if len(tokenizer) != entries:
        raise ModelError(f"--tokenizer: {len(tokenizer):,} entries, the text encoder has {entries:,}. Take its own.")
    return tokenizer


def _family(unet: Any) -> str:
    return {768: "SD1", 1024: "SD2"}.get(unet.config.cross_attention_dim, "")


def load_controlnet(name: str, base: Base, seed: int = 0) -> "ControlNetModel":
    """Load the ControlNet that a training starts from, in fp32.

    Args:
        name: a file in ldm's or diffusers' layout, a diffusers folder, a run of segkit, a hub id, or "fresh" for the
            base's own encoder with zero convolutions, which changes nothing yet.
        base: what it is to steer.
        seed: of what a fresh one draws at random, the hint encoder; its last convolution is zero.

    Raises:
        ModelError: it is none, damaged, or was made for a base of another width.
    """
    import torch
    from diffusers import ControlNetModel

    if name == FRESH:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            fresh: ControlNetModel = ControlNetModel.from_unet(
                base.unet, conditioning_embedding_out_channels=tuple(configs.hints(base.vae.config))
            )
        return fresh.requires_grad_(True)
    path = Path(name).expanduser()
    config = configs.controlnet(base.unet.config, base.vae.config)
    if path.is_file():
        return ldm.load(safe_load.read(path), config)
    folder = path if path.is_dir() else _controlnet_from_hub(name)
    folder = folder / "controlnet" if (folder / "controlnet").is_dir() else folder
    told = controlnet_config(folder)
    if told.get("cross_attention_dim") != base.unet.config.cross_attention_dim:
        raise ModelError(
            f"--controlnet {name}: made for words {told.get('cross_attention_dim')} wide, the base's are "
            f"{base.unet.config.cross_attention_dim}. Take the ControlNet of the base's family."
        )
    configs.require_heads(told, f"--controlnet {name}")
    if configs.heads(told) != configs.heads(base.unet.config):
        raise ModelError(
            f"--controlnet {name}: {configs.heads(told)} attention heads, the base has "
            f"{configs.heads(base.unet.config)}. Take the ControlNet of the base's family."
        )
    return ldm.load(safe_load.read(safe_load.in_folder(folder)), told)


def controlnet_config(folder: Path) -> dict[str, Any]:
    """Return the config of a ControlNet's diffusers folder.

    Raises:
        ModelError: the folder is of another network, or of none.
    """
    if not (folder / "config.json").is_file():
        whole = (folder / "model_index.json").is_file()
        found = "a whole Stable Diffusion; give it as --base" if whole else "no ControlNet in it"
        raise ModelError(
            f"--controlnet {folder}: {found}. Expected a finished run, or a ControlNet's diffusers folder."
        )
    told = _json(folder / "config.json")
    if told.get("_class_name") != "ControlNetModel":
        raise ModelError(
            f"--controlnet {folder}: a folder of {told.get('_class_name', 'no network')}, not of a ControlNet."
        )
    return told


def _controlnet_from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download

    if name.startswith((".", "~", "/")) or name.count("/") != 1:
        raise ModelError(f"--controlnet {name}: no such file or folder. Expected one, a hub id, or {FRESH}.")
    patterns = ["config.json", "diffusion_pytorch_model.safetensors"]
    try:
        return Path(snapshot_download(name, allow_patterns=patterns, local_files_only=not hub.hub_answers()))
    except Exception as error:  # the hub's, the network's and the disk's errors have no common base
        raise ModelError(f"--controlnet {name}: is not here and cannot be had ({_why(error)}).") from None


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read ({hub.reason(error)}).") from None
    return content if isinstance(content, dict) else {}
