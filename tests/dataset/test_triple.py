"""Triples: what goes into the manifest comes out of it, and nothing else does."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from segkit.dataset.triple import (
    NOBODY,
    PERSON,
    SPLITS,
    Prompt,
    Triple,
    map_name,
    photo_name,
)
from segkit.errors import DatasetError
from segkit.maps.codec import ClassShare
from segkit.photos.geometry import Geometry
from segkit.storage import to_line

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
WORD = st.sampled_from(["prompt-cut", "prompt-repeats", "icc-to-srgb", "alpha-over-white"])
NUMBER = st.integers(0, 100_000)
SHARE = st.floats(0, 1)
GEOMETRY = st.builds(
    Geometry, NUMBER, NUMBER, st.integers(1, 8), st.lists(WORD, max_size=2).map(tuple), NUMBER, NUMBER, NUMBER, NUMBER
)


@st.composite
def triples(draw: st.DrawFn) -> Triple:
    """Draw a triple with its files under its key's names."""
    key, phash = (f"{draw(st.integers(0, 2**64 - 1)):016x}" for _ in range(2))
    return Triple(
        file_name=photo_name(key, draw(st.sampled_from([".jpg", ".png"]))),
        conditioning_image_file_name=map_name(key),
        text=draw(TEXT),
        key=key,
        source=draw(TEXT),
        sha256=f"{key}{draw(st.integers(0, 2**192 - 1)):048x}",
        phash=phash,
        width=draw(NUMBER),
        height=draw(NUMBER),
        geometry=draw(GEOMETRY),
        classes=tuple(draw(st.lists(st.builds(ClassShare, TEXT, SHARE, SHARE), max_size=3))),
        tokens=draw(NUMBER),
        prompt=draw(st.builds(Prompt, TEXT, TEXT, TEXT, st.booleans())),
        split=draw(st.sampled_from(SPLITS)),
        group=key,
        review="open",
        problems=tuple(draw(st.lists(WORD, max_size=2))),
    )


def record(**changes: Any) -> dict[str, Any]:
    """Return a line of a manifest, with changes."""
    key = "ab" * 8
    triple = Triple(
        file_name=photo_name(key, ".jpg"),
        conditioning_image_file_name=map_name(key),
        text="",
        key=key,
        source="a.jpg",
        sha256=key + "cd" * 24,
        phash="ef" * 8,
        width=64,
        height=64,
        geometry=Geometry(64, 64, 1, (), 64, 64, 0, 0),
        classes=(ClassShare("wall", 1.0, 0.5),),
        tokens=0,
        prompt=NOBODY,
        split="train",
        group=key,
        review="open",
        problems=(),
    )
    return {**triple.to_json(), **changes}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=4,
)
ADDED = st.dictionaries(st.sampled_from(["my_own", "extra", "note", "größe", "classes_seen"]), JSON, max_size=2)


@given(triples(), ADDED, ADDED, ADDED, ADDED)
def test_added_keys_are_kept(
    triple: Triple, line: dict[str, Any], geometry: dict[str, Any], prompt: dict[str, Any], share: dict[str, Any]
) -> None:
    """Whatever somebody adds to a line or to an object in it, segkit ignores it and writes it back."""
    record = triple.to_json()
    names = [item["name"] for item in record["classes"]]
    added = {**record, **line, "geometry": {**record["geometry"], **geometry}, "prompt": {**record["prompt"], **prompt}}
    if len(set(names)) == len(names):
        added["classes"] = [{**item, **share} for item in record["classes"]]

    read = Triple.from_json(json.loads(to_line(added)))

    assert json.loads(to_line(read.to_json())) == json.loads(to_line(added))
    assert Triple.from_json(read.to_json()) == read
    assert hash(read) == hash(Triple.from_json(added))
    assert replace(read, extra="") == triple


def test_keys_stay_after_a_change() -> None:
    """A new prompt by a person keeps what was added to the old one; a class that vanished takes its own along."""
    line = record(stars=5, classes=[{"name": "wall", "share": 1.0, "confidence": 0.5, "seen": True}])
    line["prompt"]["reviewer"] = "me"
    triple = Triple.from_json(line)

    changed = replace(triple, text="a room", prompt=PERSON, classes=()).to_json()

    assert (changed["stars"], changed["prompt"]["reviewer"], changed["classes"]) == (5, "me", ())
    assert list(changed)[-1] == "stars"


@given(triples())
def test_a_triple_survives_the_manifest(triple: Triple) -> None:
    """Written as a line and read again, every triple is the same."""
    assert Triple.from_json(json.loads(to_line(triple.to_json()))) == triple


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": "64"}, "width: expected int, found str"),
        ({"width": True}, "width: expected int, found bool"),
        ({"text": None}, "text: expected str, found null"),
        ({"problems": 3}, "problems: expected array, found int"),
        ({"review": "maybe"}, "review is 'maybe', expected open, accepted, rejected"),
        ({"sha256": "0" * 64}, "key is abababababababab, expected the first digits of sha256"),
        ({"problems": [1]}, "problems: expected str, found int"),
        ({"classes": {"wall": 1.0}}, "classes: expected array, found object"),
        ({"classes": [{"name": "wall", "share": 1.5, "confidence": 1.0}]}, "classes.share: expected float <= 1"),
        ({"classes": [{"name": "wall", "share": float("nan"), "confidence": 1.0}]}, "classes.share: expected float"),
        ({"classes": [{"name": "wall"}]}, "classes: share is missing"),
        ({"prompt": "me"}, "prompt: expected object, found str"),
        ({"key": "../../../../etc/"}, "expected 16 hex digits"),
        ({"key": "AB" * 8}, "expected 16 hex digits"),
        ({"phash": ""}, "phash is '', expected 16 hex digits"),
        ({"sha256": "cd"}, "sha256 is 'cd', expected 64 hex digits"),
        ({"file_name": "../secret.jpg"}, "file_name is '../secret.jpg', expected images/ab/abababababababab.jpg"),
        ({"file_name": "/etc/passwd"}, "file_name is '/etc/passwd'"),
        ({"conditioning_image_file_name": "maps/../../x.png"}, "expected maps/ab/abababababababab.png"),
    ],
)
def test_a_line_that_is_no_triple_is_refused(change: dict[str, Any], message: str) -> None:
    """A key too few, another type, or a path that is not the key's: refused, and the text says which."""
    with pytest.raises(DatasetError) as refused:
        Triple.from_json(record(**change))

    assert message in str(refused.value)


def test_a_missing_key_is_refused() -> None:
    """Every line has every key."""
    line = record()
    del line["group"]

    with pytest.raises(DatasetError, match="group missing"):
        Triple.from_json(line)


def test_a_whole_number_counts_as_a_float() -> None:
    """JSON written by hand or by other tools says 1 where 1.0 is meant."""
    triple = Triple.from_json(record(classes=[{"name": "wall", "share": 1, "confidence": 1}]))

    assert triple.classes == (ClassShare("wall", 1.0, 1.0),)
