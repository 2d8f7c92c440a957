"""Imports from URLs: what a local import makes of the same files, fetched once and removed at the end."""

import hashlib
import uuid
from pathlib import Path

import pytest

import segkit
from segkit import remote
from segkit.dataset import Dataset
from segkit.errors import LocationError, SettingError, UsageError
from tests.conftest import Segkit
from tests.exports.conftest import rooms
from tests.s3 import DENIED, Fault, FaultyApp

__all__ = ["rooms"]


def contents(dataset: Path) -> dict[str, str]:
    """The hash of every photo, map and record of a dataset."""
    names = [path for pattern in ("images/**/*.*", "maps/**/*.*", "metadata.jsonl") for path in dataset.glob(pattern)]
    return {path.relative_to(dataset).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in names}


def test_an_export_on_s3_comes_back(segkit: Segkit, bucket: FaultyApp, rooms: Dataset, tmp_path: Path) -> None:
    """A dataset goes to S3 as shards and comes back, past faults both ways, equal to the import of a local export."""
    url = f"s3://rooms/{uuid.uuid4().hex}"
    bucket.faults += [Fault("reset", methods=("PUT",)), Fault("status", methods=("PUT",), ending=".tar")]
    out = segkit("export", rooms.folder, "--to", "webdataset", "-o", url)
    segkit("export", rooms.folder, "--to", "webdataset", "-o", tmp_path / "local")
    bucket.faults += [
        Fault("cut", ending=".tar"),
        Fault("status", ending="index.json"),
        Fault("short", ending=".jsonl"),
    ]
    back = segkit("import", url, "-o", tmp_path / "back")
    expected = segkit("import", tmp_path / "local", "-o", tmp_path / "expected")

    assert (out.code, back.code, expected.code) == (0, 0, 0), out.err + back.err + expected.err
    assert not bucket.faults
    stored = remote.location(url)
    assert {name: stored.read(name) for name in stored.names("**/*")} == {
        path.relative_to(tmp_path / "local").as_posix(): path.read_bytes()
        for path in (tmp_path / "local").rglob("*")
        if path.is_file() and path.name != "lock"
    }
    assert contents(tmp_path / "back") == contents(tmp_path / "expected") != {}
    assert not list(tmp_path.glob(".*fetched"))


def test_an_export_that_was_cut_off_continues(
    segkit: Segkit, bucket: FaultyApp, rooms: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rights that expire in the middle end the command in one line; again, only the rest is sent, the index last."""
    monkeypatch.setattr("segkit.exports.selection.UNIT", 2)
    url = f"s3://rooms/{uuid.uuid4().hex}"
    arguments = ("export", rooms.folder, "--to", "webdataset", "--shard-size", "40kB", "-o", url)
    bucket.faults.append(Fault("status", "403 Forbidden", DENIED, methods=("PUT",), ending="000002.tar"))
    first = segkit(*arguments)
    bucket.requests.clear()
    second = segkit(*arguments)

    assert (first.code, second.code) == (2, 0)
    assert "000002.tar is denied (403)" in first.err
    sent = [path.rpartition("/")[2] for method, path, _ in bucket.requests if method == "PUT"]
    assert "000000.tar" not in sent
    assert sent[-2:] == ["index.json", "complete.json"]


def test_a_failed_import_keeps_what_it_fetched(bucket: FaultyApp, tmp_path: Path) -> None:
    """The copies stay for the next call; limits and URLs as output are refused."""
    place = remote.location(f"s3://rooms/{uuid.uuid4().hex}")
    place.write("a/1.txt", b"text")
    place.write("a/2.txt", b"text")
    bucket.faults.append(Fault("status", "403 Forbidden", DENIED, ending="2.txt"))

    with pytest.raises(LocationError, match="denied"):
        segkit.import_data(place.root, tmp_path / "rooms")
    assert [path.name for path in tmp_path.rglob("1.txt")] == ["1.txt"]
    with pytest.raises(SettingError, match="fetch_limit"):
        segkit.import_data(place.root, tmp_path / "rooms", fetch_limit="much")
    with pytest.raises(
        UsageError, match=r"[\d.]+ k?B are to be copied .*at most [\d.]+ k?B may be.*fetch_limit=[\d.]+k?B"
    ):
        segkit.import_data(place.root, tmp_path / "rooms", fetch_limit="0.001kB")
    with pytest.raises(UsageError, match="local folder"):
        segkit.import_data(tmp_path, "s3://rooms/new")


def test_local_tar_files_are_named_with_braces(segkit: Segkit, rooms: Dataset, tmp_path: Path) -> None:
    """As at a URL, one name stands for several tar files; a missing one is named."""
    segkit("export", rooms.folder, "--to", "webdataset", "-o", tmp_path / "shards", "--shard-size", "1B")
    count = len(list((tmp_path / "shards").glob("*.tar")))

    done = segkit(
        "import", tmp_path / "shards" / f"{{000000..{count - 1:06}}}.tar", "-o", tmp_path / "out", "--min-size", 32
    )
    missing = segkit("import", tmp_path / "shards" / f"{{000000..{count:06}}}.tar", "-o", tmp_path / "none")

    assert done.code == 0, done.err
    assert f"{count} items found" in done.out
    assert missing.code == 2
    assert f"{count:06}.tar does not exist" in missing.err
