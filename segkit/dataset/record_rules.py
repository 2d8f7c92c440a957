"""The rules for the records of a dataset: damaged lines, prompts, keys, groups, splits, stray files.

Records are read as a stream, several times if need be, and only a few bytes of each are held.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from segkit.dataset import history, lookalikes, prompts, saving, splits
from segkit.dataset.dataset import Dataset
from segkit.dataset.triple import SPLITS, Triple
from segkit.errors import DatasetError
from segkit.problem import Problem
from segkit.words import quote

_BUILD = "run segkit build-dataset again with the same photos, output and settings"
_IMPORT = "run segkit import again with the same sources, output and settings"


def rerun(triple: Triple) -> str:
    """Return the command that writes the files of a triple again, as part of a sentence."""
    return _IMPORT if triple.origin.layout else _BUILD


def rerun_all(dataset: Dataset) -> str:
    """Return the command, or commands, that write what a dataset lacks, as part of a sentence."""
    if not dataset.info.models.get("segmenter", {}).get("name"):
        return _IMPORT
    try:
        is_imported = any(triple.origin.layout for triple in dataset.triples())
    except DatasetError:  # a damaged line, which another rule reports
        is_imported = False
    return f"{_BUILD}, or {_IMPORT.removeprefix('run ')}" if is_imported else _BUILD


class Intact:
    """The intact triples of a dataset, read from the disk at each iteration.

    Triples of unfolded parts replace those of the lists with the same key.

    Attributes:
        damage: a problem for each damaged line, complete after the first iteration.
    """

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._edited = frozenset(history.all_keys(dataset.folder))
        self._damaged: dict[str, Problem] = {}

    @property
    def damage(self) -> Iterable[Problem]:
        """A problem for each damaged line, complete after the first iteration."""
        return self._damaged.values()

    def __iter__(self) -> Iterator[Triple]:
        lists = self._dataset.lists
        newer = {triple.key: triple for triple in self._read(self._dataset.parts())}
        for triple in self._read([lists.manifest, lists.left_out]):
            if triple.key not in newer:
                yield self._as_saved(triple)
        yield from map(self._as_saved, newer.values())
        list(self._read([self._dataset.hidden / "rejected.jsonl"]))  # holds no triples; read for its damaged lines

    def _as_saved(self, triple: Triple) -> Triple:
        """Return the record that belongs to the map's file, also while it is being written or after a kill."""
        triple = triple.within(self._dataset.folder)
        return saving.as_saved(self._dataset, triple) if triple.key in self._edited else triple

    def _read(self, paths: Iterable[Path]) -> Iterator[Triple]:
        for path in paths:
            for record in self._dataset.read(path, self._note):
                if isinstance(record, Triple):
                    yield record

    def _note(self, path: Path, number: int, reason: str) -> None:
        place = f"{path.relative_to(self._dataset.folder).as_posix()}, line {number}"
        cure = f"Remove that line from {path}."
        if path.name != "rejected.jsonl":
            cure = (
                "Correct that line. If that is impossible, move it out of the file, since it may hold a prompt of "
                f"yours, {rerun_all(self._dataset)}, and set the prompt again with segkit caption --edit."
            )
        self._damaged[place] = Problem("manifest-damaged", "error", place, f"{place} is damaged: {reason}.", cure)


def no_manifest(dataset: Dataset) -> Iterator[Problem]:
    """Yield a problem if there is no manifest."""
    if not dataset.manifest.exists():
        table = dataset.folder / "metadata.csv"
        cure = f"Restore it from a copy{f' (is it {table}?)' if table.is_file() else ''}: it holds all prompts. "
        cure += f"Without one, {rerun_all(dataset)}: prompts are drafted, and those that you wrote are lost."
        yield Problem("manifest-damaged", "error", "metadata.jsonl", "metadata.jsonl is missing.", cure)


class Screening:
    """What a pass over the records shows of them: about 100 bytes a triple.

    Attributes:
        total: number of triples.
        left_out: number of them that a person left out.
        repeated: keys that several triples have.
    """

    def __init__(self) -> None:
        self.total = self.left_out = 0
        self.repeated: set[str] = set()
        self._photos: dict[int, bool] = {}  # key to whether the photo is a PNG
        self._splits: dict[int, str] = {}  # key to split
        self._groups: dict[int, str] = {}  # group to the first split of a triple that is not its first photo
        self._leaking: set[int] = set()

    def add(self, triple: Triple) -> None:
        """Look at a triple."""
        self.total += 1
        self.left_out += triple.review == "rejected"
        key, group = int(triple.key, 16), splits.group_number(triple.group)
        if key in self._photos:
            self.repeated.add(triple.key)
        self._photos[key] = triple.file_name.endswith(".png")
        self._splits[key] = triple.split
        if group != key and self._groups.setdefault(group, triple.split) != triple.split:
            self._leaking.add(group)

    def leaking(self) -> set[int]:
        """Return the groups, as splits.group_number, whose photos are in several splits."""
        heads = {group for group, split in self._groups.items() if self._splits.get(group, split) != split}
        return self._leaking | heads

    def has(self, name: str) -> bool:
        """Return whether a path within the dataset, with "/" between folders, is the photo or map of a triple."""
        folder, _, file = name.partition("/")
        shard, _, file = file.partition("/")
        key, _, suffix = file.partition(".")
        if len(key) != 16 or shard != key[:2] or not set(key) <= set("0123456789abcdef"):
            return False
        is_png = self._photos.get(int(key, 16))
        return is_png is not None and (folder, suffix) in (("maps", "png"), ("images", "png" if is_png else "jpg"))


def of_prompt(folder: Path, triple: Triple, count: prompts.Count | None) -> Iterator[Problem]:
    """Yield what is wrong with the prompt of a triple.

    Args:
        folder: the dataset's.
        triple: the triple.
        count: counts the tokens of a prompt; None trusts the recorded count.
    """
    edit = _edit(folder, triple)
    place = f"{triple.key} ({triple.source})"
    if not triple.text.strip():
        cure = f"Draft it with segkit caption, or write one with: {edit}"
        yield Problem("prompt-missing", "warning", triple.key, f"{place}: no prompt.", cure)
        return
    tokens = count(triple.text) if count else triple.tokens
    if tokens < len(triple.text.split()) + 2:  # at least one token per word, plus the start and end tokens
        message = f"{place}: the token count of {tokens} is too low for {triple.text[:60]!r}."
        cure = f"Count them again with: {_edit(folder, triple, triple.text)}"
        yield Problem("tokens-differ", "error", triple.key, message, cure)
    if tokens > prompts.BUDGET:
        message = f"{place}: {tokens} tokens, but CLIP reads only {prompts.BUDGET} and ignores the rest."
        yield Problem("prompt-too-long", "error", triple.key, message, f"Write a shorter one with: {edit}")
    for flag in () if triple.by_person else triple.problems:
        if flag in prompts.FLAGS:
            message = f"{place}: {prompts.FLAGS[flag]}: {triple.text!r}."
            yield Problem(flag, "warning", triple.key, message, f"Write another with: {edit}")


def of_split(triple: Triple) -> Iterator[Problem]:
    """Yield a problem if a triple is in no split that there is."""
    if triple.split not in SPLITS:
        cure = f"{line_with(split='train')} Or val, or test."
        yield fault("split-unknown", triple, f"the split is {triple.split!r}", cure)


def repeated(dataset: Dataset, triples: Iterable[Triple], screening: Screening) -> Iterator[Problem]:
    """Yield a problem for each triple whose key another one before it has."""
    seen: dict[str, Triple] = {}
    for triple in triples if screening.repeated else ():
        if triple.key not in screening.repeated:
            continue
        first = seen.setdefault(triple.key, triple)
        if first is not triple:
            texts = " and ".join(repr(text) for text in dict.fromkeys((first.text, triple.text)))
            message = f"the key appears twice, for {first.source} and {triple.source}, with the prompt {texts}"
            text = max(first, triple, key=lambda either: (either.by_person, bool(either.text))).text
            cure = f"Merge both lines, with the right prompt: {_edit(dataset.folder, triple, text)}"
            yield fault("key-repeated", triple, message, cure)


def leaks(triples: Iterable[Triple], screening: Screening) -> Iterator[Problem]:
    """Yield a problem for each photo that is in another split than the first of its near-duplicates."""
    groups: dict[str, Triple] = {}
    leaking = screening.leaking()
    for triple in triples if leaking else ():
        if splits.group_number(triple.group) not in leaking:
            continue
        first = groups.setdefault(triple.group, triple)
        if first.split != triple.split:
            message = f"this photo is in {triple.split}, its near-duplicate {first.key} in {first.split}"
            yield fault("split-leak", triple, message, line_with(split=first.split))


def alike(dataset: Dataset, triples: Iterable[Triple]) -> Iterator[Problem]:
    """Yield a problem for each photo that shows the same as one of another group in another split."""
    for triple, other in lookalikes.across_splits(dataset.folder, triples):
        message = f"{triple.key} ({triple.source}) resembles {other.key} ({other.source}), "
        message += f"but one is in {triple.split}, the other in {other.split}."
        cure = f"Compare them; if they show the same scene, use one split: {line_with(split=other.split)}"
        yield Problem("split-near", "warning", triple.key, message, cure)


def orphans(dataset: Dataset, screening: Screening) -> Iterator[Problem]:
    """Yield a problem for each visible file that belongs to no triple, in the order of their names."""
    again = ""
    for parent, folders, names in os.walk(dataset.folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))  # dataset readers ignore hidden ones
        relative = Path(parent).relative_to(dataset.folder)
        prefix = f"{relative.as_posix()}/" if relative.parts else ""
        for file in sorted(names):
            name = prefix + file
            if file.startswith(".") or name == "metadata.jsonl" or screening.has(name):
                continue
            message = f"{name} does not belong to a triple; stray files can change what HF datasets reads."
            cure = "Move it out of the dataset. Prompts are set with segkit caption --edit or --from-csv."
            if relative.parent.name in ("images", "maps"):  # of a triple that was lost
                again = again or rerun_all(dataset)
                cure = f"Move it out of the dataset, or {again}."
            yield Problem("orphan", "error", name, message, cure)


def _edit(folder: Path, triple: Triple, text: str = "") -> str:
    """Return the command that sets a triple's prompt; without a text, one to fill in."""
    words = quote(text) if text else '"TEXT"'
    return f"segkit caption {quote(folder)} --edit {triple.key} {words}"


def line_with(**values: str) -> str:
    """Return what to write into the line of the triple that a problem is about."""
    pairs = ", ".join(f'"{name}": "{value}"' for name, value in values.items())
    return f"Write {pairs} into its line of metadata.jsonl."


def fault(rule: str, triple: Triple, message: str, cure: str) -> Problem:
    """Return the problem of a triple."""
    return Problem(rule, "error", triple.key, f"{triple.key} ({triple.source}): {message}.", cure)
