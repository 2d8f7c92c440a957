"""Maps in WebDataset shards and HF imagefolders, examined through check-palette."""

import io
import json
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from segkit.errors import MapError
from segkit.reports import findings
from tests.conftest import Segkit
from tests.dataset.formats.test_webdataset import BLUE, WALL, picture, shard


def test_a_shards_maps_are_examined_in_place(tmp_path: Path, segkit: Segkit) -> None:
    """An exact map has no finding, a foreign one is reported, and nothing is unpacked."""
    file = shard(tmp_path / "000.tar", {"0.hint.png": picture(WALL), "1.hint.png": picture(BLUE)})

    result = segkit("check-palette", file, "--json")

    report = json.loads(result.out)
    assert (result.code, report["kind"]) == (1, "shard")
    assert [(found["file"], found["off_palette"]) for found in report["maps"]] == [
        ("0.hint.png", 0),
        ("1.hint.png", 0.75),
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["000.tar"]


def test_the_cure_for_a_map_in_a_shard_works_verbatim(
    tmp_path: Path, segkit: Segkit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command in the finding unpacks the map and repairs it."""
    image = Image.open(io.BytesIO(picture(WALL))).convert("RGB")
    buffer = io.BytesIO()
    Image.merge("RGB", image.split()[::-1]).save(buffer, "PNG")
    file = shard(tmp_path / "a b.tar", {"-x 1.seg.png": buffer.getvalue()})
    monkeypatch.chdir(tmp_path)

    out = segkit("check-palette", file, "--json").out
    unpack, snap_files = json.loads(out)["maps"][0]["cure"].split(" && ")
    subprocess.run(["bash", "-c", unpack], check=True)

    assert snap_files == "segkit snap './-x 1.seg.png' -o 'repaired/-x 1.seg.png'"
    assert segkit("snap", "./-x 1.seg.png", "-o", "repaired/-x 1.seg.png").code == 0
    assert segkit("check-palette", "repaired/-x 1.seg.png").code == 0


@pytest.mark.parametrize("style", ["jsonl", "csv"])
@pytest.mark.parametrize("split", ["", "train/"])
def test_an_imagefolder_is_read_by_its_metadata(tmp_path: Path, style: str, split: str) -> None:
    """Only files named by the conditioning column are maps; photos are not."""
    folder = tmp_path / split
    (folder / "seg").mkdir(parents=True)
    (folder / "0.jpg").write_bytes(picture(BLUE, "JPEG"))
    (folder / "seg" / "0.png").write_bytes(picture(WALL))
    row = {"file_name": "0.jpg", "conditioning_image_file_name": "seg/0.png", "text": "a room, wide"}
    lines = {"jsonl": json.dumps(row) + "\n\n", "csv": ",".join(row) + '\n0.jpg,seg/0.png,"a room, wide"\n'}
    (folder / f"metadata.{style}").write_text(lines[style])

    report = findings.examine(str(tmp_path))

    assert (report.kind, report.findings) == ("imagefolder", [])
    assert [found.file for found in report.maps] == [f"{split}seg/0.png"]


def test_a_missing_map_of_an_imagefolder_is_a_finding(tmp_path: Path) -> None:
    """A map that the metadata names but the folder lacks is reported."""
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "0.jpg", "mask_file_name": "0.png"}\n')
    report = findings.examine(str(tmp_path))
    assert [problem.message for problem in report.findings] == ["0.png does not exist."]


@pytest.mark.parametrize("name", ['"../0.png"', '"/etc/0.png"', '"C:\\\\0.png"', "7", "null", '""', '"a\\u0000"'])
def test_metadata_paths_outside_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    """A path outside the folder, or one that is not a path, raises an error that names the line."""
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "0.jpg", "mask_file_name": ' + name + "}\n")
    with pytest.raises(MapError, match=r"metadata\.jsonl, line 1: .* does not name a file in this folder"):
        findings.examine(str(tmp_path))


@pytest.mark.parametrize("text", ["{", "[1]", "[" * 100_000, "\xff"])
def test_malformed_metadata_is_refused(tmp_path: Path, text: str) -> None:
    """Broken JSON, rows that are not objects, deep nesting and invalid UTF-8 raise a MapError."""
    (tmp_path / "metadata.jsonl").write_bytes(text.encode("latin-1"))
    with pytest.raises(MapError, match=r"metadata\.jsonl: cannot be read"):
        findings.examine(str(tmp_path))


def test_metadata_without_maps_makes_a_plain_folder(tmp_path: Path) -> None:
    """An imagefolder without a conditioning column is examined as a folder of maps."""
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "0.png", "text": "a map"}\n')
    (tmp_path / "0.png").write_bytes(picture(WALL))
    assert findings.examine(str(tmp_path)).kind == "folder"
