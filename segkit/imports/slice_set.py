"""The slices of a build that are passed to an import: all of one build, each once, and finished; then merged."""

from collections.abc import Sequence
from dataclasses import MISSING, fields
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

from segkit import photos
from segkit.build import outcome as builds
from segkit.build import pipeline, slice_listing
from segkit.build.arrival import Candidate
from segkit.build.history import History
from segkit.build.settings import BuildSettings
from segkit.build.slices import Slice, parse
from segkit.build.supply import Supply
from segkit.build.target import open_existing
from segkit.dataset import Dataset, splits, stats
from segkit.errors import DatasetError, SegkitError, UsageError
from segkit.imports import slice_removals, slice_work
from segkit.imports.outcome import Outcome
from segkit.imports.settings import ImportSettings
from segkit.imports.slices import Slices, require_unpainted
from segkit.progress import Progress, silent
from segkit.words import count, listed, quote

KEPT = ("split",)
"""Settings of an import that also apply to slices."""


def opened(paths: Sequence[Path]) -> list[Dataset]:
    """Open slices, in the order of their numbers; [] if none of the paths is one.

    Raises:
        UsageError: other sources are among them, one is missing, passed twice, or of another build or other settings.
        DatasetError: one is not finished, or damaged.
    """
    datasets = [Dataset.open(path) for path in paths if (path / ".segkit" / "dataset.toml").is_file()]
    slices = [dataset for dataset in datasets if dataset.info.settings.get("shard")]
    if not slices:
        return []
    if others := set(paths) - {dataset.folder for dataset in slices}:
        raise _other(min(others), slices[0].folder)
    shards = [(parse(one.info.settings["shard"]), one) for one in slices]
    numbered = sorted(shards, key=lambda pair: (pair[0].count, pair[0].number))
    _require_each_once(numbered)
    ordered = [dataset for _, dataset in numbered]
    for dataset in ordered:
        _require_same(ordered[0], dataset)
    return ordered


def _other(path: Path, first: Path) -> SegkitError:
    """Return why a path cannot be merged with slices."""
    if not path.exists():
        return DatasetError(f"{path} does not exist. Pass all slices of the build.")
    if (path / ".segkit").is_dir() and not (path / ".segkit" / "dataset.toml").exists():
        return DatasetError(f"{path} is not finished: its build has stored no photo yet. Run its build-dataset again.")
    return UsageError(
        f"{path} is no slice of a build, {first} is one. Merge the slices into a dataset first, then import the others "
        "into that."
    )


def _require_each_once(numbered: Sequence[tuple[Slice, Dataset]]) -> None:
    first, first_dataset = numbered[0]
    for (before, one), (shard, other) in pairwise(numbered):
        if shard.count != first.count:
            raise UsageError(
                f"{first_dataset.folder} is slice {first}, {other.folder} slice {shard}: of different builds. "
                "Pass the slices of one build."
            )
        if shard == before:
            raise UsageError(f"Slice {shard} is passed twice: {one.folder} and {other.folder}. Pass each slice once.")
    present = {shard.number for shard, _ in numbered}
    if missing := [str(Slice(n, first.count)) for n in range(1, first.count + 1) if n not in present]:
        raise UsageError(f"{count(len(missing), 'slice')} missing: {listed(missing)}. Pass all slices of the build.")


def _require_same(one: Dataset, other: Dataset) -> None:
    """Require that two slices were built alike, from the same photos."""
    expected, actual = _facts(one), _facts(other)
    differing = [name for name in {**expected, **actual} if expected.get(name) != actual.get(name)]
    if differing:
        name = differing[0]
        raise UsageError(
            f"{one.folder} was built {_option(name, expected.get(name))}, {other.folder} "
            f"{_option(name, actual.get(name))}. Build all slices with the same options."
        )
    first, second = slice_listing.header(one), slice_listing.header(other)
    if (first.total, first.names) != (second.total, second.names):
        raise UsageError(
            f"{one.folder} is a slice of {first.total:,} photos, {other.folder} of {second.total:,}, or of others. Run "
            "the builds of all slices again: finished triples are kept."
        )


def _option(name: str, value: Any) -> str:
    """Return a setting as an option of build-dataset, which is not the command that runs."""
    if "." in name or " " in name:
        return f"with {name} {value or 'unknown'}"
    flag = f"--{name.replace('_', '-')}"
    if isinstance(value, bool):
        return f"{'with' if value else 'without'} {flag}"
    return f"with {flag} {quote(value)}"


def _facts(dataset: Dataset) -> dict[str, Any]:
    """Return what the slices of a build have in common, by name."""
    info = dataset.info
    models = {f"{role}.{name}": value for role, model in info.models.items() for name, value in model.items()}
    settings = {name: value for name, value in info.settings.items() if name != "shard"}
    return {**settings, "palette hash": info.palette.hash, **models}


def merge(
    datasets: Sequence[Dataset], output: Path, settings: ImportSettings, progress: Progress = silent,
    dry_run: bool = False,
) -> Outcome:  # fmt: skip
    """Merge slices into a dataset, new or merged before, with the bytes that one build would have given it.

    Args:
        datasets: all slices of a build, from `opened`.
        output: the dataset.
        settings: only the split applies; everything else is as the slices were built.
        progress: see segkit.progress.
        dry_run: judge the photos, and write nothing.

    Raises:
        UsageError: a setting differs from its default, or the dataset was built with others.
        DatasetError: a slice is damaged, or the output is neither empty nor a dataset.
        LockedError, StorageError: see pipeline.import_data.
    """
    _require_default(settings)
    if output.resolve() in [dataset.folder.resolve() for dataset in datasets]:
        raise UsageError(f"The output {output} is one of the slices. Choose another output.")
    chosen = _build_settings(datasets[0], settings)
    slices = Slices(datasets)
    counts = builds.Outcome(found=len(slices) + len(slices.passed))
    counts.skipped.update(item.reason for item in slices.passed if item.reason in photos.SKIPPED)
    supply = Supply(Path(), slices.paths, slices.passed, counts, sources=slices)
    if not dry_run:
        require_unpainted(datasets)
        before = open_existing(output, chosen)
        restored = slice_removals.put_back(datasets, before) if before is not None else []
        if restored:
            counts.notes.append(f"Removals undone in slices, and here: {len(restored):,} ({listed(restored)}).")
            counts.changed = True
        return _merged(datasets, output, pipeline.update(supply, output, chosen, slices, progress), slices)
    history = History(open_existing(output, chosen), chosen.keep_duplicates)
    passed_over = history.pass_over(supply.folder, supply.passed)
    intake = supply.intake(chosen, None, slices.read)
    for arrival in chain(passed_over, pipeline.examine(intake, history, chosen, progress)):
        supply.outcome.count(arrival)
        slices.left_out += isinstance(arrival, Candidate) and slices.is_removed(arrival.key)
    return _outcome(output, supply.outcome, slices)


def _merged(datasets: Sequence[Dataset], output: Path, build: builds.Outcome, slices: Slices) -> Outcome:
    """Take over what persons did in slices since they were merged before, and return the outcome."""
    outcome, target = _outcome(output, build, slices), Dataset.open(output)
    slice_removals.note(datasets, target)
    slice_work.take_over(datasets, target, outcome)
    summary = stats.summarize(target)
    if build.changed or outcome.changed:
        outcome.notes.append(splits.sentence(summary.splits, summary.requested))
    outcome.notes = list(filter(None, outcome.notes))
    return outcome


def _require_default(settings: ImportSettings) -> None:
    for field in fields(settings):
        default = field.default if field.default is not MISSING else None
        if field.name not in KEPT and getattr(settings, field.name) != default:
            raise UsageError(
                f"{field.name}={getattr(settings, field.name)} does not apply to slices, which are merged as they were "
                "built. Leave it out, or build the slices with other options."
            )


def _build_settings(dataset: Dataset, settings: ImportSettings) -> BuildSettings:
    """Return the settings that a slice was built with, but for the slice."""
    names = {field.name for field in fields(BuildSettings)} - {"shard"}
    values = {name: value for name, value in dataset.info.settings.items() if name in names}
    return BuildSettings(**{**values, **({"split": settings.split} if settings.split else {})})


def _outcome(output: Path, build: builds.Outcome, slices: Slices) -> Outcome:
    """Return the outcome of a build as that of an import."""
    result = Outcome(output, build.found - build.skipped.total(), imported=build.made, unchanged=build.kept)
    result.rejected, result.notes, result.seconds = build.rejected, build.notes, build.seconds
    result.left_out = slices.left_out
    return result
