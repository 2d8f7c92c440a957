"""A dataset: a folder of triples and its manifest, safe against kill -9, full disks and a second writer.

Pictures are written first, then the record of the unit (a part), and the manifest is replaced as a whole. A part is
folded into the manifest when the dataset is next opened for writing, or at the end of the run.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from segkit import rows, storage
from segkit.dataset import info as common
from segkit.dataset.info import Info
from segkit.dataset.triple import Triple, typed
from segkit.errors import DatasetError


@dataclass(frozen=True)
class Rejection:
    """A photo that was left out: where it came from, its SHA-256 ("" if it could not be read), why."""

    source: str
    sha256: str
    reason: str
    message: str


class Dataset:
    """A folder of triples.

    Open one with `Dataset.open(folder)`, make one with `Dataset.create(folder, info)`; change it inside
    `with dataset.writing():` only.
    """

    def __init__(self, folder: Path, info: Info) -> None:
        self.folder = folder
        self.info = info

    @property
    def hidden(self) -> Path:
        """The folder of all that is not a triple."""
        return self.folder / ".segkit"

    @property
    def manifest(self) -> Path:
        """The file with one triple a line."""
        return self.folder / "metadata.jsonl"

    @classmethod
    def open(cls, folder: Path) -> "Dataset":
        """Open a dataset.

        Raises:
            DatasetError: the folder is no dataset, is damaged, or was written by a later segkit.
        """
        path = folder / ".segkit" / "dataset.toml"
        try:
            return cls(folder, common.read(path))
        except (FileNotFoundError, NotADirectoryError):
            found = "no .segkit/dataset.toml in it" if folder.is_dir() else "it is a file"
            found = found if folder.exists() else "no such folder"
            cure = "Make one with: segkit build-dataset PHOTOS"
            raise DatasetError(f"{folder} is no segkit dataset: {found}. {cure}") from None

    @classmethod
    def create(cls, folder: Path, info: Info) -> "Dataset":
        """Make an empty dataset in a new or empty folder. Needs the lock.

        Raises:
            StorageError: it cannot be written.
        """
        dataset = cls(folder, info)
        dataset.save_info(info)
        return dataset

    def save_info(self, info: Info) -> None:
        """Replace what is common to all triples."""
        self.info = info
        storage.write(self.hidden / "dataset.toml", common.to_toml(info))

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the lock; what a killed run left is cleared away or folded in first.

        Raises:
            LockedError: another process is writing the dataset.
            DatasetError: a line of its lists is damaged.
        """
        with locked(self.folder):
            self.info = common.read(self.hidden / "dataset.toml")  # another process may have changed it meanwhile
            self.recover()
            list(self.rejections())  # damage is to be found before the work, not after it
            yield

    def recover(self) -> None:
        """Clear away what a killed run left unfinished and fold in what it finished. Needs the lock."""
        storage.remove_unfinished(self.folder)
        if self.parts():
            self.fold()

    def triples(self) -> Iterator[Triple]:
        """Yield every triple, in the order of their sources; those of parts not folded in yet come last.

        Raises:
            DatasetError: a line is damaged.
        """
        newer, _ = self._merged(self.parts())  # read first: a fold at the same time moves them to the manifest
        for triple in self._all([self.manifest]):
            if isinstance(triple, Triple):
                yield _newer(triple, newer.pop(triple.key, triple))
        yield from newer.values()

    def rejections(self) -> Iterator[Rejection]:
        """Yield every photo that was left out; those of parts not folded in yet come last.

        Raises:
            DatasetError: a line is damaged.
        """
        _, rejected = self._merged([self.hidden / "rejected.jsonl", *self.parts()])
        yield from rejected.values()

    def _merged(self, paths: Iterable[Path]) -> tuple[dict[str, Triple], dict[tuple[str, str], Rejection]]:
        """Return triples by key, and rejections by source and hash; later files update earlier ones."""
        triples: dict[str, Triple] = {}
        rejected: dict[tuple[str, str], Rejection] = {}
        for found in self._all(paths):
            if isinstance(found, Triple):
                triples[found.key] = _newer(triples.get(found.key, found), found)
            else:
                rejected[found.source, found.sha256] = found
        return triples, rejected

    def _all(self, paths: Iterable[Path]) -> Iterator[Triple | Rejection]:
        def damaged(path: Path, number: int, reason: str) -> None:
            raise DatasetError(f"{path}, line {number} is damaged: {reason}. See: segkit check {self.folder}")

        for path in paths:
            yield from self.read(path, damaged)

    def read(self, path: Path, damaged: Callable[[Path, int, str], None]) -> Iterator[Triple | Rejection]:
        """Yield what the manifest, rejected.jsonl or a part holds; nothing where there is no file.

        Args:
            path: the file.
            damaged: called with path, line number and reason for each line that is damaged.
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
                return typed(Rejection, record)
        raise DatasetError("expected one triple or one rejected")

    def parts(self) -> list[Path]:
        """Return the records of finished units that are not folded in yet, oldest first.

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
            raise DatasetError(f"Cannot read {folder}: {reason}. Mend that and try again.") from None

    def commit(self, triples: Iterable[Triple], rejections: Iterable[Rejection] = ()) -> None:
        """Record a finished unit; its pictures must be in place.

        A triple whose key is there already replaces it, but never a prompt that a person wrote.
        """
        records = [{"triple": triple.to_json()} for triple in triples]
        records += [{"rejected": asdict(rejection)} for rejection in rejections]
        if records:
            parts = self.parts()
            number = int(parts[-1].stem) + 1 if parts else 1
            storage.write_lines(self.hidden / "parts" / f"{number:08}.jsonl", records)

    def fold(self) -> None:
        """Bring the finished units into the manifest. Killed anywhere, it can be repeated."""
        parts = self.parts()
        if not parts and self.manifest.exists():
            return
        triples, rejected = self._merged([self.manifest, self.hidden / "rejected.jsonl", *parts])
        ordered = sorted(triples.values(), key=lambda triple: (triple.source, triple.key))
        storage.write_lines(self.hidden / "rejected.jsonl", map(asdict, _standing(rejected, triples.values())))
        storage.write_lines(self.manifest, (triple.to_json() for triple in ordered))
        if parts:
            storage.remove(parts, self.hidden / "parts")

    def keep_rejections(self, keep: Callable[[Rejection], bool]) -> None:
        """Drop the rejections that no longer hold. Needs the lock, and everything folded in."""
        before = list(self.rejections())
        after = [rejection for rejection in before if keep(rejection)]
        if after != before:
            storage.write_lines(self.hidden / "rejected.jsonl", map(asdict, after))

    def replace_all(self, triples: Iterable[Triple]) -> None:
        """Replace the manifest, whole or not at all."""
        storage.write_lines(self.manifest, (triple.to_json() for triple in triples))


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a dataset's lock; a folder in which no dataset came to be is removed again.

    Raises:
        LockedError: another process holds it.
        DatasetError: the folder holds other things than a dataset.
    """
    hidden = folder / ".segkit"
    if not (hidden / "dataset.toml").exists():
        refuse_other_folder(folder)
    storage.make_folder(hidden)
    with storage.locked(hidden / "lock"):
        try:
            yield
        finally:
            if not (hidden / "dataset.toml").exists():
                with suppress(OSError):
                    (hidden / "lock").unlink(missing_ok=True)
                    hidden.rmdir()
                    folder.rmdir()


def refuse_other_folder(folder: Path) -> None:
    """Refuse to start a dataset where other things lie.

    Raises:
        DatasetError: the path is a file, or a folder with visible content that is no dataset.
    """
    if folder.exists() and not folder.is_dir():
        raise DatasetError(f"{folder} is a file. Name a new folder with: -o FOLDER")
    if folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir()):
        raise DatasetError(f"{folder} is no segkit dataset and not empty. Name a new folder with: -o FOLDER")


def _newer(old: Triple, new: Triple) -> Triple:
    """Return the new triple, with the old one's prompt if only that was written by a person."""
    if not old.by_person or new.prompt.human:
        return new
    return replace(new, text=old.text, tokens=old.tokens, prompt=old.prompt, problems=old.problems)


def _standing(rejected: dict[tuple[str, str], Rejection], triples: Iterable[Triple]) -> list[Rejection]:
    """Return the rejections that still hold, in order: not of what is a triple now, nor of what could be read since."""
    done = {(triple.source, triple.sha256) for triple in triples}
    readable = {source for source, sha256 in rejected.keys() | done if sha256}
    left = sorted(rejected.keys() - done)
    return [rejected[source, sha256] for source, sha256 in left if sha256 or source not in readable]
