"""The rules of a dataset: each one inspects the triples and yields problems."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from itertools import chain
from pathlib import Path

from PIL import Image

from segkit import storage, threads
from segkit.dataset import doubt, prompts, saving
from segkit.dataset.dataset import Dataset
from segkit.dataset.doubt import Doubtful
from segkit.dataset.triple import SPLITS, Triple
from segkit.maps import codec
from segkit.palette import PROTOCOLS, UNLABELLED, Palette, protocol
from segkit.photos import near_duplicates
from segkit.problem import Problem
from segkit.progress import Progress, silent
from segkit.words import are, quote

COVERAGE = 0.5
"""Labelled share of a map, 0 to 1, below which "coverage-low" warns: such maps teach the network little."""

DOUBTFUL = 10
"""Triples that a check names as the most doubtful."""

_BUILD = "run segkit build-dataset again with the same photos, output and settings"
_STAY = "photo and map are restored; prompt, split and review stay."
_CORRECT = (
    "Correct that line. If that is impossible, move it out of the file, since it may hold a prompt of yours, "
    f"{_BUILD}, and set the prompt again with segkit caption --edit."
)

RULES = {
    "manifest-damaged": "a line of the manifest is damaged, or its files are not those of its key",
    "key-repeated": "a photo appears more than once",
    "file-missing": "a photo or a map is missing",
    "file-changed": "a photo or a map was changed after it was stored",
    "file-damaged": "a photo or a map cannot be opened",
    "size-differs": "photo, map and record differ in size, or it is no multiple of 8 pixels",
    "map-not-indexed": "a map is not an indexed PNG with the dataset's palette",
    "label-invalid": "a map has pixels of no class",
    "classes-differ": "a map has other classes than its record",
    "coverage-low": f"less than {COVERAGE:.0%} of a map is labelled",
    "prompt-missing": "a triple has no prompt",
    "tokens-differ": "a recorded token count is too low for its prompt",
    "prompt-too-long": f"a prompt exceeds CLIP's {prompts.BUDGET} tokens",
    "prompt-cut": f"a drafted prompt was cut to CLIP's {prompts.BUDGET} tokens",
    "prompt-empty": "the captioner returned no caption",
    "prompt-repeats": "a caption repeats itself",
    "split-unknown": f"a split is none of {', '.join(SPLITS)}",
    "split-leak": "near-duplicates (a group) are in different splits",
    "split-near": "photos that look alike are in different splits",
    "palette-differs": "the palette is neither the protocol's nor one that adds classes to it; or not the one passed",
    "orphan": "a visible file belongs to no triple",
}
"""Rule name to what is wrong where it is broken."""


@dataclass(frozen=True)
class CheckReport:
    """The result of a check.

    Attributes:
        triples: number of triples checked.
        problems: all problems, errors first.
        doubtful: the most doubtful triples that nobody has decided about, the worst first.
    """

    triples: int
    problems: list[Problem]
    doubtful: tuple[Doubtful, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether any problem is an error."""
        return any(problem.severity == "error" for problem in self.problems)

    def counts(self) -> dict[str, int]:
        """Return the number of problems per rule, most frequent first."""
        return dict(Counter(problem.rule for problem in self.problems).most_common())


def check(
    dataset: Dataset,
    count: prompts.Count | None = None,
    progress: Progress = silent,
    palette: Palette | None = None,
) -> CheckReport:
    """Apply every rule to a dataset, without changing it.

    Damage is reported as problems, never raised.

    Args:
        dataset: the dataset.
        count: counts the tokens of a prompt; None trusts the recorded counts.
        progress: see `segkit.progress`.
        palette: the required palette; None accepts any palette that the dataset's protocol allows.
    """
    problems: list[Problem] = []
    triples = _read(dataset, problems)
    # Threads suffice: hashing and decoding release the GIL. map() keeps the order, so the report is deterministic.
    with threads.pool() as pool:
        for done, of_triple in enumerate(pool.map(lambda triple: list(_files(dataset, triple)), triples), 1):
            problems += of_triple
            progress("triples", done, len(triples))
    problems += chain(
        _prompts(dataset, triples, count),
        _repeated(dataset, triples),
        _splits(dataset, triples),
        _lookalikes(triples),
        _palette(dataset, palette),
        _orphans(dataset, triples),
    )
    by_key = {triple.key: triple for triple in triples}
    worst = doubt.worst(triples, dataset.info.palette, DOUBTFUL, lambda keys: [by_key[key] for key in keys])
    return CheckReport(len(triples), sorted(problems, key=lambda problem: problem.severity), tuple(worst))


def _read(dataset: Dataset, problems: list[Problem]) -> list[Triple]:
    """Read every intact line. Triples of unfolded parts replace those of the manifest with the same key."""

    def damaged(path: Path, number: int, reason: str) -> None:
        place = f"{path.relative_to(dataset.folder).as_posix()}, line {number}"
        cure = f"Remove that line from {path}." if path.name == "rejected.jsonl" else _CORRECT
        problems.append(Problem("manifest-damaged", "error", place, f"{place} is damaged: {reason}.", cure))

    def triples(paths: Iterable[Path]) -> list[Triple]:
        return [record for path in paths for record in dataset.read(path, damaged) if isinstance(record, Triple)]

    if not dataset.manifest.exists():
        table = dataset.folder / "metadata.csv"
        cure = f"Restore it from a copy{f' (is it {table}?)' if table.is_file() else ''}: it holds all prompts. "
        cure += f"Without one, {_BUILD}: prompts are drafted, and those that you wrote are lost."
        problems.append(Problem("manifest-damaged", "error", "metadata.jsonl", "metadata.jsonl is missing.", cure))
    newer = {triple.key: triple for triple in triples(dataset.parts())}
    lists = triples([dataset.manifest, dataset.lists.left_out])
    triples([dataset.hidden / "rejected.jsonl"])  # holds no triples; read to report its damaged lines
    current = [*(triple for triple in lists if triple.key not in newer), *newer.values()]
    completed = saving.unfinished(dataset, {triple.key: triple for triple in current})  # by the next writer
    return [completed.get(triple.key, triple).within(dataset.folder) for triple in current]


def _files(dataset: Dataset, triple: Triple) -> Iterator[Problem]:
    if triple.review == "rejected" and not triple.has_files:  # segkit remove --delete-files
        return
    pictures: list[Image.Image] = []
    for name, sha256 in (
        (triple.file_name, triple.photo_sha256),
        (triple.conditioning_image_file_name, triple.map_sha256),
    ):
        path = dataset.folder / name
        if not path.is_file():
            yield _error("file-missing", triple, f"{name} is missing", f"{_BUILD.capitalize()}: {_STAY}")
            continue
        try:
            data = path.read_bytes()
            if storage.sha256(data) != sha256:
                cure = _restore(triple) if name == triple.file_name else _restore_map(triple)
                yield _error("file-changed", triple, f"{name} was changed after it was stored", cure)
            pictures.append(_open(data))
        except Exception as error:  # Pillow raises exceptions of any type on damaged files
            reason = f"{type(error).__name__}: {error}"
            yield _error("file-damaged", triple, f"{name} cannot be opened ({reason})", _restore(triple))
    if len(pictures) == 2:
        yield from _pictures(triple, pictures[0], pictures[1], dataset.info.palette)


def _open(data: bytes) -> Image.Image:
    with Image.open(BytesIO(data), formats=("JPEG", "PNG")) as image:
        image.load()
        return image


def _pictures(triple: Triple, photo: Image.Image, control_map: Image.Image, palette: Palette) -> Iterator[Problem]:
    size = (triple.width, triple.height)
    if photo.size != size or control_map.size != size or triple.width % 8 or triple.height % 8:
        sizes = f"photo {photo.width}x{photo.height}, map {control_map.width}x{control_map.height}"
        yield _error("size-differs", triple, f"{sizes}, recorded {triple.width}x{triple.height}", _restore(triple))
    if not codec.is_exact(control_map, palette):
        actual = f"mode {control_map.mode}" if control_map.mode != "P" else "a different palette"
        expected = f"mode P with the palette {palette.name}"
        yield _error("map-not-indexed", triple, f"the map has {actual}, expected {expected}", _restore_map(triple))
    labels, off = codec.read(control_map, palette)
    if off:
        message = f"{are(off, 'pixel')} not of a class of {palette.name}"
        yield _error("label-invalid", triple, message, _restore(triple))
    pixels = zip(palette, codec.count(labels), strict=False)
    present = {(swatch.name, round(number / labels.size, 4)) for swatch, number in pixels if number}
    recorded = {(share.name, share.share) for share in triple.classes}
    if not off and (present != recorded or len(recorded) != len(triple.classes)):
        names = ", ".join(sorted({name for name, _ in present ^ recorded})) or "classes recorded twice"
        yield _error("classes-differ", triple, f"map and record disagree on: {names}", _restore_map(triple))
    labelled = float((labels != UNLABELLED).mean())
    if labelled < COVERAGE and triple.review == "open":
        message = f"{triple.key} ({triple.source}): only {labelled:.0%} of the map is labelled."
        cure = (
            f"Build into another folder with a lower min_confidence, or do not train on it: {_line(review='rejected')}"
        )
        yield Problem("coverage-low", "warning", triple.key, message, cure)


def _prompts(dataset: Dataset, triples: Iterable[Triple], count: prompts.Count | None) -> Iterator[Problem]:
    for triple in triples:
        edit = _edit(dataset, triple)
        place = f"{triple.key} ({triple.source})"
        if not triple.text.strip():
            cure = f"Draft it with segkit caption, or write one with: {edit}"
            yield Problem("prompt-missing", "warning", triple.key, f"{place}: no prompt.", cure)
            continue
        tokens = count(triple.text) if count else triple.tokens
        if tokens < len(triple.text.split()) + 2:  # at least one token per word, plus the start and end tokens
            message = f"{place}: the token count of {tokens} is too low for {triple.text[:60]!r}."
            cure = f"Count them again with: {_edit(dataset, triple, triple.text)}"
            yield Problem("tokens-differ", "error", triple.key, message, cure)
        if tokens > prompts.BUDGET:
            message = f"{place}: {tokens} tokens, but CLIP reads only {prompts.BUDGET} and ignores the rest."
            yield Problem("prompt-too-long", "error", triple.key, message, f"Write a shorter one with: {edit}")
        for flag in () if triple.by_person else triple.problems:
            if flag in prompts.FLAGS:
                message = f"{place}: {prompts.FLAGS[flag]}: {triple.text!r}."
                yield Problem(flag, "warning", triple.key, message, f"Write another with: {edit}")


def _repeated(dataset: Dataset, triples: Iterable[Triple]) -> Iterator[Problem]:
    seen: dict[str, Triple] = {}
    for triple in triples:
        first = seen.setdefault(triple.key, triple)
        if first is not triple:
            texts = " and ".join(repr(text) for text in dict.fromkeys((first.text, triple.text)))
            message = f"the key appears twice, for {first.source} and {triple.source}, with the prompt {texts}"
            text = max(first, triple, key=lambda either: (either.by_person, bool(either.text))).text
            cure = f"Merge both lines, with the right prompt: {_edit(dataset, triple, text)}"
            yield _error("key-repeated", triple, message, cure)


def _splits(dataset: Dataset, triples: Iterable[Triple]) -> Iterator[Problem]:
    groups: dict[str, Triple] = {}
    for triple in triples:
        if triple.split not in SPLITS:
            cure = f"{_line(split='train')} Or val, or test."
            yield _error("split-unknown", triple, f"the split is {triple.split!r}", cure)
        first = groups.setdefault(triple.group, triple)
        if first.split != triple.split:
            message = f"this photo is in {triple.split}, its near-duplicate {first.key} in {first.split}"
            yield _error("split-leak", triple, message, _line(split=first.split))


def _lookalikes(triples: Iterable[Triple]) -> Iterator[Problem]:
    """Compare photos across groups and splits by their recorded perceptual hashes."""
    index = near_duplicates.DuplicateIndex()
    seen: dict[str, Triple] = {}
    for triple in triples:
        phash = int(triple.phash, 16)
        for other in map(seen.__getitem__, index.find(phash)):
            if other.split != triple.split and other.group != triple.group:
                message = f"{triple.key} ({triple.source}) resembles {other.key} ({other.source}), "
                message += f"but one is in {triple.split}, the other in {other.split}."
                cure = f"Compare them; if they show the same scene, use one split: {_line(split=other.split)}"
                yield Problem("split-near", "warning", triple.key, message, cure)
                break
        seen[triple.key] = triple
        index.add(triple.key, phash)


def _palette(dataset: Dataset, required: Palette | None) -> Iterator[Problem]:
    name, palette = dataset.info.settings.get("protocol"), dataset.info.built_with
    if required and required.hash == dataset.info.palette.hash:
        return
    base = Palette.load(PROTOCOLS[name]) if name in PROTOCOLS else palette
    # Only a dataset that was built with a palette of the user's may differ from its protocol.
    extended = bool(dataset.info.settings.get("palette")) and protocol.extends(palette, base)
    if palette.hash != (required or base).hash and (required or not extended):
        expected = required.name if required else name
        message = f".segkit/dataset.toml: the palette differs from {expected}; colours may stand for other classes."
        cure = "Restore dataset.toml from a copy, or build into another folder."
        yield Problem("palette-differs", "error", "dataset.toml", message, cure)


def _orphans(dataset: Dataset, triples: Iterable[Triple]) -> Iterator[Problem]:
    named = {name for triple in triples for name in (triple.file_name, triple.conditioning_image_file_name)}
    named.add("metadata.jsonl")
    for path in sorted(dataset.folder.rglob("[!.]*")):
        name = path.relative_to(dataset.folder).as_posix()
        if path.is_dir() or name in named or any(part.startswith(".") for part in name.split("/")):
            continue  # dataset readers ignore hidden files
        message = f"{name} does not belong to a triple; stray files can change what HF datasets reads."
        cure = "Move it out of the dataset. Prompts are set with segkit caption --edit or --from-csv."
        if path.parent.parent.name in ("images", "maps"):  # of a triple that was lost
            cure = f"Move it out of the dataset, or {_BUILD}."
        yield Problem("orphan", "error", name, message, cure)


def _restore(triple: Triple) -> str:
    names = f"{triple.file_name} and {triple.conditioning_image_file_name}"
    return f"Move {names} out of the dataset and {_BUILD}: {_STAY}"


def _restore_map(triple: Triple) -> str:
    path = triple.folder / triple.conditioning_image_file_name
    take_over = f"segkit relabel {quote(triple.folder)} {triple.key} {quote(path)}"
    return f"If you painted the map, take it over: {take_over} . Otherwise, to have it made again: {_restore(triple)}"


def _edit(dataset: Dataset, triple: Triple, text: str = "") -> str:
    """Return the command that sets a triple's prompt; without a text, one to fill in."""
    words = quote(text) if text else '"TEXT"'
    return f"segkit caption {quote(dataset.folder)} --edit {triple.key} {words}"


def _line(**values: str) -> str:
    """Return what to write into the line of the triple that a problem is about."""
    pairs = ", ".join(f'"{name}": "{value}"' for name, value in values.items())
    return f"Write {pairs} into its line of metadata.jsonl."


def _error(rule: str, triple: Triple, message: str, cure: str) -> Problem:
    return Problem(rule, "error", triple.key, f"{triple.key} ({triple.source}): {message}.", cure)
