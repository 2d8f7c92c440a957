"""What comes out of a run: diffusers' folder, the file for A1111, Forge and ComfyUI, and the model card."""

import json
from pathlib import Path
from typing import Any

from segkit import __version__, storage
from trainer import weights

_LICENCE = (
    "A derivative of its base and of the ControlNet it started from: their licences apply, such as CreativeML "
    "OpenRAIL-M. dreamlike-photoreal-2.0 limits commercial use of derivatives."
)


def metadata(facts: dict[str, Any]) -> dict[str, str]:
    """Return what the exported file is to say of itself."""
    return {"segkit": __version__, "licence": _LICENCE, **{name: str(value) for name, value in facts.items()}}


def write(run: Path, name: str, controlnet: Any, facts: dict[str, Any]) -> Path:
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
    path = run / f"{weights.safe_name(name)}.safetensors"
    weights.save_ldm(controlnet, path, torch.float16, metadata(facts))
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

{_LICENCE}
"""


def _text(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
