"""Prints the results of remove and subset, as lines or as one JSON object."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from segkit import console
from segkit.words import listed, quote

if TYPE_CHECKING:
    from segkit.dataset.remove import Removed
    from segkit.dataset.subset import Copied
    from segkit.dataset.triple import Triple

MAX_ROWS = 20
"""Triples that a dry run lists."""


def matches(triples: Sequence["Triple"], as_json: bool) -> None:
    """Show which triples a command would change."""
    if as_json:
        return console.json_object({"matches": [{"key": triple.key, "source": triple.source} for triple in triples]})
    for triple in triples[:MAX_ROWS]:
        console.line(f"{triple.key}  {triple.source}")
    if len(triples) > MAX_ROWS:
        console.line(f"... and {len(triples) - MAX_ROWS:,} more")
    return console.line(f"{console.count(len(triples), 'triple')} would change; nothing was.")


def removed(result: "Removed", left: int, folder: Path, as_json: bool) -> None:
    """Show which triples were left out.

    Args:
        result: what happened.
        left: number of triples that the dataset still lists.
        folder: the dataset.
        as_json: print one JSON object instead.
    """
    if as_json:
        return console.json_object({"dataset": str(folder), "left": left, **asdict(result)})
    names = f" ({listed(result.sources)})" if result.sources else ""
    console.line(f"{folder}: {console.count(len(result.sources), 'triple')} left out{names}; {left:,} remain.")
    if result.already:
        console.line(f"Left out before: {result.already:,}.")
    if result.deleted:
        console.line(f"Pictures deleted: of {console.count(result.deleted, 'triple')}.")
    if result.kept_files:
        console.line(f"Pictures kept, because somebody changed them: {listed(result.kept_files)}.")
    return console.line(f"To put them back: segkit remove {quote(folder)} --undo KEY, or with the same --where.")


def restored(result: "Removed", folder: Path, as_json: bool) -> None:
    """Show which triples were put back; see `removed` for the arguments."""
    if as_json:
        return console.json_object({"dataset": str(folder), **asdict(result)})
    names = f" ({listed(result.sources)})" if result.sources else ""
    console.line(f"{folder}: {console.count(len(result.sources), 'triple')} put back{names}.")
    if result.without_files:
        console.line(
            f"Without pictures: {listed(result.without_files)}. Run segkit build-dataset with the same photos, output "
            "and settings: it makes them again."
        )
    return None


def copied(result: "Copied", folder: Path, as_json: bool) -> None:
    """Show how many triples a subset got; see `removed` for the arguments."""
    if as_json:
        return console.json_object({"dataset": str(folder), **asdict(result)})
    how = "hard links" if result.linked else "copies"
    before = f", {result.present:,} of them were there already" if result.present else ""
    console.line(f"{folder}: {console.count(result.copied, 'triple')} copied ({how}){before}; {result.total:,} in all.")
    return console.line(f"Next: segkit check {quote(folder)}, segkit train {quote(folder)}")
