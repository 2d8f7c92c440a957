"""Lines of the manifest: what is written is read again, and every damage is worded as Triple.from_json does."""

import json

import pytest
from hypothesis import given

from segkit.dataset import lines
from segkit.dataset.triple import Triple
from segkit.errors import DatasetError
from segkit.storage import to_line
from tests.dataset.test_triple import ADDED, record, triples


@given(triples())
def test_a_triple_survives_its_line(triple: Triple) -> None:
    """The fast path reads what it wrote, and what json writes; both lines hold the same values."""
    line = lines.encode(triple)

    assert lines.decode(line) == triple == lines.decode(to_line(triple.to_json()))
    assert json.loads(line) == json.loads(to_line(triple.to_json()))
    assert (line.count(b"\n"), line[-1:]) == (1, b"\n")
    assert lines.place(line) == lines.Place(triple.source, triple.key, triple.review)


@given(triples(), ADDED)
def test_added_keys_survive_too(triple: Triple, added: dict[str, object]) -> None:
    """A column that somebody added is kept by the same two functions."""
    read = lines.decode(to_line({**triple.to_json(), **added}))

    assert json.loads(lines.encode(read)) == json.loads(to_line({**triple.to_json(), **added}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": "64"}, "width: expected int, found str"),
        ({"key": "../../../../etc/"}, "expected 16 hex digits"),
        ({"phash": "ef" * 9}, "expected 16 hex digits"),
        ({"sha256": "ab" * 8 + "cd" * 20, "phash": "ef" * 12}, "sha256 is"),
        ({"file_name": "../secret.jpg"}, "file_name is '../secret.jpg', expected images/ab/abababababababab.jpg"),
        ({"review": "maybe"}, "review is 'maybe', expected open, accepted, rejected"),
        ({"text": "\ud800"}, "half of a character"),
    ],
)
def test_damage_is_worded(change: dict[str, object], message: str) -> None:
    """Whatever the fast path refuses is explained."""
    with pytest.raises(DatasetError, match=message):
        lines.decode(json.dumps(record(**change)).encode())


@pytest.mark.parametrize("line", [b"{", b"[]", b"\xff", b"[" * 100_000, b"null"])
def test_what_is_no_object_is_refused(line: bytes) -> None:
    """Broken JSON and other values end in a DatasetError, never in another exception."""
    with pytest.raises(DatasetError):
        lines.decode(line)
