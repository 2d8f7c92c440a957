"""segkit demo."""

from pathlib import Path

import click

from segkit.commands.options import Command, require_trainer


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
    from segkit import build, checks, contact_sheet, palette_report, report, show, summary
    from segkit.console import line, progress
    from segkit.dataset import Dataset
    from segkit.toy import demo

    if train:
        require_trainer()
    folder = folder or Path("segkit-demo-train" if train else "segkit-demo")
    how = demo.LEARN if train else demo.LOOK
    demo.claim(folder)
    line("The toy world: rendered rooms and streets, and a tiny OneFormer and BLIP that know nothing else.")
    line("For real photos take the real networks; all else here is what they go through.")
    with progress("rendering") as advance:
        truths = demo.render(folder / "photos", photos or how.photos, how.sizes, advance)
    output = folder / "dataset"
    with progress("photos") as advance:
        result = build.build_dataset(
            folder / "photos", output, how.build, lambda outcome: advance(outcome.done, outcome.found)
        )
    dataset = Dataset.open(output)
    report.write(dataset)
    checked, maps = checks.check(dataset), palette_report.examine(str(output))
    if checked.problems:
        show.checked(checked, output, as_json=False)
    sheet = folder / "contact-sheet.png"
    contact_sheet.write(dataset, sheet)
    show.demonstrated(result, summary.summarise(dataset), maps, demo.judge(dataset, truths), output, sheet)
    if train and not checked.failed:
        _train(folder, steps)
    context.exit(int(checked.failed))


def _train(folder: Path, steps: int | None) -> None:
    """Train on the demo's dataset, and show what is drawn before and after."""
    from dataclasses import replace

    from segkit import show_training
    from segkit.console import line, progress
    from segkit.toy import demo
    from trainer import loop, obedience

    line("A fresh ControlNet on the toy Stable Diffusion, which draws rooms and streets but knows nothing of maps.")
    settings = replace(demo.TRAIN, steps=steps or demo.TRAIN.steps)
    show_training.trained(loop.train(folder / "dataset", folder / "run", settings, progress), folder / "run", False)
    with progress("pictures") as advance:
        found = obedience.of_run(folder / "run", folder / "dataset", demo.DRAW, folder / "pictures", advance)
    show_training.obedience(found)
