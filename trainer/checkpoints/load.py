"""Load the networks of a training: the frozen base from a folder, a single file or the hub, and the ControlNet."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segkit.errors import ModelError
from segkit.models import tokens
from trainer.checkpoints import components, configs, families, fitting, ldm, safe_load, single_file, union
from trainer.checkpoints import prediction as predictions
from trainer.checkpoints.components import read_json
from trainer.checkpoints.families import Conditioning, Family
from trainer.checkpoints.find import find_base, find_controlnet
from trainer.checkpoints.prediction import Guess, Prediction, Recorded
from trainer.checkpoints.runs import Weights
from trainer.settings import FRESH

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel


@dataclass(frozen=True)
class Base:
    """A Stable Diffusion in fp32 and eval mode, without gradients.

    Attributes:
        name: hub id, or name of the folder or file.
        unet, vae: the components.
        text_encoders, tokenizers: those that the family describes, in its order.
        prediction: prediction type of the UNet.
        family: what the base has in common with others.
        guess: evidence for the prediction type of a file; None if it was passed, or a folder's.
    """

    name: str
    unet: "UNet2DConditionModel"
    vae: "AutoencoderKL"
    text_encoders: tuple[Any, ...]
    tokenizers: tuple[Any, ...]
    prediction: Prediction
    family: Family
    guess: Guess | Recorded | None = None

    @property
    def conditioning(self) -> Conditioning:
        """What prompts and sizes become as inputs of the UNet and of a ControlNet."""
        return families.conditioning(self.unet.config)

    def advice(self, resolution: int) -> str:
        """Return that a released base was made for larger pictures, as a sentence; "" if it was not.

        Args:
            resolution: side of a square picture; 0 for sizes that are not known.
        """
        family = self.family
        if self.unet.config.cross_attention_dim != family.width or not 0 < resolution <= family.resolution / 2:
            return ""
        return (
            f"{family} was made for pictures of {family.resolution} x {family.resolution} pixels and knows little of "
            f"smaller ones: resolution={family.resolution} is better than {resolution}."
        )

    @property
    def parts(self) -> dict[str, Any]:
        """The components by their folder in diffusers' format, without a scheduler."""
        parts = {"unet": self.unet, "vae": self.vae}
        described = zip(self.family.text_encoders, self.text_encoders, self.tokenizers, strict=True)
        for part, text_encoder, tokenizer in described:
            parts |= {part.folder: text_encoder, part.tokenizer: tokenizer}
        return parts


def load_base(name: str, tokenizer: str = "", prediction: Prediction | None = None, vae: str = "") -> Base:
    """Load a Stable Diffusion of one of the FAMILIES.

    Args:
        name: a diffusers folder, a .safetensors or .ckpt file, a hub id, or "toy" or "toy-sdxl" for a base that segkit
            ships.
        tokenizer: folder of CLIP's tokenizer, for a base without one; "" looks in the Hugging Face cache and the hub.
        prediction: prediction type; None uses a folder's scheduler configuration. Files do not record it: for them it
            is measured, see trainer.checkpoints.prediction.
        vae: file or folder of a VAE that replaces the base's own; "" keeps that.

    Raises:
        ModelError: the base is missing, not a text-to-image Stable Diffusion, incomplete or damaged, or contains NaN or
            untrained layers; or no tokenizer was found.
    """
    path = Path(name).expanduser()
    if tokenizer and not Path(tokenizer).expanduser().is_dir():
        raise ModelError(f"tokenizer={tokenizer}: no such folder. Expected one with CLIP's vocab.json and merges.txt.")
    source = find_base(name)
    if source.is_file():
        return _from_file(source, tokenizer, prediction, vae)
    base = _from_folder(source, name if source != path else path.resolve().name, tokenizer, prediction)
    return _with_vae(base, vae) if vae else base


def _with_vae(base: Base, name: str) -> Base:
    """Return a base with another VAE, such as SDXL's in the version that does not overflow in fp16."""
    vae = load_vae(name, base.vae.config.scaling_factor)
    fitting.require_same_sides(vae.config, base.vae.config, base.family, name)
    return replace(base, vae=vae)


def load_vae(name: str, scaling_factor: float) -> "AutoencoderKL":
    """Load a VAE that replaces a base's own, or that of a file without one.

    Args:
        name: a file, or a diffusers folder.
        scaling_factor: of the base's latents.

    Raises:
        ModelError: the VAE is missing, damaged, or scales latents or pictures in another way than the base's.
    """
    vae = single_file.replacement_vae(fitting.find_vae(name), scaling_factor)
    components.require_plain_vae(vae.config, f"vae={name}")
    return vae


def _from_folder(folder: Path, name: str, tokenizer: str, prediction: Prediction | None) -> Base:
    import transformers
    from diffusers import AutoencoderKL, UNet2DConditionModel

    config = read_json(folder / "unet" / "config.json")
    components.require_text_to_image(config, f"base={folder}")
    configs.require_heads(config, f"base={folder}")
    family = families.of(config)
    unet = components.from_folder(UNet2DConditionModel, folder / "unet")
    text_encoders = tuple(
        components.from_folder(getattr(transformers, part.kind), folder / part.folder) for part in family.text_encoders
    )
    components.require_fitting_text(family, config, text_encoders, f"base={folder}")
    vae = components.from_folder(AutoencoderKL, folder / "vae")
    components.require_plain_vae(vae.config, f"base={folder}")
    stored = read_json(folder / "scheduler" / "scheduler_config.json").get("prediction_type", "epsilon")
    if stored not in ("epsilon", "v_prediction"):
        raise ModelError(
            f"base={folder}: its scheduler's prediction_type is {stored!r}; expected epsilon or v_prediction."
        )
    tokenizers = _tokenizers(family, text_encoders, folder, tokenizer)
    return Base(name, unet, vae, text_encoders, tokenizers, prediction or stored, family)


def _from_file(path: Path, tokenizer: str, prediction: Prediction | None, vae: str) -> Base:
    state, identity = single_file.open_base(path)
    try:
        unet, text_encoders = single_file.unet(state), single_file.text_encoders(state)
        family = families.of(unet.config)
        components.require_fitting_text(family, unet.config, text_encoders, "it is incomplete")
        bundled = None if vae else single_file.vae(state)
    except ModelError as error:
        raise single_file.unusable_base(path, identity, error) from None
    decoder = bundled or load_vae(vae, family.scaling_factor)
    tokenizers = _tokenizers(family, text_encoders, path.parent, tokenizer)
    guess = None if prediction else predictions.recorded(state) or predictions.guess(unet, text_encoders)
    chosen = prediction or (guess.prediction if guess else "epsilon")
    return Base(path.stem, unet, decoder, text_encoders, tokenizers, chosen, family, guess)


def _tokenizers(family: Family, text_encoders: Sequence[Any], folder: Path, option: str) -> tuple[Any, ...]:
    """Return the tokenizer of each text encoder.

    Args:
        family: of the base.
        text_encoders: of the base.
        folder: where the base's own may be.
        option: folder of CLIP's tokenizer, for a base without one.
    """
    parts = zip(family.text_encoders, text_encoders, strict=True)
    return tuple(
        _tokenizer(network.config.vocab_size, folder / part.tokenizer, option, part.padding) for part, network in parts
    )


def _tokenizer(vocab_size: int, bundled: Path, option: str, padding: str) -> Any:
    """Return CLIP's tokenizer: the base's, else the option's, the Hugging Face cache or the hub, in order.

    Args:
        vocab_size: entries of the text encoder's vocabulary.
        bundled: where the base's own may be.
        option: folder of another.
        padding: token with which another one is made to pad; "" leaves it as it is.
    """
    is_bundled = bundled.is_dir() and any(bundled.iterdir())
    tokenizer = tokens.load(str(bundled)) if is_bundled else tokens.find(option)
    if tokenizer is None:
        raise ModelError(
            "CLIP's tokenizer is not cached and the hub does not answer. Pass the folder with vocab.json and "
            f"merges.txt of {tokens.CLIP}: tokenizer=FOLDER"
        )
    if len(tokenizer) != vocab_size:
        raise ModelError(
            f"The tokenizer has {len(tokenizer):,} entries, the text encoder {vocab_size:,}. Use the base's tokenizer."
        )
    if padding and not is_bundled:
        tokenizer.pad_token = padding
    return tokenizer


def load_controlnet(
    name: str | Weights, base: Base, seed: int = 0, mode: int | None = None
) -> "ControlNetModel":  # fmt: skip
    """Load the ControlNet that a training starts from, in fp32.

    Args:
        name: a file in ldm's or diffusers' layout, a diffusers folder, a run of segkit or one of its checkpoints, a hub
            id, or "fresh" for a copy of the base's encoder with zero convolutions, which does not change the base's
            output yet; or what `find_controlnet` returned.
        base: the base that it will steer.
        seed: seed of a fresh ControlNet's hint encoder, the only part that is initialised at random.
        mode: mode of a union ControlNet for segmentation maps; None for the one that a training recorded, or else that
            of released networks.

    Raises:
        ModelError: the ControlNet is missing or damaged, was made for a base of another width or number of heads, or
            has no such mode.
    """
    import torch
    from diffusers import ControlNetModel

    if name == FRESH:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            fresh: ControlNetModel = ControlNetModel.from_unet(
                base.unet, conditioning_embedding_out_channels=tuple(configs.hint_channels(base.vae.config))
            )
        union.set_mode(fresh, mode, None, FRESH)
        return fresh.requires_grad_(True)
    weights = find_controlnet(name) if isinstance(name, str) else name
    if weights.path.is_file():
        tensors = safe_load.read(weights.path)
        fitting.require_family(tensors, base.unet.config, weights.name)
        model = ldm.load(tensors, configs.controlnet(base.unet.config, base.vae.config))
    else:
        stored = fitting.controlnet_config(weights.path)
        fitting.require_configured(stored, base.unet.config, weights.name)
        tensors = safe_load.read_folder(weights.path)
        model = ldm.load(tensors, stored)
    recorded = union.recorded(tensors.metadata) if weights.mode is None else weights.mode
    union.set_mode(model, mode, recorded, weights.name)
    return _averaged(model, weights.averages, weights.only_mid) if weights.averages else model


def _averaged(model: "ControlNetModel", averages: Path, only_mid: bool) -> "ControlNetModel":
    """Replace a checkpoint's weights by their moving averages, which a finished run would export.

    trainer.step.optimizers.EMA stores those of the trained weights by position; the ControlNet's come before those of
    an unlocked base.
    """
    import torch

    tensors = safe_load.read(averages)
    trained = [
        weight
        for name, weight in model.named_parameters()
        if weight.requires_grad and not (only_mid and name.startswith("controlnet_down_blocks."))
    ]
    with torch.no_grad():
        for place, weight in enumerate(trained):
            weight.copy_(tensors[str(place)])
    return model
