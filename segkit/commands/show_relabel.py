"""Prints the results of relabel, as lines or as one JSON object."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from segkit import console
from segkit.words import quote

if TYPE_CHECKING:
    from segkit.dataset.painted import Taken
    from segkit.dataset.relabel import State
    from segkit.palette import Swatch

MAX_ROWS = 20
"""Maps that are listed."""

MAX_CHANGES = 4
"""Changes of classes that are listed for each map."""


def taken(results: Sequence["Taken"], folder: Path, dry_run: bool, as_json: bool) -> None:
    """Show which painted maps were taken over, and why the others were not.

    Args:
        results: what became of each.
        folder: the dataset.
        dry_run: nothing was changed.
        as_json: print one JSON object instead.
    """
    if as_json:
        whole = {"dataset": str(folder), "dry_run": dry_run, "maps": [asdict(result) for result in results]}
        return console.json_object(whole)
    failed = [result for result in results if result.reason]
    done = [result for result in results if result.changed and not result.reason]
    noted = [result for result in results if result.note and not result.changed and not result.reason]
    rows = [*done, *noted]
    console.alike([(result.file, f" {result.reason}.") for result in failed], MAX_ROWS)
    for result in rows[:MAX_ROWS]:
        console.line(_row(result, dry_run))
    console.more(len(rows) - MAX_ROWS)
    same = len(results) - len(failed) - len(done)
    rest = (f", {same:,} as they were" if same else "") + (f", {len(failed):,} not taken" if failed else "")
    verb = "would be taken over" if dry_run else "taken over"
    console.line(f"{folder}: {console.count(len(done), 'map')} {verb}{rest}.")
    if done and not dry_run:
        console.line(f"To undo one: segkit relabel {quote(folder)} {done[0].key} --undo")
    return None


def _row(result: "Taken", dry_run: bool) -> str:
    """Return what became of a map that was taken, or is as it was."""
    notes = [result.note] if result.note else []
    if result.uncertain:
        of_them = "got the likeliest class" if result.changed else "are the only ones that may differ"
        notes.append(f"{console.count(result.uncertain, 'uncertain pixel')} {of_them}")
    if result.transparent:
        notes.append(f"{console.count(result.transparent, 'transparent pixel')} became unlabelled")
    if result.is_thin:
        remedy = "hand it in as PNG" if dry_run else "undo it"
        notes.append(f"only lines along borders, as a repair leaves them: if nothing was painted, {remedy}")
    return f"{result.source} ({result.key}): {_change(result, dry_run)}{'; ' if notes else ''}{'; '.join(notes)}."


def _change(result: "Taken", dry_run: bool) -> str:
    """Return how many pixels change, and from which class to which."""
    if not result.changed:
        return "as it was"
    verb = "would change" if dry_run else "changed"
    classes = [f"{change.old} → {change.new} {change.pixels:,}" for change in result.changes[:MAX_CHANGES]]
    if (more := len(result.changes) - MAX_CHANGES) > 0:
        classes.append(f"{more:,} more")
    which = f": {', '.join(classes)}" if classes else ""
    return f"{console.count(result.pixels, 'pixel')} {verb} ({result.changed:.1%}){which}"


def stepped(state: "State", key: str, what: str, as_json: bool) -> None:
    """Show that an edit was undone or redone, and how many more there are."""
    if as_json:
        return console.json_object({"key": key, "undoable": state.undoable, "redoable": state.redoable})
    return console.line(f"{key}: {what}. Edits left to undo: {state.undoable:,}, to redo: {state.redoable:,}.")


def added(swatches: Sequence["Swatch"], folder: Path, as_json: bool) -> None:
    """Show classes that were added to a dataset's palette; see `taken` for the arguments."""
    if as_json:
        classes = [{"index": swatch.index, "name": swatch.name, "color": swatch.hex} for swatch in swatches]
        return console.json_object({"dataset": str(folder), "classes": classes})
    rows = [(new.index, console.Color(new.hex, new.hex), new.name, str(new.rgb)) for new in swatches]
    console.table("new classes", ("index", "colour", "name", "(r, g, b)"), rows)
    console.line("Maps, builds and earlier classes stay as they are. The segmenter never finds a new class by itself:")
    command = f"segkit relabel {quote(folder)} --from FOLDER"
    return console.line(f"paint it in exactly this colour into copies of the maps, and run: {command}")
