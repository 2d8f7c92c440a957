"""segkit generate."""

import os
from pathlib import Path
from typing import Any

import click

from segkit.commands.options import Command, json_option, settings_options, take
from trainer.settings import GenerateSettings


@click.command(
    "generate",
    cls=Command,
    short_help="Draw pictures from control maps.",
    example='segkit generate --map map.png --prompt "a bright kitchen" --controlnet rooms-run',
)
@click.option("--map", "source", type=click.Path(path_type=Path), required=True, help="A map, a folder, or a dataset.")
@click.option("--prompt", default="", help="What to draw, for maps without words of their own.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), default=Path("pictures"), show_default=True, help="Their folder."
)
@settings_options(GenerateSettings)
@click.option("--overwrite", is_flag=True, help="Replace other files of the pictures' names.")
@json_option
def command(source: Path, prompt: str, output: Path, overwrite: bool, as_json: bool, **values: Any) -> None:
    """Draw pictures from control maps with a base and a ControlNet.

    The map may be one file, a folder of maps with a NAME.txt beside each that has words of its own, or a dataset (its
    held-out triples, or all if there are none). A map with a pixel off the palette is refused; it is sized with
    NEAREST. Equal seeds give equal pictures on one machine, however many are drawn. Typed again after a stop, it draws
    what is missing. Needs segkit[train].
    """
    os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")  # before torch is imported: see trainer.step.cpu.reproducible
    from segkit import console
    from segkit.commands import show_training
    from trainer.sample import generate, requests

    given = take(GenerateSettings, values)
    table = "" if given.allow_any_control else generate.sources(given).palette
    found = requests.find(source, prompt, table, given.allow_any_control)
    with console.progress() as progress:
        pictures = generate.generate(found, output, given, progress, overwrite)
    show_training.generated(pictures, output, as_json)
