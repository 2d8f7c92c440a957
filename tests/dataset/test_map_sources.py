"""Maps wherever they are kept: WebDataset shards and HF imagefolders, through check-palette."""

import io
import json
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from segkit.errors import MapError
from segkit.palette import Palette
from segkit.reports import findings
from tests.conftest import Segkit


def picture(color: tuple[int, int, int], picture_format: str = "PNG") -> bytes:
    """Return a picture of one colour and a stripe of ADE's sky."""
    image = Image.new("RGB", (32, 32), color)
    image.paste(Palette.load("ade20k").find("sky").rgb, (0, 0, 32, 8))
    buffer = io.BytesIO()
    image.save(buffer, picture_format)
    return buffer.getvalue()


WALL, BLUE = (120, 120, 120), (3, 5, 7)


def shard(path: Path, members: dict[str, bytes]) -> Path:
    """Write members into a tar."""
    with tarfile.open(path, "w") as file:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize("ending", ["hint.png", "seg.png", "png", "control.png", "conditioning_image.png", "mask.webp"])
def test_a_shards_maps_are_found_by_their_endings(tmp_path: Path, ending: str) -> None:
    """Photos and texts beside a map are not taken for maps, whatever the map's ending."""
    lossless = picture(WALL, "PNG" if ending.endswith("png") else "WEBP")
    members = {"a/0.jpg": picture(BLUE, "JPEG"), f"a/0.{ending}": lossless, "a/0.txt": b"a room", "a/0.json": b"{}"}
    found = findings.examine(str(shard(tmp_path / "000.tar", members)))

    assert found.kind == "shard"
    assert [each.file for each in found.maps] == [f"a/0.{ending}"]


def test_the_maps_of_a_shard_are_judged_where_they_lie(tmp_path: Path, segkit: Segkit) -> None:
    """An exact map is clean, a foreign one told with a cure; nothing is unpacked."""
    file = shard(tmp_path / "000.tar", {"0.hint.png": picture(WALL), "1.hint.png": picture(BLUE)})

    result = segkit("check-palette", file, "--json")

    found = json.loads(result.out)
    assert (result.code, found["kind"]) == (1, "shard")
    assert [(each["file"], each["off_palette"]) for each in found["maps"]] == [("0.hint.png", 0), ("1.hint.png", 0.75)]
    assert [path.name for path in tmp_path.iterdir()] == ["000.tar"]


def test_the_cure_for_a_map_in_a_shard_works_as_it_is_typed(
    tmp_path: Path, segkit: Segkit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The map is taken out of the shard and mended by the command that the finding tells."""
    image = Image.open(io.BytesIO(picture(WALL))).convert("RGB")
    buffer = io.BytesIO()
    Image.merge("RGB", image.split()[::-1]).save(buffer, "PNG")
    file = shard(tmp_path / "a b.tar", {"-x 1.seg.png": buffer.getvalue()})
    monkeypatch.chdir(tmp_path)

    out = segkit("check-palette", file, "--json").out
    unpack, snap_files = json.loads(out)["maps"][0]["cure"].split(" && ")
    subprocess.run(["bash", "-c", unpack], check=True)

    assert snap_files == "segkit snap './-x 1.seg.png' -o 'mended/-x 1.seg.png'"
    assert segkit("snap", "./-x 1.seg.png", "-o", "mended/-x 1.seg.png").code == 0
    assert segkit("check-palette", "mended/-x 1.seg.png").code == 0


@pytest.mark.parametrize("name", ["../evil.seg.png", "/etc/evil.seg.png", "a/../../b.seg.png", "a\nb.seg.png"])
def test_a_member_that_would_leave_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    """A name that would lead elsewhere once unpacked makes the shard unusable."""
    with pytest.raises(MapError, match="unsafe"):
        findings.examine(str(shard(tmp_path / "0.tar", {name: picture(WALL)})))


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda data: data[: len(data) // 2 - 3000], "no whole tar"),
        (lambda data: b"\x1f\x8b" + data[2:], "no whole tar"),
        (lambda data: b"", "no whole tar"),
        (lambda data: bytes(10240), "holds no control maps"),
    ],
)
def test_a_shard_that_is_cut_or_foreign_is_told(tmp_path: Path, spoil: Callable[[bytes], bytes], told: str) -> None:
    """A tar that ends inside a member, is compressed, or holds nothing is one line and exit code 2."""
    file = shard(tmp_path / "0.tar", {f"{i}.seg.png": bytes(9000) for i in range(4)})
    file.write_bytes(spoil(file.read_bytes()))
    with pytest.raises(MapError, match=told):
        findings.examine(str(file))


def test_a_shard_without_maps_tells_its_endings(tmp_path: Path) -> None:
    """Photos and texts alone are no maps."""
    file = shard(tmp_path / "0.tar", {"0.jpg": picture(WALL, "JPEG"), "0.txt": b"a room"})
    with pytest.raises(MapError, match=r"end in jpg, txt; expected"):
        findings.examine(str(file))


@pytest.mark.parametrize("style", ["jsonl", "csv"])
@pytest.mark.parametrize("split", ["", "train/"])
def test_an_imagefolder_is_read_by_its_metadata(tmp_path: Path, style: str, split: str) -> None:
    """Only the pictures of the conditioning column are maps; photos beside them are not."""
    folder = tmp_path / split
    (folder / "seg").mkdir(parents=True)
    (folder / "0.jpg").write_bytes(picture(BLUE, "JPEG"))
    (folder / "seg" / "0.png").write_bytes(picture(WALL))
    row = {"file_name": "0.jpg", "conditioning_image_file_name": "seg/0.png", "text": "a room, wide"}
    lines = {"jsonl": json.dumps(row) + "\n\n", "csv": ",".join(row) + '\n0.jpg,seg/0.png,"a room, wide"\n'}
    (folder / f"metadata.{style}").write_text(lines[style])

    found = findings.examine(str(tmp_path))

    assert (found.kind, found.findings) == ("imagefolder", [])
    assert [each.file for each in found.maps] == [f"{split}seg/0.png"]


def test_a_map_that_an_imagefolder_lacks_is_a_finding(tmp_path: Path) -> None:
    """The metadata names it, the folder does not have it."""
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "0.jpg", "mask_file_name": "0.png"}\n')
    found = findings.examine(str(tmp_path))
    assert [problem.message for problem in found.findings] == ["0.png does not exist."]


@pytest.mark.parametrize("name", ['"../0.png"', '"/etc/0.png"', '"C:\\\\0.png"', "7", "null", '""', '"a\\u0000"'])
def test_metadata_that_leads_out_of_its_folder_is_refused(tmp_path: Path, name: str) -> None:
    """No file outside the folder is opened, and the line is named."""
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "0.jpg", "mask_file_name": ' + name + "}\n")
    with pytest.raises(MapError, match=r"metadata\.jsonl, line 1: .* is no name of a file"):
        findings.examine(str(tmp_path))


@pytest.mark.parametrize("text", ["{", "[1]", "[" * 100_000, "\xff"])
def test_metadata_that_is_no_list_is_told(tmp_path: Path, text: str) -> None:
    """Broken JSON, another shape, another encoding: one line."""
    (tmp_path / "metadata.jsonl").write_bytes(text.encode("latin-1"))
    with pytest.raises(MapError, match=r"metadata\.jsonl: cannot be read"):
        findings.examine(str(tmp_path))


def test_a_folder_whose_metadata_knows_no_maps_is_a_folder(tmp_path: Path) -> None:
    """An imagefolder of pictures alone is looked at as any folder of pictures."""
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "0.png", "text": "a map"}\n')
    (tmp_path / "0.png").write_bytes(picture(WALL))
    assert findings.examine(str(tmp_path)).kind == "folder"
