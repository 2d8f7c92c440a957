"""segkit inspect."""

from functools import partial
from pathlib import Path

import click

from segkit.commands.options import Command, json_option, with_flags


@click.command(
    "inspect",
    cls=Command,
    short_help="Identify a checkpoint and check it for faults.",
    elsewhere=("controlnet", "controlnet_mode"),
    example="segkit inspect control_v11p_sd15_seg.pth",
)
@click.argument("file", type=click.Path(path_type=Path))
@json_option
@click.pass_context
def command(context: click.Context, file: Path, as_json: bool) -> None:
    """Identify a checkpoint and check it for faults.

    FILE is a .safetensors, .pth or .ckpt file from any trainer, a diffusers folder of one network or of a base, a run
    of segkit train, or toy or toy-sdxl, the bases that segkit ships. Reports its kind, family and precision, and
    weights that are missing, unexpected, of the wrong shape, NaN, infinite, or zero or constant throughout; for a base,
    also whether it predicts noise or velocity. Code in a pickle is never executed.
    Exit code 0: sound; 1: faults found; 2: not a checkpoint, or one without tensors.
    """
    from segkit.commands import show
    from trainer.checkpoints import inspect

    result = inspect.inspect(file)
    show.inspection(result, partial(with_flags, context), as_json)
    context.exit(int(not result.is_sound))
