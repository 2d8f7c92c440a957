"""Prints the results of import, as tables and lines or as one JSON object."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from segkit import console
from segkit.words import quote

if TYPE_CHECKING:
    from segkit.imports.outcome import Outcome

MAX_ROWS = 12
"""Rows of a list; the others are only counted."""


def outcome(result: "Outcome", phrase: Callable[[str], str], dry_run: bool, as_json: bool) -> None:
    """Show what an import did, or would do; the phrase names settings as options."""
    if as_json:
        return console.json_object({"dry_run": dry_run, **result.to_json()})
    console.table(f"{console.count(result.found, 'item')} found", ("photos", "count"), _fates(result, phrase, dry_run))
    if result.repaired:
        header = ("cause", "count", "changed", "unlabelled")
        console.table("maps repaired, with mean shares of the pixels", header, _repaired(result))
    if len(result.by_source) > 1:
        console.table("sources", ("source", "new"), result.by_source.most_common())
    if result.left_out:
        console.line(f"Left out by a person, among these: {result.left_out:,}.")
    _drawn(result)
    _listed("Near-duplicates in different splits", [f"{leak}." for leak in result.leaks])
    conflicts = [f"{one.source} ({one.key}), {one.what}: {one.reason}." for one in result.conflicts]
    _listed("Conflicts; what the dataset had first stays", conflicts)
    if result.is_fruitless or dry_run:
        _reasons(result)
    for note in result.notes:
        console.line(note)
    return _closing(result, dry_run)


def _reasons(result: "Outcome") -> None:
    if result.examples:
        console.line("Reasons, with examples:")
    for one in result.examples[:MAX_ROWS]:
        console.line(f"  {one.source}: {one.reason}: {one.message}.")


def _closing(result: "Outcome", dry_run: bool) -> None:
    if result.is_fruitless:
        return console.line(f"Nothing {'would be' if dry_run else 'was'} imported: {_all(result)} left out.")
    if dry_run:
        return console.line(f"Nothing was written to {result.folder}.")
    if result.rejected:
        console.line(f"Left out, with reasons: {quote(result.folder / '.segkit' / 'rejected.jsonl')}")
    rate = f", {result.imported / result.seconds:.2f} photos/s" if result.imported and result.seconds else ""
    unchanged = "" if result.changed else ", unchanged"
    console.line(f"{result.folder}: imported in {result.seconds:.1f} s{rate}{unchanged}.")
    return console.line(f"Next: segkit check {quote(result.folder)}")


def _all(result: "Outcome") -> str:
    return "the only item was" if result.found == 1 else f"all {result.found:,} items were"


def _fates(result: "Outcome", phrase: Callable[[str], str], dry_run: bool) -> list[tuple[str, int]]:
    """Return table rows with the number of items per outcome; they add up to all items found."""
    from segkit.dataset.rejection import REASONS as OF_IMPORTS
    from segkit.photos import REASONS

    texts = REASONS | OF_IMPORTS
    known = "already in the dataset" if not dry_run else "already in the dataset, to be compared"
    rows = [("would be imported" if dry_run else "imported", result.imported)]
    rows += [("merged: prompts, decisions or maps added", result.merged)] if result.merged else []
    rows += [(known, result.unchanged)] if result.unchanged else []
    return rows + [
        (f"left out: {reason} ({phrase(texts[reason])})", number) for reason, number in result.rejected.most_common()
    ]


def _repaired(result: "Outcome") -> list[tuple[str, int, str, str]]:
    from segkit.maps.causes import CAUSES

    return [
        (
            f"{cause} ({CAUSES[cause]})", number,
            f"{result.mean(result.recolored, cause):.1%}", f"{result.mean(result.doubtful, cause):.1%}",
        )
        for cause, number in result.repaired.most_common()
    ]  # fmt: skip


def _drawn(result: "Outcome") -> None:
    if result.splits:
        named = [
            f"{number:,} {split or 'without one'}" for split, number in sorted(result.splits.items(), reverse=True)
        ]
        console.line(f"Splits that came with the new photos: {', '.join(named)}.")
    if result.segmented:
        console.line(f"Maps drawn by the segmenter: {result.segmented:,}.")
    if result.drafted:
        console.line(f"Prompts drafted: {result.drafted:,}.")


def _listed(title: str, sentences: Sequence[str]) -> None:
    if not sentences:
        return
    console.line(f"{title}: {len(sentences):,}.")
    for sentence in sentences[:MAX_ROWS]:
        console.line(f"  {sentence}")
    console.more(len(sentences) - MAX_ROWS)
