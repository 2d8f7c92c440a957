"""segkit evaluate."""

import os
from pathlib import Path
from typing import Any

import click

from segkit.build.settings import EngineSettings
from segkit.commands.options import Command, json_option, settings_options, take, take_typed, threads_option, with_flags
from trainer.evaluate.settings import EvaluateSettings


@click.command(
    "evaluate",
    cls=Command,
    short_help="Measure how well ControlNets obey their maps.",
    example="segkit evaluate rooms-run --dataset rooms -o rooms-evaluation",
    argument="controlnet",
    after_interrupt="Run the same command again: pictures that are drawn and judged are not repeated.",
)
@click.argument("controlnets", nargs=-1, required=True)
@click.option(
    "--dataset", type=click.Path(path_type=Path), required=True, help="Dataset whose maps are drawn and compared."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("evaluation"),
    show_default=True,
    help="Folder for pictures, report and tables.",
)
@settings_options(EvaluateSettings)
@settings_options(EngineSettings)
@threads_option
@json_option
@click.pass_context
def command(
    context: click.Context,
    /,
    controlnets: tuple[str, ...],
    dataset: Path,
    output: Path,
    as_json: bool,
    **values: Any,
) -> None:
    """Measure how well pictures of one or more ControlNets agree with their control maps.

    CONTROLNETS are segkit train runs, files, folders or hub ids. The dataset's held-out maps are drawn with each of
    them and with the base alone, with the same prompts and noise; a segmenter, the judge, looks at these pictures and
    at the photos, which are the ceiling. --features and --clip also measure the quality of the pictures: KID or FID,
    the CLIP score, and with --count 2 or more their diversity. Every score but FID has a 95 % interval over maps, and
    differences are paired. The folder receives report.html, evaluation.json, per-class.csv, per-map.csv, samples.png
    and all pictures, which are reused. Several GPUs: --engine ray, or accelerate launch -m segkit evaluate ...
    """
    os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")  # before torch is imported: see trainer.step.cpu.reproducible
    from segkit import console
    from segkit.commands import show_training
    from trainer.evaluate import evaluation, presets, workers

    engine = take(EngineSettings, values)
    settings = EvaluateSettings(**presets.complete(take_typed(EvaluateSettings, context, values)))
    with console.progress() as progress:

        def report(stage: str, done: int, total: int, note: str = "") -> None:
            progress(stage, done, total, note and with_flags(context, note))

        result = evaluation.evaluate(controlnets, dataset, output, settings, report, evaluation.Execution(engine))
    if workers.current().is_main:
        show_training.evaluated(result, as_json)
