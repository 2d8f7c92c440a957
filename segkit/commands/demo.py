"""segkit demo."""

from pathlib import Path

import click

from segkit.commands.options import Command


@click.command("demo", cls=Command, short_help="The whole way on rendered photos, offline.", example="segkit demo")
@click.argument("folder", type=click.Path(path_type=Path), default="segkit-demo")
@click.option("--photos", default=48, show_default=True, type=click.IntRange(1, 1000), help="How many to render.")
@click.pass_context
def command(context: click.Context, folder: Path, photos: int) -> None:
    """Run the whole way in the toy world, without any network connection or download.

    Rendered photos of rooms and streets become a checked dataset. The networks are a tiny OneFormer and a tiny BLIP,
    trained on this toy world: they know nothing else. Since the truth of every pixel is known here, the demo measures
    how right its maps are.
    """
    from segkit import build, checks, contact_sheet, palette_report, report, show, summary
    from segkit.console import line, progress
    from segkit.dataset import Dataset
    from segkit.toy import demo

    demo.claim(folder)
    line("The toy world: rendered rooms and streets, and a tiny OneFormer and BLIP that know nothing else.")
    line("For real photos take the real networks; all else here is what they go through.")
    with progress("rendering") as advance:
        truths = demo.render(folder / "photos", photos, advance)
    output = folder / "dataset"
    with progress("photos") as advance:
        result = build.build_dataset(
            folder / "photos", output, demo.SETTINGS, lambda outcome: advance(outcome.done, outcome.found)
        )
    dataset = Dataset.open(output)
    page = report.write(dataset)
    show.outcome(result, summary.summarise(dataset), output, page, as_json=False)
    show.palette(palette_report.examine(str(output)), as_json=False)
    checked = checks.check(dataset)
    show.checked(checked, output, as_json=False)
    sheet = folder / "contact-sheet.png"
    contact_sheet.write(dataset, sheet)
    show.verdict(demo.judge(dataset, truths), output, sheet, page)
    context.exit(int(checked.failed))
