"""The rules of a dataset: each one inspects the triples and yields problems."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from itertools import chain

from PIL import Image

from segkit import storage, threads
from segkit.dataset import checked, emptiness, prompts, record_rules
from segkit.dataset.checked import Examine
from segkit.dataset.dataset import Dataset
from segkit.dataset.info import Info
from segkit.dataset.record_rules import Intact, Screening, fault, line_with, rerun
from segkit.dataset.triple import SPLITS, Triple
from segkit.maps import codec
from segkit.palette import PROTOCOLS, UNLABELLED, Palette, protocol
from segkit.problem import Problem
from segkit.progress import Progress, silent
from segkit.settings import Check
from segkit.words import are, quote

COVERAGE = 0.5
"""Labelled share of a map, 0 to 1, below which "coverage-low" warns: such maps teach the network little."""

_ADDRESS = re.compile(r" <[\w.]+ object at 0x[0-9a-f]+>")
"""What Pillow's messages name instead of a file, which differs from run to run."""

Cure = Callable[[Triple], str]
"""Returns what to do about a triple."""

_RESTORE_INFO = "Restore dataset.toml from a copy, or build into another folder."
_STAY = "photo and map are restored; prompt, split and review stay."

RULES = {
    emptiness.RULE: "there is nothing to check: the dataset has no triples",
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
        left_out: number of them that a person left out, which metadata.jsonl does not list.
    """

    triples: int
    problems: list[Problem]
    left_out: int = 0

    @property
    def failed(self) -> bool:
        """Whether any problem is an error."""
        return any(problem.severity == "error" for problem in self.problems)

    @property
    def is_readable(self) -> bool:
        """Whether every line of the manifest could be read."""
        return not any(problem.rule == "manifest-damaged" for problem in self.problems)

    def counts(self) -> dict[str, int]:
        """Return the number of problems per rule, most frequent first."""
        return dict(Counter(problem.rule for problem in self.problems).most_common())


@dataclass(frozen=True)
class Scope:
    """What a check reads beside the records.

    Attributes:
        files: which photos and maps; see checked.problems.
        strays: whether files are looked for that belong to no triple.
        examine: reads photos and maps; None does so in threads.
    """

    files: Check = "full"
    strays: bool = True
    examine: Examine | None = None


EVERYTHING = Scope()


def check(
    dataset: Dataset,
    count: prompts.Count | None = None,
    progress: Progress = silent,
    palette: Palette | None = None,
    scope: Scope = EVERYTHING,
) -> CheckReport:
    """Apply every rule to a dataset, without changing it.

    Damage is reported as problems, never raised.

    Args:
        dataset: the dataset.
        count: counts the tokens of a prompt; None trusts the recorded counts.
        progress: see `segkit.progress`.
        palette: the required palette; None accepts any palette that the dataset's protocol allows.
        scope: what is read.
    """
    intact, screening = Intact(dataset), Screening()
    of_records: list[Problem] = []
    for triple in intact:
        screening.add(triple)
        of_records += record_rules.of_prompt(dataset.folder, triple, count)
        of_records += record_rules.of_split(triple)
    orphans = list(record_rules.orphans(dataset, screening)) if scope.strays else []
    if intact.damage:  # pictures of the damaged lines belong to no triple, until the lines are corrected
        orphans = [problem for problem in orphans if not problem.place.startswith(("images/", "maps/"))]
    problems = chain(
        record_rules.no_manifest(dataset),
        intact.damage,
        checked.problems(
            dataset, intact, screening.total, scope.examine or partial(in_threads, dataset), scope.files, progress
        ),
        of_records,
        record_rules.repeated(dataset, intact, screening),
        record_rules.leaks(intact, screening),
        record_rules.alike(dataset, intact),
        of_palette(dataset.info, palette, ".segkit/dataset.toml", _RESTORE_INFO),
        checked.settled(dataset, orphans),
        _nothing(dataset, intact, screening),
    )
    ordered = sorted(problems, key=lambda problem: problem.severity)
    return CheckReport(screening.total, ordered, screening.left_out)


def _nothing(dataset: Dataset, intact: Intact, screening: Screening) -> Iterator[Problem]:
    """Yield a problem if there is nothing to check, and no other problem says why."""
    if not screening.total and not intact.damage and dataset.manifest.exists():
        yield from filter(None, [emptiness.problem(dataset)])


def in_threads(dataset: Dataset, triples: Sequence[Triple]) -> Iterator[list[Problem]]:
    """Yield what is wrong with the files of each triple, in order."""
    with threads.pool() as pool:  # they suffice: hashing and decoding release the GIL
        yield from pool.map(lambda triple: [*_files(dataset, triple)], triples)


def _files(dataset: Dataset, triple: Triple) -> Iterator[Problem]:
    if triple.review == "rejected" and not triple.within(dataset.folder).has_files:  # segkit remove --delete-files
        return
    pictures: list[Image.Image] = []
    for name, sha256 in (
        (triple.file_name, triple.photo_sha256),
        (triple.conditioning_image_file_name, triple.map_sha256),
    ):
        path = dataset.folder / name
        if not path.is_file():
            yield fault("file-missing", triple, f"{name} is missing", f"R{rerun(triple)[1:]}: {_STAY}")
            continue
        try:
            data = path.read_bytes()
            if storage.sha256(data) != sha256:
                cure = _restore(triple) if name == triple.file_name else _restore_map(triple)
                yield fault("file-changed", triple, f"{name} was changed after it was stored", cure)
            pictures.append(open_stored(data))
        except Exception as error:  # Pillow raises exceptions of any type on damaged files
            reason = _ADDRESS.sub("", f"{type(error).__name__}: {error}")
            yield fault("file-damaged", triple, f"{name} cannot be opened ({reason})", _restore(triple))
    if len(pictures) == 2:
        yield from of_pictures(triple, pictures[0], pictures[1], dataset.info.palette)


def open_stored(data: bytes) -> Image.Image:
    """Open a stored photo or control map and load its pixels. Pillow raises exceptions of any type on damaged ones."""
    with Image.open(BytesIO(data), formats=("JPEG", "PNG")) as image:
        image.load()
        return image


def of_pictures(
    triple: Triple, photo: Image.Image, control_map: Image.Image, palette: Palette, cure: Cure | None = None
) -> Iterator[Problem]:
    """Yield what is wrong with the two pictures of a triple.

    Args:
        triple: the record.
        photo: its photo.
        control_map: its control map.
        palette: of the map.
        cure: returns what to do about a triple; None for one in a dataset.
    """
    restore, restore_map = cure or _restore, cure or _restore_map
    size = (triple.width, triple.height)
    if photo.size != size or control_map.size != size or triple.width % 8 or triple.height % 8:
        sizes = f"photo {photo.width}x{photo.height}, map {control_map.width}x{control_map.height}"
        yield fault("size-differs", triple, f"{sizes}, recorded {triple.width}x{triple.height}", restore(triple))
    if not codec.is_exact(control_map, palette):
        actual = f"mode {control_map.mode}" if control_map.mode != "P" else "a different palette"
        expected = f"mode P with the palette {palette.name}"
        yield fault("map-not-indexed", triple, f"the map has {actual}, expected {expected}", restore_map(triple))
    labels, off = codec.read(control_map, palette)
    if off:
        message = f"{are(off, 'pixel')} not of a class of {palette.name}"
        yield fault("label-invalid", triple, message, restore(triple))
    pixels = zip(palette, codec.count(labels), strict=False)
    present = {(swatch.name, round(number / labels.size, 4)) for swatch, number in pixels if number}
    recorded = {(share.name, share.share) for share in triple.classes}
    if not off and (present != recorded or len(recorded) != len(triple.classes)):
        names = ", ".join(sorted({name for name, _ in present ^ recorded})) or "classes recorded twice"
        yield fault("classes-differ", triple, f"map and record disagree on: {names}", restore_map(triple))
    labelled = float((labels != UNLABELLED).mean())
    if labelled < COVERAGE and triple.review == "open":
        message = f"{triple.key} ({triple.source}): only {labelled:.0%} of the map is labelled."
        left_out = line_with(review="rejected")
        advice = f"Build into another folder with a lower min_confidence, or do not train on it: {left_out}"
        yield Problem("coverage-low", "warning", triple.key, message, advice)


def of_palette(info: Info, required: Palette | None, place: str, cure: str) -> Iterator[Problem]:
    """Yield a problem if a palette is neither its protocol's nor one that adds classes to it; or not the required one.

    Args:
        info: what the triples share.
        required: the required palette; None accepts any that the protocol allows.
        place: the file that holds the palette.
        cure: what to do about it.
    """
    name, palette = info.settings.get("protocol"), info.built_with
    if required and required.hash == info.palette.hash:
        return
    base = Palette.load(PROTOCOLS[name]) if name in PROTOCOLS else palette
    # Only a dataset that was built with a palette of the user's may differ from its protocol.
    extended = bool(info.settings.get("palette")) and protocol.extends(palette, base)
    if palette.hash != (required or base).hash and (required or not extended):
        expected = required.name if required else name
        message = f"{place}: the palette differs from {expected}; colours may stand for other classes."
        yield Problem("palette-differs", "error", place.rpartition("/")[2], message, cure)


def _restore(triple: Triple) -> str:
    names = f"{triple.file_name} and {triple.conditioning_image_file_name}"
    return f"Move {names} out of the dataset and {rerun(triple)}: {_STAY}"


def _restore_map(triple: Triple) -> str:
    path = triple.folder / triple.conditioning_image_file_name
    take_over = f"segkit relabel {quote(triple.folder)} {triple.key} {quote(path)}"
    return f"If you painted the map, take it over: {take_over} . Otherwise, to have it made again: {_restore(triple)}"
