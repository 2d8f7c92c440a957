"""segkit export."""

from pathlib import Path
from typing import Any, get_args

import click

from segkit.commands.options import Command, json_option
from segkit.settings import Layout


@click.command(
    "export",
    cls=Command,
    short_help="Convert a trained ControlNet to another format.",
    example="segkit export rooms-run --to pth -o rooms.pth",
)
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--to", type=click.Choice(get_args(Layout)), required=True, help="Output format.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File or folder to write.  [default: inside RUN]")
@click.option("--full", is_flag=True, help="Write fp32 files instead of fp16; diffusers folders are always fp32.")
@click.option("--overwrite", is_flag=True, help="Replace an existing file or folder.")
@json_option
def command(run: Path, to: Any, output: Path | None, full: bool, overwrite: bool, as_json: bool) -> None:
    """Convert the ControlNet of a run to another format.

    RUN is a run folder of segkit train or a ControlNet in diffusers format. Formats: ldm is a .safetensors file for
    A1111, Forge and ComfyUI; pth is the same as a .pth file, like the released ControlNets; diffusers is a folder.
    Files are fp16.
    """
    from segkit import console
    from trainer.checkpoints import export

    written = export.export(run, to, output, full, overwrite)
    if as_json:
        return console.json_object({"written": str(written)})
    return console.line(f"Written: {written}")
