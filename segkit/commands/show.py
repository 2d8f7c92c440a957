"""How each command's result is shown: as tables and lines, or as one JSON object."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from segkit import console

if TYPE_CHECKING:  # check-palette must not load what the other commands need
    from segkit.build.dry_run import Plan
    from segkit.build.pipeline import Outcome
    from segkit.dataset.checks import CheckReport
    from segkit.dataset.stats import Summary
    from segkit.maps.snap import Snapped
    from segkit.maps.snap_folder import SnapResult
    from segkit.reports.findings import PaletteReport
    from segkit.toy.demo import Verdict
    from trainer.checkpoints.inspect import Inspection

WORST_MAPS = 20
CLASSES = 12
COMPARED = 3


def outcome(result: "Outcome", summary: "Summary", folder: Path, page: Path, as_json: bool) -> None:
    """Show what a build did and what the dataset holds now."""
    if as_json:
        return console.json_object(
            {"dataset": str(folder), **result.to_json(), "summary": summary.to_json(), "report": str(page)}
        )
    console.table(f"{result.found:,} photos found", ("photos", "number"), _fates("new triples", result))
    if summary.classes:
        classes = list(summary.classes.items())
        console.table(f"{len(classes)} classes", ("class", "share of pixels"), classes[:CLASSES])
    estimated = " (estimated: no CLIP tokenizer found; --tokenizer FOLDER)" if summary.tokens_estimated else ""
    console.table("prompts", ("tokens" + estimated, "number"), [*summary.lengths.items(), *summary.flags.items()])
    rate = f", {result.made / result.seconds:.2f} photos a second" if result.made and result.seconds else ""
    console.line(f"{folder}: {summary.triples:,} triples in {result.seconds:.1f} s{rate}.")
    console.line(f"Look at {page}")
    if result.rejected:
        console.line(f"Left out: {folder / '.segkit' / 'rejected.jsonl'} (--retry-rejected tries them again)")
    return console.line(f"Next: segkit check {folder}")


def _fates(made: str, result: "Outcome | Plan") -> list[tuple[str, int]]:
    from segkit.photos import REASONS

    rows = [(made, result.made), ("there already", result.kept)]
    rows += [(f"left out: {reason} ({REASONS[reason]})", number) for reason, number in result.rejected.items()]
    return rows + [(f"skipped: beyond --{reason}", number) for reason, number in result.skipped.items()]


def plan(result: "Plan", as_json: bool) -> None:
    """Show what a build would do."""
    if as_json:
        return console.json_object(result.to_json())
    title = f"{result.found:,} photos found; nothing was written"
    console.table(title, ("photos", "number"), _fates("would become triples", result))
    if result.sizes:
        console.table("stored sizes", ("width x height", "photos"), list(result.sizes.items())[:CLASSES])
    if result.seconds is None:
        return console.line(f"Time: unknown, since the networks are not here. {result.reason}")
    took = f"about {result.seconds / 60:.1f} minutes" if result.seconds > 90 else f"about {result.seconds:.0f} seconds"
    return console.line(f"Would take {took} on this machine and {result.megabytes:,.1f} MB on disk.")


def palette(result: "PaletteReport", as_json: bool, written: "Sequence[Path]" = ()) -> None:
    """Show what check-palette found, and which files it wrote."""
    if as_json:
        return console.json_object(result.to_json())
    if result.kind in ("palette", "sheet"):
        _table(result)
    else:
        _maps(result)
    if result.suggestions:
        free = [
            (console.Color(each.hex, each.hex), str(each.rgb), f"{each.distance:.2f}") for each in result.suggestions
        ]
        console.table("colours for new classes", ("colour", "(r, g, b)", "from the nearest other, L2"), free)
    pairs = ("equal-colours", "near-colours")
    console.problems([found for found in result.findings if found.severity != "known" or found.rule not in pairs])
    mine = sum(found.severity != "known" for found in result.findings)
    known = len(result.findings) - mine
    quirks = f" ({known} known quirks of the published palettes)" if known else ""
    console.line(f"{mine or 'No'} finding{'' if mine == 1 else 's'}{quirks}.")
    for path in written:
        console.line(f"Written: {path}")
    return None


def _table(result: "PaletteReport") -> None:
    console.line(f"{result.target}: a {result.kind} of {len(result.swatches)} classes.")
    if result.pairs:
        order = sorted(result.pairs, key=lambda pair: (pair.severity == "known", pair.l2))
        rows = [
            (
                console.Color(pair.a.hex, pair.a.name),
                console.Color(pair.b.hex, pair.b.name),
                pair.other,
                f"{pair.l2:.2f}",
                pair.linf,
                f"{pair.ciede2000:.2f}",
                f"{pair.margin:.2f}",
            )
            for pair in order[:CLASSES]
        ]
        header = ("class", "like", "of", "L2", "L∞", "ΔE00", "safe")
        console.table("like colours: distances, and the drift of a pixel that is still safe", header, rows)
        if len(result.pairs) > len(rows):
            console.line(f"... and {len(result.pairs) - len(rows):,} more (--json lists all)")
    quality = result.jpeg_quality
    told = f"down to quality {quality}" if quality else "at no quality"
    console.line(f"JPEG keeps areas of one colour nearest their own class {told}; borders it blurs always.")


def _maps(result: "PaletteReport") -> None:
    console.line(f"{result.target}: a {result.kind}, {len(result.maps)} maps compared with {result.palette}.")
    alone = len(result.maps) == 1
    wrong = [found for found in result.maps if found.off_palette or found.cause != "exact" or alone]
    worst = sorted(wrong, key=lambda found: -found.off_palette)[:WORST_MAPS]
    if worst:
        rows = [(found.file, found.cause, found.off_palette, _classes(found.classes)) for found in worst]
        console.table("maps, worst first", ("map", "cause", "off palette", "classes"), rows)
    if len(wrong) > len(worst):
        console.line(f"... and {len(wrong) - len(worst):,} more (--json lists all)")
    causes = Counter(found.cause for found in result.maps).most_common()
    console.line("Causes: " + ", ".join(f"{number:,} {cause}" for cause, number in causes) + ".")


def _classes(shares: dict[str, float]) -> str:
    names = [f"{name} {share:.0%}" for name, share in shares.items()]
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def mended(result: "Sequence[SnapResult]", target: Path, as_json: bool) -> None:
    """Show what became of foreign maps."""
    if as_json:
        return console.json_object({"target": str(target), "maps": [each.to_json() for each in result]})
    causes = Counter(each.result.diagnosis.cause if each.result else "not mended" for each in result)
    console.table(f"{len(result):,} maps", ("cause", "maps"), causes.most_common())
    done = sorted(((each.file, each.result) for each in result if each.result), key=lambda pair: -pair[1].doubtful)
    rows = [(file, *_told(snapped)) for file, snapped in done[:WORST_MAPS]]
    console.table("the most doubtful first", ("map", "cause", "changed", "in doubt", "appeared", "vanished"), rows)
    for each in result:
        if each.reason:
            console.line(f"{each.file} {each.reason}.")
    left = sum(bool(each.reason) for each in result)
    return console.line(f"{len(result) - left:,} maps mended" + (f", {left:,} not." if left else "."))


def _told(result: "Snapped") -> tuple[str, float, float, str, str]:
    appeared, vanished = ", ".join(result.appeared), ", ".join(result.vanished)
    return result.diagnosis.cause, result.changed, result.doubtful, appeared, vanished


def captioned(drafted: int, written: int, too_long: int, folder: Path, as_json: bool) -> None:
    """Show how many prompts were set."""
    if as_json:
        return console.json_object(
            {"dataset": str(folder), "drafted": drafted, "written": written, "too_long": too_long}
        )
    if too_long:
        console.line(f"{too_long:,} prompts of a person are over CLIP's 77 tokens. See: segkit check {folder}")
    if written:
        return console.line(f"{folder}: {written:,} prompts set as written by a person.")
    hint = "" if drafted else " Every triple has one (--redo-drafts drafts anew)."
    return console.line(f"{folder}: {drafted:,} prompts drafted.{hint}")


def checked(result: "CheckReport", folder: Path, as_json: bool) -> None:
    """Show what the rules found."""
    from segkit.dataset.checks import RULES

    if as_json:
        return console.json_object(
            {
                "dataset": str(folder),
                "triples": result.triples,
                "counts": result.counts(),
                "problems": [problem.to_json() for problem in result.problems],
            }
        )
    if result.problems:
        rows = [(rule, number, RULES[rule]) for rule, number in result.counts().items()]
        console.table("problems", ("broken rule", "number", "it says"), rows)
        console.problems(result.problems)
    errors = sum(problem.severity == "error" for problem in result.problems)
    verdict = "no problem" if not result.problems else f"{errors} errors, {len(result.problems) - errors} warnings"
    return console.line(f"{folder}: {result.triples:,} triples, {verdict}.")


def demonstrated(
    result: "Outcome", summary: "Summary", maps: "PaletteReport", verdict: "Verdict", folder: Path, sheet: Path
) -> None:
    """Show what the demo made, how right it is, and what comes next, on one screen."""
    off = sum(each.off_palette > 0 for each in maps.maps)
    rate = f", {result.made / result.seconds:.1f} photos a second" if result.made and result.seconds else ""
    console.line(f"{summary.triples:,} triples of {len(summary.classes)} classes in {result.seconds:.1f} s{rate}.")
    console.line(f"Control maps: {f'{off:,} with pixels off' if off else 'every pixel on'} the palette. Prompts:")
    for source, drafted, true in verdict.captions[:COMPARED]:
        console.line(f"  {source}  {drafted}")
        console.line(f"{'the truth: ':>{len(source) + 4}}{true}")
    worst = sorted(verdict.maps.iou.items(), key=lambda found: found[1])
    names = ", ".join(f"{name} {share:.2f}" for name, share in worst[:3])
    console.line(
        f"Maps beside the truth of {verdict.maps.scenes} photos that the networks were not trained on: "
        f"mIoU {verdict.maps.miou:.3f}, {verdict.maps.accuracy:.1%} of the pixels right; least right: {names}."
    )
    console.line(f"Look at {sheet}, and in a browser at {folder / '.segkit' / 'report.html'}")
    console.line("These networks know the toy world only. For your own photos:")
    console.line("  segkit build-dataset photos/ -o my-dataset    # downloads OneFormer and BLIP where missing")
    console.line("  segkit check my-dataset")
    console.line("  segkit train my-dataset -o my-run             # finetunes the ControlNet on it")


def inspection(result: "Inspection", as_json: bool) -> None:
    """Show what a checkpoint is."""
    if as_json:
        return console.json_object(result.to_json())
    found = result.identity
    console.line(f"{result.path}: {found.sentence.removeprefix('This is ')} {found.parameters:,} parameters.")
    rows = [(name, told) for name, told in sorted(result.metadata.items())]
    if rows:
        console.table("what it says of itself", ("name", "value"), rows)
    if not result.is_sound:
        console.line(f"{result.faults.sentence()}.")
    elif result.compared:
        console.line("Complete, every shape as it should be, all numbers finite.")
    else:
        console.line("All numbers are finite; whether it is complete cannot be told from the file alone.")
    return console.line(found.advice) if found.advice else None
