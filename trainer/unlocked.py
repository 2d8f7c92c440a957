"""The base of a run with --sd-unlocked, whose UNet was trained too: without it the ControlNet is of little use."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segkit import storage
from segkit.errors import ModelError, StorageError
from segkit.models import hub
from segkit.settings import TrainSettings
from trainer import configs, networks, reader, weights
from trainer.networks import Base

if TYPE_CHECKING:
    from torch import Tensor

_LEFT_OUT = ("model_ema.", "control_model.")  # an average of what was there before; and another network
_PREFIX = "text_model."


def write(run: Path, name: str, settings: TrainSettings, trained: Mapping[str, "Tensor"]) -> None:
    """Write the base with the UNet that was trained, whole or not at all.

    It goes into base/, a diffusers folder in fp32; and if it came from a single file, into NAME-base.safetensors, the
    same file with the UNet's weights replaced, in the file's own precision.

    Args:
        run: the run's folder.
        name: of the result.
        settings: of the training.
        trained: the UNet's weights.

    Raises:
        ModelError: a weight does not fit into the file's precision.
        StorageError: the disk is full.
    """
    from safetensors.torch import save

    base = networks.load_base(settings.base, settings.tokenizer, settings.told_prediction)
    base.unet.load_state_dict(dict(trained))
    _write_folder(run / "base", base)
    source = Path(settings.base).expanduser()
    if source.is_file():
        merged = _merged(reader.read(source), base.unet.state_dict())
        path = run / f"{weights.safe_name(name)}-base.safetensors"
        storage.write(path, save(merged, {"format": "pt"}))


def _write_folder(folder: Path, base: Base) -> None:
    from diffusers import DDPMScheduler, StableDiffusionPipeline
    from safetensors.torch import load_file, save_file

    staged = folder.with_name(f"{storage.TEMPORARY}{folder.name}")
    shutil.rmtree(staged, ignore_errors=True)
    parts: dict[str, Any] = {"vae": base.vae, "text_encoder": base.text_encoder, "unet": base.unet}
    scheduler = DDPMScheduler(**configs.SCHEDULER, prediction_type=base.prediction)
    try:
        with hub.quiet():
            StableDiffusionPipeline(
                **parts, tokenizer=base.tokenizer, scheduler=scheduler, safety_checker=None, feature_extractor=None,
                requires_safety_checker=False,
            ).save_pretrained(staged)  # fmt: skip
        words = staged / "text_encoder" / "model.safetensors"
        named = {_PREFIX + key.removeprefix(_PREFIX): weight for key, weight in load_file(words).items()}
        save_file(named, words, {"format": "pt"})  # transformers leaves out the prefix that other tools look for
        storage.flush(staged)
        shutil.rmtree(folder, ignore_errors=True)
        staged.rename(folder)
        storage.sync_folder(folder.parent)
    except OSError as error:
        shutil.rmtree(staged, ignore_errors=True)
        raise StorageError(
            f"{folder}: cannot be written ({error.strerror}). Free some space, and type the same again."
        ) from None


def _merged(state: reader.Tensors, unet: Mapping[str, "Tensor"]) -> dict[str, "Tensor"]:
    """Return a file's weights with those of the UNet replaced; diffusers' converter renames and does nothing else."""
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    kept = {name: state[name].contiguous() for name in state if not name.startswith(_LEFT_OUT)}
    own = {name: weight for name, weight in kept.items() if name.startswith("model.diffusion_model.")}
    names = {id(weight): name for name, weight in own.items()}
    for theirs, weight in convert_ldm_unet_checkpoint(dict(own), configs.unet(state)).items():
        name = names[id(weight)]
        kept[name] = unet[theirs].detach().to("cpu", weight.dtype).contiguous()
        if not bool(kept[name].isfinite().all()):
            raise ModelError(f"{name} does not fit into {str(weight.dtype).removeprefix('torch.')}.")
    return kept
