"""segkit build-dataset on a folder with every kind of bad photo, end to end through the command line."""

import hashlib
import json
import os
import struct
import sys
import unicodedata
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageOps

from segkit import photos
from segkit.toy import world
from tests.conftest import Result, Segkit

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse some of these names and files")

GOOD = [
    "  spaces .jpg",
    "-rf.jpg",
    "[red]x.jpg",
    "two\nlines.JPG",
    os.fsdecode(b"caf\xe9.jpg"),
    unicodedata.normalize("NFC", "é.jpg"),
    unicodedata.normalize("NFD", "é.jpg"),
    "x" * 251 + ".jpg",
    "not a photo.jpg/but a folder/photo.PNG",
    "=cmd,nan.webp",
]
BAD = {
    "truncated.jpg": "damaged",
    "flipped byte.png": "damaged",
    "zero bytes.jpg": "empty",
    "text.jpg": "not-a-photo",
    "postscript.jpg": "not-a-photo",
    "bomb.png": "too-large",
    "huge.tif": "too-large",
    "not a photo.jpg": "not-a-file",
    "pipe.jpg": "not-a-file",
    "dangling.jpg": "unreadable",
    "circle.jpg": "unreadable",
    "1x1.png": "too-small",
    "1x10000.png": "too-small",
    "z copy.jpg": "identical",
    "z mirrored.jpg": "near-duplicate",
    "z copy of a bad one.png": "identical",
}


def encode(image: Image.Image, picture_format: str = "PNG") -> bytes:
    """Return an encoded picture."""
    buffer = BytesIO()
    image.save(buffer, picture_format)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def nasty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything that can go wrong at once. Read-only for tests."""
    folder = tmp_path_factory.mktemp("nasty photos")
    for seed, name in enumerate(GOOD):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture_format = "JPEG" if name.lower().endswith("jpg") else "PNG"
        world.scene(seed, ((120, 96), (96, 120))[seed % 2]).photo.save(folder / name, picture_format)
    first = (folder / GOOD[0]).read_bytes()
    png = encode(world.scene(50, (120, 96)).photo)
    header = b"IHDR" + struct.pack(">II", 50_000, 50_000) + png[24:29]
    contents = {
        "truncated.jpg": encode(world.scene(51, (120, 96)).photo, "JPEG")[:-800],
        "flipped byte.png": png[:9000] + bytes([png[9000] ^ 0x55]) + png[9001:],
        "zero bytes.jpg": b"",
        "text.jpg": b"Dear diary",
        "postscript.jpg": encode(world.scene(52, (120, 96)).photo, "EPS"),
        "bomb.png": png[:12] + header + struct.pack(">I", zlib.crc32(header)) + png[33:],
        "1x1.png": encode(Image.new("RGB", (1, 1))),
        "1x10000.png": encode(Image.new("RGB", (1, 10_000))),
        "z copy.jpg": first,
        "z mirrored.jpg": encode(ImageOps.mirror(Image.open(folder / GOOD[0])), "JPEG"),
        "z copy of a bad one.png": encode(Image.new("RGB", (1, 1))),
        ".hidden.jpg": first,
    }
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    with (folder / "huge.tif").open("wb") as file:
        file.truncate(2_000_000_000)
    os.mkfifo(folder / "pipe.jpg")
    (folder / "dangling.jpg").symlink_to("nowhere.jpg")
    (folder / "circle.jpg").symlink_to("circle.jpg")
    (folder / "round and round").symlink_to(".")
    (folder / "sub").mkdir()
    (folder / "sub" / "and up again").symlink_to("..")
    return folder


def recorded(name: str) -> str:
    """Return a file name as it appears in records."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def lines(path: Path) -> list[dict[str, Any]]:
    """Read a JSON Lines file."""
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def sources(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield name and hash of every regular file below 1 MB."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.stat().st_size < 1_000_000:
            yield path.name, hashlib.sha256(path.read_bytes()).hexdigest()


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file of a dataset except the lock."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "lock")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def output(result: Result) -> dict[str, Any]:
    """Return the JSON output of a command, which must have succeeded."""
    assert (result.code, result.err) == (0, "")
    outcome: dict[str, Any] = json.loads(result.out)
    return outcome


def total(outcome: dict[str, Any]) -> int:
    """Return the sum of all photo counts of an outcome."""
    counts = outcome["made"] + outcome["kept"], *outcome["rejected"].values(), *outcome["skipped"].values()
    return int(sum(counts))


OPTIONS = ("--min-size", 64, "--size", 64, "--no-caption", "--json")


def test_bad_photos_are_rejected_and_good_ones_are_built(
    segkit: Segkit, nasty: Path, build_options: list[str], tmp_path: Path
) -> None:
    """Good photos become triples under any name, bad ones are listed with a reason, and no source is modified."""
    before = list(sources(nasty))

    built = segkit("build-dataset", nasty, "-o", tmp_path / "out", *build_options, *OPTIONS)
    checked = segkit("check", tmp_path / "out", "--json")

    outcome = output(built)
    triples = lines(tmp_path / "out" / "metadata.jsonl")
    rejected = lines(tmp_path / "out" / ".segkit" / "rejected.jsonl")
    assert {record["source"]: record["reason"] for record in rejected} == BAD
    assert {record["reason"] for record in rejected} <= set(photos.REASONS)
    assert sorted(record["source"] for record in triples) == sorted(map(recorded, GOOD))
    assert (outcome["made"], outcome["found"]) == (len(GOOD), len(GOOD) + len(BAD)) == (len(GOOD), total(outcome))
    assert checked.code == 0
    assert [problem for problem in json.loads(checked.out)["problems"] if problem["severity"] == "error"] == []
    assert list(sources(nasty)) == before


def test_a_second_build_changes_nothing(segkit: Segkit, nasty: Path, build_options: list[str], tmp_path: Path) -> None:
    """A second run keeps all triples and rejections byte for byte, and so does one with --retry-rejected."""
    command = ("build-dataset", nasty, "-o", tmp_path / "out", *build_options, *OPTIONS)
    segkit(*command)
    before = contents(tmp_path / "out")

    again = output(segkit(*command))
    retried = output(segkit(*command, "--retry-rejected"))

    assert again["kept"] == retried["kept"] == len(GOOD)
    assert again["rejected"] == retried["rejected"]
    assert total(again) == total(retried) == again["found"]
    assert contents(tmp_path / "out") == before


@pytest.mark.parametrize("extra", [("--limit", 7), ("--dry-run",), ("--keep-duplicates",)], ids=lambda extra: extra[0])
def test_every_photo_is_accounted_for(
    segkit: Segkit, nasty: Path, build_options: list[str], tmp_path: Path, extra: tuple[object, ...]
) -> None:
    """Made, kept, rejected and skipped photos add up to those found, whatever the options."""
    built = segkit("build-dataset", nasty, "-o", tmp_path / "out", *build_options, *OPTIONS, *extra)

    outcome = output(built)
    assert outcome["found"] == len(GOOD) + len(BAD)
    assert total(outcome) == outcome["found"]


def test_a_copy_is_built_after_its_rejected_original_is_removed(
    segkit: Segkit, build_options: list[str], tmp_path: Path
) -> None:
    """A rejection as a copy is not permanent: without the original, and with a lower --min-size, the copy is built."""
    for name in ("a.png", "b.png"):
        (tmp_path / "in").mkdir(exist_ok=True)
        world.scene(0, (120, 96)).photo.save(tmp_path / "in" / name)
    command = ("build-dataset", tmp_path / "in", "-o", tmp_path / "out", *build_options, *OPTIONS)
    first = output(segkit(*command, "--min-size", 1000))
    (tmp_path / "in" / "a.png").unlink()

    second = output(segkit(*command))

    assert first["rejected"] == {"too-small": 1, "identical": 1}
    assert (second["made"], second["rejected"]) == (1, {})
