"""One photo with its control map and its prompt: a line of metadata.jsonl."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from segkit import schema, storage
from segkit.dataset.origin import BUILT, Origin
from segkit.errors import DatasetError
from segkit.maps.codec import ClassShare
from segkit.photos.geometry import Geometry

if TYPE_CHECKING:
    from PIL import Image

    from segkit.maps.codec import Labels

SPLITS = ("train", "val", "test")
REVIEWS = ("open", "accepted", "rejected")

UNDRAWN = "later"
"""Value of Triple.drawn while a build is running: splits are drawn at its end."""

IMPORTED = "import"
"""Value of Triple.drawn for a split that came with imported data: no later draw changes it."""

_HEX = {"key": re.compile("[0-9a-f]{16}"), "sha256": re.compile("[0-9a-f]{64}"), "phash": re.compile("[0-9a-f]{16}")}
"""How the fields with hexadecimal digits look."""

_TIME = "%Y%m%dT%H%M%SZ"
"""The basic form of ISO 8601: readers that guess types would take the other one for a time, and fail at ""."""

_LATER = frozenset(("drawn", "caption", "edits", "origin"))
"""Keys that lines of earlier versions lack."""


class Prompt(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Who wrote a triple's text.

    Attributes:
        by: "model", "person" or "nobody".
        model, revision: of the captioner; "" for a person or nobody.
        human: whether a person wrote it.
        digest: digest(text) of a draft; a text with another digest was changed by hand.
        caption: the captioner's words, without prefix, suffix and template; "" for a person, nobody, or a draft of an
            earlier version.
    """

    by: str
    model: str
    revision: str
    human: bool
    digest: str = ""
    caption: str = ""


class Edits(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """What a person changed in a triple.

    Attributes:
        revision: how often a person changed map, prompt, split or decision; two writers notice each other by it.
        time: of the last of these changes, ISO 8601 in UTC, such as "20261130T063949Z"; "" if there is none.
        map_by: "person" if somebody changed the map, or drew it, as in human-made data that was imported; "" for a
            model's map, or one of unknown origin.
        segmenter: "NAME@REVISION" of the model whose map a person changed; "" if nobody did.
        map_edit: number of the last entry of the map's history that the map shows; see dataset.history.
    """

    revision: int = 0
    time: str = ""
    map_by: str = ""
    segmenter: str = ""
    map_edit: int = 0


UNEDITED = Edits()

NOBODY = Prompt("nobody", "", "", human=False)
PERSON = Prompt("person", "", "", human=True)


class Triple(Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """One photo with its control map and its prompt.

    A triple that a Dataset returns also opens its files: see photo, labels and control_map.

    Attributes:
        file_name: the photo's path within the dataset, with `/` between folders.
        conditioning_image_file_name: the control map's path within the dataset.
        text: the prompt; "" if it has none.
        key: first 16 hex digits of sha256.
        source: the original photo's path within the folder of photos.
        sha256: of the original photo's bytes.
        phash: 64-bit perceptual hash of the stored photo, 16 hex digits.
        width, height: pixels of photo and map, multiples of 8.
        geometry: how the original was scaled and cropped.
        classes: the classes of the map, largest first.
        tokens: length of the text in CLIP tokens, start and end included; 0 without a text.
        prompt: who wrote the text.
        split: "train", "val" or "test".
        group: key of the first of its near-duplicates; a group never crosses splits.
        review: a person's decision: "open", "accepted" or "rejected".
        problems: names of the caption rules that flagged the text.
        photo_sha256, map_sha256: of the two stored files; they reveal any later change.
        drawn: the split that segkit drew; if it differs from `split`, a person changed that. UNDRAWN before the draw;
            IMPORTED for a split that came with the data; "" in datasets of earlier versions.
        edits: what a person changed.
        origin: where an imported triple came from.
        extra: JSON object of the keys that a person or another tool added to the line, also to its nested objects; ""
            if there are none. They have no meaning for segkit, which keeps them.
    """

    file_name: str
    conditioning_image_file_name: str
    text: str
    key: str
    source: str
    sha256: str
    phash: str
    width: int
    height: int
    geometry: Geometry
    classes: tuple[ClassShare, ...]
    tokens: int
    prompt: Prompt
    split: str
    group: str
    review: str
    problems: tuple[str, ...]
    photo_sha256: str = ""
    map_sha256: str = ""
    drawn: str = ""
    edits: Edits = UNEDITED
    origin: Origin = BUILT
    extra: str = ""

    @property
    def by_person(self) -> bool:
        """Whether a person wrote the text, through segkit or by editing the manifest."""
        return written_by_person(self.prompt, self.text)

    @property
    def photo(self) -> "Image.Image":
        """The photo, RGB."""
        from PIL import Image

        with Image.open(self.folder / self.file_name, formats=("JPEG", "PNG")) as image:
            return image.convert("RGB")

    @property
    def control_map(self) -> "Image.Image":
        """The control map: an indexed picture (mode P) whose embedded palette holds the class colours."""
        from segkit import maps

        return maps.read(self.folder / self.conditioning_image_file_name)

    @property
    def labels(self) -> "Labels":
        """The class of every pixel: (H, W) uint8 indices, 255 where unlabelled."""
        import numpy as np

        return np.array(self.control_map)

    @property
    def folder(self) -> Path:
        """The dataset's folder.

        Raises:
            DatasetError: the triple was not read from a dataset.
        """
        folder: Path | None = self.__dict__.get("folder")
        if folder is None:
            raise DatasetError(f"triple {self.key} does not belong to a dataset; take it from segkit.Dataset.")
        return folder

    @property
    def has_files(self) -> bool:
        """Whether photo and control map exist."""
        return all((self.folder / name).is_file() for name in (self.file_name, self.conditioning_image_file_name))

    @property
    def map_by_person(self) -> bool:
        """Whether a person drew or changed the map."""
        return self.edits.map_by == "person"

    def rebuilt(self, new: "Triple") -> "Triple":
        """Return a triple that was built again from the same photo, with the prompt and all decisions of this one."""
        kept = ("text", "tokens", "prompt", "problems", "split", "drawn", "group", "review", "edits", "extra")
        return msgspec.structs.replace(new, **{name: getattr(self, name) for name in kept})

    def edited(self, **changes: Any) -> "Triple":
        """Return the triple with changes by a person: its revision grows by one, and the time is noted.

        Args:
            changes: fields of Triple; those of `edits` are passed as an Edits, whose revision and time do not count.
        """
        edits = changes.pop("edits", self.edits)
        now = datetime.now(UTC).strftime(_TIME)
        edits = msgspec.structs.replace(edits, revision=self.edits.revision + 1, time=now)
        new = msgspec.structs.replace(self, edits=edits, **changes)
        return new.within(self.folder) if "folder" in self.__dict__ else new

    def within(self, folder: Path) -> "Triple":
        """Attach the triple to the folder that its files lie in, and return it."""
        self.__dict__["folder"] = folder
        return self

    def to_json(self) -> dict[str, Any]:
        """Return the line of metadata.jsonl: every key, each with one type, and then those of `extra`.

        Lists that are mostly empty are written as words separated by blanks: HF datasets infers a column's type from
        the first 10 MB, and would infer a list of nulls.
        """
        record: dict[str, Any] = msgspec.to_builtins(self)
        record["problems"] = " ".join(self.problems)
        record["geometry"]["conversions"] = " ".join(self.geometry.conversions)
        return _with_extra(record, json.loads(record.pop("extra") or "{}"))

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Triple":
        """Validate and read a line of metadata.jsonl.

        Raises:
            DatasetError: a key is missing, or a value has the wrong type or is impossible; or a file name is not the
                key's, so no path in a manifest ever leads out of the dataset.
        """
        _require_all(_columns(cls), record)
        _require_all(_columns(Prompt), record["prompt"])
        known, extra = _without_extra(record)
        try:
            triple = schema.convert(_split_words(known) | {"extra": json.dumps(extra) if extra else ""}, cls)
        except schema.InvalidValueError as error:
            raise DatasetError(str(error)) from None
        for field, pattern in _HEX.items():
            value = getattr(triple, field)
            if not pattern.fullmatch(value):
                raise DatasetError(f"{field} is {value!r}, expected {pattern.pattern[-3:-1]} hex digits")
        key = triple.key
        if triple.file_name not in (photo_name(key, ".jpg"), photo_name(key, ".png")):
            raise DatasetError(f"file_name is {triple.file_name!r}, expected {photo_name(key, '.jpg')}")
        if triple.conditioning_image_file_name != map_name(key):
            name = triple.conditioning_image_file_name
            raise DatasetError(f"conditioning_image_file_name is {name!r}, expected {map_name(key)}")
        if key != key_of(triple.sha256):
            raise DatasetError(f"key is {key}, expected the first digits of sha256, {key_of(triple.sha256)}")
        if triple.review not in REVIEWS:
            raise DatasetError(f"review is {triple.review!r}, expected {', '.join(REVIEWS)}")
        return triple


@cache
def _columns(kind: type[Struct]) -> frozenset[str]:
    """Return the keys of a line or of an object in it."""
    return frozenset(kind.__struct_fields__) - {"extra"}


def _require_all(columns: frozenset[str], record: Any) -> None:
    """Refuse a record that lacks a key; fields have defaults in Python only, except those that came later."""
    if isinstance(record, Mapping) and (missing := columns - record.keys() - _LATER):
        raise DatasetError(f"{', '.join(sorted(missing))} missing")


def _without_extra(record: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Divide a line into its own keys and those that somebody added, which keep their place in nested objects.

    Classes are told apart by name, since their order follows from the map.
    """
    known, extra = _divided(record, Triple)
    for name, kind in (("geometry", Geometry), ("prompt", Prompt), ("edits", Edits), ("origin", Origin)):
        if isinstance(known.get(name), dict):
            known[name], added = _divided(known[name], kind)
            extra |= {name: added} if added else {}
    if isinstance(known["classes"], list | tuple):
        divided = [
            _divided(share, ClassShare) if isinstance(share, dict) else (share, {}) for share in known["classes"]
        ]
        known["classes"] = [share for share, _ in divided]
        added = {str(share.get("name")): more for share, more in divided if more}
        extra |= {"classes": added} if added else {}
    return known, extra


def _divided(record: Mapping[str, Any], kind: type[Struct]) -> tuple[dict[str, Any], dict[str, Any]]:
    columns = _columns(kind)
    return (
        {key: value for key, value in record.items() if key in columns},
        {key: value for key, value in record.items() if key not in columns},
    )


def _with_extra(record: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
    """Return a line with what `_without_extra` took out of it; record is changed."""
    for name in {"geometry", "prompt", "edits", "origin"} & extra.keys():
        record[name] |= extra.pop(name)
    by_class = extra.pop("classes", {})
    for share in record["classes"]:
        share |= by_class.get(share["name"], {})
    return record | extra


def digest(text: str) -> str:
    """Return the first 16 hex digits of a text's SHA-256."""
    return storage.sha256(text.encode("utf-8", "surrogatepass"))[:16]


def written_by_person(prompt: Any, text: str) -> bool:
    """Return whether a person wrote a text, through segkit or by editing the manifest.

    Args:
        prompt: its Prompt, or a value with `by`, `human` and `digest`.
        text: as the manifest has it.
    """
    edited = prompt.digest != digest(text) if prompt.digest else prompt.by == "nobody"
    return prompt.human or (edited and bool(text))


def _split_words(record: Mapping[str, Any]) -> dict[str, Any]:
    """Split the fields that to_json writes as words; a value of another type is left for the schema to refuse."""
    fields = dict(record)
    words, geometry = fields.get("problems"), fields.get("geometry")
    if isinstance(words, str):
        fields["problems"] = words.split()
    if isinstance(geometry, dict) and isinstance(geometry.get("conversions"), str):
        fields["geometry"] = {**geometry, "conversions": geometry["conversions"].split()}
    return fields


def key_of(sha256: str) -> str:
    """Return a photo's key: the first 16 hex digits of its SHA-256."""
    return sha256[:16]


def photo_name(key: str, suffix: str) -> str:
    """Return where a photo lies in a dataset; suffix is ".jpg" or ".png"."""
    return f"images/{key[:2]}/{key}{suffix}"


def map_name(key: str) -> str:
    """Return where a control map lies in a dataset."""
    return f"maps/{key[:2]}/{key}.png"
