"""What the page sends, validated before anything is done."""

import re
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta, Struct

from segkit.dataset.relabel import Stroke
from segkit.errors import UsageError

MAX_KEYS = 10_000
"""Triples of one bulk change."""

Key = Annotated[str, Meta(pattern="^[0-9a-f]{16}$")]
Keys = Annotated[tuple[Key, ...], Meta(max_length=MAX_KEYS)]
Label = Annotated[int, Meta(ge=0, le=255)]
Revision = Annotated[int, Meta(ge=0)]
Review = Annotated[str, Meta(pattern="^(open|accepted|rejected)$")]

_KEY = re.compile("[0-9a-f]{16}")


class Painted(Struct, frozen=True, forbid_unknown_fields=True):
    """Pixels that get one label.

    Attributes:
        label: a class, or 255 for unlabelled.
        runs: start, length, start, length, ... of pixels in row-major order.
    """

    label: Label
    runs: tuple[Annotated[int, Meta(ge=0, le=2**31)], ...]

    def stroke(self) -> Stroke:
        """Return the stroke.

        Raises:
            UsageError: a run without a length.
        """
        if len(self.runs) % 2:
            raise UsageError("runs are pairs of a start and a length.")
        return Stroke(self.label, tuple(zip(self.runs[::2], self.runs[1::2], strict=True)))


class OfTriple(Struct, frozen=True, forbid_unknown_fields=True):
    """A request that concerns one triple.

    Attributes:
        id: key of the triple.
        rev: revision that the page shows.
    """

    id: Key
    rev: Revision


class OfMap(OfTriple, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A change of a map.

    Attributes:
        request: a random name, the same when the change is sent again since its answer was lost.
    """

    request: Annotated[str, Meta(max_length=64)] = ""


class Relabel(OfMap, frozen=True, forbid_unknown_fields=True):
    """New classes for pixels."""

    strokes: Annotated[tuple[Painted, ...], Meta(min_length=1, max_length=256)]
    what: Annotated[str, Meta(max_length=200)] = ""


class SetPrompt(OfTriple, frozen=True, forbid_unknown_fields=True):
    """A prompt that a person wrote."""

    text: Annotated[str, Meta(max_length=10_000)]


class Decide(OfTriple, frozen=True, forbid_unknown_fields=True):
    """Accept a triple, leave it out, or open it again."""

    review: Review


class Move(OfTriple, frozen=True, forbid_unknown_fields=True):
    """Move a triple, with its group, to another split."""

    split: Annotated[str, Meta(pattern="^(train|val|test)$")]


class Prepare(Struct, frozen=True, forbid_unknown_fields=True):
    """A triple to prepare, or to draft a prompt for."""

    id: Key


class Click(Struct, frozen=True, forbid_unknown_fields=True):
    """Points inside and outside of a thing: x, y, and whether inside."""

    id: Key
    points: Annotated[tuple[tuple[float, float, bool], ...], Meta(min_length=1, max_length=64)]


class Selection(Struct, frozen=True, forbid_unknown_fields=True):
    """Triples whose classes are asked for."""

    ids: Keys


class BulkRelabel(Struct, frozen=True, forbid_unknown_fields=True):
    """One class replaced by another in several triples."""

    ids: Keys
    old: Label
    new: Label


class BulkUndo(Struct, frozen=True, forbid_unknown_fields=True):
    """Take a bulk change back."""

    token: Annotated[str, Meta(max_length=200)]


class BulkDecide(Struct, frozen=True, forbid_unknown_fields=True):
    """One decision for several triples, each with the revision that the page shows."""

    items: Annotated[tuple[OfTriple, ...], Meta(max_length=MAX_KEYS)]
    review: Review


Message = TypeVar("Message", bound=Struct)


def decode(kind: type[Message], data: bytes) -> Message:
    """Decode and validate a request.

    Raises:
        UsageError: it is not JSON, or not of this kind.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise UsageError(f"The request is not understood: {error}") from None


def key(text: str) -> str:
    """Return a key of the address.

    Raises:
        KeyError: it is not 16 hex digits, so no triple has it.
    """
    if not _KEY.fullmatch(text):
        raise KeyError(text)
    return text
