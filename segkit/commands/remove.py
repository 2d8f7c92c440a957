"""segkit remove."""

from pathlib import Path

import click

from segkit.commands.options import Command, json_option


@click.command(
    "remove",
    cls=Command,
    short_help="Leave triples out of a dataset, or put them back.",
    example='segkit remove rooms --where "class:person share>0.3"',
)
@click.argument("dataset", type=click.Path(path_type=Path))
@click.argument("names", nargs=-1, metavar="[KEY]...")
@click.option("--where", metavar="TEXT", help="Conditions, such as 'class:person share>0.3 -split:val'.")
@click.option("--undo", is_flag=True, help="Put triples back that were left out.")
@click.option("--delete-files", is_flag=True, help="Also delete their photos and maps. A later --undo needs a build.")
@click.option("--dry-run", is_flag=True, help="Only list the triples.")
@json_option
def command(
    dataset: Path,
    names: tuple[str, ...],
    where: str | None,
    undo: bool,
    delete_files: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Leave triples out of training, and of the manifest that other tools read.

    A KEY is a triple's key, the beginning of one, its source or its file name. The decision is remembered: no later
    build brings the triple back. Its prompt, and unless --delete-files is passed its photo and map, stay.

    \b
    Conditions, all of which must hold; a minus sign before one negates it:
      class:person share>0.3 confidence<0.5   a class, its share of the map and its confidence
      text:bed source:'kitchen/*' key:0a1b    prompt, photo's path, key
      split:val review:open by:model          where it is, what was decided, who wrote the prompt
      flag:prompt-cut tokens>77 width<600 labelled<80%
      licence:cc0 score>0.5                   a column of your own in metadata.jsonl
    """  # noqa: D301 -- click reads the backspace, which keeps the table's lines
    from segkit.commands import show_removal
    from segkit.dataset import Dataset, remove
    from segkit.dataset import where as conditions
    from segkit.errors import UsageError

    if bool(names) == (where is not None):
        raise UsageError(f"Nothing to {'put back' if undo else 'remove'}. Pass either keys or --where.")
    if undo and delete_files:
        raise UsageError("--undo and --delete-files exclude each other. Pass one of them.")
    opened = Dataset.open(dataset)
    condition = None if where is None else conditions.parse(where, opened.info.palette)
    if dry_run:
        matches = remove.matching(opened, names, condition)
        return show_removal.matches([triple for triple in matches if (triple.review == "rejected") == undo], as_json)
    if undo:
        return show_removal.restored(remove.restore(opened, names, condition), dataset, as_json)
    removed = remove.remove(opened, names, condition, delete_files=delete_files)
    return show_removal.removed(removed, len(opened), dataset, as_json)
