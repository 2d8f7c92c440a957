"""segkit demo."""

from pathlib import Path

import click

from segkit.commands.options import Command


@click.command("demo", cls=Command, short_help="The whole way on rendered pictures, offline.", example="segkit demo")
@click.argument("folder", type=click.Path(path_type=Path), default="segkit-demo")
@click.option("--photos", default=24, show_default=True, type=click.IntRange(1, 1000), help="How many to render.")
@click.pass_context
def command(context: click.Context, folder: Path, photos: int) -> None:
    """Run the whole way on rendered pictures with small networks, without any network connection or download.

    The networks have the real architectures (OneFormer, BLIP) but random weights: the maps and prompts are nonsense,
    the mechanics are real. It shows what a dataset looks like and which command comes next.
    """
    from segkit import build, checks, palette_report, report, show, summary
    from segkit.console import line, progress
    from segkit.dataset import Dataset
    from segkit.toy import demo

    line("The networks of this demo have the real architectures but random, untrained weights:")
    line("its maps and prompts mean nothing. Everything around them is real.")
    settings = demo.prepare(folder, photos)
    output = folder / "dataset"
    with progress("photos") as advance:
        result = build.build_dataset(
            folder / "photos", output, settings, lambda outcome: advance(outcome.done, outcome.found)
        )
    dataset = Dataset.open(output)
    page = report.write(dataset)
    show.outcome(result, summary.summarise(dataset), output, page, as_json=False)
    show.palette(palette_report.examine(str(output)), as_json=False)
    checked = checks.check(dataset)
    show.checked(checked, output, as_json=False)
    line(f"Open {page.resolve()} in a browser: photo, control map, both, and the prompt of every triple.")
    line("For your own photos: segkit build-dataset photos/ -o my-dataset")
    context.exit(int(checked.failed))
