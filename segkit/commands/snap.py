"""segkit snap."""

from pathlib import Path

import click

from segkit.commands.options import Command, json_option

CAUSES = ("exact", "shifted", "bgr", "coco", "golden-angle", "outlined", "jpeg", "resized", "label-ids")


@click.command(
    "snap", cls=Command, short_help="Mend other tools' control maps.", example="segkit snap maps/ -o mended/"
)
@click.argument("maps", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder for the mended maps, or one map's name.")
@click.option("--in-place", is_flag=True, help="Mend the maps where they are; the originals go to MAPS.before-snap.")
@click.option(
    "--palette", default="ade20k", show_default=True, help="What the maps should be painted with: name or table."
)
@click.option("--to", default="", help="Give classes of a foreign palette those of this one, by name: ade20k.")
@click.option("--from", "cause", type=click.Choice(CAUSES), default=None, help="What is wrong, if you know it better.")
@click.option(
    "--unsure", type=click.Choice(("nearest", "unlabelled")), default="nearest", show_default=True,
    help="What becomes of pixels that cannot be decided.",
)  # fmt: skip
@json_option
@click.pass_context
def command(
    context: click.Context, /, maps: Path, output: Path | None, in_place: bool, as_json: bool, **how: str
) -> None:
    """Mend control maps of other tools: wrong colours, JPEG, smooth scaling, white outlines.

    MAPS is a map or a folder of maps. What is wrong is told for each (see segkit check-palette) and undone; classes are
    taken from the areas around a blurred pixel, never from a colour that happens to be near. The mended maps are
    indexed PNGs. Exit code 0: all mended; 1: some could not be; 2: wrong use.
    """
    from segkit import console
    from segkit.commands import show
    from segkit.errors import UsageError
    from segkit.maps import snap_folder

    if (output is None) != in_place:
        raise UsageError(f"Say where the mended maps go: segkit snap {maps} -o FOLDER, or --in-place; one of the two.")
    rules = snap_folder.Rules(**(how | {"cause": how["cause"] or ""}))  # type: ignore[arg-type]
    with console.progress() as progress:
        result = snap_folder.snap_files(maps, output, rules, progress)
    show.mended(result, maps, as_json)
    context.exit(int(any(each.reason for each in result)))
