"""Exports to URLs: the same files as in a folder, continued after a failure; nothing is deleted at a URL."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import fsspec
import pytest

from segkit import storage
from segkit.dataset import Dataset
from segkit.errors import LocationError, UsageError
from segkit.exports import pipeline, selection
from segkit.remote.objects import Objects
from tests.conftest import Segkit
from tests.exports.conftest import chosen, contents


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An empty store in memory; units have two triples."""
    monkeypatch.setattr(selection, "UNIT", 2)
    store = fsspec.filesystem("memory")
    yield store
    store.rm("/exports", recursive=True)


def _stored(store: Any, folder: str) -> dict[str, bytes]:
    return {path.removeprefix(f"{folder}/"): store.cat(path) for path in store.find(folder)}


@pytest.mark.parametrize("to", ["webdataset", "parquet", "imagefolder"])
def test_a_url_receives_what_a_folder_does(
    bucket: Any, rooms: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, to: str
) -> None:
    """Cut off at some upload, the export continues at the piece, and ends with the files of a local one."""
    pipeline.export(rooms, tmp_path / "local", chosen(to, shard_size="40kB" if to != "imagefolder" else ""))
    settings = chosen(to, shard_size="40kB" if to != "imagefolder" else "")
    calls, send = count(), Objects.send

    def cut(store: Objects, path: str, content: bytes | Path) -> None:
        if next(calls) == 8:
            raise PermissionError("cut")
        send(store, path, content)

    with monkeypatch.context() as patch:
        patch.setattr(Objects, "send", cut)
        with pytest.raises(LocationError, match="denied"):
            pipeline.export(rooms, "memory://exports/rooms", settings)
    result = pipeline.export(rooms, "memory://exports/rooms", settings)

    assert (result.path, 0 < result.written < 7) == ("memory://exports/rooms", True)
    assert _stored(bucket, "/exports/rooms") == contents(tmp_path / "local")


def test_missing_files_are_restored_at_a_url(bucket: Any, rooms: Dataset) -> None:
    """One that was deleted and one that was cut short, and no others are sent."""
    pipeline.export(rooms, "memory://exports/rooms", chosen("kohya"))
    before = _stored(bucket, "/exports/rooms")
    first, second, *_ = sorted(name for name in before if name.startswith("img/"))
    bucket.rm(f"/exports/rooms/{first}")
    bucket.pipe(f"/exports/rooms/{second}", before[second][:-1])

    result = pipeline.export(rooms, "memory://exports/rooms", chosen("kohya"))

    assert (result.written, sorted(result.restored)) == (0, [first, second])
    assert _stored(bucket, "/exports/rooms") == before


def test_nothing_is_deleted_at_a_url(bucket: Any, rooms: Dataset) -> None:
    """Other files, and another export even with overwrite, are refused."""
    bucket.pipe("/exports/mine/notes.txt", b"mine")
    pipeline.export(rooms, "memory://exports/rooms", chosen("label-ids"))
    before = _stored(bucket, "/exports")

    with pytest.raises(UsageError, match=r"holds files that no export wrote, such as notes\.txt"):
        pipeline.export(rooms, "memory://exports/mine", chosen("kohya"))
    with pytest.raises(UsageError, match="deletes nothing at memory://exports/rooms"):
        pipeline.export(rooms, "memory://exports/rooms", chosen("kohya", overwrite=True))
    with pytest.raises(UsageError, match="Choose another output, or delete the one there") as refused:
        pipeline.export(rooms, "memory://exports/rooms", chosen("kohya"))
    assert "overwrite" not in str(refused.value)
    assert _stored(bucket, "/exports") == before


def test_the_command_takes_a_url(bucket: Any, rooms: Dataset, segkit: Segkit) -> None:
    """-o keeps a URL as it is, and the summary names it."""
    done = segkit("export", rooms.folder, "--to", "webdataset", "-o", "memory://exports/shards", "--split", "val")

    assert (done.code, done.out) == (0, "Written: memory://exports/shards, 2 triples (val 2)\n")
    assert bucket.exists("/exports/shards/index.json")
    assert not any(storage.TEMPORARY in path for path in bucket.find("/exports"))
