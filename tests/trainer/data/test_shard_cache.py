"""What is read of remote shards is kept on the disk: bounded, verified, and shared."""

import multiprocessing
import os
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segkit import remote, storage
from segkit.dataset.formats.shards import Shard
from segkit.errors import DatasetError, UsageError
from tests.s3 import Fault, FaultyApp
from trainer.data import ahead
from trainer.data.batches import FETCHED_AHEAD, Batches
from trainer.data.examples import Example, Examples
from trainer.data.members import Member
from trainer.data.shard_cache import CachedShards
from trainer.data.shards import Cache, open_shards
from trainer.settings import TrainSettings

Requests = list[tuple[str, int, int]]

SIZE, COUNT = 20_000, 10
"""Bytes of a member, and members in a shard."""


@pytest.fixture
def stored(tmp_path: Path) -> remote.Location:
    """Three shards of ten members, of 200 kB each, in a folder that is read as if it were remote."""
    location = remote.location(tmp_path / "stored")
    for number in range(3):
        location.write(f"{number:06}.tar", np.random.default_rng(number).bytes(SIZE * COUNT))
    return location


def opened(location: remote.Location, folder: Path | None, limit: int = 10**9) -> tuple[CachedShards, list[Member]]:
    """Return the store and all of its members, in order."""
    contents = {name: location.read(name) for name in location.names("*.tar")}
    shards = [Shard(name, len(data), storage.sha256(data), COUNT, "0" * 64, 0) for name, data in contents.items()]
    store = CachedShards(location, shards, folder, limit)
    return store, [
        Member(store, name, start, SIZE, storage.sha256(data[start : start + SIZE]), f"images/aa/{start}.jpg")
        for name, data in contents.items()
        for start in range(0, SIZE * COUNT, SIZE)
    ]


@pytest.fixture
def ranges(monkeypatch: pytest.MonkeyPatch) -> Requests:
    """Collects the ranges that are read of locations."""
    made: Requests = []
    read = remote.Location.read_range

    def noted(self: remote.Location, name: str, start: int, size: int) -> bytes:
        made.append((name, start, size))
        return read(self, name, start, size)

    monkeypatch.setattr(remote.Location, "read_range", noted)
    return made


def test_what_was_read_is_not_fetched_again(stored: remote.Location, tmp_path: Path, ranges: Requests) -> None:
    """Neither by the same store nor by that of another process; without a folder everything is."""
    _, members = opened(stored, tmp_path / "copies")
    first = [member.read_bytes() for member in members]
    assert len(ranges) == len(members)
    ranges.clear()

    again = [member.read_bytes() for member in pickle.loads(pickle.dumps(members))]
    assert (again, ranges) == (first, [])
    _, members = opened(stored, None)
    assert [member.read_bytes() for member in (*members, *members)] == first * 2
    assert len(ranges) == 2 * len(members)


def test_neighbours_are_fetched_with_one_request(stored: remote.Location, tmp_path: Path, ranges: Requests) -> None:
    """What lies between them is fetched too if it is little, but not a long gap."""
    store, members = opened(stored, tmp_path / "copies")
    store.fetch([members[place] for place in (4, 0, 2, 12, 17, 4)])

    assert ranges == [
        ("000000.tar", 0, 5 * SIZE), ("000001.tar", 2 * SIZE, SIZE), ("000001.tar", 7 * SIZE, SIZE)
    ]  # fmt: skip
    ranges.clear()
    store.fetch([members[4], members[17]])
    assert [members[place].read_bytes() for place in (0, 2, 4, 12, 17)]
    assert ranges == []


def test_copies_stay_within_their_limit(stored: remote.Location, tmp_path: Path) -> None:
    """At any time; the copy that was used least recently is deleted first, where reading counts as use."""
    limit = 600_000
    store, members = opened(stored, tmp_path / "copies", limit)
    paths = [tmp_path / "copies" / f"{storage.sha256(stored.read(name))}.tar" for name in stored.names("*.tar")]
    for number in (0, 1):
        store.fetch(members[number * COUNT : (number + 1) * COUNT])
        os.utime(paths[number], (1000 + number, 1000 + number))
    members[0].read_bytes()

    store.fetch(members[2 * COUNT :])

    assert [path.exists() for path in paths] == [True, False, True]
    for place in np.random.default_rng(0).integers(0, len(members), 100):
        members[place].read_bytes()
        assert store.held() <= limit


def test_a_damaged_copy_is_fetched_again(stored: remote.Location, tmp_path: Path, ranges: Requests) -> None:
    """A member that was half written, or damaged on the disk, is noticed when it is read, and replaced."""
    _, members = opened(stored, tmp_path / "copies")
    good = members[3].read_bytes()
    (path,) = (tmp_path / "copies").iterdir()
    data = bytearray(path.read_bytes())
    data[3 * SIZE + 100] ^= 1
    path.write_bytes(data)
    ranges.clear()

    assert (members[3].read_bytes(), ranges) == (good, [("000000.tar", 3 * SIZE, SIZE)])
    assert (members[3].read_bytes(), len(ranges)) == (good, 1)
    path.write_bytes(data[: 3 * SIZE + 50])
    assert members[3].read_bytes() == good


def test_a_remote_shard_that_changed_is_refused(stored: remote.Location, tmp_path: Path) -> None:
    """By reading and by fetching; what was read before stays usable."""
    store, members = opened(stored, tmp_path / "copies")
    good = members[0].read_bytes()
    stored.write("000000.tar", bytes(SIZE * COUNT))

    with pytest.raises(DatasetError, match=r"000000.tar, 20000.jpg: was changed after it was exported"):
        members[1].read_bytes()
    with pytest.raises(DatasetError, match="was changed after it was exported"):
        store.fetch(members[1:3])
    assert members[0].read_bytes() == good


def test_a_disk_without_space_is_noticed_at_the_start(
    stored: remote.Location, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names what is needed and free; a smaller limit is accepted."""
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 300_000}))
    with pytest.raises(
        UsageError, match=r"may take [\d.]+ kB more, and [\d.]+ k?B are free at .* Use a smaller shard_cache"
    ):
        opened(stored, tmp_path / "copies")[0].require_space()
    opened(stored, tmp_path / "copies", 200_000)[0].require_space()
    opened(stored, None)[0].require_space()


def test_a_disk_that_cannot_be_written_costs_speed_only(stored: remote.Location, tmp_path: Path) -> None:
    """Members are read all the same."""
    (tmp_path / "copies").write_bytes(b"a file, not a folder")
    store, members = opened(stored, tmp_path / "copies")
    store.fetch(members)
    assert storage.sha256(members[5].read_bytes()) == members[5].sha256


def _read_all(members: Sequence[Member], seed: int) -> bool:
    order = np.random.default_rng(seed).integers(0, len(members), 150)
    return all(storage.sha256(members[place].read_bytes()) == members[place].sha256 for place in order)


def test_processes_share_a_folder(stored: remote.Location, tmp_path: Path) -> None:
    """While four of them read, write and delete copies in a small cache, each gets the right bytes."""
    _, members = opened(stored, tmp_path / "copies", 300_000)
    with multiprocessing.get_context("fork").Pool(4) as pool:
        assert all(pool.starmap(_read_all, [(members, seed) for seed in range(4)]))


def batches(data: Examples, share: tuple[int, int], **settings: Any) -> Batches:
    """Return the batches of one of several processes, without a latent cache."""
    return Batches(data.train, data.palette, TrainSettings(batch_size=1, resolution=64, **settings), share=share)


def test_a_process_fetches_what_it_needs(url: str, tmp_path: Path, requests_made: Requests) -> None:
    """Batches are fetched ahead, each picture once, and nothing of the other process's pictures."""
    from trainer.data import examples

    data = examples.load(url, TrainSettings(), cache=Cache(tmp_path, 10**9))
    alone = batches(data, (1, 2))
    needed = {
        (member.shard, member.start, member.size)
        for number in range(2 + FETCHED_AHEAD + 3)
        for pick in alone.picks(number)
        for member in (pick.example.photo, pick.example.control_map)
        if isinstance(member, Member)
    }
    requests_made.clear()
    stream = alone.starting_at(0)
    controls = [next(stream).controls for _ in range(2)]
    del stream
    requests = [request for request in requests_made if request[0].endswith(".tar")]

    assert len(requests) == len(set(requests)) <= len(needed)
    assert set(requests) <= needed
    assert all(
        (control == batches(data, (1, 2)).batch(number).controls).all() for number, control in enumerate(controls)
    )


def test_faults_of_s3_are_survived(bucket: FaultyApp, shards: Path, rooms: Path, tmp_path: Path) -> None:
    """Over a real connection that fails now and then, every picture arrives as it is in the dataset."""
    from trainer.data import examples

    location = remote.location("s3://rooms/shards", remote.Patience(silence=2, sleep=lambda seconds: None))
    for path in shards.iterdir():
        if path.is_file():
            location.upload(path, path.name)
    opened_shards = open_shards(location, Cache(tmp_path, 10**9))
    kinds = ("status", "reset", "cut", "short", "status")
    bucket.faults += [Fault(kind, ending=ending) for kind in kinds for ending in ("000001.tar", "000000.index.jsonl")]
    pictures = [
        picture.read_bytes()
        for shard, samples in opened_shards.samples()
        for sample in samples
        for picture in opened_shards.pictures(shard, sample)
    ]

    data = examples.find(rooms)
    expected = [picture.read_bytes() for one in (*data.train, *data.val) for picture in (one.photo, one.control_map)]
    assert sorted(pictures) == sorted(expected)
    assert not bucket.faults


def test_work_is_done_ahead_within_bounds() -> None:
    """Each piece once, at most `count` ahead of what is needed; errors of pieces are left to those who need them."""
    done: list[int] = []

    def work(number: int) -> None:
        done.append(number)
        if number == 3:
            raise DatasetError("damaged")

    with ahead.working(work, 1, 2) as reached:
        reached(0)
        reached(2)
        reached(2)
    # those that had not begun at the end of the block are dropped
    assert set(done) <= {1, 2, 3, 4}
    assert len(done) == len(set(done))


def test_results_keep_their_order() -> None:
    """Computed by several threads, they come in the order of the items; an error comes in its place."""
    assert list(ahead.mapped(lambda number: number * number, range(50), 4)) == [number**2 for number in range(50)]
    results = ahead.mapped(lambda number: 6 // number, [3, 2, 0, 1], 2)
    assert [next(results), next(results)] == [2, 3]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_examples_in_shards_are_values(stored: remote.Location) -> None:
    """A picture in a shard has name, stem and parts of its file in the dataset, and may be a key."""
    _, members = opened(stored, None)
    example = Example(members[0], members[1], "a room", 8, 8)

    assert (members[0].name, members[0].stem, members[0].parts) == ("0.jpg", "0", ("images", "aa", "0.jpg"))
    assert {example: 1}[Example(members[0], members[1], "a room", 8, 8)] == 1
    assert str(members[1]).endswith("stored/000000.tar, 20000.jpg")
