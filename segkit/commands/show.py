"""Prints the results of commands, as tables and lines or as one JSON object (others: show_build, show_training)."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from segkit import console
from segkit.words import listed, quote

if TYPE_CHECKING:  # check-palette must start without the imports that other commands need
    from segkit.build.outcome import Outcome
    from segkit.dataset.checks import CheckReport
    from segkit.dataset.doubt import Doubtful
    from segkit.dataset.map_repair import SnapResult
    from segkit.dataset.stats import Summary
    from segkit.maps.diagnose import Diagnosis
    from segkit.maps.snap import Snapped
    from segkit.reports.findings import PaletteReport
    from segkit.reports.map_findings import MapReport
    from segkit.toy.demo import Evaluation
    from trainer.checkpoints.inspect import Inspection

MAX_MAPS = 20
MAX_HINTS = 3
MAX_ROWS = 12
MAX_CAPTIONS = 3
MAX_DOUBTFUL = 5
_LAYOUTS = {
    "fill50k": "a folder in fill50k's layout",
    "imagefolder": "an imagefolder",
    "kohya": "a folder in the layout of kohya's scripts",
    "shards": "a dataset in shards",
}


def palette_report(report: "PaletteReport", as_json: bool, written: "Sequence[Path]" = ()) -> None:
    """Show what check-palette found and which files it wrote."""
    if as_json:
        return console.json_object(report.to_json())
    if report.added and not report.has_findings:
        return _added(report, written)
    if report.kind in ("palette", "sheet"):
        _palette(report)
    else:
        _maps(report)
    if report.suggestions:
        rows = [
            (console.Color(free.hex, free.hex), str(free.rgb), f"{free.distance:.2f}") for free in report.suggestions
        ]
        console.table("colours for new classes", ("colour", "(r, g, b)", "L2 to the nearest colour in use"), rows)
    in_table = ("equal-colours", "near-colours")  # known pairs appear in the table only
    console.problems(
        [finding for finding in report.findings if finding.severity != "known" or finding.rule not in in_table]
    )
    number = sum(finding.severity != "known" for finding in report.findings)
    known = len(report.findings) - number
    quirks = f" ({console.count(known, 'known quirk')} of the published palettes)" if known else ""
    console.line(f"{console.count(number, 'finding') if number else 'No findings'}{quirks}.")
    for path in written:
        console.line(f"Written: {quote(path)}")
    return None


def _added(report: "PaletteReport", written: "Sequence[Path]") -> None:
    """Show the classes that a palette was extended by, in their colours, and what to do with it."""
    rows = [(new.index, console.Color(new.hex, new.hex), new.name, str(new.rgb)) for new in report.added]
    console.table("new classes", ("index", "colour", "name", "(r, g, b)"), rows)
    console.line(f"{report.target}: a {report.kind} of {console.count(len(report.swatches), 'class')}, no findings.")
    for path in written:
        console.line(f"Written: {quote(path)}")
    table = [str(path) for path in written if path.suffix.lower() == ".csv"][-1]  # the extended one is written last
    console.line(f"Next: segkit build-dataset PHOTOS --palette {quote(table)}")


def _palette(report: "PaletteReport") -> None:
    console.line(f"{report.target}: a {report.kind} of {console.count(len(report.swatches), 'class')}.")
    if report.renumbered:
        console.line(report.renumbered)
    if report.pairs:
        pairs = sorted(report.pairs, key=lambda pair: (pair.severity == "known", pair.l2))
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
            for pair in pairs[:MAX_ROWS]
        ]
        header = ("class", "close to", "of", "L2", "L∞", "ΔE00", "safe")
        console.table("close colours: distances, and the drift below which a pixel is still safe", header, rows)
        console.more(len(pairs) - len(rows))
    quality = report.jpeg_quality
    areas = (
        f"solid areas keep their class down to quality {quality}" if quality else "no quality keeps solid areas safe"
    )
    console.line(f"As JPEG: {areas}; borders are blurred at any quality.")


def _maps(report: "PaletteReport") -> None:
    kind = _LAYOUTS.get(report.kind, f"a {report.kind}")
    if not report.maps:
        return console.line(f"{report.target}: {kind}, no map could be read.")
    single = len(report.maps) == 1
    number = "" if report.kind == "map" else f"{console.count(len(report.maps), 'map')} "
    console.line(f"{report.target}: {kind}, {number}compared with {report.palette}.")
    damaged = [checked for checked in report.maps if checked.off_palette or checked.cause != "exact" or single]
    worst = sorted(damaged, key=lambda checked: -checked.off_palette)[:MAX_MAPS]
    if worst:
        rows = [(checked.file, checked.cause, checked.off_palette, _classes(checked)) for checked in worst]
        title = "the map" if single else "maps, worst first"
        console.table(title, ("map", "cause", "off palette", "classes"), rows)
    console.more(len(damaged) - len(worst))
    hints = [f"{checked.file}: {checked.hint}" for checked in report.maps if checked.hint]
    for hint in hints[:MAX_HINTS]:
        console.line(hint)
    console.more(len(hints) - MAX_HINTS)
    causes = Counter(checked.cause for checked in report.maps).most_common()
    return console.line("Causes: " + ", ".join(f"{number:,} {cause}" for cause, number in causes) + ".")


def _classes(checked: "MapReport") -> str:
    """Return the largest classes of a map and the share of black, as text."""
    names = [f"{name} {share:.0%}" for name, share in checked.classes.items()]
    black = 1 - checked.off_palette - sum(checked.classes.values())
    return listed(names, 6) + (f"; unlabelled {black:.0%}" if black >= 0.005 else "")


def snap_results(results: "Sequence[SnapResult]", target: Path, as_json: bool) -> None:
    """Show which maps were repaired, and why the others were not."""
    if as_json:
        return console.json_object({"target": str(target), "maps": [outcome.to_json() for outcome in results]})
    causes = Counter(
        outcome.result.diagnosis.cause if outcome.result else "kept" if outcome.kept else "not repaired"
        for outcome in results
    )
    console.table(console.count(len(results), "map"), ("cause", "maps"), causes.most_common())
    repaired = [(outcome.file, outcome.result) for outcome in results if outcome.result]
    if repaired:
        rows = [(file, *_snapped(snapped)) for file, snapped in sorted(repaired, key=lambda pair: -pair[1].doubtful)]
        header = ("map", "cause", "changed", "doubtful", "appeared", "vanished")
        console.table("repaired maps, most doubtful first", header, rows[:MAX_MAPS])
        console.more(len(rows) - MAX_MAPS)
    remarks = [(file, text) for file, snapped in repaired if (text := _remark(snapped.diagnosis))]
    console.alike([(file, f": {text}.") for file, text in remarks], MAX_MAPS)
    concerns = [(file, f": {snapped.concern}.") for file, snapped in repaired if snapped.concern]
    console.alike(concerns, MAX_MAPS)
    _first_ids([snapped for _, snapped in repaired])
    failed = [outcome for outcome in results if outcome.reason]
    console.alike([(outcome.file, f" {outcome.reason}.") for outcome in failed], MAX_MAPS)
    kept = sum(outcome.kept for outcome in results)
    rest = (f", {kept:,} kept from an earlier run" if kept else "") + (
        f", {len(failed):,} not repaired." if failed else "."
    )
    console.line(f"{console.count(len(repaired), 'map')} repaired{rest}")
    in_coco = bool(repaired) and all(snapped.palette.name == "coco_panoptic" for _, snapped in repaired)
    return _snap_next([outcome.output for outcome in results if outcome.output], target, in_coco)


def _first_ids(repaired: "Sequence[Snapped]") -> None:
    """Say from which number the classes of class indices were counted, because both look alike."""
    for first in sorted({snapped.first_id for snapped in repaired if snapped.first_id is not None}):
        unlabelled = ", and 0 is unlabelled" if first else ""
        console.line(
            f"Class indices were counted from {first}: {first} is the first class{unlabelled}. If that is wrong, use "
            f"--first-id {1 - first}."
        )


def _snap_next(written: "Sequence[Path]", target: Path, in_coco: bool) -> None:
    """Say where the repaired maps are, where the originals are, and how to look at the result.

    Args:
        written: the repaired maps.
        target: the map or folder that was repaired.
        in_coco: whether all of them are painted with COCO's palette.
    """
    from segkit.dataset import map_repair

    if not written:
        return
    where = Path(os.path.commonpath(written))
    console.line(f"Repaired: {quote(where)}")
    in_place = any(path.resolve().is_relative_to(target.resolve()) for path in written)
    if in_place and (backup := map_repair.backup_of(target)).is_dir():
        console.line(f"Originals: {quote(backup)}")
    if in_coco:
        console.line("They keep COCO's colours; --to ade20k converts their classes by name.")
    console.line(f"Next: segkit check-palette {quote(where)}{' --palette coco_panoptic' if in_coco else ''}")


def _remark(diagnosis: "Diagnosis") -> str:
    """Return which colours without a class a repaired map had, or why it may be shifted, as text."""
    if diagnosis.hint:
        return f"{diagnosis.hint}. If so, use --from shifted"
    return diagnosis.evidence if diagnosis.damage == "stray" else diagnosis.painted


def _snapped(result: "Snapped") -> tuple[str, float, float, str, str]:
    appeared, vanished = ", ".join(result.appeared), ", ".join(result.vanished)
    return result.diagnosis.cause, result.changed, result.doubtful, appeared, vanished


def check_report(report: "CheckReport", folder: Path, as_json: bool, doubtful: "Sequence[Doubtful]" = ()) -> None:
    """Show what the dataset check found, and the most doubtful triples."""
    from segkit.dataset.checks import RULES

    if as_json:
        return console.json_object(
            {
                "dataset": str(folder),
                "triples": report.triples,
                "left_out": report.left_out,
                "counts": report.counts(),
                "problems": [problem.to_json() for problem in report.problems],
                "doubtful": [item.to_json() for item in doubtful],
            }
        )
    if report.problems:
        rows = [(RULES[rule], number, rule) for rule, number in report.counts().items()]
        console.table("problems", ("what is wrong", "count", "rule"), rows)
        console.problems(report.problems)
    if doubtful:
        worst = [(item.triple.source, f"{item.doubt:.2f}", item.why) for item in doubtful]
        console.table("most doubtful triples", ("photo", "doubt", "why"), worst)
    errors = sum(problem.severity == "error" for problem in report.problems)
    counts = f"{console.count(errors, 'error')}, {console.count(len(report.problems) - errors, 'warning')}"
    verdict = counts if report.problems else "no problems"
    left_out = f" ({report.left_out:,} left out)" if report.left_out else ""
    return console.line(f"{folder}: {console.count(report.triples, 'triple')}{left_out}, {verdict}.")


def demo_report(
    outcome: "Outcome", summary: "Summary", maps: "PaletteReport", evaluation: "Evaluation", folder: Path, sheet: Path
) -> None:
    """Show what the demo built, how accurate it is and what to run next, on one screen."""
    off = sum(checked.off_palette > 0 for checked in maps.maps)
    rate = f", {outcome.made / outcome.seconds:.1f} photos/s" if outcome.made and outcome.seconds else ""
    contents = f"{console.count(summary.triples, 'triple')} of {console.count(len(summary.classes), 'class')}"
    console.line(f"{contents} in {outcome.seconds:.1f} s{rate}.")
    exactness = f"{console.count(off, 'map')} with pixels off" if off else "every pixel on"
    console.line(f"Control maps: {exactness} the palette. Drafted prompts and true descriptions:")
    for source, drafted, truth in evaluation.captions[:MAX_CAPTIONS]:
        console.line(f"  {source}  {drafted}")
        console.line(f"{'the truth: ':>{len(source) + 4}}{truth}")
    quality = evaluation.maps
    lowest = sorted(quality.iou.items(), key=lambda pair: pair[1])[:3]
    names = ", ".join(f"{name} {iou:.2f}" for name, iou in lowest)
    console.line(
        f"Control maps against the ground truth of {quality.scenes} photos unseen in training: "
        f"mIoU {quality.miou:.3f}, {quality.accuracy:.1%} of the pixels right; lowest IoU: {names}."
    )
    console.line(f"See {quote(sheet)}, and in a browser {quote(folder / '.segkit' / 'report.html')}")
    console.line("These networks know the toy world only. For your own photos:")
    console.line("  segkit build-dataset photos/ -o my-dataset    # downloads OneFormer and BLIP if needed")
    console.line("  segkit check my-dataset")
    console.line("  segkit train my-dataset -o my-run             # finetunes the ControlNet on it")


def inspection(result: "Inspection", with_flags: Callable[[str], str], as_json: bool) -> None:
    """Show what a checkpoint is and whether it is sound.

    Args:
        result: what was found.
        with_flags: returns a sentence with settings as options.
        as_json: print one JSON object instead.
    """
    if as_json:
        return console.json_object(result.to_json())
    identity = result.identity
    parameters = console.count(identity.parameters, "parameter")
    console.line(f"{result.path}: {identity.sentence.removeprefix('This is ')} {parameters}.")
    if result.metadata:
        console.table("metadata", ("name", "value"), sorted(result.metadata.items()))
    console.line(result.completeness if result.is_sound else f"{result.faults.sentence()}.")
    for note in (*result.notes, identity.advice if result.is_sound else "Use another file."):
        if note:
            console.line(with_flags(note))
    return None
