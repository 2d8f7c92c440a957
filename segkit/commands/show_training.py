"""Print the results of training, generation and evaluation: lines and tables, or one JSON object."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segkit import console
from segkit.words import listed, quote

if TYPE_CHECKING:
    from trainer.evaluate.evaluation import Evaluation
    from trainer.loop import Outcome as TrainingOutcome
    from trainer.run.dry_run import Plan as TrainingPlan
    from trainer.sample.generate import Picture


MAX_PICTURES = 3
"""Pictures named after they were drawn; the rest are counted."""


def trained(outcome: "TrainingOutcome", as_json: bool) -> None:
    """Print how a training ended."""
    if as_json:
        return console.json_object(
            {
                "run": str(outcome.run),
                "steps": outcome.steps,
                "resumed": outcome.resumed,
                "loss": None if isnan(outcome.loss) else outcome.loss,  # JSON has no NaN
                "cut_prompts": outcome.truncated,
                "best_step": outcome.best,
                "says": outcome.verdict,
                "file": str(outcome.file) if outcome.file else None,
                "triples": outcome.triples,
                "empty_prompts": outcome.empty_prompts,
                "notes": list(outcome.notes),
            }
            | ({"base": outcome.base} if outcome.base else {})
            | ({"prediction": outcome.guess} if outcome.guess else {})
            | ({"fidelity": asdict(outcome.fidelity)} if outcome.fidelity else {})
        )
    for line in outcome.lines():
        console.line(line)
    return None


def plan(planned: "TrainingPlan", dataset: Path | str, run: Path, as_json: bool) -> None:
    """Print the outcome of a dry run."""
    if as_json:
        return console.json_object(planned.to_json())
    held_out = f"{planned.held_out:,}" if planned.held_out else "none"
    hint = "" if planned.held_out else f" ({_how_to_hold_out(dataset)})"
    sizes = ", ".join(f"{console.count(number, 'photo')} of {size}" for size, number in planned.sizes.items())
    resumed = f", resumed at step {planned.resumed:,}" if planned.resumed else ""
    console.line(
        f"{console.count(planned.triples, 'training triple')}, {held_out} held out{hint}; an epoch has {sizes} pixels."
    )
    steps = console.count(planned.steps, "step")
    console.line(f"{planned.trained:,} trainable weights on {planned.device}; {steps} remaining{resumed}.")
    if planned.guess:
        console.line(planned.guess)
    console.table("Memory", ("part", "MB"), [(name, size / 1e6) for name, size in planned.memory.items()])
    if planned.gpus:
        console.line(
            f"Memory of a GPU, computed for bf16 and not measured: {planned.gpu / 1e9:.1f} GB as set. "
            f"{'; '.join(_fits(planned.gpus))}."
        )
    console.line(f"Prompts: {planned.triples:,}, {planned.empty_prompts or 'none'} empty.")
    for note in planned.notes:
        console.line(note)
    if planned.cut:
        console.line(f"Prompts over CLIP's 77 tokens, to be truncated: {planned.cut:,}.")
    if planned.cache:
        console.line(
            f"Cache: {console.count(planned.cache_photos, 'photo')} (mirrored ones included) and "
            f"{console.count(planned.cache_prompts, 'prompt')} still to be encoded: {planned.cache / 1e6:,.1f} MB, "
            f"{planned.cache_triple / 1e3:,.0f} kB a triple."
        )
    end = datetime.now() + timedelta(seconds=planned.seconds)
    console.line(
        f"Time: {' + '.join(_times(planned))}: {_duration(planned.seconds)} in total. Started now, it would finish on "
        f"{end:%A at %H:%M}; validation, previews and checkpoints are not included."
    )
    return console.line(f"First batch as the network sees it: {quote(planned.picture)}. Nothing was written to {run}.")


def _fits(gpus: Mapping[int, dict[str, Any] | None]) -> Iterator[str]:
    """Yield for each size of GPUs with which options a training fits."""
    for size, changes in gpus.items():
        if changes is None:
            yield f"{size} GB: too small"
        else:
            options = [
                f"--{name.replace('_', '-')}{'' if value is True else f' {value}'}" for name, value in changes.items()
            ]
            yield f"{size} GB: fits{' with ' if options else ''}{' '.join(options)}"


def _times(planned: "TrainingPlan") -> Iterator[str]:
    """Yield the parts of a training's time, in words."""
    steps, evaluations = console.count(planned.steps, "step"), console.count(planned.evaluations, "evaluation")
    yield f"{_duration(planned.steps * planned.step_seconds)} for {steps} of {planned.step_seconds:.2f} s"
    if planned.cache_seconds:
        yield f"{_duration(planned.cache_seconds)} for the cache"
    if planned.evaluations:
        total = _duration(planned.evaluations * planned.fidelity_seconds)
        yield f"{total} for {evaluations} of fidelity, {_duration(planned.fidelity_seconds)} each"


def _how_to_hold_out(dataset: Path | str) -> str:
    """Return how to hold out triples of a dataset in its layout."""
    from segkit.dataset.formats import layouts, shards

    folder = Path(dataset)
    if (folder / ".segkit").is_dir():
        return f"segkit build-dataset PHOTOS -o {quote(dataset)} --split val=0.1 holds some out"
    if not folder.is_dir() or (folder / shards.INDEX).is_file():
        return "--split val=0.1 of build-dataset holds some out in the dataset, which is then exported again"
    if layouts.detect(folder) == "imagefolder":
        return "val in a column split of its metadata holds a triple out"
    return "this layout holds none out; an imagefolder's metadata.jsonl does, by val in a column split"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def generated(pictures: "Sequence[Picture]", folder: Path, as_json: bool, sheet: Path | None = None) -> None:
    """Print which pictures were drawn, and the contact sheet of several strengths."""
    step, guess = (pictures[0].step, pictures[0].guess) if pictures else ("", "")
    if as_json:
        rows = [
            {"picture": str(picture.path), "map": str(picture.request.control_map), "prompt": picture.request.prompt,
             "seed": picture.seed, "strength": picture.strength, "kept": picture.reused, "cut": picture.truncated}
            for picture in pictures
        ]  # fmt: skip
        origin = {"controlnet": step, "prediction": guess, "contact_sheet": str(sheet) if sheet and rows else ""}
        return console.json_object({"pictures": rows, **{name: note for name, note in origin.items() if note}})
    for note in filter(None, (step, guess)):
        console.line(note)
    reused = sum(picture.reused for picture in pictures)
    existing = f", {reused:,} existed already" if reused else ""
    console.line(f"{folder}: {console.count(len(pictures) - reused, 'picture')} drawn{existing}.")
    if truncated := len({picture.request for picture in pictures if picture.truncated}):
        console.line(f"Prompts over CLIP's 77 tokens, truncated: {truncated:,}.")
    if pictures:
        console.line(f"Pictures: {listed([quote(picture.path) for picture in pictures], MAX_PICTURES)}")
        if sheet:
            console.line(f"Contact sheet: {quote(sheet)}{_rows_left_out(pictures)}")
        seed = max(picture.seed for picture in pictures) + 1
        console.line(f"Next: the same command with --seed {seed}, for other pictures of the same maps.")
    return None


def _rows_left_out(pictures: "Sequence[Picture]") -> str:
    from trainer.sample.grid import ROWS

    rows = len({(picture.request, picture.seed) for picture in pictures})
    return f" (the first {ROWS} of {rows:,} rows)" if rows > ROWS else ""


def evaluated(evaluation: "Evaluation", as_json: bool) -> None:
    """Print how well pictures agree with their maps, and where the report is."""
    from trainer.evaluate import protocols
    from trainer.evaluate.scores import METRICS

    if as_json:
        return console.json_object(evaluation.to_json())
    results = evaluation.results
    title = f"{evaluation.split}, compared with what {evaluation.judge['name']} sees"
    cells = {text: [(score.name, str(score.metrics[key])) for score in results.scores] for key, text in METRICS.items()}
    _scores_table(title, cells)
    if titles := results.quality.titles:
        quality = {
            text: [(score.name, score.cell(key)) for score in results.quality.scores] for key, text in titles.items()
        }
        _scores_table("Quality of the pictures", quality)
        console.line(" ".join(results.quality.explanations))
    console.line(evaluation.verdict)
    if evaluation.protocol["name"] != protocols.CUSTOM:
        console.line(f"Protocol: {evaluation.protocol['name']}. Figures of other protocols do not compare.")
    return console.line(f"Report: {quote(evaluation.report)}")


def _scores_table(title: str, cells: Mapping[str, Sequence[tuple[str, str]]]) -> None:
    """Print a row for each score and contender, which fit a terminal of 80 columns; a score is named once."""
    rows = [
        ("" if place else score, name, text)
        for score, group in cells.items()
        for place, (name, text) in enumerate(group)
    ]
    console.table(title, ("score", "pictures", "value (95 % interval)"), rows)
