"""Control maps in WebDataset shards are found by extension, without unpacking; faulty shards are refused."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from segkit.dataset.formats import webdataset
from segkit.errors import MapError
from segkit.palette import Palette
from segkit.reports import findings


def picture(color: tuple[int, int, int], picture_format: str = "PNG") -> bytes:
    """Return an encoded picture of one colour with a stripe of ADE20K's sky."""
    image = Image.new("RGB", (32, 32), color)
    image.paste(Palette.load("ade20k").find("sky").rgb, (0, 0, 32, 8))
    buffer = io.BytesIO()
    image.save(buffer, picture_format)
    return buffer.getvalue()


WALL, BLUE = (120, 120, 120), (3, 5, 7)


def shard(path: Path, members: dict[str, bytes]) -> Path:
    """Write a tar file with these members."""
    with tarfile.open(path, "w") as file:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize(
    "extension", ["hint.png", "seg.png", "png", "control.png", "conditioning_image.png", "mask.webp"]
)
def test_a_shards_maps_are_found_by_extension(tmp_path: Path, extension: str) -> None:
    """A sample's photo, text and JSON members are not mistaken for its map."""
    lossless = picture(WALL, "PNG" if extension.endswith("png") else "WEBP")
    members = {"a/0.jpg": picture(BLUE, "JPEG"), f"a/0.{extension}": lossless, "a/0.txt": b"a room", "a/0.json": b"{}"}
    report = findings.examine(str(shard(tmp_path / "000.tar", members)))

    assert report.kind == "shard"
    assert [found.file for found in report.maps] == [f"a/0.{extension}"]


@pytest.mark.parametrize("name", ["../evil.seg.png", "/etc/evil.seg.png", "a/../../b.seg.png", "a\nb.seg.png"])
def test_a_member_outside_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    """A member name that would be unpacked elsewhere or is not printable makes the shard unusable."""
    with pytest.raises(MapError, match="unsafe"):
        findings.examine(str(shard(tmp_path / "0.tar", {name: picture(WALL)})))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[: len(data) // 2 - 3000], "is not a complete uncompressed tar"),
        (lambda data: b"\x1f\x8b" + data[2:], "is not a complete uncompressed tar"),
        (lambda data: b"", "is not a complete uncompressed tar"),
        (lambda data: bytes(10240), "contains no control maps"),
    ],
)
def test_a_damaged_shard_is_refused(tmp_path: Path, damage: Callable[[bytes], bytes], message: str) -> None:
    """A tar that is truncated, compressed or empty raises a MapError."""
    file = shard(tmp_path / "0.tar", {f"{i}.seg.png": bytes(9000) for i in range(4)})
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(MapError, match=message):
        findings.examine(str(file))


def test_a_shard_without_maps_lists_its_extensions(tmp_path: Path) -> None:
    """The error about a shard with only photos and texts names what it contains."""
    file = shard(tmp_path / "0.tar", {"0.jpg": picture(WALL, "JPEG"), "0.txt": b"a room"})
    with pytest.raises(MapError, match=r"have the extensions jpg, txt\. Expected"):
        findings.examine(str(file))


def test_the_offset_locates_the_map(tmp_path: Path) -> None:
    """The bytes at the offset of a member are the map; without a telling extension the only PNG of a sample counts."""
    members = {"0.jpg": b"photo", "0.PNG": b"first map", "1.a.png": b"1", "1.b.png": b"2", "2.seg.png": b"second map"}
    file = shard(tmp_path / "0.tar", members)

    found = webdataset.control_maps(file)

    data = file.read_bytes()
    contents = {member.name: data[member.offset : member.offset + member.size] for member in found}
    assert contents == {"0.PNG": b"first map", "2.seg.png": b"second map"}


def header(data: bytes, number: int) -> int:
    """Return the offset of the header of a member in a shard whose members take two blocks each."""
    return number * 2 * tarfile.BLOCKSIZE


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[: header(data, 2)], "no valid header at byte 2,048, so what follows would be dropped"),
        (lambda data: data[: header(data, 2) + 100], "no valid header at byte 2,048|not a complete"),
        (lambda data: data[: header(data, 2)] + bytes([data[header(data, 2)] ^ 1]) + data[header(data, 2) + 1 :],
         "no valid header at byte 2,048"),
        (lambda data: data[: header(data, 1) + 148] + b"9" + data[header(data, 1) + 149 :],
         "no valid header at byte 1,024"),
        (lambda data: data + data, "data follows the end of the archive"),
    ],
    ids=["cut between members", "cut in a header", "a flipped bit", "a wrong checksum", "two shards joined"],
)  # fmt: skip
def test_a_shard_never_ends_in_silence(tmp_path: Path, damage: Callable[[bytes], bytes], message: str) -> None:
    """Members that tar readers would drop without a word are reported."""
    file = shard(tmp_path / "0.tar", {f"{i}.seg.png": bytes(512) for i in range(4)})
    assert len(webdataset.control_maps(file)) == 4
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(MapError, match=message):
        findings.examine(str(file))


@pytest.mark.parametrize("names", [("0.seg.png", "0.seg.png"), ("0.seg.png", "1.seg.png", "0.txt"), ("0.PNG", "0.png")])
def test_a_sample_that_occurs_twice_is_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    """Readers would overwrite or split it."""
    file = tmp_path / "0.tar"
    with tarfile.open(file, "w") as tar:
        for name in names:
            tar.addfile(tarfile.TarInfo(name))
    with pytest.raises(MapError, match=r"the sample 0 occurs twice"):
        findings.examine(str(file))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    """They are no pictures, and unpacking them could write elsewhere; folders are harmless."""
    file = tmp_path / "0.tar"
    with tarfile.open(file, "w") as tar:
        for name, member_type in (("a", tarfile.DIRTYPE), ("a/0.seg.png", kind)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = member_type, "elsewhere"
            tar.addfile(info)
    with pytest.raises(MapError, match=r"the member 'a/0\.seg\.png' is a link or a device"):
        findings.examine(str(file))
