"""A dataset: a folder of triples and its manifest, safe against kill -9, full disks and a second writer.

Pictures are written first, then the record of the unit (a part). Parts are folded into the manifest while a command
runs, at its end, or when the dataset is next opened for writing.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, overload

from segkit import storage
from segkit.dataset import info as common
from segkit.dataset import lines
from segkit.dataset.collection import Triples
from segkit.dataset.info import Info
from segkit.dataset.locking import locked, writer
from segkit.dataset.prompts import Count, estimate
from segkit.dataset.records import Records
from segkit.dataset.triple import Triple
from segkit.errors import DatasetError, LockedError
from segkit.problem import Problem
from segkit.progress import Progress, silent
from segkit.words import count

if TYPE_CHECKING:
    from segkit.dataset.relabel import State
    from segkit.maps.strokes import Stroke


class Dataset(Records, Triples):
    """A folder of triples, which it lists as a sequence (see Triples) without those that a person rejected.

    `Dataset.open(folder)` opens one, `Dataset.create(folder, info)` creates one. Change it only inside
    `with dataset.writing():`. Triples are read when they are accessed, one of a million as fast as one of ten.

    Attributes:
        info: what all triples share.
        count: returns the number of CLIP tokens of prompts that are composed again; an estimate by default.
    """

    def __init__(self, folder: Path, info: Info) -> None:
        Records.__init__(self, folder)
        Triples.__init__(self, [])
        self.info = info
        self.count: Count = estimate
        self._toml = b""  # the bytes of dataset.toml that `info` was read from
        self._keys: list[str] = []
        self._state: object = None

    def __repr__(self) -> str:
        return f"Dataset({str(self.folder)!r}, {count(len(self), 'triple')})"

    def __iter__(self) -> Iterator[Triple]:
        return (triple for triple in self.triples() if triple.review != "rejected")

    def __len__(self) -> int:
        index, newer = self.lists.index(), self.pending()[0]
        if not index.is_tidy:
            return len(self._order())
        before = sum(any(not index.is_left_out(place) for place in index.of_key(key)) for key in newer)
        return index.counts[0] - before + sum(triple.review != "rejected" for triple in newer.values())

    def __contains__(self, item: object) -> bool:
        """Return whether a triple, or a triple with this key, is listed."""
        if isinstance(item, Triple):
            return self._has(item.key) and self[item.key] == item
        return isinstance(item, str) and self._has(item)

    def _has(self, key: str) -> bool:
        return key in self.named(key) and self.get([key])[0].review != "rejected"

    @overload
    def __getitem__(self, place: int | str) -> Triple: ...
    @overload
    def __getitem__(self, place: slice) -> Triples: ...
    def __getitem__(self, place: int | str | slice) -> Triple | Triples:
        if isinstance(place, str):
            if not self._has(place):
                raise KeyError(f"no triple has the key {place!r}; keys have 16 hex digits, see metadata.jsonl")
            return self.get([place])[0]
        places = range(len(self))[place]
        chosen = places if isinstance(places, range) else [places]
        if self._is_listed():
            data = self.lists.at(self.lists.index(), chosen)
            triples = self.get([lines.place(line).key for line in data])
        else:
            order = self._order()
            triples = self.get([order[number] for number in chosen])
        return Triples(triples) if isinstance(place, slice) else triples[0]

    def _is_listed(self) -> bool:
        """Return whether the manifest lists these triples in order; parts may hold other versions of some."""
        index, newer = self.lists.index(), self.pending()[0]
        return index.is_tidy and all(
            triple.key in index.keys_of_source(triple.source)
            and index.is_left_out(index.of_key(triple.key)[0]) == (triple.review == "rejected")
            for triple in newer.values()
        )

    def _order(self) -> list[str]:
        """Return the keys in order; they are read again when the files have changed."""
        state = (self.lists.state(), self.parts_state())
        if self._state != state:
            self._keys, self._state = [triple.key for triple in self], state
        return self._keys

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

        return len(edits.set_prompts(self, texts.items(), count or estimate))

    def set_prompt(self, key: str, text: str, *, revision: int | None = None, count: Count | None = None) -> "State":
        """Set one prompt; see dataset.decisions.set_prompt. Without `count`, its tokens are estimated."""
        from segkit.dataset import decisions  # imports this module

        return decisions.set_prompt(self, key, text, revision=revision, count=count or estimate)

    def relabel(self, key: str, strokes: "Sequence[Stroke]", *, revision: int | None = None, what: str = "") -> "State":
        """Set the classes of some pixels of a map, as one edit that can be undone; see dataset.relabel."""
        from segkit.dataset import relabel  # imports this module

        return relabel.relabel(self, key, strokes, revision=revision, what=what)

    def decide(self, key: str, review: str, *, revision: int | None = None) -> "State":
        """Accept a triple, reject it, or take either back; see dataset.decisions.decide."""
        from segkit.dataset import decisions  # imports this module

        return decisions.decide(self, key, review, revision=revision)

    def check(self, progress: Progress = silent) -> list[Problem]:
        """Run every rule over the dataset; see dataset.checks.

        Returns:
            The problems, errors first; none for a sound dataset.
        """
        from segkit.dataset import checks  # imports this module

        return checks.check(self, progress=progress).problems

    @classmethod
    def open(cls, folder: str | PathLike[str]) -> "Dataset":
        """Open a dataset.

        Raises:
            DatasetError: the folder is not a dataset, is damaged, or was written by a newer segkit.
            LockedError: a build is just creating it.
        """
        folder = Path(folder)
        try:
            return cls(folder, common.read(folder / ".segkit" / "dataset.toml"))
        except (FileNotFoundError, NotADirectoryError):
            reason = "it contains no .segkit/dataset.toml" if folder.is_dir() else "it is a file"
            reason = reason if folder.exists() else "no such folder"
            if process := writer(folder):
                raise LockedError(
                    f"{folder} is being created by {process}. Wait until its first photos are done."
                ) from None
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
        self._toml = common.to_toml(info)
        storage.write(self.hidden / "dataset.toml", self._toml)
        self.info = info

    def reload_info(self) -> None:
        """Read dataset.toml again if another process has replaced it: it may have added classes.

        Raises:
            DatasetError: it is damaged.
        """
        file = self.hidden / "dataset.toml"
        data = file.read_bytes() if file.exists() else b""
        if data != self._toml or not data:
            self.info, self._toml = common.read(file), data

    @contextmanager
    def writing(self, *, edit: bool = False) -> Iterator[None]:
        """Hold the lock, after recovering from a killed run.

        Args:
            edit: do not fold in earlier edits, which takes long in a large dataset; see fold_after_edit.

        Raises:
            LockedError: another process is writing the dataset.
            DatasetError: dataset.toml, or a line that was changed by hand, is damaged.
        """
        with locked(self.folder) as was_killed:
            self.reload_info()
            self.recover(was_killed, fold=not edit)
            yield

    def recover(self, was_killed: bool, *, fold: bool = True) -> None:
        """Delete a killed run's temporary files, record maps that it wrote, and fold in what it finished.

        The caller holds the lock.

        Args:
            was_killed: whether the last holder of the lock was; looking for its files takes long in a large dataset.
            fold: fold in parts.
        """
        if was_killed:
            from segkit.dataset import saving  # imports this module

            storage.remove_unfinished(self.folder)
            saving.complete(self)
        if self.parts() and (fold or was_killed):
            self.fold_if_small()
