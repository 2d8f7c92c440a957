"""A dataset: a folder of triples and its manifest, safe against kill -9, full disks and a second writer.

Pictures are written first, then the record of the unit (a part), and the manifest is replaced as a whole. A part is
folded into the manifest when the dataset is next opened for writing, or at the end of the run.
"""

import tomllib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from segkit import storage
from segkit.color import parse, to_hex
from segkit.errors import DatasetError
from segkit.palette import Palette
from segkit.tables import Swatch
from segkit.triple import Triple

FORMAT = 1
"""Version of the layout; a higher one was written by a later segkit."""


@dataclass(frozen=True)
class Rejection:
    """A photo that was left out: where it came from, its SHA-256 ("" if it could not be read), why."""

    source: str
    sha256: str
    reason: str
    message: str


@dataclass(frozen=True)
class Info:
    """What .segkit/dataset.toml holds: all that every triple of the dataset has in common.

    Attributes:
        palette: the classes; stored whole, with its hash.
        models: name and revision by role ("segmenter", "captioner", "tokenizer").
        settings: the settings that shaped the triples; a second build must agree with them.
    """

    palette: Palette
    models: dict[str, dict[str, str]]
    settings: dict[str, Any]


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
        if not path.is_file():
            found = "no such folder" if not folder.exists() else "no .segkit/dataset.toml in it"
            raise DatasetError(f"{folder} is no segkit dataset: {found}. Make one with: segkit build-dataset PHOTOS")
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
            if table["format"] > FORMAT:
                raise DatasetError(f"{folder} has format {table['format']}; this segkit knows {FORMAT}. Update segkit.")
            return cls(folder, _info(table))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DatasetError(f"{path} is damaged: {type(error).__name__}: {error}.") from None

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
        import tomli_w

        self.info = info
        storage.write(self.hidden / "dataset.toml", tomli_w.dumps(_table(info)).encode())

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the lock; what a killed run left is cleared away or folded in first.

        Raises:
            LockedError: another process is writing the dataset.
        """
        with locked(self.folder):
            self.recover()
            yield

    def recover(self) -> None:
        """Clear away what a killed run left unfinished and fold in what it finished. Needs the lock."""
        storage.remove_unfinished(self.folder)
        self.fold()

    def triples(self) -> Iterator[Triple]:
        """Yield every triple, in the order of their sources; parts not folded in yet come last.

        Raises:
            DatasetError: a line is damaged.
        """
        for path in (self.manifest, *self.parts()):
            for number, line in storage.read_lines(path):
                record = line if path == self.manifest else line.get("triple")
                if record is None:
                    continue
                try:
                    yield Triple.from_json(record)
                except DatasetError as error:
                    message = f"{path}, line {number}: {error}. See: segkit check {self.folder}"
                    raise DatasetError(message) from None

    def rejections(self) -> Iterator[Rejection]:
        """Yield every photo that was left out; parts not folded in yet come last."""
        for path in (self.hidden / "rejected.jsonl", *self.parts()):
            for _, line in storage.read_lines(path):
                record = line.get("rejected") if path.parent.name == "parts" else line
                if record:
                    yield Rejection(**record)

    def parts(self) -> list[Path]:
        """Return the records of finished units that are not folded in yet, oldest first."""
        return sorted((self.hidden / "parts").glob("[0-9]*.jsonl"))

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
        triples: dict[str, Triple] = {}
        for triple in self.triples():
            triples[triple.key] = _newer(triples.get(triple.key), triple)
        rejected = {(found.source, found.sha256): found for found in self.rejections()}
        for triple in triples.values():
            rejected.pop((triple.source, triple.sha256), None)
        settled = {triple.source for triple in triples.values()} | {source for source, digest in rejected if digest}
        rejected = {key: found for key, found in rejected.items() if key[1] or key[0] not in settled}
        ordered = sorted(triples.values(), key=lambda triple: (triple.source, triple.key))
        storage.write_lines(self.manifest, (triple.to_json() for triple in ordered))
        storage.write_lines(self.hidden / "rejected.jsonl", (asdict(rejected[key]) for key in sorted(rejected)))
        for part in parts:
            storage.remove(part)

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
    try:
        with storage.locked(hidden / "lock"):
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


def _newer(old: Triple | None, new: Triple) -> Triple:
    if old is None or not old.prompt.human or new.prompt.human:
        return new
    return replace(new, text=old.text, tokens=old.tokens, prompt=old.prompt, problems=old.problems)


def _table(info: Info) -> dict[str, Any]:
    from segkit import __version__

    classes = [{"name": s.name, "synonyms": list(s.synonyms), "color": to_hex(s.rgb)} for s in info.palette]
    return {
        "format": FORMAT,
        "segkit": __version__,
        "settings": info.settings,
        "models": info.models,
        "palette": {"name": info.palette.name, "hash": info.palette.hash, "classes": classes},
    }


def _info(table: dict[str, Any]) -> Info:
    rows = enumerate(table["palette"]["classes"])
    swatches = (Swatch(index, row["name"], tuple(row["synonyms"]), parse(row["color"])) for index, row in rows)
    palette = Palette(table["palette"]["name"], tuple(swatches))
    if palette.hash != table["palette"]["hash"]:
        raise ValueError("the palette was changed by hand: its hash does not match")
    return Info(palette, table["models"], table["settings"])
