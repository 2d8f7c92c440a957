"""Prints what segkit review does."""

from pathlib import Path
from typing import TYPE_CHECKING

from segkit import console
from segkit.words import quote

if TYPE_CHECKING:
    from segkit.dataset.corrections import Imported

MAX_ROWS = 20
"""Conflicts that are listed."""


def address(url: str, folder: Path) -> None:
    """Show where the page is. A program that starts the review reads the first line."""
    console.line(f"Review of {folder}: {url}")
    console.line(
        "Whoever has this address can change the dataset. Every change is stored at once; Ctrl-C ends the page."
    )


def warn_of_host(host: str) -> None:
    """Warn that other machines can connect."""
    console.line(
        f"Warning: with --host {host}, everybody on the network who has the address can see and change the dataset, "
        "and the connection is not encrypted. An SSH tunnel to the default address is safer.",
        error=True,
    )


def exported(number: int, file: Path) -> None:
    """Show what was written."""
    console.line(f"{file}: the corrections of {console.count(number, 'triple')}.")
    console.line(f"To take them over in another copy: segkit review DATASET --import-corrections {quote(file)}")


def imported(result: "Imported") -> None:
    """Show what was taken over, and what was not."""
    for conflict in result.conflicts[:MAX_ROWS]:
        console.line(f"{conflict.source} ({conflict.key}), {conflict.what}: {conflict.reason}.")
    if (more := len(result.conflicts) - MAX_ROWS) > 0:
        console.line(f"... and {more:,} more")
    numbers = (
        (result.maps, "map"), (result.prompts, "prompt"), (result.decisions, "decision"), (result.splits, "split"),
    )  # fmt: skip
    taken = ", ".join(console.count(number, noun) for number, noun in numbers)
    rest = f", {len(result.conflicts):,} not taken over" if result.conflicts else ""
    console.line(f"Taken over: {taken}; unchanged: {console.count(result.unchanged, 'triple')}{rest}.")


def forgotten(number: int) -> None:
    """Show how many originals were deleted."""
    console.line(f"The originals of {console.count(number, 'map')} are deleted; the corrected maps stay.")
