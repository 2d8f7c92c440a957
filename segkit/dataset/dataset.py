"""A dataset: a folder of triples and its manifest, safe against kill -9, full disks and a second writer.

Pictures are written first, then the record of the unit (a part); the manifest is replaced as a whole. Parts are folded
into the manifest at the end of the run, or when the dataset is next opened for writing.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict, replace

from segkit import rows, schema, storage
from segkit.dataset import info as common
from segkit.dataset.collection import Triples
from segkit.dataset.info import Info
from segkit.dataset.locking import locked
from segkit.dataset.prompts import Count
from segkit.dataset.triple import Triple
from segkit.errors import DatasetError
from segkit.photos import SKIPPED
from segkit.problem import Problem
from segkit.progress import Progress, silent
from segkit.words import count, quote


class Rejection(Struct, frozen=True, forbid_unknown_fields=True):
    """A photo that was left out.

    Attributes:
        source: its path within the folder of photos.
        sha256: of its bytes; "" if it could not be read.
        reason: a key of photos.REASONS.
        message: the details.
    """

    source: str
    sha256: str
    reason: str
    message: str


class Dataset(Triples):
    """A folder of triples, which it lists as a sequence (see Triples).

    `Dataset.open(folder)` opens one, `Dataset.create(folder, info)` creates one. Change it only inside
    `with dataset.writing():`.
    """

    def __init__(self, folder: Path, info: Info) -> None:
        super().__init__([])
        self.folder = folder
        self.info = info
        self._state: object = None

    def __repr__(self) -> str:
        return f"Dataset({str(self.folder)!r}, {count(len(self), 'triple')})"

    def _load(self) -> list[Triple]:
        """Return all triples; they are read again when the files have changed."""
        state = [(path.name, (status := path.stat()).st_mtime_ns, status.st_size) for path in self._records()]
        if self._state != state:
            self._triples, self._places, self._state = list(self.triples()), None, state
        return self._triples

    def _records(self) -> list[Path]:
        return [path for path in (self.manifest, *self.parts()) if path.exists()]

    def set_prompts(self, texts: Mapping[str, str], count: Count | None = None) -> int:
        """Set prompts written by a person, which no model replaces: all of them, or none if one is invalid.

        Args:
            texts: prompts by a triple's key, the beginning of its key, its source or its file name.
            count: returns the number of CLIP tokens of a prompt, such as segkit.models.tokens.counter().count; None
                estimates it.

        Returns:
            The number of triples changed.

        Raises:
            UsageError: a name matches no triple or several, or a prompt is empty.
            LockedError: another process is writing the dataset.
        """
        from segkit.dataset import edits  # imports this module
        from segkit.dataset.prompts import estimate

        return edits.set_prompts(self, texts.items(), count or estimate)

    def check(self, progress: Progress = silent) -> list[Problem]:
        """Run every rule over the dataset; see dataset.checks.

        Returns:
            The problems, errors first; none for a sound dataset.
        """
        from segkit.dataset import checks  # imports this module

        return checks.check(self, progress=progress).problems

    @property
    def hidden(self) -> Path:
        """The folder of everything that is not a triple."""
        return self.folder / ".segkit"

    @property
    def manifest(self) -> Path:
        """The file with one triple a line."""
        return self.folder / "metadata.jsonl"

    @classmethod
    def open(cls, folder: str | PathLike[str]) -> "Dataset":
        """Open a dataset.

        Raises:
            DatasetError: the folder is not a dataset, is damaged, or was written by a newer segkit.
        """
        folder = Path(folder)
        try:
            return cls(folder, common.read(folder / ".segkit" / "dataset.toml"))
        except (FileNotFoundError, NotADirectoryError):
            reason = "it contains no .segkit/dataset.toml" if folder.is_dir() else "it is a file"
            reason = reason if folder.exists() else "no such folder"
            cure = "Create one with: segkit build-dataset PHOTOS"
            raise DatasetError(f"{folder} is not a segkit dataset: {reason}. {cure}") from None

    @classmethod
    def create(cls, folder: Path, info: Info) -> "Dataset":
        """Create an empty dataset in a new or empty folder. The caller holds the lock.

        Raises:
            StorageError: the disk is full or read-only.
        """
        dataset = cls(folder, info)
        dataset.save_info(info)
        return dataset

    def save_info(self, info: Info) -> None:
        """Replace dataset.toml."""
        self.info = info
        storage.write(self.hidden / "dataset.toml", common.to_toml(info))

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the lock, after recovering from a killed run.

        Raises:
            LockedError: another process is writing the dataset.
            DatasetError: a line of the manifest or of rejected.jsonl is damaged.
        """
        with locked(self.folder):
            self.info = common.read(self.hidden / "dataset.toml")  # another process may have replaced it
            self.recover()
            list(self.rejections())  # finds damage before hours of work, not after
            yield

    def recover(self) -> None:
        """Delete a killed run's temporary files and fold in its finished units. The caller holds the lock."""
        storage.remove_unfinished(self.folder)
        if self.parts():
            self.fold()

    def triples(self) -> Iterator[Triple]:
        """Yield every triple from the disk in the order of the sources; parts not folded in yet come last.

        Raises:
            DatasetError: a line is damaged.
        """
        newer, _ = self._merged(self.parts())  # parts first: a concurrent fold moves them into the manifest
        for triple in self._all([self.manifest]):
            if isinstance(triple, Triple):
                yield _newer(triple, newer.pop(triple.key, triple)).within(self.folder)
        for triple in newer.values():
            yield triple.within(self.folder)

    def rejections(self) -> Iterator[Rejection]:
        """Yield every photo that was left out; parts not folded in yet come last.

        Raises:
            DatasetError: a line is damaged.
        """
        _, rejected = self._merged([self.hidden / "rejected.jsonl", *self.parts()])
        yield from rejected.values()

    def _merged(self, paths: Iterable[Path]) -> tuple[dict[str, Triple], dict[tuple[str, str], Rejection]]:
        """Return triples by key, and rejections by source and hash; later files update earlier ones."""
        triples: dict[str, Triple] = {}
        rejected: dict[tuple[str, str], Rejection] = {}
        for record in self._all(paths):
            if isinstance(record, Triple):
                triples[record.key] = _newer(triples.get(record.key, record), record)
            else:
                rejected[record.source, record.sha256] = record
        return triples, rejected

    def _all(self, paths: Iterable[Path]) -> Iterator[Triple | Rejection]:
        def damaged(path: Path, number: int, reason: str) -> None:
            raise DatasetError(f"{path}, line {number} is damaged: {reason}. See: segkit check {quote(self.folder)}")

        for path in paths:
            yield from self.read(path, damaged)

    def read(self, path: Path, damaged: Callable[[Path, int, str], None]) -> Iterator[Triple | Rejection]:
        """Yield the records of the manifest, rejected.jsonl or a part; a missing file has none.

        Args:
            path: the file.
            damaged: called with path, line number and reason for each damaged line.
        """
        for number, line in rows.json_lines(path, partial(damaged, path)):
            try:
                yield self._record(path, line)
            except DatasetError as error:
                damaged(path, number, str(error))

    def _record(self, path: Path, line: dict[str, Any]) -> Triple | Rejection:
        if path.parent.name != "parts":
            line = {"triple" if path == self.manifest else "rejected": line}
        match line:
            case {"triple": dict(record)} if len(line) == 1:
                return Triple.from_json(record)
            case {"rejected": dict(record)} if len(line) == 1:
                return _rejection(record)
        raise DatasetError("expected one triple or one rejected")

    def parts(self) -> list[Path]:
        """Return the files of finished units that are not folded in yet, oldest first.

        Raises:
            DatasetError: their folder cannot be listed.
        """
        folder = self.hidden / "parts"
        try:
            return sorted(path for path in folder.iterdir() if re.fullmatch(r"[0-9]{8}\.jsonl", path.name))
        except FileNotFoundError:
            return []
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            raise DatasetError(f"Cannot read {folder}: {reason}. Correct that and try again.") from None

    def commit(self, triples: Iterable[Triple], rejections: Iterable[Rejection] = ()) -> None:
        """Record a finished unit whose pictures are in place.

        A triple replaces the one with the same key, except for a prompt that a person wrote.
        """
        records = [{"triple": triple.to_json()} for triple in triples]
        records += [{"rejected": asdict(rejection)} for rejection in rejections]
        if records:
            parts = self.parts()
            number = int(parts[-1].stem) + 1 if parts else 1
            storage.write_lines(self.hidden / "parts" / f"{number:08}.jsonl", records)

    def fold(self) -> None:
        """Merge the finished units into the manifest. Killed at any point, it can be repeated."""
        parts = self.parts()
        if not parts and self.manifest.exists():
            return
        triples, rejected = self._merged([self.manifest, self.hidden / "rejected.jsonl", *parts])
        ordered = sorted(triples.values(), key=lambda triple: (triple.source, triple.key))
        storage.write_lines(self.hidden / "rejected.jsonl", map(asdict, _valid_rejections(rejected, triples.values())))
        storage.write_lines(self.manifest, (triple.to_json() for triple in ordered))
        if parts:
            storage.remove(parts, self.hidden / "parts")

    def keep_rejections(self, keep: Callable[[Rejection], bool]) -> None:
        """Drop obsolete rejections. The caller holds the lock and has folded all parts."""
        before = list(self.rejections())
        after = [rejection for rejection in before if keep(rejection)]
        if after != before:
            storage.write_lines(self.hidden / "rejected.jsonl", map(asdict, after))

    def replace_all(self, triples: Iterable[Triple]) -> None:
        """Replace the manifest atomically."""
        storage.write_lines(self.manifest, (triple.to_json() for triple in triples))


def _rejection(record: dict[str, Any]) -> Rejection:
    try:
        return schema.convert(record, Rejection)
    except schema.InvalidValueError as error:
        raise DatasetError(str(error)) from None


def _newer(old: Triple, new: Triple) -> Triple:
    """Return the new triple, but keep the keys that somebody added, and a person's prompt unless the new one is too."""
    if old.extra and not new.extra:
        new = replace(new, extra=old.extra)
    if not old.by_person or new.prompt.human:
        return new
    return replace(new, text=old.text, tokens=old.tokens, prompt=old.prompt, problems=old.problems)


def _valid_rejections(rejected: dict[tuple[str, str], Rejection], triples: Iterable[Triple]) -> list[Rejection]:
    """Return the rejections that still hold, sorted: not of photos that have become triples or readable since.

    A file that is skipped now, such as a thumbnail, may have been read by an earlier build.
    """
    done = {(triple.source, triple.sha256) for triple in triples}
    readable = {source for source, sha256 in rejected.keys() | done if sha256}
    left = [rejected[place] for place in sorted(rejected.keys() - done)]
    return [item for item in left if item.sha256 or item.reason in SKIPPED or item.source not in readable]
