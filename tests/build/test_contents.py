"""Rows of contents: the dataset's first, each content once."""

from msgspec.structs import replace

from segkit import storage
from segkit.build.contents import Contents
from segkit.dataset.triple import Triple
from tests.dataset.test_triple import record


def test_a_content_has_one_row() -> None:
    """A triple's row knows its source and size, a new content's row only what this run learns."""
    triple = Triple.from_json(record())
    first, second = (storage.sha256(data) for data in (b"1", b"2"))
    contents = Contents()

    recorded = contents.record(replace(triple, sha256=first, source="a.jpg"))
    again = contents.record(replace(triple, sha256=first, source="b.jpg"))
    new = contents.row(second)

    assert (recorded, again, new, contents.row(second)) == (0, 0, 1, 1)
    assert (contents.find(first), contents.find(second), contents.find("0" * 64)) == (0, 1, -1)
    assert list(contents.sources) == ["a.jpg"]
    assert [contents.is_recorded(row) for row in (-1, 0, 1)] == [False, True, False]
    assert (contents.size(0), contents.size(1)) == ((64, 64), None)
    assert (contents.sha256(1), contents.key(1)) == (second, second[:16])
    assert (list(contents.positions), list(contents.is_judged)) == ([-1, -1], [0, 0])
