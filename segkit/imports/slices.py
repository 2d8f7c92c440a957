"""Slices of a build as an engine: their photos are judged together, their triples taken over. See build.slices."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from msgspec.structs import replace

from segkit import storage, threads
from segkit.build import looks, slice_listing
from segkit.build.annotate import Encoded
from segkit.build.arrival import Candidate, Loaded, Place
from segkit.build.engines import Job, Opening, Results
from segkit.build.engines.worker import Identity
from segkit.build.slice_listing import Entry
from segkit.build.units import Unit
from segkit.dataset import Dataset, Rejection, checked, confidences, prune, splits
from segkit.dataset.triple import SPLITS, UNDRAWN, Triple, key_of, photo_name
from segkit.errors import DatasetError
from segkit.imports import recorded
from segkit.photos import Measured, PassedOver
from segkit.photos.near_duplicates import Grey
from segkit.photos.stored import read_grey
from segkit.words import quote


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of a content.

    Attributes:
        number: of the slice with its triple.
        phash: its perceptual hash.
        size: width and height of the source in pixels.
        worked_on: whether a person worked on the triple.
        removed: whether a person left it out.
    """

    number: int
    phash: int
    size: tuple[int, int]
    worked_on: bool
    removed: bool


class Slices:
    """All slices of a build; a build.engines.Engine, and the build.lookalikes.Sources of its photos.

    Args:
        datasets: the slices; see slice_set.opened, which has compared them.

    Attributes:
        paths: the photos of the build, in order. They need not exist any more.
        passed: the files that were passed over.
        left_out: number of new triples that a person left out in a slice.
    """

    notes: Sequence[str] = ()
    capacity = None

    def __init__(self, datasets: Sequence[Dataset]) -> None:
        self._datasets = datasets
        self.left_out = 0
        self._contents = _contents(datasets)
        self._rejections: dict[str, Rejection] = {}  # by the photo's hash, or if it has none by its source
        for dataset in datasets:
            for rejection in dataset.rejections():
                if rejection.reason != "identical":
                    self._rejections[rejection.sha256 or rejection.source] = rejection
        self._entries: list[Entry] = []
        self.passed: list[PassedOver] = []
        for dataset in datasets:
            for entry in slice_listing.entries(dataset):
                if entry.position >= 0:
                    self._entries.append(entry)
                else:
                    self.passed.append(PassedOver(PurePosixPath(entry.source), entry.reason, entry.message))
        self._entries.sort(key=lambda entry: entry.position)
        self.passed.sort(key=lambda item: str(item.path))
        self.paths: Sequence[Place] = [Path(entry.source) for entry in self._entries]

    def __len__(self) -> int:
        return len(self._entries)

    def name(self, position: int) -> str:
        """Return the name of a photo."""
        return self._entries[position].source

    def new(self, position: int) -> Grey:
        """Return the grey copy of a photo as the slice's build saw it."""
        key = key_of(self._entries[position].sha256)
        return looks.read(self._datasets[self._contents[key].number].folder, key)[1]

    def to_be_stored(self, position: int) -> Grey | None:
        """Return the grey copy of a photo as the slice stores it."""
        key = key_of(self._entries[position].sha256)
        dataset = self._datasets[self._contents[key].number]
        return read_grey(dataset.folder / photo_name(key, f".{dataset.info.settings['photo_format']}"))

    def read(self, places: Iterable[Place | Loaded], opening: Opening) -> Iterator[Loaded]:
        """Yield what the slices know of photos, without pixels; see engines.Read."""
        for position, place in enumerate(places):
            yield place if isinstance(place, Loaded) else self._loaded(position, opening)

    def _loaded(self, position: int, opening: Opening) -> Loaded:
        source, digest = self._entries[position].source, self._entries[position].sha256
        if digest and opening.history.verdict(source, digest) is not None:
            return Loaded(source, digest, None)
        if known := self._contents.get(key_of(digest)) if digest else None:
            coarseness, grey = looks.read(self._datasets[known.number].folder, key_of(digest))
            measured = Measured(known.size, coarseness)
            return Loaded(source, digest, measured, known.phash, grey, worked_on=known.worked_on)
        rejection = self._rejections.get(digest or source)
        if rejection is None:
            raise DatasetError(f"No slice has the triple of {source} any more. Run the builds of all slices again.")
        return Loaded(source, digest, replace(rejection, source=source))

    def is_removed(self, key: str) -> bool:
        """Return whether a person left the triple of a photo out."""
        return self._contents[key].removed

    def networks(self) -> Identity:
        """Return what identifies the networks that the slices were built with."""
        info = self._datasets[0].info
        return Identity(info.palette, info.models)

    def finish(self, units: Iterable[Unit], job: Job) -> Iterator[tuple[Unit, Iterable[Results]]]:
        """Yield the units in order, each with the triples of its photos."""
        for unit in units:
            yield unit, (self._taken(unit.candidates),)

    def _taken(self, candidates: Sequence[Candidate]) -> list[Encoded]:
        triples: dict[str, tuple[Dataset, Triple]] = {}
        for number, dataset in enumerate(self._datasets):
            keys = [one.key for one in candidates if self._contents[one.key].number == number]
            triples |= {key: (dataset, triple) for key, triple in dataset.known(keys).items()}
        self.left_out += sum(triple.review == "rejected" for _, triple in triples.values())
        with threads.pool() as pool:
            return [*pool.map(lambda one: _encoded(one, *triples[one.key]), candidates)]


def _contents(datasets: Sequence[Dataset]) -> dict[str, _Known]:
    """Return what is known of contents, by key; of copies in several slices, the one that a person worked on."""
    contents: dict[str, _Known] = {}
    for number, dataset in enumerate(datasets):
        for triple in dataset.triples():
            size, removed = (triple.geometry.source_width, triple.geometry.source_height), triple.review == "rejected"
            known = _Known(number, int(triple.phash, 16), size, prune.records_work(triple), removed)
            other = contents.setdefault(triple.key, known)
            if known.worked_on and not other.worked_on:
                contents[triple.key] = known
    return contents


def _encoded(candidate: Candidate, dataset: Dataset, triple: Triple) -> Encoded:
    """Return the triple of a slice as that of the whole build: its name, group and split are decided there."""
    folder = dataset.folder
    if triple.review == "rejected" and not triple.has_files:
        photo = control_map = b""
    else:
        photo = _stored(dataset, triple.file_name, triple.photo_sha256)
        control_map = _stored(dataset, triple.conditioning_image_file_name, triple.map_sha256)
    confidence = confidences.path(folder, triple.key)
    others = recorded.edits(folder, triple)
    if not splits.is_by_hand(triple):
        triple = replace(triple, split=SPLITS[0], drawn=UNDRAWN)
    triple = replace(triple, source=candidate.source, group=candidate.group)
    return Encoded(triple, photo, control_map, others, confidence.read_bytes() if confidence.is_file() else b"")


def require_unpainted(datasets: Sequence[Dataset]) -> None:
    """Require that the maps of slices are as they are recorded, before anything of them is merged.

    Raises:
        DatasetError: one was changed outside segkit.
    """
    for dataset in datasets:
        for triple in checked.changed_maps(dataset, rehash=False):
            path = dataset.folder / triple.conditioning_image_file_name
            raise DatasetError(f"{path} was changed after it was stored. {_cure(dataset)}")


def _cure(dataset: Dataset) -> str:
    return (
        "Run the slice's build-dataset again: it takes over a map that was painted in colours of the palette. If it "
        f"refuses the file, see segkit check {quote(dataset.folder)}."
    )


def _stored(dataset: Dataset, name: str, sha256: str) -> bytes:
    path = dataset.folder / name
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path} cannot be read ({error.strerror}). Run the slice's build-dataset again.") from None
    if storage.sha256(data) != sha256:
        raise DatasetError(f"{path} was changed after it was stored. {_cure(dataset)}")
    return data
