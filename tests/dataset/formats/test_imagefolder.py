"""Hugging Face's imagefolder is read as entries, from metadata.jsonl or metadata.csv."""

from pathlib import Path

import pytest

from segkit.dataset.formats import imagefolder
from segkit.dataset.formats.listing import Entry
from segkit.errors import DatasetError

HEADER = "file_name,conditioning_image_file_name,text\n"


def test_a_folder_without_metadata_has_no_entries(tmp_path: Path) -> None:
    """The reader yields nothing where its files are missing."""
    assert list(imagefolder.read(tmp_path)) == []


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";"])
def test_an_imagefolder_may_have_a_csv(tmp_path: Path, encoding: str, delimiter: str) -> None:
    """metadata.csv gives the same entries as metadata.jsonl; of the split train/ too."""
    path = tmp_path / "train" / "metadata.csv"
    path.parent.mkdir()
    path.write_text(f'{HEADER}0.jpg,m/0.png,"a\nroom"\n1.jpg,m/1.png\n'.replace(",", delimiter), encoding)

    assert list(imagefolder.read(tmp_path)) == [
        Entry(path.parent / "0.jpg", path.parent / "m" / "0.png", "a\nroom", f"{path}, line 2"),
        Entry(path.parent / "1.jpg", path.parent / "m" / "1.png", "", f"{path}, line 4"),
    ]


def test_of_two_metadata_files_the_json_is_read(tmp_path: Path) -> None:
    """A folder with both lists each triple once."""
    (tmp_path / "metadata.csv").write_text(HEADER + "0.jpg,0.png,csv\n")
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "0.jpg", "mask_file_name": "0.png", "text": "json"}\n')

    assert [entry.text for entry in imagefolder.read(tmp_path)] == ["json"]


def test_the_column_of_maps_is_the_one_whose_name_suggests_it(tmp_path: Path) -> None:
    """Other file columns beside it are ignored; two that could hold maps are refused."""
    path = tmp_path / "metadata.jsonl"
    path.write_text('{"file_name": "0.jpg", "depth_file_name": "d.png", "seg_file_name": "s.png"}\n')
    assert [entry.control_map.name for entry in imagefolder.read(tmp_path)] == ["s.png"]

    path.write_text('{"file_name": "0.jpg", "mask_file_name": "m.png", "seg_file_name": "s.png"}\n')
    for read in (imagefolder.read, imagefolder.control_maps):
        with pytest.raises(DatasetError, match=r"line 1: the map could be mask_file_name or seg_file_name"):
            list(read(tmp_path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (HEADER + "../0.jpg,0.png,\n", r"line 2: '\.\./0\.jpg' does not name a file"),
        (HEADER + "0.jpg,/0.png,\n", r"line 2: '/0\.png' does not name a file"),
        (HEADER + "0.jpg\n", r"line 2: '' does not name a file"),
        ("file_name,text\n0.jpg,a room\n", r"line 2: expected file_name and a \.\.\._file_name"),
        (HEADER + '0.jpg,"0.png\n', r"metadata\.csv: cannot be read\. Line 2: "),
        (HEADER + "0.jpg,0.png,caf\udce9\n", r"metadata\.csv: cannot be read"),
    ],
)
def test_a_faulty_csv_is_refused(tmp_path: Path, content: str, message: str) -> None:
    """Unsafe names, missing columns, open quotes and other encodings are one line each."""
    (tmp_path / "metadata.csv").write_text(content, "utf-8", "surrogateescape")

    with pytest.raises(DatasetError, match=message) as refused:
        list(imagefolder.read(tmp_path))
    assert "\n" not in str(refused.value)


def test_control_maps_of_all_splits_are_listed_once(tmp_path: Path) -> None:
    """Maps of the folder and of the folders in it, hidden ones excepted; rows without a map are skipped."""
    line = '{"file_name": "0.jpg", "mask_file_name": "0.png"}\n'
    for split in (".", "train", "test", ".cache"):
        (tmp_path / split).mkdir(exist_ok=True)
        (tmp_path / split / "metadata.jsonl").write_text(line + line + '{"file_name": "1.jpg"}\n')

    assert list(imagefolder.control_maps(tmp_path)) == [tmp_path / name / "0.png" for name in ("", "test", "train")]
