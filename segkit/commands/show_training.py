"""How trainings and what they draw are shown: lines and tables, or one JSON object."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING

from segkit import console

if TYPE_CHECKING:
    from trainer.evaluate.fidelity import Fidelity
    from trainer.loop import Outcome as Trained
    from trainer.run.dry_run import Plan as TrainingPlan
    from trainer.sample.generate import Picture


def trained(result: "Trained", as_json: bool) -> None:
    """Show how a training ended."""
    if as_json:
        file = str(result.file) if result.file else None
        loss = None if isnan(result.loss) else result.loss
        ended = {"run": str(result.run), "steps": result.steps, "resumed": result.resumed, "loss": loss}
        learnt = {"cut_prompts": result.cut, "best_step": result.best, "says": result.verdict}
        return console.json_object(ended | learnt | {"file": file})
    for line in result.lines():
        console.line(line)
    return None


def plan(planned: "TrainingPlan", run: Path, as_json: bool) -> None:
    """Show what a training would do."""
    if as_json:
        return console.json_object(planned.to_json())
    held = f", {planned.held_out:,} held out" if planned.held_out else ", none held out (--split val=0.1 when built)"
    sizes = ", ".join(f"{count:,} of {size}" for size, count in planned.sizes.items())
    gone_on = f", gone on from step {planned.resumed:,}" if planned.resumed else ""
    console.line(f"{planned.triples:,} triples to learn from{held}; a pass sees {sizes} pixels.")
    console.line(f"{planned.trained:,} weights are trained on {planned.device}; {planned.steps:,} steps{gone_on}.")
    console.table("Memory", ("part", "MB"), [(name, size / 1e6) for name, size in planned.memory.items()])
    if planned.cut:
        console.line(f"{planned.cut:,} prompts are longer than CLIP reads, 77 tokens: their ends are not learnt from.")
    if planned.cache:
        console.line(
            f"Cache: {planned.cache_photos:,} photos, mirrored ones counted, are missing: {planned.cache / 1e6:,.1f} "
            f"MB, {_span(planned.cache_seconds)}."
        )
    ends = datetime.now() + timedelta(seconds=planned.seconds)
    console.line(
        f"A step takes {planned.step_seconds:.2f} s. All in all {_span(planned.seconds)}: begun now, it ends on "
        f"{ends:%A at %H:%M}; looks, pictures and checkpoints not counted."
    )
    return console.line(f"The first batch, as the network sees it: {planned.picture}. Nothing was trained in {run}.")


def _span(seconds: float) -> str:
    """Return a time in words."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def generated(pictures: "Sequence[Picture]", folder: Path, as_json: bool) -> None:
    """Show which pictures were drawn."""
    if as_json:
        rows = [
            {"picture": str(each.path), "map": str(each.scene.control_map), "prompt": each.scene.prompt,
             "seed": each.seed, "kept": each.kept, "cut": each.cut}
            for each in pictures
        ]  # fmt: skip
        return console.json_object({"pictures": rows})
    kept = sum(each.kept for each in pictures)
    there = f", {kept:,} were there already" if kept else ""
    console.line(f"{folder}: {len(pictures) - kept:,} pictures drawn{there}.")
    if cut := len({each.scene for each in pictures if each.cut}):
        console.line(f"{cut:,} prompts are longer than CLIP reads, 77 tokens: their ends were not heard.")
    return None


def obedience(found: "Fidelity") -> None:
    """Show how much of the maps is seen in what was drawn from them."""
    rows = [
        ("drawn by the base alone (before)", found.alone.miou, found.alone.accuracy),
        ("drawn with the ControlNet (after)", found.steered.miou, found.steered.accuracy),
        ("the photos themselves (the ceiling)", found.photos.miou, found.photos.accuracy),
    ]
    title = f"{found.photos.scenes} held-out maps, and what a segmenter sees"
    console.table(title, ("pictures", "mIoU", "pixels"), [(name, f"{miou:.3f}", share) for name, miou, share in rows])
    console.line(f"Look at {found.sheet}: map, photo, before, after.")
