"""Lines of metadata.jsonl to triples and back: 5 microseconds each, so that a million takes seconds.

A line holds the fields of a Triple, but its lists of words are texts: see Triple.to_json. Lines that the fast path
refuses, because somebody added keys or because they are damaged, are read by Triple.from_json, which words the damage.
"""

import re
from typing import Any, get_type_hints

import msgspec
from msgspec import Struct, defstruct
from msgspec.structs import astuple

from segkit import rows, storage
from segkit.dataset.origin import BUILT
from segkit.dataset.triple import REVIEWS, UNEDITED, Prompt, Triple, key_of, map_name, photo_name
from segkit.errors import DatasetError
from segkit.photos.geometry import Geometry


def _line_of(kind: type[Struct], types: dict[str, Any], optional: dict[str, Any] | None = None) -> Any:
    """Return the struct of a line, or of an object in it: the fields of a kind, some of another type.

    Without the garbage collector's bookkeeping, which such values cannot need, decoding is four times as fast.
    """
    hints = get_type_hints(kind, include_extras=True)
    fields: list[Any] = []
    for name in kind.__struct_fields__:
        if name != "extra":
            field = (name, types.get(name, hints[name]))
            fields.append((*field, optional[name]) if optional and name in optional else field)
    return defstruct(f"{kind.__name__}Line", fields, frozen=True, forbid_unknown_fields=True, gc=False)


_Geometry = _line_of(Geometry, {"conversions": str})
_Prompt = _line_of(Prompt, {}, optional={"caption": ""})
_Line = _line_of(
    Triple,
    {"geometry": _Geometry, "prompt": _Prompt, "problems": str},
    optional={"drawn": "", "edits": UNEDITED, "origin": BUILT},
)

_DECODER = msgspec.json.Decoder(_Line)
_ENCODER = msgspec.json.Encoder()

_GEOMETRY, _PROMPT, _PROBLEMS = (_Line.__struct_fields__.index(name) for name in ("geometry", "prompt", "problems"))
_CONVERSIONS = _Geometry.__struct_fields__.index("conversions")

_HASHES = re.compile("[0-9a-f]{80}")
"""SHA-256 and perceptual hash."""


class Place(Struct, frozen=True, gc=False):
    """What decides where a line belongs.

    Attributes:
        source, key: the order of the lines.
        review: "rejected" in the list of those left out.
    """

    source: str
    key: str
    review: str


_PLACES = msgspec.json.Decoder(Place)


def place(line: bytes) -> Place:
    """Read only what decides where a line belongs; the line is known to be sound."""
    return _PLACES.decode(line)


def valid_place(line: bytes) -> Place:
    """Validate a line, and return what decides where it belongs: in half the time that `decode` takes.

    Raises:
        DatasetError: it is damaged; the message says how.
    """
    try:
        fields = _DECODER.decode(line)
    except (msgspec.DecodeError, RecursionError):
        fields = _decode_slowly(line)
    if not _is_sound(fields):
        fields = _decode_slowly(line)
    return Place(fields.source, fields.key, fields.review)


def decode(line: bytes) -> Triple:
    """Validate and read a line.

    Raises:
        DatasetError: it is damaged; the message says how.
    """
    try:
        values = list(astuple(_DECODER.decode(line)))
    except (msgspec.DecodeError, RecursionError):
        return _decode_slowly(line)
    geometry = list(astuple(values[_GEOMETRY]))
    geometry[_CONVERSIONS] = tuple(geometry[_CONVERSIONS].split())
    values[_GEOMETRY] = Geometry(*geometry)
    values[_PROMPT] = Prompt(*astuple(values[_PROMPT]))
    values[_PROBLEMS] = tuple(values[_PROBLEMS].split())
    triple = Triple(*values)
    return triple if _is_sound(triple) else _decode_slowly(line)


def _is_sound(triple: Any) -> bool:
    """Return whether hashes, names and review are possible, as Triple.from_json demands."""
    key = triple.key
    return (
        len(triple.phash) == 16
        and _HASHES.fullmatch(triple.sha256 + triple.phash) is not None
        and key == key_of(triple.sha256)
        and triple.file_name in (photo_name(key, ".jpg"), photo_name(key, ".png"))
        and triple.conditioning_image_file_name == map_name(key)
        and triple.review in REVIEWS
    )


def _decode_slowly(line: bytes) -> Triple:
    try:
        return Triple.from_json(rows.json_object(line))
    except ValueError as error:
        raise DatasetError(str(error)) from None


def encode(triple: Triple) -> bytes:
    """Return the line of a triple, with the newline."""
    if triple.extra:
        return storage.to_line(triple.to_json())
    values = list(astuple(triple))[:-1]  # without `extra`, the last field
    geometry = list(astuple(values[_GEOMETRY]))
    geometry[_CONVERSIONS] = " ".join(geometry[_CONVERSIONS])
    values[_GEOMETRY] = _Geometry(*geometry)
    values[_PROMPT] = _Prompt(*astuple(values[_PROMPT]))
    values[_PROBLEMS] = " ".join(values[_PROBLEMS])
    return msgspec.json.format(_ENCODER.encode(_Line(*values)), indent=0) + b"\n"
