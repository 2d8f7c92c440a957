"""segkit train."""

import os
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from segkit.commands.options import Command, json_option, settings_options
from segkit.errors import UsageError
from trainer.settings import TrainSettings


@click.command(
    "train",
    cls=Command,
    short_help="Finetune the ControlNet on a dataset.",
    example="segkit train rooms -o rooms-run --base deliberate.safetensors --controlnet control_v11p_sd15_seg.pth",
)
@click.argument("dataset", type=click.Path(path_type=Path), required=False)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The run's folder.  [default: DATASET-run]")
@click.option("--config", type=click.Path(path_type=Path), help="A run.toml with any of the options; flags win.")
@settings_options(TrainSettings)
@click.option("--dry-run", is_flag=True, help="Check everything, try three steps, and tell the plan; trains nothing.")
@json_option
@click.pass_context
def command(
    context: click.Context,
    /,
    dataset: Path | None,
    output: Path | None,
    config: Path | None,
    dry_run: bool,
    as_json: bool,
    **values: Any,
) -> None:
    """Finetune the segmentation ControlNet on the triples of a dataset.

    DATASET is segkit's, or a folder as for fill50k, Hugging Face's imagefolder or kohya's scripts. Every control pixel
    is a palette colour up to the network, or nothing is trained. Typed again after a stop, the run goes on exactly
    where it was. The run's folder gets controlnet/ for diffusers, a .safetensors for A1111, Forge and ComfyUI, and
    checkpoints/. Several processes: torchrun --nproc-per-node 2 -m trainer run.toml. Needs segkit[train]. Exit code
    0: trained; 2: not possible; 130: stopped.
    """
    os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")  # before torch is imported: see trainer.step.cpu.reproducible
    from segkit import console
    from segkit.commands import show_training
    from trainer import loop, settings
    from trainer.run import dry_run as rehearsal

    given = settings.read(config) if config else {}
    typed = {name for name in values if context.get_parameter_source(name) is not ParameterSource.DEFAULT}
    resolved = values | {name: given[name] for name in values if name in given and name not in typed}
    dataset = dataset or (Path(given["dataset"]) if "dataset" in given else None)
    if dataset is None:
        raise UsageError("No dataset. Type: segkit train DATASET, or name one in --config.")
    output = output or Path(given.get("output") or f"{dataset.resolve().name}-run")
    chosen = TrainSettings(**resolved)
    if dry_run:
        with console.progress() as progress:
            planned = rehearsal.plan(dataset, output, chosen, progress)
        show_training.plan(planned, output, as_json)
        return
    with console.progress() as progress:
        result = loop.train(dataset, output, chosen, progress)
    show_training.trained(result, as_json)
    context.exit(0 if result.file else 130)
