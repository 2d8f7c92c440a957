"""S3 over HTTP: what is read and written arrives whole or not at all, whatever the server does."""

import hashlib
import random
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from segkit import remote
from segkit.errors import LocationError
from segkit.remote import Location
from tests.s3 import DENIED, MOVED, Fault, FaultyApp

DATA = random.Random(27).randbytes(300_000)
SHA256 = hashlib.sha256(DATA).hexdigest()
READ_FAULTS = {
    "500": Fault("status", "500 Internal Server Error"),
    "503": Fault("status", "503 Slow Down", "<Error><Code>SlowDown</Code><Message>Reduce</Message></Error>"),
    "429": Fault("status", "429 Too Many Requests", headers=(("Retry-After", "1"),)),
    "silent": Fault("silent"),
    "slow": Fault("slow"),
    "short": Fault("short"),
    "cut": Fault("cut"),
    "reset": Fault("reset"),
}
WRITE_FAULTS = ("500", "503", "silent", "reset")


@pytest.fixture
def place(bucket: FaultyApp) -> Location:
    """A location of its own in the bucket, with little patience."""
    patience = remote.Patience(attempts=3, silence=0.5, sleep=lambda seconds: None)
    return remote.location(f"s3://rooms/{uuid.uuid4().hex}", patience)


def fault(name: str, **changes: object) -> Fault:
    """Return a new fault of a kind, whose count of requests is its own."""
    return Fault(**{**vars(READ_FAULTS[name]), **changes})


def reads(place: Location, tmp_path: Path) -> dict[str, Callable[[], bytes]]:
    """The ways to read all of DATA."""

    def downloaded() -> bytes:
        place.download("a.tar", tmp_path / "copy", SHA256)
        return (tmp_path / "copy").read_bytes()

    return {
        "read": lambda: place.read("a.tar"),
        "ranges": lambda: place.read_range("a.tar", 0, 200_000) + place.read_range("a.tar", 200_000, 100_000),
        "download": downloaded,
    }


@pytest.mark.parametrize("way", ["read", "ranges", "download"])
@pytest.mark.parametrize("kind", READ_FAULTS)
def test_a_fault_that_passes_is_survived(
    bucket: FaultyApp, place: Location, tmp_path: Path, kind: str, way: str
) -> None:
    """After one bad answer every byte arrives."""
    place.write("a.tar", DATA)
    bucket.faults.append(fault(kind, ending="a.tar"))

    assert hashlib.sha256(reads(place, tmp_path)[way]()).hexdigest() == SHA256
    assert not bucket.faults


@pytest.mark.parametrize("way", ["read", "download"])
@pytest.mark.parametrize("kind", [kind for kind in READ_FAULTS if kind != "slow"])
def test_a_fault_that_stays_is_one_line(
    bucket: FaultyApp, place: Location, tmp_path: Path, kind: str, way: str
) -> None:
    """After all attempts there is an error of one line, and no file."""
    place.write("a.tar", DATA)
    bucket.faults.append(fault(kind, ending="a.tar", times=99))

    with pytest.raises(LocationError, match=r"^s3://rooms/\w+/a\.tar.*\(3 attempts\)[^\n]*$"):
        reads(place, tmp_path)[way]()
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("kind", WRITE_FAULTS)
def test_an_upload_survives_a_fault(bucket: FaultyApp, place: Location, tmp_path: Path, kind: str) -> None:
    """What is uploaded past a bad answer is what the server has in the end."""
    (tmp_path / "file").write_bytes(DATA)
    bucket.faults += [fault(kind, methods=("PUT",)), fault("500", methods=("HEAD",))]

    place.upload(tmp_path / "file", "a.tar", SHA256)
    place.write("b.txt", b"text")

    assert not bucket.faults
    assert (place.read("a.tar"), place.read("b.txt")) == (DATA, b"text")


def test_an_upload_that_stored_other_bytes_is_noticed(bucket: FaultyApp, place: Location, tmp_path: Path) -> None:
    """A server that confirms an upload that it does not keep is asked again, and then refused."""
    (tmp_path / "file").write_bytes(DATA)
    place.write("a.tar", DATA[:-1] + b"?")
    bucket.faults.append(Fault("status", "200 OK", methods=("PUT",), times=99))

    with pytest.raises(LocationError, match=r"a\.tar arrived incomplete"):
        place.upload(tmp_path / "file", "a.tar")


def test_a_file_that_is_there_is_not_sent_again(bucket: FaultyApp, place: Location, tmp_path: Path) -> None:
    """An upload that is repeated compares hashes, and sends nothing."""
    (tmp_path / "file").write_bytes(DATA)
    place.upload(tmp_path / "file", "a.tar")
    bucket.requests.clear()

    place.upload(tmp_path / "file", "a.tar")

    assert {method for method, _, _ in bucket.requests} == {"HEAD"}


def test_large_files_are_sent_in_parts(
    bucket: FaultyApp, place: Location, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ETag of parts verifies an upload, which is not read back."""
    data = random.Random(1).randbytes(11 << 20)
    monkeypatch.setattr("segkit.remote.digest.PART", 5 << 20)
    monkeypatch.setattr("segkit.remote.objects.PART", 5 << 20)
    (tmp_path / "file").write_bytes(data)
    place = Location(place.root, remote.Patience(silence=59, sleep=lambda seconds: None))  # a store of its own
    bucket.requests.clear()

    place.upload(tmp_path / "file", "a.tar")

    assert [method for method, _, _ in bucket.requests].count("PUT") == 3
    assert "GET" not in {method for method, path, _ in bucket.requests if path.endswith("a.tar")}
    assert place.read("a.tar") == data


def test_a_file_that_changes_meanwhile_is_read_again(
    bucket: FaultyApp, place: Location, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A download never mixes two versions of a file."""
    monkeypatch.setattr("segkit.remote.locations.CHUNK", 100_000)
    place.write("a.tar", DATA)
    changed = DATA[::-1]
    original = Location.read_range

    def changing(self: Location, name: str, start: int, size: int) -> bytes:
        data = original(self, name, start, size)
        if start == 0 and data == DATA[:size]:
            place.write("a.tar", changed)
        return data

    monkeypatch.setattr(Location, "read_range", changing)

    assert place.download("a.tar", tmp_path / "copy") == hashlib.sha256(changed).hexdigest()
    assert (tmp_path / "copy").read_bytes() == changed


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Fault("status", "403 Forbidden", DENIED), r"Access to s3://rooms/.* is denied \(403\).*AWS_PROFILE"),
        (Fault("status", "301 Moved", MOVED, (("x-amz-bucket-region", "eu-west-1"),)),
         r"The bucket rooms is in the region eu-west-1\. Set AWS_DEFAULT_REGION=eu-west-1"),
        (Fault("status", "400 Bad Request", "<Error><Code>InvalidRequest</Code><Message>no</Message></Error>"),
         r"the request failed"),
    ],
    ids=["403", "wrong region", "400"],
)  # fmt: skip
def test_faults_that_stay_are_not_repeated(bucket: FaultyApp, place: Location, answer: Fault, message: str) -> None:
    """Missing rights and a wrong region are named at once, with the cure, by every call."""
    place.write("a.tar", DATA)
    bucket.faults.append(Fault(**{**vars(answer), "times": 999, "methods": ("GET", "HEAD", "PUT")}))

    for call in (place.names, lambda: place.read("a.tar"), lambda: place.write("b.tar", DATA)):
        bucket.requests.clear()
        with pytest.raises(LocationError, match=message):
            call()
        assert len(bucket.requests) <= 3  # botocore itself asks the right region once


def test_a_missing_bucket_is_named(bucket: FaultyApp) -> None:
    """It differs from a missing file."""
    gone = remote.location("s3://nowhere/a")
    for call in (gone.names, lambda: gone.read("b"), lambda: gone.write("b", b"")):
        with pytest.raises(LocationError, match="The bucket nowhere does not exist") as caught:
            call()
        assert caught.value.reason == "no-bucket"


def test_an_unreachable_store_is_named(monkeypatch: pytest.MonkeyPatch, bucket: FaultyApp) -> None:
    """Nobody answers: the error says so after all attempts."""
    delays: list[float] = []
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    place = remote.location("s3://rooms", remote.Patience(attempts=4, silence=0.7, sleep=delays.append))

    with pytest.raises(LocationError, match=r"s3://rooms cannot be reached \(4 attempts\).*endpoint"):
        place.read("a")
    assert len(delays) == 3
    assert 0.25 <= delays[0] <= 0.5 <= delays[1] <= 1 <= delays[2] <= 2


def test_missing_credentials_are_named(monkeypatch: pytest.MonkeyPatch, bucket: FaultyApp) -> None:
    """Without any credentials the error says how to set them."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    place = remote.location("s3://rooms", remote.Patience(silence=0.8))

    with pytest.raises(LocationError, match=r"No credentials for s3://rooms\. Set them: AWS_PROFILE"):
        place.read("a")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra, the error is a command that installs it."""
    import fsspec

    def missing(protocol: str) -> None:
        raise ImportError

    monkeypatch.setattr(fsspec, "get_filesystem_class", missing)
    for url, command in (("s3://rooms", r'pip install "segkit\[s3\]"'), ("gs://rooms", "pip install gcsfs")):
        with pytest.raises(LocationError, match=command):
            remote.location(url, remote.Patience(silence=0.123)).names()
