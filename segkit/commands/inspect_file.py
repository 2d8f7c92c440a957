"""segkit inspect."""

from pathlib import Path

import click

from segkit.commands.options import Command, json_option


@click.command(
    "inspect", cls=Command, short_help="Tell what a checkpoint is.", example="segkit inspect control_v11p_sd15_seg.pth"
)
@click.argument("file", type=click.Path(path_type=Path))
@json_option
@click.pass_context
def command(context: click.Context, file: Path, as_json: bool) -> None:
    """Tell what a checkpoint is, and whether it is sound, before anything is loaded from it.

    FILE is a .safetensors, .pth or .ckpt file of any training, or a diffusers folder of one network. Its kind, family
    and precision are told, and weights that are missing, too many, of wrong shape, NaN or infinite. No code that a
    pickle holds is run. Needs segkit[train]. Exit code 0: sound; 1: faults; 2: no checkpoint.
    """
    from segkit.commands import show
    from trainer.checkpoints import inspect

    result = inspect.inspect(file)
    show.inspection(result, as_json)
    context.exit(int(not result.is_sound))
