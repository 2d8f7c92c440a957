"""Prints the results of export, as lines or as one JSON object."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from segkit import console
from segkit.commands.options import with_flags
from segkit.words import listed, quote

if TYPE_CHECKING:
    from segkit.exports.pipeline import Exported


def exported(result: "Path | Exported", as_json: bool) -> None:
    """Show where a ControlNet or a dataset was written to."""
    if isinstance(result, Path):
        return console.json_object({"written": str(result)}) if as_json else console.line(f"Written: {quote(result)}")
    notes = [with_flags(click.get_current_context(), note) for note in result.notes]
    if as_json:
        fields = asdict(result) | {"path": str(result.path), "notes": notes}
        return console.json_object({"written": fields.pop("path"), "new": fields.pop("written"), **fields})
    splits = ", ".join(f"{split} {number:,}" for split, number in result.splits.items())
    before = result.triples - result.written
    earlier = f"; {before:,} of them were exported before" if before else ""
    for note in notes:
        console.line(note)
    if result.restored:
        number = console.count(len(result.restored), "file")
        console.line(f"Missing or damaged, and written again: {number} ({listed(result.restored)})")
    return console.line(f"Written: {quote(result.path)}, {console.count(result.triples, 'triple')} ({splits}){earlier}")
