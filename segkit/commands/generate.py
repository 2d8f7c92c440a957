"""segkit generate."""

import os
from pathlib import Path
from typing import Any

import click

from segkit.commands.options import Command, json_option, settings_options, take, threads_option
from segkit.settings import DrawSettings
from trainer.settings import GenerateSettings


@click.command(
    "generate",
    cls=Command,
    short_help="Generate pictures from control maps.",
    example='segkit generate --map map.png --prompt "a bright kitchen" --controlnet rooms-run',
    after_interrupt="Run the same command again: pictures that are finished are not drawn again.",
)
@click.option(
    "--map",
    "source",
    type=click.Path(),
    required=True,
    help="A control map, a folder of maps, a dataset, or the URL of shards.",
)
@click.option("--prompt", default="", help="Prompt for maps that have none of their own.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("pictures"),
    show_default=True,
    help="Output folder.",
)
@settings_options(GenerateSettings)
@click.option("--overwrite", is_flag=True, help="Replace existing files of the same names.")
@threads_option
@json_option
def command(source: str, prompt: str, output: Path, overwrite: bool, as_json: bool, **values: Any) -> None:
    """Generate pictures from control maps with a base model and a ControlNet.

    --map takes one file, a folder of maps (NAME.txt beside a map holds its prompt), or a dataset or its shards (the
    held-out triples, or all triples if none are held out). Maps with off-palette pixels are refused; maps are resized
    with NEAREST. On one machine, equal seeds give equal pictures, however many are generated, one by one or in batches.
    If interrupted, run the same command again: only missing pictures are generated.
    """
    os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")  # before torch is imported: see trainer.step.cpu.reproducible
    from segkit import console
    from segkit.commands import show_training
    from trainer.data import shards
    from trainer.sample import generate, grid, requests, sources

    settings = take(GenerateSettings, values)
    DrawSettings(prompt=prompt, overwrite=overwrite)  # checks them
    scenes = requests.find(shards.of_text(source), prompt)
    if note := sources.palette_note(settings):
        console.warning(note)
    with console.progress() as progress:
        pictures = generate.generate(scenes, output, settings, progress, overwrite)
    show_training.generated(pictures, output, as_json, output / grid.NAME if settings.strengths else None)
