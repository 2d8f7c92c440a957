"""The rules a dataset must keep: each looks at the triples and yields problems."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from segkit import control, prompts, storage
from segkit.dataset import Dataset
from segkit.errors import DatasetError
from segkit.palette import UNLABELLED, Palette
from segkit.problem import Problem
from segkit.triple import SPLITS, Triple, map_name

COVERAGE = 0.5
"""A map with a smaller labelled share teaches the network little; it is a warning."""

_AGAIN = "Remove its line from metadata.jsonl and run segkit build-dataset with the same photos."

RULES = {
    "manifest-damaged": "every line of the manifest is a triple",
    "key-repeated": "every key stands once",
    "file-missing": "photo and map are there, inside the dataset, under their key's name",
    "file-damaged": "photo and map open whole",
    "size-differs": "photo and map have the recorded size, in multiples of 8",
    "map-not-indexed": "the map is an indexed PNG with the dataset's palette embedded",
    "label-invalid": "every pixel of the map is a class or unlabelled",
    "classes-differ": "the recorded classes are those of the map",
    "coverage-low": f"at least {COVERAGE:.0%} of the map is labelled",
    "prompt-missing": "every triple has a prompt",
    "prompt-too-long": f"the prompt fits CLIP's {prompts.BUDGET} tokens",
    **{name: f"not so: {text}" for name, text in prompts.FLAGS.items() if name != "prompt-empty"},
    "photo-repeated": "no photo stands twice under different keys",
    "split-unknown": f"the split is one of {', '.join(SPLITS)}",
    "split-leak": "near-duplicates (a group) stay within one split",
    "orphan": "nothing lies in the dataset that the manifest does not name",
}


@dataclass(frozen=True)
class Checked:
    """The outcome: number of triples looked at, and the problems, errors first."""

    triples: int
    problems: list[Problem]

    @property
    def failed(self) -> bool:
        """Whether any problem is an error."""
        return any(problem.severity == "error" for problem in self.problems)

    def counts(self) -> dict[str, int]:
        """Return how often each rule was broken, most often first."""
        return dict(Counter(problem.rule for problem in self.problems).most_common())


def check(
    dataset: Dataset,
    count: prompts.Count | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Checked:
    """Run every rule over a dataset. Changes nothing.

    Args:
        dataset: what to check.
        count: counts a prompt's tokens; None trusts the recorded numbers.
        progress: called with the triples done and their total.
    """
    problems: list[Problem] = []
    triples = list(_read(dataset, problems))
    with ThreadPoolExecutor() as pool:
        for done, found in enumerate(pool.map(lambda triple: list(_files(dataset, triple)), triples), 1):
            problems += found
            progress(done, len(triples))
    for triple in triples:
        problems += _prompt(triple, count)
    problems += _repeated(triples)
    problems += _splits(triples)
    problems += _orphans(dataset, triples)
    return Checked(len(triples), sorted(problems, key=lambda problem: problem.severity))


def _read(dataset: Dataset, problems: list[Problem]) -> Iterator[Triple]:
    def damaged(path: Path, number: int, reason: str) -> None:
        place = f"{path.relative_to(dataset.folder).as_posix()}, line {number}"
        problems.append(Problem("manifest-damaged", "error", place, f"{place} is damaged: {reason}.", _AGAIN))

    for path in (dataset.manifest, *dataset.parts()):
        if not path.exists():
            damaged(path, 1, "there is no such file")
        for number, line in storage.read_lines(path, partial(damaged, path)):
            record = line if path == dataset.manifest else line.get("triple")
            if record is None:
                continue
            try:
                yield Triple.from_json(record)
            except DatasetError as error:
                damaged(path, number, str(error))


def _files(dataset: Dataset, triple: Triple) -> Iterator[Problem]:
    """Look at the photo and the map of one triple."""
    names = (triple.file_name, triple.conditioning_image_file_name)
    photo_pattern = rf"images/{re.escape(triple.key[:2])}/{re.escape(triple.key)}\.(jpg|png)"
    expected = re.fullmatch(photo_pattern, names[0]) and names[1] == map_name(triple.key)
    if not expected or not re.fullmatch("[0-9a-f]{16}", triple.key):
        yield _error(
            "file-missing", triple, f"{names[0]} and {names[1]} are not where the key says", "Remove the line."
        )
        return
    pictures: list[Image.Image] = []
    for name in names:
        path = dataset.folder / name
        if not path.is_file():
            yield _error("file-missing", triple, f"{name} is not there", _AGAIN)
            continue
        try:
            pictures.append(_open(path))
        except Exception as error:  # Pillow raises anything on damaged files
            yield _error("file-damaged", triple, f"{name} does not open ({type(error).__name__}: {error})", _AGAIN)
    if len(pictures) == 2:
        yield from _pictures(triple, pictures[0], pictures[1], dataset.info.palette)


def _open(path: Path) -> Image.Image:
    with Image.open(path, formats=("JPEG", "PNG")) as image:
        image.load()
        return image


def _pictures(triple: Triple, photo: Image.Image, control_map: Image.Image, palette: Palette) -> Iterator[Problem]:
    size = (triple.width, triple.height)
    if photo.size != size or control_map.size != size or triple.width % 8 or triple.height % 8:
        found = f"photo {photo.width}x{photo.height}, map {control_map.width}x{control_map.height}"
        yield _error("size-differs", triple, f"{found}, recorded {triple.width}x{triple.height}", _AGAIN)
    if not control.is_exact(control_map, palette):
        found = f"mode {control_map.mode}" if control_map.mode != "P" else "another palette"
        yield _error("map-not-indexed", triple, f"the map has {found}, expected P with {palette.name}'s", _AGAIN)
    labels, off = control.read(control_map, palette)
    if off:
        yield _error("label-invalid", triple, f"{off:,} pixels of the map are no class of {palette.name}", _AGAIN)
    present = {palette[index].name for index in np.unique(labels).tolist() if index != UNLABELLED}
    if not off and present != {share.name for share in triple.classes}:
        found = ", ".join(sorted(present ^ {share.name for share in triple.classes}))
        yield _error("classes-differ", triple, f"map and record disagree on: {found}", _AGAIN)
    labelled = float((labels != UNLABELLED).mean())
    if labelled < COVERAGE:
        message = f"{triple.key} ({triple.source}): only {labelled:.0%} of the map is labelled."
        yield Problem("coverage-low", "warning", triple.key, message, "Lower --min-confidence, or leave the photo out.")


def _prompt(triple: Triple, count: prompts.Count | None) -> Iterator[Problem]:
    edit = f'Write one with: segkit caption DATASET --edit {triple.key} "text"'
    place = f"{triple.key} ({triple.source})"
    if not triple.text.strip():
        yield Problem("prompt-missing", "warning", triple.key, f"{place}: no prompt.", edit)
        return
    tokens = count(triple.text) if count else triple.tokens
    if tokens > prompts.BUDGET:
        message = f"{place}: {tokens} tokens, CLIP reads {prompts.BUDGET}; the rest would be cut off in silence."
        yield Problem("prompt-too-long", "error", triple.key, message, edit)
    for flag in triple.problems:
        if flag in RULES and not triple.prompt.human:
            yield Problem(flag, "warning", triple.key, f"{place}: {prompts.FLAGS[flag]}: {triple.text!r}.", edit)


def _repeated(triples: Iterable[Triple]) -> Iterator[Problem]:
    seen: dict[tuple[str, str], Triple] = {}
    for triple in triples:
        for rule, value in (("key-repeated", triple.key), ("photo-repeated", triple.sha256)):
            before = seen.setdefault((rule, value), triple)
            if before is triple or (rule == "photo-repeated" and before.key == triple.key):
                continue
            message = f"stands twice, from {before.source} and from {triple.source}"
            yield _error(rule, triple, message, "Remove one of the two lines.")


def _splits(triples: Iterable[Triple]) -> Iterator[Problem]:
    splits: dict[str, Triple] = {}
    for triple in triples:
        if triple.split not in SPLITS:
            yield _error("split-unknown", triple, f"the split is {triple.split!r}", f"Expected {', '.join(SPLITS)}.")
        first = splits.setdefault(triple.group, triple)
        if first.split != triple.split:
            message = f"is in {triple.split}, its near-duplicate {first.key} in {first.split}"
            yield _error("split-leak", triple, message, "Split anew with: segkit build-dataset PHOTOS --split val=0.1")


def _orphans(dataset: Dataset, triples: Iterable[Triple]) -> Iterator[Problem]:
    named = {name for triple in triples for name in (triple.file_name, triple.conditioning_image_file_name)}
    named.add("metadata.jsonl")
    for path in sorted(dataset.folder.rglob("*")):
        name = path.relative_to(dataset.folder).as_posix()
        if path.is_dir() or name.startswith(".segkit/") or name in named:
            continue
        visible = not any(part.startswith(".") for part in name.split("/"))
        harm = "; a stray file can change what HF datasets reads" if visible else ""
        yield Problem("orphan", "warning", name, f"{name} belongs to no triple{harm}.", "Delete it or move it away.")


def _error(rule: str, triple: Triple, found: str, cure: str) -> Problem:
    return Problem(rule, "error", triple.key, f"{triple.key} ({triple.source}): {found}.", cure)
