"""segkit export."""

from pathlib import Path
from typing import Any, get_args

import click

from segkit.commands.options import Command, PathOrUrl, is_typed, json_option, settings_options
from segkit.settings import Kind, Layout, SelectionSettings


@click.command(
    "export",
    cls=Command,
    short_help="Convert a dataset or a trained ControlNet for other tools.",
    example="segkit export rooms --to webdataset -o rooms-shards, or: segkit export rooms-run --to pth -o rooms.pth",
    after_interrupt="What is exported of a dataset stays; run the same command again for the rest.",
)
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "--to", type=click.Choice([*get_args(Layout), *get_args(Kind)]), required=True, help="Output format; see above."
)
@click.option(
    "-o", "--output", type=PathOrUrl(),
    help="File or folder to write; of a dataset, a new folder or a URL.  [default: of a run, inside it]",
)  # fmt: skip
@settings_options(SelectionSettings)
@click.option("--full", is_flag=True, help="Of a run: fp32 files instead of fp16; diffusers folders are always fp32.")
@click.option("--overwrite", is_flag=True, help="Replace an existing file or folder, or an earlier export.")
@click.option("--verify", is_flag=True, help="Of a dataset: compare hashes of an earlier export's files, not sizes.")
@json_option
@click.pass_context
def command(
    context: click.Context, /, source: Path, to: Any, output: Any, full: bool, overwrite: bool, as_json: bool,
    **values: Any,
) -> None:  # fmt: skip
    """Convert a dataset, or the ControlNet of a run, for other tools.

    SOURCE is a dataset, or a run folder of segkit train, or a ControlNet in diffusers format.

    Of a dataset: webdataset writes tar shards with an index, which segkit train reads too; imagefolder and parquet are
    for Hugging Face datasets and diffusers' scripts; fill50k is for ControlNet's tutorial; kohya for sd-scripts;
    coco-panoptic and label-ids for segmentation libraries. Triples that a person left out are not exported.
    Run the same command again, and files that are missing or have another size are written again.

    Of a run: ldm is a .safetensors file for A1111, Forge and ComfyUI; pth is the same as a .pth file, like the released
    ControlNets; diffusers is a folder. Files are fp16.
    """
    from segkit import api, console
    from segkit.commands import show_export

    typed = {name: value for name, value in values.items() if is_typed(context, name)}
    with console.progress() as progress:
        written = api.export(source, to, output, full=full, overwrite=overwrite, progress=progress, **typed)
    show_export.exported(written, as_json)
