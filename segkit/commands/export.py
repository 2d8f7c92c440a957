"""segkit export."""

from pathlib import Path
from typing import Any

import click

from segkit.commands.options import Command, json_option


@click.command(
    "export",
    cls=Command,
    short_help="Write a trained ControlNet as another kind of file.",
    example="segkit export rooms-run --to pth -o rooms.pth",
)
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--to", type=click.Choice(["ldm", "diffusers", "pth"]), required=True, help="The kind of file.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File or folder.  [default: within RUN]")
@click.option("--full", is_flag=True, help="Keep fp32 in files; folders always do.")
@click.option("--overwrite", is_flag=True, help="Replace what is there under that name.")
@json_option
def command(run: Path, to: Any, output: Path | None, full: bool, overwrite: bool, as_json: bool) -> None:
    """Write the ControlNet of a run anew.

    RUN is the folder of segkit train, or a ControlNet's diffusers folder. ldm is a .safetensors file for A1111, Forge
    and ComfyUI, pth the same as a .pth like the released ones, diffusers a folder. Files are fp16. Needs
    segkit[train].
    """
    from segkit import console
    from trainer.checkpoints import export

    written = export.export(run, to, output, full, overwrite)
    if as_json:
        return console.json_object({"written": str(written)})
    return console.line(f"Written: {written}")
