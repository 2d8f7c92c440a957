"""Photos behind URLs, in tar files and in lists become the dataset that the same files in a folder become."""

import io
import json
import tarfile
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from segkit import remote, storage
from segkit.build import remote_photos
from segkit.build.remote_photos import RemotePhoto, RemotePhotos
from segkit.errors import LocationError, PhotoError, UsageError
from segkit.remote import Location
from tests.conftest import Result, Segkit
from tests.s3 import DENIED, Fault, FaultyApp

Build = Callable[[str, str], Result]


@pytest.fixture(scope="module")
def plain(six_photos: Path, build_options: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset of six local photos."""
    from segkit import api

    folder = tmp_path_factory.mktemp("plain") / "rooms"
    names = [name[2:].replace("-", "_") for name in build_options[::2]]
    options: dict[str, Any] = dict(zip(names, build_options[1::2], strict=True))
    api.build_dataset(six_photos, folder, **{**options, "caption_tokens": 6})
    return folder


@pytest.fixture
def place(bucket: FaultyApp) -> Location:
    """A folder of its own in the bucket."""
    return remote.location(f"s3://rooms/{uuid.uuid4().hex}")


@pytest.fixture
def build(segkit: Segkit, build_options: list[str], tmp_path: Path) -> Build:
    """Return a function that builds a dataset, of a name in tmp_path, from photos."""
    return lambda photos, name: segkit("build-dataset", photos, "-o", tmp_path / name, *build_options)


def pack(path: Path, photos: list[Path], cut: int = 0) -> None:
    """Write a tar file, perhaps without its last bytes."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for photo in photos:
            tar.add(photo, f"in/{photo.name}")
    path.write_bytes(data.getvalue()[: len(data.getvalue()) - cut])


def signed(place: Location) -> str:
    """Return a web address at which anybody may read a file for a while."""
    import boto3

    bucket, _, key = place.root.removeprefix("s3://").partition("/")
    url: str = boto3.client("s3").generate_presigned_url("get_object", {"Bucket": bucket, "Key": key})
    return url


def contents(dataset: Path) -> dict[str, str]:
    """The hash of every photo and map of a dataset."""
    return {
        path.relative_to(dataset).as_posix(): storage.sha256(path.read_bytes())
        for folder in ("images", "maps")
        for path in (dataset / folder).rglob("*.*")
    }


def test_photos_on_s3_become_the_same_dataset(
    build: Build, bucket: FaultyApp, place: Location, six_photos: Path, plain: Path, tmp_path: Path
) -> None:
    """Photos and maps are equal, byte for byte, sources are names within the URL, and a second run reads no photo."""
    for photo in sorted(six_photos.iterdir()):
        place.upload(photo, f"deep/{photo.name}")
    place.write("notes.md", b"text")
    place.write(".hidden/a.jpg", b"no photo")
    bucket.faults += [Fault("cut", ending="2.jpg"), Fault("status", ending="4.jpg"), Fault("short", ending="5.jpg")]
    rooms = tmp_path / "rooms"

    built = build(place.root, "rooms")
    bucket.requests.clear()
    again = build(place.root, "rooms")

    assert (built.code, again.code) == (0, 0), built.err
    assert not bucket.faults
    assert contents(rooms) == contents(plain)
    assert '"source": "deep/0.jpg"' in (rooms / "metadata.jsonl").read_text()
    assert {method for method, _, _ in bucket.requests} <= {"GET"}  # listings
    assert not [path for _, path, _ in bucket.requests if path.endswith(".jpg")]


def test_a_list_on_s3_names_files_beside_it(place: Location) -> None:
    """Names in a list are relative to it."""
    place.write("in/a.jpg", b"photo")
    place.write("list.txt", b"\xef\xbb\xbfin/a.jpg\r\n")

    (photo,), _ = remote_photos.search(f"{place.root}/list.txt")

    assert photo.read(1e6) == b"photo"
    assert photo.name.endswith("/in/a.jpg")


def test_photos_in_tar_files_and_lists(
    build: Build, bucket: FaultyApp, place: Location, six_photos: Path, plain: Path, tmp_path: Path
) -> None:
    """Tar files with a brace range, and a list of web addresses, give the same triples."""
    photos = sorted(six_photos.iterdir())
    for number in range(2):
        pack(tmp_path / "shard.tar", photos[3 * number : 3 * number + 3])
        place.upload(tmp_path / "shard.tar", f"photos-{number:02d}.tar")
    for photo in photos:
        place.upload(photo, f"listed/{photo.name}")
    lines = [signed(place / f"listed/{photo.name}") for photo in photos[:3]]
    lines += ["# a comment", "", *((place / f"listed/{photo.name}").root for photo in photos[3:])]
    place.write("list.txt", "\n".join(lines).encode())
    bucket.faults += [Fault("cut", ending="1.jpg"), Fault("status", ending="2.jpg"), Fault("short", ending="0.jpg")]

    shards = build(f"{place.root}/photos-{{00..01}}.tar", "a")
    listed = build(signed(place / "list.txt"), "b")

    assert (shards.code, listed.code) == (0, 0), shards.err + listed.err
    assert contents(tmp_path / "a") == contents(tmp_path / "b") == contents(plain)
    assert '"source": "photos-01.tar/in/3.jpg"' in (tmp_path / "a" / "metadata.jsonl").read_text()
    assert "Signature" not in (tmp_path / "b" / "metadata.jsonl").read_text()


def test_local_tar_files_are_read_in_place(six_photos: Path, tmp_path: Path) -> None:
    """A local tar file is searched like a remote one."""
    pack(tmp_path / "p-0.tar", sorted(six_photos.iterdir()))

    listing, passed = remote_photos.search(str(tmp_path / "p-{0..0}.tar"))

    assert [photo.name for photo in listing] == [f"p-0.tar/in/{number}.jpg" for number in range(6)]
    assert listing[4].read(1e9) == (six_photos / "4.jpg").read_bytes()
    assert not passed
    assert (status := listing[4].status()) is not None
    assert status != listing[5].status()


def test_a_tar_file_that_is_cut_short_is_refused(six_photos: Path, tmp_path: Path) -> None:
    """Members beyond the cut would be missing without a word."""
    for cut in (10240, 200_000):
        pack(tmp_path / "p.tar", sorted(six_photos.iterdir()), cut)

        with pytest.raises(LocationError, match=r"cut short|not a plain tar"):
            remote_photos.search(str(tmp_path / "p.tar"))


def test_a_store_that_fails_ends_the_build(
    build: Build, bucket: FaultyApp, place: Location, six_photos: Path, tmp_path: Path
) -> None:
    """Expired credentials reject no photos; the next run continues."""
    for photo in sorted(six_photos.iterdir()):
        place.upload(photo, photo.name)
    bucket.faults.append(Fault("status", "403 Forbidden", DENIED, ending=".jpg", times=99))

    result = build(place.root, "rooms")

    assert result.code == 2
    assert "is denied (403)" in result.err
    assert not (tmp_path / "rooms" / ".segkit" / "rejected.jsonl").read_text()


def test_a_plan_reads_photos_from_a_url(
    segkit: Segkit, place: Location, six_photos: Path, build_options: list[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """--dry-run counts photos, masks and other files, and writes nothing; the working folder plays no part."""
    monkeypatch.chdir(tmp_path)
    for photo in sorted(six_photos.iterdir())[:2]:
        place.upload(photo, f"a/{photo.name}")
        place.write(f"masks/{photo.stem}.png", b"map")
    place.write(".thumbs/0.jpg", b"copy")

    result = segkit("build-dataset", place.root, "-o", "rooms", "--dry-run", "--json", *build_options)

    plan = json.loads(result.out)
    assert (plan["found"], plan["made"], plan["skipped"]) == (5, 2, {"mask": 2, "thumbnail": 1})
    assert [note for note in plan["notes"] if "inside the folder of photos" in note] == []
    assert not list(tmp_path.iterdir())


def test_a_photo_that_is_gone_is_rejected(place: Location) -> None:
    """One missing photo has a reason, like an unreadable file."""
    place.write("empty.jpg", b"")
    cases = {("gone.jpg", -1): "unreadable", ("empty.jpg", 0): "empty", ("huge.jpg", 10**9): "too-large"}

    for (name, size), reason in cases.items():
        with pytest.raises(PhotoError) as caught:
            RemotePhoto(name, place / name, 0, size).read(1e6)
        assert caught.value.reason == reason


def test_remote_photos_are_kept_compactly(place: Location) -> None:
    """A sequence of many gives back what was put in."""
    listing = [RemotePhoto(f"{number}.jpg", place / f"a/{number}.jpg", number, 5, "v") for number in range(9)]
    photos = RemotePhotos(listing)

    assert list(photos) == listing
    assert photos[2:4] == listing[2:4]
    assert photos[-1] == listing[-1]


def test_a_dataset_is_not_written_to_a_url(segkit: Segkit, six_photos: Path) -> None:
    """One line says where a dataset is written, and how it gets to a URL."""
    result = segkit("build-dataset", six_photos, "-o", "s3://rooms/new")

    assert result.code == 2
    assert "s3://rooms/new: a dataset is written to a local folder" in result.err


@pytest.mark.parametrize("line", ["/etc/passwd", "../up.jpg", "ftp://host/a.jpg"])
def test_a_list_leads_nowhere_else(tmp_path: Path, line: str) -> None:
    """A list names URLs, and files beside itself."""
    (tmp_path / "list.txt").write_text(f"a.jpg\n{line}\n")

    with pytest.raises(UsageError, match=r"list\.txt, line 2"):
        remote_photos.search(str(tmp_path / "list.txt"))
