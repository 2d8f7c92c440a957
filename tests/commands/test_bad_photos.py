"""segkit build-dataset on a folder of damaged, unusual and malicious files, end to end through the command line."""

import hashlib
import json
import os
import struct
import sys
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageOps

from segkit import photos
from segkit.toy import world
from tests.conftest import Result, Segkit

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="other systems do not allow some of these names and files"
)

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

PASSED_OVER = {
    ".hidden.jpg": "hidden",
    "@eaDir/1.jpg/SYNOPHOTO_THUMB_B.jpg": "thumbnail",
    "._one.jpg": "thumbnail",
    os.fsdecode(b"caf\xe9.\xe9"): "other-file",
    "outside.jpg": "link-outside",
    os.fsdecode(b"outside \xe9"): "link-outside",
}
OTHER_ENDINGS = {
    "a.dng": "unknown-ending",
    "b.jxl": "unknown-ending",
    "c": "unknown-ending",
    "d.JPG_large": "unknown-ending",
    "e.jpg?w=1024": "unknown-ending",
    "real.jxl": "not-a-photo",
    "real.dng": "not-a-photo",
}
FOUND = len(GOOD) + len(BAD) + len(PASSED_OVER) + len(OTHER_ENDINGS)


def encode(image: Image.Image, picture_format: str = "PNG") -> bytes:
    """Encode a picture."""
    buffer = BytesIO()
    image.save(buffer, picture_format)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def nasty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every kind of bad file. Do not change it."""
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
        **dict.fromkeys(list(PASSED_OVER)[:3], first),
        list(PASSED_OVER)[3]: b"text",
        **dict.fromkeys(OTHER_ENDINGS, first),
        "real.jxl": b"\xff\x0a" + bytes(90),
        "real.dng": b"II*\0" + bytes(90),
    }
    for name, data in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    outside = tmp_path_factory.mktemp("outside") / os.fsdecode(b"\xe9.jpg")
    world.scene(60, (120, 96)).photo.save(outside, "JPEG")
    (folder / "outside.jpg").symlink_to(outside)
    (folder / list(PASSED_OVER)[5]).symlink_to(outside.parent)
    with (folder / "huge.tif").open("wb") as file:
        file.truncate(2_000_000_000)
    os.mkfifo(folder / "pipe.jpg")
    (folder / "dangling.jpg").symlink_to("nowhere.jpg")
    (folder / "circle.jpg").symlink_to("circle.jpg")
    (folder / "round and round").symlink_to(".")
    (folder / "sub").mkdir()
    (folder / "sub" / "and up again").symlink_to("..")
    return folder


def shown(name: str) -> str:
    """Return a file name as it appears in records."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def lines(path: Path) -> list[dict[str, Any]]:
    """Read a JSON Lines file."""
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def sources(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield name and hash of every regular file of less than 1 MB."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.stat().st_size < 1_000_000:
            yield path.name, hashlib.sha256(path.read_bytes()).hexdigest()


def contents(folder: Path) -> dict[str, bytes]:
    """Return the contents of every file of a dataset except the lock and what is derived from the others."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "lock")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files if path.parent.name != "cache"}


def parsed(result: Result) -> dict[str, Any]:
    """Return the JSON output of a command, which must have succeeded."""
    assert (result.code, result.err) == (0, "")
    outcome: dict[str, Any] = json.loads(result.out)
    return outcome


def total(outcome: dict[str, Any]) -> int:
    """Return the number of photos made, kept, rejected and skipped."""
    counts = outcome["made"] + outcome["kept"], *outcome["rejected"].values(), *outcome["skipped"].values()
    return int(sum(counts))


OPTIONS = ("--min-size", 64, "--size", 64, "--no-caption", "--json")


def test_a_folder_of_bad_files_becomes_a_valid_dataset(
    segkit: Segkit, nasty: Path, build_options: list[str], tmp_path: Path
) -> None:
    """Good photos become triples regardless of their names, bad ones are rejected with a reason, none is changed."""
    before = list(sources(nasty))

    built = segkit("build-dataset", nasty, "-o", tmp_path / "out", *build_options, *OPTIONS)
    checked = segkit("check", tmp_path / "out", "--json")

    outcome = parsed(built)
    triples = lines(tmp_path / "out" / "metadata.jsonl")
    rejected = lines(tmp_path / "out" / ".segkit" / "rejected.jsonl")
    left_out = {shown(name): reason for name, reason in {**BAD, **PASSED_OVER, **OTHER_ENDINGS}.items()}
    assert {record["source"]: record["reason"] for record in rejected} == left_out
    assert outcome["skipped"] == dict(Counter(PASSED_OVER.values()))
    assert {record["reason"] for record in rejected} <= set(photos.REASONS)
    assert sorted(record["source"] for record in triples) == sorted(map(shown, GOOD))
    assert (outcome["made"], outcome["found"]) == (len(GOOD), FOUND) == (len(GOOD), total(outcome))
    assert checked.code == 0
    assert [problem for problem in json.loads(checked.out)["problems"] if problem["severity"] == "error"] == []
    assert list(sources(nasty)) == before


def test_building_a_folder_of_bad_files_again_changes_nothing(
    segkit: Segkit, nasty: Path, build_options: list[str], tmp_path: Path
) -> None:
    """A second run changes no file, and neither does one that retries the rejected photos."""
    command = ("build-dataset", nasty, "-o", tmp_path / "out", *build_options, *OPTIONS)
    segkit(*command)
    before = contents(tmp_path / "out")

    again = parsed(segkit(*command))
    retried = parsed(segkit(*command, "--retry-rejected"))

    assert again["kept"] == retried["kept"] == len(GOOD)
    assert again["rejected"] == retried["rejected"]
    assert total(again) == total(retried) == again["found"]
    assert contents(tmp_path / "out") == before


@pytest.mark.parametrize("extra", [("--limit", 7), ("--dry-run",), ("--keep-duplicates",)], ids=lambda extra: extra[0])
def test_every_photo_is_accounted_for(
    segkit: Segkit, nasty: Path, build_options: list[str], tmp_path: Path, extra: tuple[object, ...]
) -> None:
    """Made, kept, rejected and skipped add up to found, with every option that shifts photos between them."""
    built = segkit("build-dataset", nasty, "-o", tmp_path / "out", *build_options, *OPTIONS, *extra)

    outcome = parsed(built)
    assert outcome["found"] == FOUND
    assert total(outcome) == outcome["found"]


def test_a_copy_is_accepted_once_its_rejected_original_is_gone(
    segkit: Segkit, build_options: list[str], tmp_path: Path
) -> None:
    """A photo rejected as a copy is accepted once the original is deleted and the size limit admits it."""
    for name in ("a.png", "b.png"):
        (tmp_path / "in").mkdir(exist_ok=True)
        world.scene(0, (120, 96)).photo.save(tmp_path / "in" / name)
    command = ("build-dataset", tmp_path / "in", "-o", tmp_path / "out", *build_options, *OPTIONS)
    first = segkit(*command, "--min-size", 1000)
    (tmp_path / "in" / "a.png").unlink()

    second = parsed(segkit(*command))

    assert (first.code, json.loads(first.out)["rejected"]) == (1, {"too-small": 1, "identical": 1})
    assert (second["made"], second["rejected"]) == (1, {})
