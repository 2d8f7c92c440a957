"""segkit demo."""

import os
from pathlib import Path

import click

from segkit.commands.options import Command


@click.command("demo", cls=Command, short_help="The whole way on rendered photos, offline.", example="segkit demo")
@click.argument("folder", type=click.Path(path_type=Path), required=False)
@click.option("--photos", type=click.IntRange(1, 10_000), help="How many to render.  [default: 48; with --train 2500]")
@click.option("--train", is_flag=True, help="Train a ControlNet on small photos too, and draw: 15 to 30 minutes.")
@click.option("--steps", type=click.IntRange(1), help="Of that training.  [default: 4500]")
@click.pass_context
def command(context: click.Context, folder: Path | None, photos: int | None, train: bool, steps: int | None) -> None:
    """Run the whole way in the toy world, without any network connection or download.

    Rendered photos of rooms and streets become a checked dataset. The networks are a tiny OneFormer, a tiny BLIP and,
    with --train, a tiny Stable Diffusion, trained on this toy world: they know nothing else. Since the truth of every
    pixel is known here, the demo measures how right its maps are; with --train also how much of a map is seen in what
    is drawn from it, before the training and after. FOLDER is segkit-demo, or segkit-demo-train.
    """
    os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")  # before torch is imported: see trainer.step.cpu.reproducible
    from segkit import console
    from segkit.build import pipeline
    from segkit.commands import show
    from segkit.dataset import Dataset, checks, stats
    from segkit.reports import contact_sheet, dataset_page, findings
    from segkit.toy import demo

    folder = folder or Path("segkit-demo-train" if train else "segkit-demo")
    how = demo.LEARN if train else demo.LOOK
    demo.claim(folder)
    console.line("The toy world: rendered rooms and streets, and a tiny OneFormer and BLIP that know nothing else.")
    console.line("For real photos take the real networks; all else here is what they go through.")
    with console.progress() as progress:
        truths = demo.render(folder / "photos", photos or how.photos, how.sizes, progress)
    output = folder / "dataset"
    with console.progress() as progress:
        result = pipeline.build_dataset(folder / "photos", output, how.build, progress)
    dataset = Dataset.open(output)
    dataset_page.write(dataset)
    checked, maps = checks.check(dataset), findings.examine(str(output))
    if checked.problems:
        show.checked(checked, output, as_json=False)
    sheet = folder / "contact-sheet.png"
    contact_sheet.write(dataset, sheet)
    show.demonstrated(result, stats.summarize(dataset), maps, demo.judge(dataset, truths), output, sheet)
    if train and not checked.failed:
        _train(folder, steps)
    context.exit(int(checked.failed))


def _train(folder: Path, steps: int | None) -> None:
    """Train on the demo's dataset, and show what is drawn before and after."""
    from dataclasses import replace

    from segkit import console
    from segkit.commands import show_training
    from segkit.toy import demo
    from trainer import loop
    from trainer.evaluate import fidelity

    console.line(
        "A fresh ControlNet on the toy Stable Diffusion, which draws rooms and streets but knows nothing of maps."
    )
    settings = replace(demo.TRAIN, steps=steps or demo.TRAIN.steps)
    with console.progress() as progress:
        outcome = loop.train(folder / "dataset", folder / "run", settings, progress)
    show_training.trained(outcome, as_json=False)
    with console.progress() as progress:
        found = fidelity.of_run(folder / "run", folder / "dataset", demo.DRAW, folder / "pictures", progress)
    show_training.obedience(found)
