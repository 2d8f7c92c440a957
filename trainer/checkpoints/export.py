"""Write a finished run's artefacts: the diffusers folder, the file for A1111, Forge and ComfyUI, and the model card.

A run with --sd-unlocked trained the base's UNet too: without that base its ControlNet is of little use.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from segkit import __version__, storage
from segkit.errors import ModelError, StorageError, UsageError
from segkit.models import hub
from trainer import settings as run_settings
from trainer.checkpoints import configs, ldm, load, safe_load
from trainer.checkpoints.load import Base
from trainer.settings import TrainSettings

if TYPE_CHECKING:
    from torch import Tensor

Layout = Literal["ldm", "diffusers", "pth"]

_LICENSE = (
    "A derivative of its base and of the ControlNet it started from: their licences apply, such as CreativeML "
    "OpenRAIL-M. dreamlike-photoreal-2.0 limits commercial use of derivatives."
)

_LEFT_OUT = ("model_ema.", "control_model.")  # an average of what was there before; and another network
_PREFIX = "text_model."


def export(run: Path, layout: Layout, output: Path | None = None, full: bool = False, overwrite: bool = False) -> Path:
    """Write the ControlNet of a run anew.

    Args:
        run: a finished run's folder, or a ControlNet's diffusers folder.
        layout: "ldm" is a .safetensors file of bare ldm names, "pth" a file as released ones are, "diffusers" a folder.
        output: the file or folder; None puts it into the run.
        full: whether files keep fp32; folders always do.
        overwrite: whether what is there under that name is replaced.

    Returns:
        What was written.

    Raises:
        ModelError: there is no trained ControlNet, or it is damaged.
        UsageError: the name is taken, or does not fit the layout.
        StorageError: the disk is full.
    """
    import torch

    folder = run / "controlnet" if (run / "run.toml").is_file() else run
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder}: no ControlNet in it. Expected a finished run of segkit train.")
    name = ldm.safe_name(run.resolve().name)
    ending = {"ldm": ".safetensors", "pth": ".pth", "diffusers": ""}[layout]
    output = output or run / f"{name}-export{ending}"
    if output.suffix.lower() != ending and layout != "diffusers":
        raise UsageError(f"-o {output}: expected a name that ends in {ending}.")
    if output.exists() and not overwrite:
        raise UsageError(f"{output} is there already. Name another with -o, or type --overwrite.")
    model = ldm.load(safe_load.read(safe_load.weights_file(folder)), load.controlnet_config(folder))
    if layout == "diffusers":
        write_folder(output, model)
    else:
        ldm.save_ldm(model, output, None if full else torch.float16, metadata(_facts(run)))
    return output


def _facts(run: Path) -> dict[str, Any]:
    """Return what a run knows of its result; nothing of a folder that is no run."""
    if not (run / "run.toml").is_file():
        return {}
    try:
        told: dict[str, Any] = json.loads((run / "run.json").read_text("utf-8"))["told"]
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{run / 'run.json'} is damaged ({error}).") from None
    return {"base": Path(run_settings.read(run / "run.toml")["base"]).name, **told}


def metadata(facts: dict[str, Any]) -> dict[str, str]:
    """Return what the exported file is to say of itself."""
    return {"segkit": __version__, "licence": _LICENSE, **{name: str(value) for name, value in facts.items()}}


def write_results(run: Path, name: str, controlnet: Any, facts: dict[str, Any]) -> Path:
    """Write the results into a run's folder, each whole or not at all.

    Args:
        run: the run's folder.
        name: of the file.
        controlnet: the network, on any device.
        facts: base, dataset, palette and steps, for the file's metadata and the card.

    Returns:
        The file for A1111, Forge and ComfyUI.

    Raises:
        StorageError: the disk is full.
    """
    import torch

    write_folder(run / "controlnet", controlnet)
    path = run / f"{ldm.safe_name(name)}.safetensors"
    ldm.save_ldm(controlnet, path, torch.float16, metadata(facts))
    storage.write(run / "model-card.md", _card(name, path.name, facts).encode())
    return path


def write_folder(folder: Path, model: Any) -> None:
    """Write a network as a diffusers folder: the config, then the weights, each by one rename."""
    from safetensors.torch import save

    storage.make_folder(folder)
    config = {key: value for key, value in dict(model.config).items() if not key.startswith("_")}
    told = {"_class_name": type(model).__name__, **config}
    state = {key: weight.detach().to("cpu").float().contiguous() for key, weight in model.state_dict().items()}
    storage.write(folder / "diffusion_pytorch_model.safetensors", save(state, {"format": "pt"}))
    storage.write(folder / "config.json", json.dumps(told, indent=2, default=list).encode())


def _card(name: str, file: str, facts: dict[str, Any]) -> str:
    rows = "\n".join(f"| {key} | {_text(value)} |" for key, value in facts.items())
    return f"""# {_text(name)}

A ControlNet that obeys segmentation maps, finetuned with segkit {__version__}. Control maps must be painted with
exactly the colours of its palette, and sized with NEAREST.

| | |
|---|---|
{rows}

- diffusers: `ControlNetModel.from_pretrained("controlnet")`
- A1111, Forge, ComfyUI: `{file}`

{_LICENSE}
"""


def _text(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def write_base(run: Path, name: str, settings: TrainSettings, trained: Mapping[str, "Tensor"]) -> None:
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

    base = load.load_base(settings.base, settings.tokenizer, settings.prediction_type)
    base.unet.load_state_dict(dict(trained))
    _write_base_folder(run / "base", base)
    source = Path(settings.base).expanduser()
    if source.is_file():
        merged = _merged(safe_load.read(source), base.unet.state_dict())
        path = run / f"{ldm.safe_name(name)}-base.safetensors"
        storage.write(path, save(merged, {"format": "pt"}))


def _write_base_folder(folder: Path, base: Base) -> None:
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


def _merged(state: safe_load.Tensors, unet: Mapping[str, "Tensor"]) -> dict[str, "Tensor"]:
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
