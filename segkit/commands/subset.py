"""segkit subset."""

from pathlib import Path

import click

from segkit.commands.options import Command, json_option


@click.command(
    "subset",
    cls=Command,
    short_help="Copy some triples into a new dataset, by hard links.",
    example='segkit subset rooms -o kitchens --where "source:kitchen/*"',
    after_interrupt="What is copied stays; run the same command again for the rest.",
)
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder of the new dataset.")
@click.option("--where", metavar="TEXT", help="Conditions, as for segkit remove.  [default: all triples]")
@click.option("--copy", is_flag=True, help="Copy pictures instead of linking them: needs space, but edits stay apart.")
@json_option
def command(dataset: Path, output: Path, where: str | None, copy: bool, as_json: bool) -> None:
    """Copy the triples that meet conditions into a new dataset, with prompts, splits and decisions.

    Pictures are hard links where the file system has them, which cost no space; an editor that writes into a picture
    then changes it in both datasets. Triples that were left out with segkit remove are not copied.
    """
    from segkit import console
    from segkit.commands import show_removal
    from segkit.dataset import Dataset
    from segkit.dataset import subset as subsets
    from segkit.dataset import where as conditions

    opened = Dataset.open(dataset)
    condition = None if where is None else conditions.parse(where, opened.info.palette)
    with console.progress() as progress:
        copied = subsets.subset(opened, output, condition, copy=copy, progress=progress)
    show_removal.copied(copied, output, as_json)
