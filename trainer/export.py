"""A trained ControlNet as another kind of file."""

import json
from pathlib import Path
from typing import Any, Literal

from segkit.errors import ModelError, UsageError
from trainer import networks, reader, results, settings, weights

Layout = Literal["ldm", "diffusers", "pth"]


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
    name = weights.safe_name(run.resolve().name)
    ending = {"ldm": ".safetensors", "pth": ".pth", "diffusers": ""}[layout]
    output = output or run / f"{name}-export{ending}"
    if output.suffix.lower() != ending and layout != "diffusers":
        raise UsageError(f"-o {output}: expected a name that ends in {ending}.")
    if output.exists() and not overwrite:
        raise UsageError(f"{output} is there already. Name another with -o, or type --overwrite.")
    model = weights.load(reader.read(reader.in_folder(folder)), networks.controlnet_config(folder))
    if layout == "diffusers":
        results.write_folder(output, model)
    else:
        weights.save_ldm(model, output, None if full else torch.float16, results.metadata(_facts(run)))
    return output


def _facts(run: Path) -> dict[str, Any]:
    """Return what a run knows of its result; nothing of a folder that is no run."""
    if not (run / "run.toml").is_file():
        return {}
    try:
        told: dict[str, Any] = json.loads((run / "run.json").read_text("utf-8"))["told"]
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{run / 'run.json'} is damaged ({error}).") from None
    return {"base": Path(settings.read(run / "run.toml")["base"]).name, **told}
