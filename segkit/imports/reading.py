"""Photos and maps read in threads, ahead of what is judged and written."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from errno import ENOENT

from msgspec.structs import replace

from segkit import photos, storage
from segkit.build.arrival import Kept, Loaded
from segkit.build.engines import inline
from segkit.build.history import History
from segkit.dataset import Rejection
from segkit.dataset.formats.items import Content, Item
from segkit.dataset.origin import Origin
from segkit.dataset.triple import Triple
from segkit.errors import DatasetError, PhotoError
from segkit.imports import fitting, recorded
from segkit.imports import labels as control_maps
from segkit.imports.labels import Reading, Rules
from segkit.imports.sources import Photos
from segkit.maps.codec import Labels
from segkit.photos import Photo, near_duplicates
from segkit.photos.quiet import quiet_pillow
from segkit.photos.stored import decode_grey


@dataclass(frozen=True)
class Incoming:
    """An item that was read.

    Attributes:
        position: its place among all items.
        item: the item.
        loaded: its photo, or why it is left out.
        labels: (H, W) uint8, the map fitted like the photo; None if a segmenter is to draw it, or the dataset has the
            photo already.
        origin: where it came from, and what its map was.
        record: the triple, if segkit wrote it.
        stored: files to be stored as they are; see Finished.
        unmapped: classes of the map that the dataset's palette lacks, with their shares of the pixels.
    """

    position: int
    item: Item
    loaded: Loaded
    labels: Labels | None = None
    origin: Origin = field(default_factory=Origin)
    record: Triple | None = None
    stored: Mapping[str, bytes] = field(default_factory=dict)
    unmapped: Mapping[str, float] = field(default_factory=dict)

    @property
    def split(self) -> str:
        """The split that came with it; "" if none did."""
        return self.record.split if self.record else self.item.split


@dataclass(frozen=True)
class _Map:
    """A map fitted like its photo; labels are None if there is none. See Incoming."""

    labels: Labels | None
    origin: Origin
    unmapped: Mapping[str, float] = field(default_factory=dict)


class Reader:
    """Reads items; an item that is left out is a result, too.

    Args:
        items: all photos.
        rules: how the maps of each collection are read.
        history: knows which photos the dataset has; see History.verdict.
        draws: whether a segmenter draws missing maps.
    """

    def __init__(self, items: Photos, rules: Sequence[Rules], history: History, draws: bool) -> None:
        self._items, self._rules, self._history, self._draws = items, rules, history, draws

    def read_all(self) -> Iterator[Incoming]:
        """Read all items in threads, and yield them in order."""
        with quiet_pillow():
            yield from inline.in_order(self.read, range(len(self._items)))

    def read(self, position: int) -> Incoming:
        """Read one item."""
        item = self._items.item(position)
        try:
            return self._restored(position, item) if item.record else self._foreign(position, item)
        except PhotoError as error:
            return self._left_out(position, item, "", error)

    def map_of(self, position: int, size: tuple[int, int]) -> Labels | None:
        """Read the map of a photo that the dataset has already, fitted to that size; None if there is none.

        Raises:
            PhotoError: it cannot be read, or the photo cannot.
        """
        item = self._items.item(position)
        if item.control_map is None or item.photo is None:
            return None
        photo = photos.open_photo(content(item.photo), self._items.limits)
        if photo.image.size != size:
            raise PhotoError("map-size", f"the photo was fitted to {size[0]}x{size[1]}, and would be another size now")
        fitted = self._map(position, item, photo)
        return fitted.labels if fitted else None

    def recorded_labels(self, position: int, record: Triple) -> Labels:
        """Read the map of a triple that segkit wrote, in the dataset's palette.

        Raises:
            PhotoError: it is not what the record says.
        """
        item = self._items.item(position)
        if item.control_map is None:
            raise PhotoError("record-damaged", "its map is missing")
        data, rules = content(item.control_map, "record-damaged"), self._rules[self._items.number(position)]
        labels = recorded.labels_of(data, record, rules, item, storage.sha256(data) == record.map_sha256)
        return control_maps.mapped(labels, rules.mapping)

    def _foreign(self, position: int, item: Item) -> Incoming:
        if item.fault:
            raise PhotoError("entry-unreadable", item.fault)
        if item.photo is None:
            raise PhotoError("photo-missing", "a control map without a photo")
        digest = ""
        try:
            data = content(item.photo, missing="photo-missing")
            if len(data) > self._items.limits.max_bytes:
                raise PhotoError("too-large", f"{len(data) / 1e6:,.0f} MB")
            digest = storage.sha256(data)
            if decision := self._decided(item, digest, position):
                return Incoming(position, item, decision)
            photo = photos.open_photo(data, self._items.limits)
            fitted = self._map(position, item, photo) or _Map(None, self._origin(position))
            if fitted.labels is None and not self._draws:
                raise PhotoError("map-missing", "no control map; segment_missing=MODEL draws one")
        except PhotoError as error:
            return self._left_out(position, item, digest, error)
        phash, grey = near_duplicates.perceptual_hash(photo.image), near_duplicates.grey_copy(photo.image)
        loaded = Loaded(item.source, digest, photo, phash, grey, position)
        return Incoming(position, item, loaded, fitted.labels, fitted.origin, unmapped=fitted.unmapped)

    def _decided(self, item: Item, digest: str, position: int) -> Loaded | None:
        verdict = self._history.verdict(item.source, digest)
        if verdict is None:
            return None
        return Loaded(item.source, digest, None if isinstance(verdict, Kept) else verdict, position=position)

    def _left_out(self, position: int, item: Item, digest: str, error: PhotoError) -> Incoming:
        rejection = Rejection(item.source, digest, error.reason, str(error))
        return Incoming(position, item, Loaded(item.source, digest, rejection, position=position))

    def _origin(self, position: int) -> Origin:
        return Origin(self._items.collection(position).layout)

    def _map(self, position: int, item: Item, photo: Photo) -> "_Map | None":
        """Return the map of an item fitted like its photo; None if the item has none.

        Raises:
            PhotoError: it cannot be used.
        """
        if item.control_map is None:
            return None
        try:
            data = item.control_map.read()
        except OSError as error:
            missing = isinstance(error, FileNotFoundError)
            if missing and self._draws:
                return None
            raise PhotoError(
                "map-missing" if missing else "map-unreadable", f"{item.control_map.name}: {error.strerror}"
            ) from None
        reading: Reading = control_maps.read(data, self._rules[self._items.number(position)], item.segments)
        fitted = fitting.fit(reading.labels, photo.geometry, photo.image.size)
        layout = self._items.collection(position).layout
        lost, enlarged = (
            min(1.0, sum(reading.unmapped.values())),
            fitting.enlargement(reading.labels, photo.geometry),
        )
        origin = Origin(
            layout, storage.sha256(data), reading.cause, reading.changed, reading.doubtful, round(lost, 4), enlarged
        )
        return _Map(fitted, origin, reading.unmapped)

    @staticmethod
    def _record(item: Item) -> Triple:
        assert item.record is not None
        try:
            return item.record()
        except (DatasetError, OSError, KeyError) as error:
            raise PhotoError("record-damaged", f"its record cannot be read ({error})") from None

    def _restored(self, position: int, item: Item) -> Incoming:
        """Read a triple that segkit wrote: exactly what its record says, or nothing.

        Raises:
            PhotoError: "record-damaged".
        """
        record, rules = self._record(item), self._rules[self._items.number(position)]
        if decision := self._decided(item, record.sha256, position):
            return Incoming(position, item, decision, record=record)
        if item.photo is None or item.control_map is None:
            raise PhotoError("record-damaged", "its photo or its map is missing")
        photo_data = content(item.photo, "record-damaged")
        if record.photo_sha256 and storage.sha256(photo_data) != record.photo_sha256:
            raise PhotoError("record-damaged", f"{item.photo.name} was changed after it was recorded")
        map_data = content(item.control_map, "record-damaged")
        image = recorded.opened(photo_data)
        is_as_recorded = storage.sha256(map_data) == record.map_sha256
        labels = recorded.labels_of(map_data, record, rules, item, is_as_recorded)
        fitted = control_maps.mapped(labels, rules.mapping)
        if image.size != (record.width, record.height) or fitted.shape != (record.height, record.width):
            raise PhotoError("record-damaged", f"photo or map are not {record.width}x{record.height}, as recorded")
        stored = {record.file_name: photo_data}
        if rules.mapping is None:
            stored |= {record.conditioning_image_file_name: map_data} if is_as_recorded else {}
            stored |= recorded.edits(self._items.collection(position).place, record)
        else:
            record = recorded.in_palette(record, fitted, rules)
        origin = record.origin if record.origin.layout else Origin("segkit")
        photo = Photo(image, record.geometry)
        grey = decode_grey(photo_data)
        loaded = Loaded(item.source, record.sha256, photo, int(record.phash, 16), grey, position)
        record, lost = replace(record, origin=origin), control_maps.unmapped(labels, rules)
        return Incoming(position, item, loaded, fitted, origin, record, stored, lost)


def content(picture: Content, reason: str = "unreadable", missing: str = "") -> bytes:
    """Read a photo or a map.

    Args:
        picture: where it is.
        reason: of the error.
        missing: reason of the error if there is no such file; "" for the same.

    Raises:
        PhotoError: it cannot be read, or is empty.
    """
    try:
        data = picture.read()
    except OSError as error:
        is_missing = error.errno == ENOENT
        raise PhotoError((missing if is_missing else "") or reason, f"{picture.name}: {error.strerror}") from None
    if not data:
        raise PhotoError("empty", "0 bytes")
    return data
