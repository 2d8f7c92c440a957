"""Locations: local folders and URLs, read and written the same way."""

import hashlib
import pickle
import uuid
from pathlib import Path

import pytest

from segkit import remote
from segkit.errors import LocationError, UsageError
from segkit.remote import Location


@pytest.fixture(params=["local", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    """An empty location of each kind."""
    return remote.location(tmp_path / "place" if request.param == "local" else f"memory://{uuid.uuid4().hex}/place")


def test_what_is_written_is_read(place: Location) -> None:
    """Files come back whole and by range, and are listed with their sizes."""
    place.write("a/b.txt", b"0123456789")
    (place / "a").write("c.txt", b"")

    assert place.read("a/b.txt") == b"0123456789"
    assert (place / "a/b.txt").read() == b"0123456789"
    assert place.read("a/c.txt") == b""
    assert place.read_range("a/b.txt", 3, 4) == b"3456"
    assert (place.exists("a/b.txt"), place.exists("a"), place.exists("b")) == (True, False, False)
    assert place.size("a/b.txt") == 10
    assert [(entry.name, entry.size) for entry in place.entries("**/*")] == [("a/b.txt", 10), ("a/c.txt", 0)]


def test_names_match_patterns(place: Location) -> None:
    """A star stays within a folder, two stars do not, and a folder that does not exist holds nothing."""
    for name in ("1.tar", "2.tar", "2.txt", "in/3.tar", "in/deep/4.tar"):
        place.write(name, b"x")

    assert place.names() == ["1.tar", "2.tar", "2.txt"]
    assert place.names("*.tar") == ["1.tar", "2.tar"]
    assert place.names("**/*.tar") == ["1.tar", "2.tar", "in/3.tar", "in/deep/4.tar"]
    assert place.names("in/?.tar") == ["in/3.tar"]
    assert (place / "elsewhere").names() == []


def test_files_are_copied_both_ways(place: Location, tmp_path: Path) -> None:
    """Uploads and downloads keep every byte, and return or check the hash."""
    data = bytes(range(256)) * 100
    sha256 = hashlib.sha256(data).hexdigest()
    (tmp_path / "file").write_bytes(data)

    place.upload(tmp_path / "file", "a.tar", sha256)
    place.upload(tmp_path / "file", "a.tar", sha256)

    assert place.download("a.tar", tmp_path / "new" / "copy", sha256) == sha256
    assert (tmp_path / "new" / "copy").read_bytes() == data


def test_wrong_bytes_are_refused(place: Location, tmp_path: Path) -> None:
    """A hash that does not fit leaves no file behind, in either direction."""
    place = Location(place.root, remote.Patience(attempts=2, sleep=lambda seconds: None))
    place.write("a", b"right")
    (tmp_path / "file").write_bytes(b"changed")

    with pytest.raises(LocationError, match="incomplete"):
        place.download("a", tmp_path / "copy", hashlib.sha256(b"other").hexdigest())
    with pytest.raises(LocationError, match="changed since"):
        place.upload(tmp_path / "file", "b", hashlib.sha256(b"first").hexdigest())

    assert not (tmp_path / "copy").exists()
    assert not place.exists("b")


def test_a_missing_file_is_named(place: Location, tmp_path: Path) -> None:
    """The error says which file does not exist, and why it was raised."""
    for call in (place.read, place.size, lambda name: place.download(name, tmp_path / "copy")):
        cure = "path" if place.is_local else "address"
        with pytest.raises(LocationError, match=rf"place/gone\.tar does not exist\. Check the {cure}\.") as caught:
            call("gone.tar")
        assert caught.value.reason == "missing"


def test_a_file_that_is_too_short_is_incomplete(place: Location) -> None:
    """A range beyond the end is an error, not fewer bytes."""
    place = Location(place.root, remote.Patience(attempts=2, sleep=lambda seconds: None))
    place.write("a", b"0123")

    with pytest.raises(LocationError, match="incomplete"):
        place.read_range("a", 2, 4)


@pytest.mark.parametrize("name", ["../a", "/a", "a/../../b", "a//b", "a\\b", "./a", "a\0"])
def test_no_name_leaves_its_location(place: Location, name: str) -> None:
    """Names that lead elsewhere are refused before anything is read or written."""
    for call in (place.read, place.exists, place.__truediv__, lambda name: place.write(name, b"")):
        with pytest.raises(UsageError, match="not the name of a file"):
            call(name)


def test_locations_are_values(place: Location) -> None:
    """A location prints as its path or URL, and goes to another process."""
    assert pickle.loads(pickle.dumps(place)) == place
    assert str(place / "a") == f"{place.root}/a"
    assert (place / "a/b").name == "b"
    assert remote.location(place) is place


def test_secrets_are_not_shown() -> None:
    """Passwords and signatures in a URL appear in no message."""
    signed = remote.location("https://user:secret@host/a/b.tar?X-Amz-Signature=secret")

    assert str(signed) == "https://host/a/b.tar"


def test_other_urls_are_refused() -> None:
    """A kind of URL that segkit does not read is named, with those that it does."""
    with pytest.raises(UsageError, match=r"ftp://host/a: unknown kind of URL.*s3://"):
        remote.location("ftp://host/a")
