"""Prints the results of build-dataset and caption, as tables and lines or as one JSON object."""

from collections.abc import Collection, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from segkit import console
from segkit.commands.options import with_flags
from segkit.words import listed, quote

if TYPE_CHECKING:
    from segkit.build.captions import Drafted
    from segkit.build.dry_run import Plan
    from segkit.build.engines import Capacity
    from segkit.build.outcome import Outcome
    from segkit.dataset.stats import Summary

MAX_ROWS = 12
"""Rows of a table; the others are only counted."""


def build_outcome(outcome: "Outcome", summary: "Summary", folder: Path, page: Path, as_json: bool) -> None:
    """Show what a build did and what the dataset contains now, in three lines and notes if it examined no photo."""
    if as_json:
        return console.json_object(
            {"dataset": str(folder), **outcome.to_json(), "summary": summary.to_json(), "report": str(page)}
        )
    from segkit.dataset import splits

    if outcome.examined:
        _tables(outcome, summary, folder)
    else:
        counts = ", ".join(f"{number:,} {fate.partition(' (')[0]}" for fate, number in _fates("new", outcome) if number)
        unchanged = "" if outcome.changed else ", unchanged"
        fates = f"{_found(outcome)}: {counts}" if counts else _found(outcome)
        console.line(f"{folder}: {console.count(summary.triples, 'triple')}{unchanged}. {fates}.")
    if outcome.changed and (sentence := splits.sentence(summary.splits, summary.requested)):
        console.line(sentence)
    if summary.left_out:
        console.line(f"Left out by a person, beside these: {summary.left_out:,}.")
    for note in outcome.notes:
        console.line(note)
    rejections = folder / ".segkit" / "rejected.jsonl"
    if outcome.examined and outcome.rejected:
        console.line(f"Rejected photos: {quote(rejections)} (--retry-rejected tries them again)")
    elif outcome.examined and _files(outcome):
        console.line(f"Skipped files: {quote(rejections)}")
    console.line(f"Report: {quote(page)}")
    others = f"add other photos with segkit build-dataset PHOTOS -o {quote(folder)}"
    return console.line(f"Next: {f'segkit check {quote(folder)}' if summary.triples else others}")


def _tables(outcome: "Outcome", summary: "Summary", folder: Path) -> None:
    console.table(_found(outcome), ("photos", "count"), _fates("new triples", outcome))
    if summary.classes:
        _table(console.count(len(summary.classes), "class"), ("class", "share of pixels"), summary.classes.items())
    if summary.triples:
        console.table("prompts", ("tokens", "count"), [*summary.lengths.items(), *summary.flags.items()])
    if summary.tokens_estimated and summary.lengths:
        console.line("Tokens are estimated: no CLIP tokenizer found; pass --tokenizer FOLDER to count them.")
    rate = f", {outcome.made / outcome.seconds:.2f} photos/s" if outcome.made and outcome.seconds else ""
    console.line(f"{folder}: {console.count(summary.triples, 'triple')} in {outcome.seconds:.1f} s{rate}.")


def _table(title: str, header: Sequence[str], rows: Collection[Sequence[Any]]) -> None:
    """Print the first rows of a table, and how many more there are."""
    console.table(title, header, list(rows)[:MAX_ROWS])
    console.more(len(rows) - MAX_ROWS)


def _found(outcome: "Outcome | Plan") -> str:
    """Return how many photos were found, or files, if some of them are not photos."""
    return f"{console.count(outcome.found, 'file' if _files(outcome) else 'photo')} found"


def _files(outcome: "Outcome | Plan") -> set[str]:
    """Return the reasons for which files were skipped that are no photos."""
    from segkit.photos import GONE

    return {*outcome.skipped} - {"limit", GONE}


def _with_flags(text: str) -> str:
    """Return a sentence with settings as options of the command that runs, if one does."""
    context = click.get_current_context(silent=True)
    return with_flags(context, text) if context else text


def _fates(made: str, outcome: "Outcome | Plan") -> list[tuple[str, int]]:
    """Return table rows with the number of files per outcome; they add up to all files found."""
    from segkit.photos import REASONS

    texts = {reason: _with_flags(text) for reason, text in REASONS.items()}
    skipped = {"limit": "beyond --limit", **{reason: f"{reason} ({text})" for reason, text in texts.items()}}
    rows = [(made, outcome.made), ("already in the dataset", outcome.kept)]
    rows += [(f"rejected: {reason} ({texts[reason]})", number) for reason, number in outcome.rejected.items()]
    return rows + [(f"skipped: {skipped[reason]}", number) for reason, number in outcome.skipped.items()]


def build_plan(plan: "Plan", notes: Sequence[str], as_json: bool) -> None:
    """Show what a build would do.

    Args:
        plan: the plan.
        notes: its notes, which name settings as options.
        as_json: print one JSON object instead.
    """
    if as_json:
        return console.json_object({**plan.to_json(), "notes": list(notes)})
    console.table(f"{_found(plan)}; nothing was written", ("photos", "count"), _fates("would become triples", plan))
    if plan.sizes:
        _table("stored sizes", ("width x height", "photos"), plan.sizes.items())
    photos = plan.found - sum(plan.skipped.values())
    if plan.opened < photos:
        console.line(f"Estimated from {plan.opened:,} of {photos:,} photos; only the build compares all for copies.")
    for note in notes:
        console.line(note)
    if plan.seconds is None:
        return console.line(f"Time: unknown, because the networks are not available. {plan.reason}")
    where = "on this machine" if plan.capacity is None else "on this cluster"
    console.line(f"The build would take {_time(plan.seconds)} {where} and {plan.megabytes:,.1f} MB of disk space.")
    if plan.capacity is None:
        return None
    return console.line(_forecast(plan, plan.capacity))


def _time(seconds: float) -> str:
    if seconds > 2 * 3600:
        return f"about {seconds / 3600:,.1f} hours"
    if seconds > 90:
        return f"about {seconds / 60:.1f} minutes"
    return f"about {max(1, round(seconds))} second{'s' if round(seconds) > 1 else ''}"


def _forecast(plan: "Plan", capacity: "Capacity") -> str:
    """Return what was measured on a cluster, and what was computed from that."""
    return (
        f"Measured: {plan.photo_seconds:.2g} s a photo with the networks in one worker, which has taken "
        f"{capacity.worker_bytes / 1e6:,.0f} MB of memory so far; photos read here. Computed: the time, for "
        f"{console.count(capacity.workers, 'worker')} on {capacity.cpus:g} cores and {capacity.gpus:g} GPUs; "
        f"{plan.inodes:,} inodes; {plan.memory:,.1f} MB of memory here for what is known of all photos. Not included: "
        "starting Ray, and loading the networks."
    )


def captions(
    drafted: "Drafted | None", written: int, too_long: int, unnamed: Sequence[str], folder: Path, as_json: bool
) -> None:
    """Show how many prompts were set.

    Args:
        drafted: what happened to the drafts; None if a person set prompts.
        written: number of prompts that a person wrote.
        too_long: how many of a person's prompts exceed CLIP's length.
        unnamed: sources of the triples that a table of prompts leaves out.
        folder: the dataset.
        as_json: print one JSON object instead.
    """
    if as_json:
        counts = asdict(drafted) if drafted else dict.fromkeys(("drafted", "restyled", "unstyled"), 0)
        return console.json_object(
            {
                "dataset": str(folder),
                **counts,
                "written": written,
                "too_long": too_long,
                "not_in_table": list(unnamed),
            }
        )
    if too_long:
        console.line(f"Hand-written prompts over CLIP's 77 tokens: {too_long:,}. See: segkit check {quote(folder)}")
    if unnamed:
        console.line(f"Photos without a row in the table, whose prompts stay: {len(unnamed):,} ({listed(unnamed)}).")
    if not drafted:
        return console.line(f"{folder}: {console.count(written, 'hand-written prompt')} set.")
    from segkit.build.outcome import draft_note  # an edit does without the import

    if note := draft_note(drafted):
        console.line(note)
        if not drafted.drafted:
            return None
    hint = "" if drafted.drafted else " Every triple already has one; --redo-drafts redrafts them."
    return console.line(f"{folder}: {console.count(drafted.drafted, 'prompt')} drafted.{hint}")
