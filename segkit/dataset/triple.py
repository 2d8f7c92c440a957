"""One photo with its control map and its prompt: a line of metadata.jsonl."""

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, is_dataclass
from functools import cache
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

from segkit import storage
from segkit.errors import DatasetError
from segkit.maps.codec import ClassShare
from segkit.photos.geometry import Geometry

SPLITS = ("train", "val", "test")
REVIEWS = ("open", "accepted", "rejected")


@dataclass(frozen=True)
class Prompt:
    """Who wrote the text, and digest(text) of a draft, by which a later change by hand is noticed.

    By: a model (with its revision), a person (human is True), or nobody (by is "nobody").
    """

    by: str
    model: str
    revision: str
    human: bool
    digest: str = ""


NOBODY = Prompt("nobody", "", "", human=False)
PERSON = Prompt("person", "", "", human=True)


@dataclass(frozen=True)
class Triple:
    """One photo with its control map and its prompt.

    Attributes:
        file_name: the photo, relative to the dataset, `/` between folders.
        conditioning_image_file_name: the control map, likewise.
        text: the prompt; empty where none was written.
        key: first 16 hex digits of sha256.
        source: where the photo came from, relative to the photo folder.
        sha256: of the source's bytes.
        phash: 64-bit perceptual hash of the stored photo, 16 hex digits.
        width, height: pixels of photo and map, multiples of 8.
        geometry: how the stored pixels came out of the source.
        classes: the classes of the map, largest first.
        tokens: length of the text in CLIP tokens with both ends; 0 without a text.
        prompt: who wrote the text.
        split: "train", "val" or "test".
        group: key of the first of its near-duplicates; a group never crosses splits.
        review: what a person decided: "open", "accepted" or "rejected".
        problems: names of the caption rules that flagged the text.
        photo_sha256, map_sha256: of the two stored files, by which any later change is noticed.
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

    @property
    def by_person(self) -> bool:
        """Whether a person wrote the text, be it through segkit or straight into the manifest."""
        typed_over = self.prompt.digest != digest(self.text) if self.prompt.digest else self.prompt.by == "nobody"
        return self.prompt.human or (typed_over and bool(self.text))

    def to_json(self) -> dict[str, Any]:
        """Return the line of metadata.jsonl: every key, each with one type.

        Lists that are mostly empty are written as words with blanks between: HF datasets takes the type of a column
        from the first 10 MB, and a list that is empty all through them for a list of nothing.
        """
        record = asdict(self)
        record["problems"] = " ".join(self.problems)
        record["geometry"]["conversions"] = " ".join(self.geometry.conversions)
        return record

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Triple":
        """Check and read a line of metadata.jsonl.

        Raises:
            DatasetError: a key is missing, unknown or has another type or a value that cannot be; or a file name is
                not the key's, so that no path in a manifest ever leads out of the dataset.
        """
        triple = typed(cls, _split_words(record))
        for field, digits in (("key", 16), ("sha256", 64), ("phash", 16)):
            value = getattr(triple, field)
            if not re.fullmatch(f"[0-9a-f]{{{digits}}}", value):
                raise DatasetError(f"{field} is {value!r}, expected {digits} hex digits")
        for field, names in (
            ("file_name", (photo_name(triple.key, ".jpg"), photo_name(triple.key, ".png"))),
            ("conditioning_image_file_name", (map_name(triple.key),)),
        ):
            if getattr(triple, field) not in names:
                raise DatasetError(f"{field} is {getattr(triple, field)!r}, expected {names[0]}")
        if triple.key != key_of(triple.sha256):
            raise DatasetError(f"key is {triple.key}, expected the beginning of sha256, {key_of(triple.sha256)}")
        if triple.review not in REVIEWS:
            raise DatasetError(f"review is {triple.review!r}, expected {', '.join(REVIEWS)}")
        return triple


def digest(text: str) -> str:
    """Return the first 16 hex digits of a text's SHA-256."""
    return storage.sha256(text.encode("utf-8", "surrogatepass"))[:16]


def _split_words(record: Mapping[str, Any]) -> dict[str, Any]:
    """Turn the fields that to_json writes as words back into lists; what has another type is left to be refused."""
    words, geometry = record.get("problems"), record.get("geometry")
    found = dict(record)
    if isinstance(words, str):
        found["problems"] = words.split()
    if isinstance(geometry, dict) and isinstance(geometry.get("conversions"), str):
        found["geometry"] = {**geometry, "conversions": geometry["conversions"].split()}
    return found


Record = TypeVar("Record")


def typed(kind: type[Record], record: Mapping[str, Any]) -> Record:
    """Read a record of JSON as a dataclass whose fields are str, int, float, bool, such a class, or tuples of one.

    Raises:
        DatasetError: a key is missing, unknown or has another type.
    """
    hints = _hints(cast(type, kind))
    if hints.keys() != record.keys():
        missing, unknown = (", ".join(sorted(keys)) for keys in (hints.keys() - record.keys(), record.keys() - hints))
        raise DatasetError(f"{missing} missing" if missing else f"unknown key {unknown}")
    return kind(**{field: _value(hint, record[field], field) for field, hint in hints.items()})


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _value(hint: Any, value: Any, field: str) -> Any:
    if type(value) is hint and (hint is not float or math.isfinite(value)):
        return value
    if is_dataclass(hint) and isinstance(value, dict):
        return typed(cast(type, hint), value)
    if get_origin(hint) is tuple and isinstance(value, list | tuple):
        return tuple(_value(get_args(hint)[0], each, field) for each in value)
    raise DatasetError(f"{field} is {value!r}, expected {getattr(hint, '__name__', hint)}")


def key_of(sha256: str) -> str:
    """Return a photo's key: the first 16 hex digits of its SHA-256."""
    return sha256[:16]


def photo_name(key: str, suffix: str) -> str:
    """Return where a photo lies in a dataset; suffix is ".jpg" or ".png"."""
    return f"images/{key[:2]}/{key}{suffix}"


def map_name(key: str) -> str:
    """Return where a control map lies in a dataset."""
    return f"maps/{key[:2]}/{key}.png"
