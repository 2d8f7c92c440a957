"""Stamps: a file counts as unchanged only if nothing about it has changed, and if its time proves that."""

import os
import shutil
import time
from pathlib import Path

import pytest

from segkit import storage
from segkit.dataset import stamps
from segkit.dataset.stamps import CHUNK, RACY, Stamps

OLD = 1_700_000_000_123_456_789


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file that was written long ago."""
    (tmp_path / "file").write_bytes(b"content")
    os.utime(tmp_path / "file", ns=(OLD, OLD))
    return tmp_path / "file"


def remember(path: Path, file: Path, identity: bool = False, facts: int = 0) -> None:
    """Remember a file in a new file of stamps, or an existing one."""
    with Stamps(path, identity) as known:
        known.remember(b"file", file.stat(), storage.sha256(file.read_bytes()), time.time_ns(), facts)


def digest(path: Path, file: Path, identity: bool = False, facts: int | None = None) -> str:
    """Return what a file of stamps knows about the file."""
    status = file.stat() if file.exists() else None
    [answer] = Stamps(path, identity).digests([b"file"], [status], None if facts is None else [facts])
    return answer


def test_an_unchanged_file_is_known(tmp_path: Path, file: Path) -> None:
    """Its hash is returned, also after it was moved with its time to another place."""
    path = tmp_path / "cache" / "x.stamps"
    remember(path, file)

    assert digest(path, file) == storage.sha256(b"content")
    assert digest(path, Path(shutil.copy2(file, tmp_path / "copy"))) == storage.sha256(b"content")


@pytest.mark.parametrize("change", ["size", "time", "missing", "folder"])
def test_a_changed_file_is_unknown(tmp_path: Path, file: Path, change: str) -> None:
    """By its size, or by its time alone; a missing file and a folder are unknown too."""
    path = tmp_path / "x.stamps"
    remember(path, file)
    file.unlink()
    if change == "folder":
        file.mkdir()
    elif change != "missing":
        file.write_bytes(b"content" + (b"s" if change == "size" else b""))
        os.utime(file, ns=(OLD, OLD + (change == "time")))

    assert digest(path, file) == ""


def test_a_file_replaced_by_one_of_its_size_and_time_is_unknown(tmp_path: Path, file: Path) -> None:
    """Where the identity counts, since the other file has another inode."""
    path = tmp_path / "x.stamps"
    remember(path, file, identity=True)
    known = digest(path, file, identity=True)
    other = tmp_path / "other"
    other.write_bytes(b"CONTENT")
    os.utime(other, ns=(OLD, OLD))
    other.replace(file)

    assert (known, digest(path, file, identity=True)) == (storage.sha256(b"content"), "")


@pytest.mark.parametrize("age", [0, RACY // 2, -RACY])
def test_a_file_that_was_just_written_is_read_again(tmp_path: Path, file: Path, age: int) -> None:
    """It might be changed within one tick of the clock after it was read; so might one from the future."""
    now = time.time_ns()
    os.utime(file, ns=(now - age, now - age))
    with Stamps(tmp_path / "x.stamps") as known:
        known.remember(b"file", file.stat(), "00" * 32, now)

    assert digest(tmp_path / "x.stamps", file) == ""


def test_facts_must_agree(tmp_path: Path, file: Path) -> None:
    """A file that was checked against something else, or only hashed, is unknown to those who ask for facts."""
    path = tmp_path / "x.stamps"
    remember(path, file, facts=7)
    answers = [bool(digest(path, file, facts=facts)) for facts in (None, 7, 0, 8)]

    assert answers == [True, True, False, False]


def test_the_last_stamp_counts_and_others_stay(tmp_path: Path, file: Path) -> None:
    """Stamps of several processes add up, and a file that changed gets its new hash."""
    path = tmp_path / "x.stamps"
    with Stamps(path) as first, Stamps(path) as second:
        first.remember(b"one", file.stat(), "11" * 32, time.time_ns())
        second.remember(b"two", file.stat(), "22" * 32, time.time_ns())
    with Stamps(path) as third:
        third.remember(b"one", file.stat(), "33" * 32, time.time_ns())
        third.remember(b"one", file.stat(), "44" * 32, time.time_ns())

    status = file.stat()
    assert Stamps(path).digests([b"two", b"none", b"one"], [status] * 3) == ["22" * 32, "", "44" * 32]
    assert path.stat().st_size == 16 + 2 * stamps.ENTRY.itemsize


def test_many_stamps_are_kept_although_the_process_is_killed(tmp_path: Path, file: Path) -> None:
    """They are saved on the way, sorted; each of them is found."""
    status, number = file.stat(), 20 * CHUNK
    known = Stamps(tmp_path / "x.stamps")
    for place in range(number):
        known.remember(b"%d" % place, status, f"{place:064x}", time.time_ns())

    saved = Stamps(tmp_path / "x.stamps")  # `known` is never closed
    answers = saved.digests([b"%d" % place for place in range(number)], [status] * number)
    assert sum(map(bool, answers)) >= 16_384
    assert all(int(answer, 16) == place for place, answer in enumerate(answers) if answer)


@pytest.mark.parametrize("damage", [b"", b"segkit stamps 1\n", b"segkit stamps 1\nhalf", b"x" * 96])
def test_a_damaged_file_of_stamps_is_ignored(tmp_path: Path, file: Path, damage: bytes) -> None:
    """Everything is read again, and it is written again."""
    path = tmp_path / "x.stamps"
    path.write_bytes(damage)
    before = digest(path, file)
    remember(path, file)

    assert (before, digest(path, file)) == ("", storage.sha256(b"content"))


def test_reread_believes_nothing_and_remembers(tmp_path: Path, file: Path) -> None:
    """So that a second run after it finds what the first has read."""
    path = tmp_path / "x.stamps"
    with Stamps(path) as known:
        known.remember(b"file", file.stat(), "00" * 32, time.time_ns())
    with Stamps(path, reread=True) as known:
        assert known.digests([b"file"], [file.stat()]) == [""]
        known.remember(b"file", file.stat(), "11" * 32, time.time_ns())

    assert digest(path, file) == "11" * 32


def test_what_cannot_be_saved_is_no_error(tmp_path: Path, file: Path) -> None:
    """The reason is kept for those who want to say it."""
    (tmp_path / "cache").write_text("a file, so that no folder can be created")
    known = Stamps(tmp_path / "cache" / "x.stamps")
    with known:
        known.remember(b"file", file.stat(), "11" * 32, time.time_ns())

    assert known.unsaved.startswith(f"Cannot write {tmp_path / 'cache'}")
