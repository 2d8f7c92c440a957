"""Write a finished run's artefacts: the diffusers folder, the file for A1111, Forge and ComfyUI, and the model card.

A run with --sd-unlocked also trained the base's UNet; its ControlNet is of little use without that base, so the base is
written too.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segkit import __version__, storage
from segkit.errors import ModelError, StorageError, UsageError
from segkit.models import hub
from segkit.settings import ExportSettings, Layout
from trainer import settings as run_settings
from trainer.checkpoints import configs, families, fitting, fp8, identify, ldm, load, runs, safe_load, union
from trainer.checkpoints.load import Base
from trainer.settings import FRESH, TrainSettings

if TYPE_CHECKING:
    from torch import Tensor

_SUFFIXES = {"ldm": ".safetensors", "pth": ".pth", "diffusers": ""}

_LIMITED = {"dreamlike-photoreal-2.0": "limits commercial use of derivatives"}
"""Bases whose licence surprises, by a part of their name."""

_USAGE = ('`ControlNetModel.from_pretrained("controlnet")`', "")
"""How a ControlNet that has no modes is used in diffusers, and what is set in other programs; see union.usage."""

_DROPPED = ("model_ema.", "control_model.")  # the EMA of the weights before this training; another ControlNet
_TEXT_MODEL = "text_model."


def export(run: Path, layout: Layout, output: Path | None = None, full: bool = False, overwrite: bool = False) -> Path:
    """Convert a trained ControlNet to another layout.

    Args:
        run: a finished run's folder, or a ControlNet's diffusers folder.
        layout: "ldm" writes a .safetensors file with the names that A1111, Forge and ComfyUI read: ldm's, or those of
            diffusers for SDXL; "pth" a pickle with the prefix of released files; "diffusers" a folder.
        output: file or folder to write; None writes NAME-export into the run's folder.
        full: write files in fp32 instead of fp16; folders are always fp32.
        overwrite: replace an existing file or folder.

    Returns:
        The path that was written.

    Raises:
        ModelError: the folder has no trained ControlNet, or a damaged one.
        UsageError: a setting is not valid, the output exists, its extension does not fit the layout, or files of the
            ControlNet's family do not have that layout.
        StorageError: the disk is full.
    """
    import torch

    ExportSettings(to=layout, full=full, overwrite=overwrite)
    folder = _result(run) if (run / "run.toml").is_file() else run
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder}: contains no ControlNet. Expected a finished run of segkit train.")
    name = ldm.safe_name(run.resolve().name)
    suffix = _SUFFIXES[layout]
    output = output or run / f"{name}-export{suffix}"
    if output.suffix.lower() != suffix and layout != "diffusers":
        raise UsageError(f"{output}: expected a name that ends in {suffix}.")
    if output.exists() and not overwrite:
        raise UsageError(f"{output} already exists. Choose another name, or pass overwrite=True.")
    tensors = safe_load.read_folder(folder)
    model = ldm.load(tensors, fitting.controlnet_config(folder))
    union.set_mode(model, None, union.recorded(tensors.metadata), str(run))
    family = families.of(model.config)
    if layout == "pth" and family.layout != "ldm":
        raise UsageError(f"{run}: no program reads a .pth file of {family}. Export it as ldm, or as diffusers.")
    if layout == "diffusers":
        write_folder(output, model)
    else:
        ldm.save_ldm(model, output, None if full else torch.float16, metadata(_facts(run)), family.layout)
    return output


def _result(run: Path) -> Path:
    """Return the verified result of a finished run.

    Raises:
        ModelError: the run is unfinished, or its result is damaged.
    """
    weights = runs.of_run(run, str(run))
    if weights.path.is_file():  # a checkpoint
        raise ModelError(
            f"{run} is unfinished: its newest checkpoint is {weights.path.parent.name}. Run segkit train again with "
            "the same options; the result is written at the end."
        )
    return weights.path


def _facts(run: Path) -> dict[str, Any]:
    """Return the facts for the metadata, as a run's own file has them; none for a folder that is not a run."""
    if not (run / "run.toml").is_file():
        return {}
    base = Path(run_settings.read(run / "run.toml")["base"]).name
    return {"base": base, "steps": runs.steps(run), **runs.facts(run)}


def metadata(facts: dict[str, Any]) -> dict[str, str]:
    """Return the metadata of an exported .safetensors file."""
    return {"segkit": __version__, "licence": _license(facts), **{name: str(value) for name, value in facts.items()}}


def _license(facts: Mapping[str, Any]) -> str:
    """Return whose licences apply, as sentences; the facts name the base and the initial ControlNet."""
    base, controlnet = str(facts.get("base", "")), str(facts.get("controlnet", ""))
    if base in hub.TOY_BASES:
        return f"Trained for segkit's base {base}, which draws the toy world only."
    origins = f"its base{f' ({base})' if base else ''}"
    if controlnet != FRESH:
        origins += f" and of the ControlNet it started from{f' ({controlnet})' if controlnet else ''}"
    limits = [f"{name} {limit}." for name, limit in _LIMITED.items() if name in base.lower()]
    which = "its licence applies" if controlnet == FRESH else "their licences apply"
    return " ".join([f"A derivative of {origins}: {which}.", *limits])


def write_results(run: Path, name: str, controlnet: Any, facts: dict[str, Any], caveat: str = "") -> Path:
    """Write the trained ControlNet into a run's folder: diffusers folder, fp16 file and model card, each atomically.

    The record that the result is complete comes last: see trainer.checkpoints.runs.

    Args:
        run: the run's folder.
        name: name of the ControlNet, from which the file's name is derived.
        controlnet: the ControlNetModel, on any device.
        facts: base, dataset, palette, steps and others, for the file's metadata and the model card.
        caveat: what the model card must say about control, as a sentence; "" if the network was found to use the map.

    Returns:
        The .safetensors file for A1111, Forge and ComfyUI.

    Raises:
        StorageError: the disk is full.
    """
    import torch

    runs.forget(run)
    write_folder(run / runs.FOLDER, controlnet)
    path, family = run / f"{ldm.safe_name(name)}.safetensors", families.of(controlnet.config)
    ldm.save_ldm(controlnet, path, torch.float16, metadata(facts), family.layout)
    shown = {"family": family.title, **facts, **union.record(controlnet)}
    usage = union.usage(controlnet) if union.mode(controlnet) is not None else _USAGE
    card = _card(name, path.name, shown, caveat, trained_base(run, path), usage)
    storage.write(run / "model-card.md", card.encode())
    runs.record(run, int(facts["steps"]))
    return path


def write_folder(folder: Path, model: Any) -> None:
    """Write a network as a diffusers folder in fp32; config.json comes last, so that a folder with it is complete."""
    from safetensors.torch import save

    storage.make_folder(folder)
    config = {key: value for key, value in dict(model.config).items() if not key.startswith("_")}
    config = {"_class_name": type(model).__name__, **config}
    state = {key: weight.detach().to("cpu").float().contiguous() for key, weight in model.state_dict().items()}
    storage.write(folder / "diffusion_pytorch_model.safetensors", save(state, {"format": "pt", **union.record(model)}))
    storage.write(folder / "config.json", json.dumps(config, indent=2, default=list).encode())


def _card(
    name: str, file: str, facts: dict[str, Any], caveat: str, base: str = "", usage: tuple[str, str] = _USAGE
) -> str:  # fmt: skip
    what = "for segmentation maps" if caveat else "that obeys segmentation maps"
    warning = f"\n**{_escape(caveat)}**\n" if caveat else ""
    last = f"- {base}\n" if base else ""
    rows = "\n".join(f"| {key} | {_escape(value)} |" for key, value in facts.items())
    return f"""# {_escape(name)}

A ControlNet {what}, finetuned with segkit {__version__}. Control maps must be painted with
exactly the colours of its palette, and sized with NEAREST.
{warning}
| | |
|---|---|
{rows}

- diffusers: {usage[0]}
- A1111, Forge, ComfyUI: `{file}`{usage[1]}
{last}
{_license(facts)}
"""


def _escape(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def trained_base(run: Path, file: Path) -> str:
    """Return which base a run's ControlNet needs, as sentences; "" if the run trained none.

    Args:
        run: the run's folder.
        file: its ControlNet for A1111, Forge and ComfyUI.
    """
    if not (run / "base").is_dir():
        return ""
    single, programs = _base_file(file), "A1111, Forge and ComfyUI"
    text = "The base was trained too, and the ControlNet needs it. In the run's folder: base/ for diffusers"
    if single.is_file():
        return f"{text}, {single.name} for {programs}."
    return f"{text}. There is no single file for {programs}, because the base was not loaded from one."


def _base_file(file: Path) -> Path:
    return file.with_name(f"{file.stem}-base.safetensors")


def write_base(run: Path, name: str, settings: TrainSettings, trained: Mapping[str, "Tensor"]) -> None:
    """Write the base model with its trained UNet: base/, a diffusers folder in fp32.

    A base that was loaded from a single file is also written as NAME-base.safetensors: the same file with the UNet's
    weights replaced, in the file's precision (fp8 files in a wider one). Both are written atomically.

    Args:
        run: the run's folder.
        name: name of the ControlNet.
        settings: the run's settings, which name the base.
        trained: the UNet's weights by diffusers' names.

    Raises:
        ModelError: a weight overflows the file's precision.
        StorageError: the disk is full.
    """
    from safetensors.torch import save

    base = load.load_base(settings.base, settings.tokenizer, settings.prediction_type, settings.vae)
    base.unet.load_state_dict(dict(trained))
    _write_base_folder(run / "base", base)
    source = Path(settings.base).expanduser()
    if source.is_file():
        merged = _merged(fp8.decoded(identify.base(safe_load.read(source))), base.unet.state_dict())
        path = _base_file(run / f"{ldm.safe_name(name)}.safetensors")
        storage.write(path, save(merged, {"format": "pt"}))


def _write_base_folder(folder: Path, base: Base) -> None:
    import diffusers
    from safetensors.torch import load_file, save_file

    staged = folder.with_name(f"{storage.TEMPORARY}{folder.name}")
    shutil.rmtree(staged, ignore_errors=True)
    scheduler = diffusers.DDPMScheduler(**configs.SCHEDULER, prediction_type=base.prediction)
    try:
        with hub.quiet():
            kind = getattr(diffusers, base.family.pipeline)
            kind(**base.parts, scheduler=scheduler, **base.family.pipeline_options).save_pretrained(staged)
        for part in base.family.text_encoders:
            path = staged / part.folder / "model.safetensors"
            state = {_prefixed(key): weight for key, weight in load_file(path).items()}
            save_file(state, path, {"format": "pt"})
        storage.flush(staged)
        shutil.rmtree(folder, ignore_errors=True)
        staged.rename(folder)
        storage.sync_folder(folder.parent)
    except OSError as error:
        shutil.rmtree(staged, ignore_errors=True)
        raise StorageError(
            f"{folder}: cannot be written ({error.strerror}). Free some space and run the same command again."
        ) from None


def _prefixed(name: str) -> str:
    """Return the name of a text encoder's weight with the prefix that other tools expect; transformers 5 drops it."""
    return name if name.startswith((_TEXT_MODEL, "text_projection.")) else _TEXT_MODEL + name


def _merged(state: safe_load.Tensors, unet: Mapping[str, "Tensor"]) -> dict[str, "Tensor"]:
    """Return a single file's weights with those of the UNet replaced, each in the file's dtype."""
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    merged = {name: state[name].contiguous() for name in state if not name.startswith(_DROPPED)}
    old = {name: weight for name, weight in merged.items() if name.startswith("model.diffusion_model.")}
    # diffusers' converter only renames: it returns the tensors it was given, whose identity gives the way back
    names = {id(weight): name for name, weight in old.items()}
    for key, weight in convert_ldm_unet_checkpoint(dict(old), configs.unet(state)).items():
        name = names[id(weight)]
        merged[name] = unet[key].detach().to("cpu", weight.dtype).contiguous()
        if not bool(merged[name].isfinite().all()):
            raise ModelError(f"{name} overflows {str(weight.dtype).removeprefix('torch.')}.")
    return merged
