"""segkit demo."""

import os
from pathlib import Path

import click

from segkit.commands.options import Command
from segkit.errors import UsageError
from segkit.models import hub

_FOLDERS = {hub.TOY: "segkit-demo-train", hub.TOY_SDXL: "segkit-demo-sdxl"}
"""Default folders of trainings by base."""


@click.command(
    "demo", cls=Command, short_help="Run the whole workflow on rendered photos, offline.", example="segkit demo",
    after_interrupt="Run the same command again: triples and training steps that were saved are not repeated.",
)  # fmt: skip
@click.argument("folder", type=click.Path(path_type=Path), required=False)
@click.option("--photos", type=click.IntRange(1, 10_000), help="Photos to render.  [default: 48; with --train 2500]")
@click.option(
    "--train", is_flag=True, help="Also train ControlNets on small photos and evaluate them: 30 to 60 minutes."
)
@click.option("--steps", type=click.IntRange(1), help="Training steps before the reward.  [default: 4500]")
@click.option(
    "--base", type=click.Choice(hub.TOY_BASES), default=hub.TOY, show_default=True,
    help="Base of the training: of the structure of Stable Diffusion 1 or XL.",
)  # fmt: skip
@click.pass_context
def command(
    context: click.Context, folder: Path | None, photos: int | None, train: bool, steps: int | None, base: str
) -> None:
    """Run the whole workflow in the toy world, without any download.

    Rendered photos of rooms and streets become a checked dataset. The networks are a tiny OneFormer, a tiny BLIP and,
    with --train, a tiny Stable Diffusion; they were trained on such scenes and are useless for real photos. Since the
    ground truth is known, the demo measures how accurate its control maps are and, with --train, how well generated
    pictures follow their maps before training, after it, and after some more with a reward. FOLDER defaults to
    segkit-demo, or segkit-demo-train, or segkit-demo-sdxl with --base toy-sdxl.
    """
    if not train and (steps or base != hub.TOY):
        raise UsageError(f"{'--steps' if steps else '--base'} is for the training. Add --train.")
    os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")  # before torch is imported: see trainer.step.cpu.reproducible
    from segkit import console
    from segkit.build import pipeline
    from segkit.commands import show
    from segkit.dataset import Dataset, checks, stats
    from segkit.reports import contact_sheet, dataset_page, findings
    from segkit.toy import demo

    folder = folder or Path(_FOLDERS[base] if train else "segkit-demo")
    settings = demo.TRAINING_DEMO if train else demo.BUILD_DEMO
    demo.check_folder(folder)
    console.line("The toy world: rendered rooms and streets, and a tiny OneFormer and BLIP trained only on them.")
    console.line("Real photos need the real networks; every other step is the same.")
    with console.progress() as progress:
        truths = demo.render(folder / "photos", photos or settings.photos, settings.sizes, progress)
    output = folder / "dataset"
    with console.progress() as progress:
        result = pipeline.build_dataset(folder / "photos", output, settings.build, progress)
    dataset = Dataset.open(output)
    dataset_page.write(dataset)
    report, maps = checks.check(dataset), findings.examine(str(output))
    if report.problems:
        show.check_report(report, output, as_json=False)
    sheet = folder / "contact-sheet.png"
    contact_sheet.write(dataset, sheet)
    show.demo_report(result, stats.summarize(dataset), maps, demo.evaluate(dataset, truths), output, sheet)
    context.exit(_train(folder, steps, base) if train and not report.failed else int(report.failed))


def _train(folder: Path, steps: int | None, base: str) -> int:
    """Train on the demo's dataset without and with a reward, compare the pictures, and return the exit code."""
    from segkit import console, interrupts
    from segkit.commands import show_training
    from segkit.toy import demo
    from trainer import loop
    from trainer.evaluate import evaluation

    dataset, runs = folder / "dataset", []
    for training in demo.trainings(folder, steps, base):
        console.line(training.purpose)
        with console.progress() as progress:
            outcome = loop.train(dataset, training.run, training.settings, progress)
        show_training.trained(outcome, as_json=False)
        if not outcome.file:  # stopped
            return interrupts.EXIT_CODE
        runs.append(str(training.run))
    with console.progress() as progress:
        result = evaluation.evaluate(runs, dataset, folder / "evaluation", demo.EVALUATION, progress)
    show_training.evaluated(result, as_json=False)
    return 0
