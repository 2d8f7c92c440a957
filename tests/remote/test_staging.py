"""Files behind URLs are copied once, whole, and only as many as the limit allows."""

import uuid
from pathlib import Path

import pytest

from segkit import remote
from segkit.errors import LocationError, UsageError
from segkit.remote import Location
from segkit.remote.staging import stage
from tests.s3 import DENIED, Fault, FaultyApp


@pytest.fixture
def place(bucket: FaultyApp) -> Location:
    """A folder in the bucket with three files."""
    place = remote.location(f"s3://rooms/{uuid.uuid4().hex}/data")
    for name in ("a.txt", "in/b.tar", "in/c.tar"):
        place.write(name, name.encode() * 1000)
    bucket.requests.clear()
    return place


def bodies(bucket: FaultyApp) -> list[str]:
    """The last parts of the paths whose content was read."""
    return sorted(path.rpartition("/")[2] for method, path, ranges in bucket.requests if method == "GET" and ranges)


def test_an_interrupted_copy_continues(bucket: FaultyApp, place: Location, tmp_path: Path) -> None:
    """What was copied is not read again; what changed is."""
    bucket.faults.append(Fault("status", "403 Forbidden", DENIED, ending="c.tar"))
    with pytest.raises(LocationError, match=r"c\.tar is denied"):
        stage(place.root, tmp_path, 10**6)
    bucket.requests.clear()

    folder = stage(place.root, tmp_path, 10**6)
    assert bodies(bucket) == ["c.tar"]
    place.write("a.txt", b"new")
    bucket.requests.clear()

    assert stage(place.root, tmp_path, 10**6) == folder == tmp_path / "data"
    assert bodies(bucket) == ["a.txt"]
    assert (folder / "a.txt").read_bytes() == b"new"
    assert (folder / "in" / "c.tar").read_bytes() == b"in/c.tar" * 1000


def test_single_files_and_braces(place: Location, tmp_path: Path) -> None:
    """One file keeps its name; several lie in one folder."""
    one = stage(f"{place.root}/in/b.tar", tmp_path / "one", 10**6)
    both = stage(f"{place.root}/in/{{b,c}}.tar", tmp_path / "both", 10**6)

    assert (one, one.is_file()) == (tmp_path / "one" / "b.tar", True)
    assert sorted(path.name for path in both.iterdir()) == ["b.tar", "c.tar"]


def test_too_much_is_refused(bucket: FaultyApp, place: Location, tmp_path: Path) -> None:
    """Before anything is read."""
    with pytest.raises(
        UsageError, match=r"[\d.]+ k?B are to be copied .*at most [\d.]+ k?B may be.*fetch_limit=[\d.]+k?B"
    ):
        stage(place.root, tmp_path, 1000)
    with pytest.raises(UsageError, match="contains no files"):
        stage("s3://rooms/nothing-here", tmp_path, 1000)

    assert not bodies(bucket)
    assert not list(tmp_path.iterdir())
