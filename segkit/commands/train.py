"""segkit train."""

import os
from pathlib import Path, PurePath
from typing import Any

import click

from segkit.commands.options import Command, is_typed, json_option, settings_options, take, threads_option, with_file
from segkit.errors import UsageError
from trainer.settings import TrainSettings, require_mode_of_union


@click.command(
    "train",
    cls=Command,
    short_help="Finetune a segmentation ControlNet on a dataset.",
    example="segkit train rooms -o rooms-run --base deliberate.safetensors --controlnet control_v11p_sd15_seg.pth",
    after_interrupt="Run the same command again: it resumes from the run's newest checkpoint, or starts without one.",
)
@click.argument("dataset", type=click.Path(), required=False)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Run folder.  [default: DATASET-run]")
@click.option(
    "--config", type=click.Path(path_type=Path), help="A run.toml with any of these options; flags take precedence."
)
@settings_options(TrainSettings)
@click.option("--accept-changes", is_flag=True, help="Resume even if photos, maps or prompts have changed.")
@click.option("--dry-run", is_flag=True, help="Check everything, time three steps and show the plan; train nothing.")
@threads_option
@json_option
@click.pass_context
def command(
    context: click.Context,
    /,
    dataset: str | None,
    output: Path | None,
    config: Path | None,
    accept_changes: bool,
    dry_run: bool,
    as_json: bool,
    **values: Any,
) -> None:
    """Finetune a segmentation ControlNet on the triples of a dataset.

    DATASET is a segkit dataset, a folder or URL of shards that segkit export wrote, or a folder in the layout of
    fill50k, Hugging Face's imagefolder or kohya's scripts.
    Training stops if the network would see a control pixel that is not a palette colour. If interrupted, run the same
    command again: the run resumes bit for bit. The run folder receives controlnet/ for diffusers, a .safetensors file
    for A1111, Forge and ComfyUI, and checkpoints/. Several GPUs: torchrun --nproc-per-node 2 -m trainer run.toml.
    Exit code 0: trained; 2: error; 130: interrupted.
    """
    os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")  # before torch is imported: see trainer.step.cpu.reproducible
    from segkit import console, interrupts
    from segkit.commands import show_training
    from trainer import loop, settings
    from trainer.data import shards
    from trainer.run import dry_run as rehearsal

    file = settings.read(config) if config else {}
    dataset = dataset or file.get("dataset")
    if not dataset:
        raise UsageError("No dataset given. Run segkit train DATASET, or set dataset in the --config file.")
    data = shards.of_text(dataset)
    name = PurePath(data).name or Path(data).resolve().name  # of "." and the like
    output = output or Path(file.get("output") or f"{name}-run")
    train_settings = take(TrainSettings, with_file(context, values, file))
    if is_typed(context, "controlnet_mode"):  # a run.toml always has one
        require_mode_of_union(train_settings.controlnet, train_settings.controlnet_mode)
    if dry_run:
        with console.progress() as progress:
            plan = rehearsal.plan(data, output, train_settings, progress, accept_changes)
        show_training.plan(plan, data, output, as_json)
        return
    with console.progress() as progress:
        result = loop.train(data, output, train_settings, progress, accept_changes)
    show_training.trained(result, as_json)
    context.exit(0 if result.file else interrupts.EXIT_CODE)
