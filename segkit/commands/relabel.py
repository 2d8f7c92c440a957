"""segkit relabel."""

from pathlib import Path

import click

from segkit.commands.options import Command, json_option


@click.command(
    "relabel", cls=Command, short_help="Take over maps corrected in an image editor.",
    example="segkit relabel rooms kitchen.jpg kitchen.png",
    after_interrupt="Maps that were taken over stay. Run the same command again for the rest.",
)  # fmt: skip
@click.argument("dataset", type=click.Path(path_type=Path))
@click.argument("key", required=False)
@click.argument("control_map", required=False, metavar="[MAP]", type=click.Path(path_type=Path))
@click.option(
    "--from", "folder", type=click.Path(path_type=Path), metavar="FOLDER",
    help="Take all maps of a folder, each named KEY.png or as its photo is.",
)  # fmt: skip
@click.option("--add-class", "names", multiple=True, metavar="NAME", help="Add a class to the palette; repeatable.")
@click.option("--undo", is_flag=True, help="Undo the last edit of KEY's map.")
@click.option("--redo", is_flag=True, help="Apply the edit again that was undone last.")
@click.option("--dry-run", is_flag=True, help="Say what would change, in which classes; change nothing.")
@json_option
@click.pass_context
def command(
    context: click.Context,
    /,
    dataset: Path,
    key: str | None,
    control_map: Path | None,
    folder: Path | None,
    names: tuple[str, ...],
    undo: bool,
    redo: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Take over control maps that a person corrected in an image editor, such as GIMP or Photoshop.

    KEY is a triple's key, the beginning of one, its source or its file name. A MAP of the map's size is read exactly;
    one whose colours are a little off is repaired as by segkit snap, or refused with the reason. It becomes one edit by
    a person: a build never replaces it, and it can be undone. A map that was painted over in place, inside the dataset,
    is passed as MAP too.

    --add-class adds a class in a colour far from all others; paint with that colour, or in segkit review. Exit code 1:
    some maps of the folder could not be taken.
    """
    from segkit import console
    from segkit.commands import show_relabel
    from segkit.dataset import Dataset, classes, edits, painted, relabel
    from segkit.errors import UsageError

    chosen = [bool(folder), bool(names), bool(control_map), undo, redo]
    if sum(chosen) != 1 or bool(key) == bool(folder or names):
        raise UsageError("Pass KEY and MAP, or KEY and --undo or --redo, or --from FOLDER, or --add-class NAME.")
    if dry_run and not (control_map or folder):
        raise UsageError("--dry-run goes with KEY and MAP, or with --from FOLDER.")
    opened = Dataset.open(dataset)
    if names:
        return show_relabel.added(classes.add_classes(opened, names), dataset, as_json)
    if key and control_map:
        taken = painted.take(opened, key, control_map, dry_run=dry_run)
        return show_relabel.taken([taken], dataset, dry_run, as_json)
    if key:
        step = relabel.undo if undo else relabel.redo
        return show_relabel.stepped(step(opened, edits.find(opened, key)), key, "undone" if undo else "redone", as_json)
    with console.progress() as progress:
        results = painted.take_folder(opened, folder or Path(), progress, dry_run=dry_run)
    show_relabel.taken(results, dataset, dry_run, as_json)
    if any(result.reason for result in results):
        context.exit(1)
    return None
