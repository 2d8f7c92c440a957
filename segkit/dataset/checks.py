"""The rules a dataset must keep: each looks at the triples and yields problems."""

import shlex
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from itertools import chain
from pathlib import Path

from PIL import Image

from segkit import storage
from segkit.dataset import prompts
from segkit.dataset.dataset import Dataset
from segkit.dataset.triple import SPLITS, Triple
from segkit.maps import codec
from segkit.palette import PROTOCOLS, UNLABELLED, Palette, protocol
from segkit.photos import near_duplicates
from segkit.problem import Problem
from segkit.progress import Progress, silent

COVERAGE = 0.5
"""A map with a smaller labelled share teaches the network little; it is a warning."""

_AGAIN = "Remove its line from metadata.jsonl and run segkit build-dataset with the same photos."
_SPLIT = "Draw the splits anew with: segkit build-dataset PHOTOS -o {} --split val=0.2"

RULES = {
    "manifest-damaged": "every line of the manifest is a triple with files inside the dataset, named by its key",
    "key-repeated": "every key, and so every photo, stands once",
    "file-missing": "photo and map are there",
    "file-changed": "photo and map are, byte for byte, the files that were stored",
    "file-damaged": "photo and map open whole",
    "size-differs": "photo and map have the recorded size, in multiples of 8",
    "map-not-indexed": "the map is an indexed PNG with the dataset's palette embedded",
    "label-invalid": "every pixel of the map is a class or unlabelled",
    "classes-differ": "the recorded classes are those of the map",
    "coverage-low": f"at least {COVERAGE:.0%} of the map is labelled",
    "prompt-missing": "every triple has a prompt",
    "tokens-differ": "the recorded number of tokens can be that of the prompt",
    "prompt-too-long": f"the prompt fits CLIP's {prompts.BUDGET} tokens",
    **{name: f"not so: {text}" for name, text in prompts.FLAGS.items()},
    "split-unknown": f"the split is one of {', '.join(SPLITS)}",
    "split-leak": "near-duplicates (a group) stay within one split",
    "split-near": "no photo looks like one of another group in another split",
    "palette-differs": "the dataset's palette is its protocol's, or adds classes to it; with --palette, just that one",
    "orphan": "nothing lies in the dataset that the manifest does not name",
}


@dataclass(frozen=True)
class CheckReport:
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
    progress: Progress = silent,
    palette: Palette | None = None,
) -> CheckReport:
    """Run every rule over a dataset. Changes nothing.

    Args:
        dataset: what to check.
        count: counts a prompt's tokens; None trusts the recorded numbers.
        progress: see segkit.progress.
        palette: the palette that it should have; None takes any that its protocol allows.
    """
    problems: list[Problem] = []
    triples = _read(dataset, problems)
    with ThreadPoolExecutor() as pool:
        for done, found in enumerate(pool.map(lambda triple: list(_files(dataset, triple)), triples), 1):
            problems += found
            progress("triples", done, len(triples))
    problems += chain(
        _prompts(dataset, triples, count),
        _repeated(triples),
        _splits(dataset, triples),
        _lookalikes(triples),
        _palette(dataset, palette),
        _orphans(dataset, triples),
    )
    return CheckReport(len(triples), sorted(problems, key=lambda problem: problem.severity))


def _read(dataset: Dataset, problems: list[Problem]) -> list[Triple]:
    """Read all that can be read; of the manifest's triples those that no part brings up to date."""

    def damaged(path: Path, number: int, reason: str) -> None:
        place = f"{path.relative_to(dataset.folder).as_posix()}, line {number}"
        cure = _AGAIN if path == dataset.manifest else f"Remove that line from {path}."
        problems.append(Problem("manifest-damaged", "error", place, f"{place} is damaged: {reason}.", cure))

    def triples(paths: Iterable[Path]) -> list[Triple]:
        return [found for path in paths for found in dataset.read(path, damaged) if isinstance(found, Triple)]

    if not dataset.manifest.exists():
        cure = "Run segkit build-dataset again with the same photos."
        problems.append(Problem("manifest-damaged", "error", "metadata.jsonl", "metadata.jsonl is not there.", cure))
    newer = {triple.key: triple for triple in triples(dataset.parts())}
    manifest = [triple for triple in triples([dataset.manifest]) if triple.key not in newer]
    triples([dataset.hidden / "rejected.jsonl"])
    return [*manifest, *newer.values()]


def _files(dataset: Dataset, triple: Triple) -> Iterator[Problem]:
    """Look at the photo and the map of one triple."""
    pictures: list[Image.Image] = []
    for name, sha256 in (
        (triple.file_name, triple.photo_sha256),
        (triple.conditioning_image_file_name, triple.map_sha256),
    ):
        path = dataset.folder / name
        if not path.is_file():
            yield _error("file-missing", triple, f"{name} is not there", _AGAIN)
            continue
        try:
            data = path.read_bytes()
            if storage.sha256(data) != sha256:
                yield _error("file-changed", triple, f"{name} is not the file that was stored", _AGAIN)
            pictures.append(_open(data))
        except Exception as error:  # Pillow raises anything on damaged files
            yield _error("file-damaged", triple, f"{name} does not open ({type(error).__name__}: {error})", _AGAIN)
    if len(pictures) == 2:
        yield from _pictures(triple, pictures[0], pictures[1], dataset.info.palette)


def _open(data: bytes) -> Image.Image:
    with Image.open(BytesIO(data), formats=("JPEG", "PNG")) as image:
        image.load()
        return image


def _pictures(triple: Triple, photo: Image.Image, control_map: Image.Image, palette: Palette) -> Iterator[Problem]:
    size = (triple.width, triple.height)
    if photo.size != size or control_map.size != size or triple.width % 8 or triple.height % 8:
        found = f"photo {photo.width}x{photo.height}, map {control_map.width}x{control_map.height}"
        yield _error("size-differs", triple, f"{found}, recorded {triple.width}x{triple.height}", _AGAIN)
    if not codec.is_exact(control_map, palette):
        found = f"mode {control_map.mode}" if control_map.mode != "P" else "another palette"
        yield _error("map-not-indexed", triple, f"the map has {found}, expected P with {palette.name}'s", _AGAIN)
    labels, off = codec.read(control_map, palette)
    if off:
        yield _error("label-invalid", triple, f"{off:,} pixels of the map are no class of {palette.name}", _AGAIN)
    pixels = zip(palette, codec.count(labels), strict=False)
    present = {(swatch.name, round(number / labels.size, 4)) for swatch, number in pixels if number}
    recorded = {(share.name, share.share) for share in triple.classes}
    if not off and (present != recorded or len(recorded) != len(triple.classes)):
        found = ", ".join(sorted({name for name, _ in present ^ recorded})) or "classes that stand twice"
        yield _error("classes-differ", triple, f"map and record disagree on: {found}", _AGAIN)
    labelled = float((labels != UNLABELLED).mean())
    if labelled < COVERAGE:
        message = f"{triple.key} ({triple.source}): only {labelled:.0%} of the map is labelled."
        yield Problem("coverage-low", "warning", triple.key, message, "Lower --min-confidence, or leave the photo out.")


def _prompts(dataset: Dataset, triples: Iterable[Triple], count: prompts.Count | None) -> Iterator[Problem]:
    for triple in triples:
        edit = f'Write one with: segkit caption {_typed(dataset)} --edit {triple.key} "text"'
        place = f"{triple.key} ({triple.source})"
        if not triple.text.strip():
            yield Problem("prompt-missing", "warning", triple.key, f"{place}: no prompt.", edit)
            continue
        tokens = count(triple.text) if count else triple.tokens
        if tokens < len(triple.text.split()) + 2:  # a word is one token at least
            message = f"{place}: {tokens} tokens are recorded, which are too few for {triple.text[:60]!r}."
            yield Problem("tokens-differ", "error", triple.key, message, edit)
        if tokens > prompts.BUDGET:
            message = f"{place}: {tokens} tokens, CLIP reads {prompts.BUDGET}; the rest would be cut off in silence."
            yield Problem("prompt-too-long", "error", triple.key, message, edit)
        for flag in () if triple.by_person else triple.problems:
            if flag in prompts.FLAGS:
                yield Problem(flag, "warning", triple.key, f"{place}: {prompts.FLAGS[flag]}: {triple.text!r}.", edit)


def _repeated(triples: Iterable[Triple]) -> Iterator[Problem]:
    seen: dict[str, Triple] = {}
    for triple in triples:
        before = seen.setdefault(triple.key, triple)
        if before is not triple:
            message = f"stands twice, from {before.source} and from {triple.source}"
            yield _error("key-repeated", triple, message, "Remove one of the two lines.")


def _splits(dataset: Dataset, triples: Iterable[Triple]) -> Iterator[Problem]:
    first: dict[str, Triple] = {}
    for triple in triples:
        if triple.split not in SPLITS:
            yield _error("split-unknown", triple, f"the split is {triple.split!r}", f"Expected {', '.join(SPLITS)}.")
        before = first.setdefault(triple.group, triple)
        if before.split != triple.split:
            message = f"is in {triple.split}, its near-duplicate {before.key} in {before.split}"
            yield _error("split-leak", triple, message, _SPLIT.format(_typed(dataset)))


def _lookalikes(triples: Iterable[Triple]) -> Iterator[Problem]:
    """Compare photos of different groups and splits, as they were hashed when they came in."""
    likeness = near_duplicates.DuplicateIndex()
    seen: dict[str, Triple] = {}
    cure = "Look at both; if they show the same, remove one's line and files."
    for triple in triples:
        phash = int(triple.phash, 16)
        for other in map(seen.__getitem__, likeness.find(phash)):
            if other.split != triple.split and other.group != triple.group:
                message = f"{triple.key} ({triple.source}) looks like {other.key} ({other.source}), "
                message += f"but one is in {triple.split}, the other in {other.split}."
                yield Problem("split-near", "warning", triple.key, message, cure)
                break
        seen[triple.key] = triple
        likeness.add(triple.key, phash)


def _palette(dataset: Dataset, own: Palette | None) -> Iterator[Problem]:
    name, found = dataset.info.settings.get("protocol"), dataset.info.palette
    base = Palette.load(PROTOCOLS[name]) if name in PROTOCOLS else found
    extended = bool(dataset.info.settings.get("palette")) and protocol.extends(found, base)
    if found.hash != (own or base).hash and (own or not extended):
        whose = own.name if own else name
        message = f".segkit/dataset.toml: its palette is not that of {whose}; every colour may mean another class."
        yield Problem("palette-differs", "error", "dataset.toml", message, "Put a copy of it back, or build anew.")


def _orphans(dataset: Dataset, triples: Iterable[Triple]) -> Iterator[Problem]:
    named = {name for triple in triples for name in (triple.file_name, triple.conditioning_image_file_name)}
    named.add("metadata.jsonl")
    for path in sorted(dataset.folder.rglob("[!.]*")):
        name = path.relative_to(dataset.folder).as_posix()
        if path.is_dir() or name in named or any(part.startswith(".") for part in name.split("/")):
            continue  # what is hidden no reader of the dataset sees
        message = f"{name} belongs to no triple; a stray file can change what HF datasets reads."
        cure = "Run segkit build-dataset again with the same photos, or delete it."
        yield Problem("orphan", "error", name, message, cure)


def _typed(dataset: Dataset) -> str:
    """Return the dataset's folder as one types it in a shell."""
    return shlex.quote(str(dataset.folder))


def _error(rule: str, triple: Triple, found: str, cure: str) -> Problem:
    return Problem(rule, "error", triple.key, f"{triple.key} ({triple.source}): {found}.", cure)
