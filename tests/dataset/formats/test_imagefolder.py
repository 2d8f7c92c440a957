"""Hugging Face's imagefolder is read as entries, from metadata.jsonl, .csv or .parquet."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from segkit.dataset.formats import imagefolder
from segkit.dataset.formats.listing import Entry
from segkit.errors import DatasetError

HEADER = "file_name,conditioning_image_file_name,text\n"
ROW = {"file_name": "images/0.png", "conditioning_image_file_name": "maps/0.png", "text": "a room"}


def write(folder: Path, *rows: dict[str, Any], name: str = "metadata.jsonl") -> Path:
    """Write metadata and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / name


def read(folder: Path) -> list[tuple[str, str, str, str]]:
    """Return photo, control map, prompt and split of each entry, paths relative to the folder."""

    def name(path: Path) -> str:
        return path.relative_to(folder).as_posix()

    entries = imagefolder.read(folder).entries
    return [(name(entry.photo), name(entry.control_map), entry.text, entry.split) for entry in entries]


def test_the_layout_is_told_by_a_column_of_maps(tmp_path: Path) -> None:
    """Metadata of photos alone, or none, is another layout; a list in a folder of the folder counts."""
    assert not imagefolder.detect(tmp_path)
    write(tmp_path, {"file_name": "0.png", "text": "a room"})
    assert not imagefolder.detect(tmp_path)
    assert imagefolder.columns(tmp_path) == ["file_name", "text"]
    write(tmp_path / "train", ROW)
    assert imagefolder.detect(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";"])
def test_an_imagefolder_may_have_a_csv(tmp_path: Path, encoding: str, delimiter: str) -> None:
    """metadata.csv gives the same entries as metadata.jsonl; of the split train/ too."""
    path = tmp_path / "train" / "metadata.csv"
    path.parent.mkdir()
    path.write_text(f'{HEADER}0.jpg,m/0.png,"a\nroom"\n1.jpg,m/1.png\n'.replace(",", delimiter), encoding)

    assert imagefolder.read(tmp_path).entries == (
        Entry(path.parent / "0.jpg", path.parent / "m" / "0.png", "a\nroom", f"{path}, line 2"),
        Entry(path.parent / "1.jpg", path.parent / "m" / "1.png", "", f"{path}, line 4"),
    )


def test_an_imagefolder_may_have_a_parquet_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """metadata.parquet gives the same entries; a null is an empty prompt. Without pyarrow, one line says what to do."""
    from pyarrow import Table, parquet

    path = tmp_path / "metadata.parquet"
    parquet.write_table(Table.from_pylist([ROW, {**ROW, "file_name": "1.png", "text": None}]), path)

    assert read(tmp_path) == [("images/0.png", "maps/0.png", "a room", "train"), ("1.png", "maps/0.png", "", "train")]

    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DatasetError, match=r"metadata\.parquet: cannot be read"):
        imagefolder.read(tmp_path)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DatasetError, match=r"metadata\.parquet needs pyarrow\. Run: pip install pyarrow"):
        imagefolder.read(tmp_path)


def test_of_two_metadata_files_the_json_is_read(tmp_path: Path) -> None:
    """A folder with both lists each triple once, and so do two folders that list the same photo."""
    write(tmp_path, {**ROW, "file_name": "train/0.png"})
    write(tmp_path / "train", {**ROW, "file_name": "0.png", "text": "again"})
    (tmp_path / "metadata.csv").write_text(HEADER + "0.jpg,0.png,csv\n")

    assert read(tmp_path) == [("train/0.png", "maps/0.png", "a room", "train")]
    assert imagefolder.read(tmp_path).notes == (
        f"{tmp_path / 'metadata.csv'} is not read, because metadata.jsonl lies beside it.",
    )


@pytest.mark.parametrize(
    ("columns", "chosen"),
    [
        (("depth_file_name", "seg_file_name"), "seg_file_name"),
        (("mask_file_name", "original_file_name", "segmentation_file_name"), "segmentation_file_name"),
        (("original_file_name", "conditioning_image_file_name"), "conditioning_image_file_name"),
        (("control_file_name", "conditioning_image_file_name"), "conditioning_image_file_name"),
        (("conditioning_image", "original_image"), "conditioning_image"),
        (("original_file_name", "mask_file_name"), "mask_file_name"),
        (("control_image",), "control_image"),
        (("depth_file_name",), "depth_file_name"),
    ],
)
@pytest.mark.parametrize("order", [1, -1])
def test_the_column_of_maps_does_not_depend_on_the_order(
    tmp_path: Path, columns: tuple[str, ...], chosen: str, order: int
) -> None:
    """The standard names come first, then names that suggest a map; the original is never the map."""
    names = {name: f"{name}.png" for name in columns}
    row = dict([("file_name", "0.jpg"), *names.items(), ("text", "x")][::order])
    write(tmp_path, row)
    assert read(tmp_path) == [("0.jpg", f"{chosen}.png", "x", "train")]


def test_two_columns_that_could_hold_maps_are_refused(tmp_path: Path) -> None:
    """The message names both and the name that would decide."""
    write(tmp_path, {"file_name": "0.jpg", "control_file_name": "m.png", "seg_file_name": "s.png"})
    with pytest.raises(
        DatasetError, match=r"could be control_file_name or seg_file_name\. Rename .* conditioning_image_"
    ):
        imagefolder.read(tmp_path)


@pytest.mark.parametrize(
    ("cells", "text"),
    [
        ({"prompt": "a room"}, "a room"),
        ({"caption": "a room"}, "a room"),
        ({"text": "a room", "caption": "other"}, "a room"),
        ({"text": None, "caption": "a room"}, "a room"),
        ({"text": "  ", "prompt": "a room"}, "a room"),
        ({"text": None}, ""),
        ({"text": float("nan")}, ""),
        ({"text": "nan", "caption": "a room"}, "a room"),
        *(({"text": word}, "") for word in ("nan", "NaN", "None", "NULL", "null", "<NA>")),
        ({"text": "none of it"}, "none of it"),
        ({}, ""),
    ],
)
def test_prompts_are_found(tmp_path: Path, cells: dict[str, Any], text: str) -> None:
    """Three columns may hold them; null and NaN are empty, never words."""
    write(tmp_path, {"file_name": "0.jpg", "conditioning_image_file_name": "0.png", **cells})
    assert [entry.text for entry in imagefolder.read(tmp_path).entries] == [text]


def test_prompts_with_nul_are_refused(tmp_path: Path) -> None:
    """No tokenizer expects one."""
    path = write(tmp_path, ROW | {"text": "a\0b"})
    with pytest.raises(DatasetError, match=f"{path}, line 1: text contains a NUL character"):
        imagefolder.read(tmp_path)


@pytest.mark.parametrize(
    ("value", "kind"), [(["a", "b"], "a list"), ({"en": "a"}, "an object"), (3, "a number"), (False, "a Boolean")]
)
def test_prompts_that_are_not_text_are_refused(tmp_path: Path, value: object, kind: str) -> None:
    """The message names the file, the line and what was found."""
    path = write(tmp_path, ROW, ROW | {"text": value})
    with pytest.raises(DatasetError, match=f"{path}, line 2: text is {kind}; expected text"):
        imagefolder.read(tmp_path)


@pytest.mark.parametrize(
    ("folder", "cell", "split"),
    [
        ("train", "", "train"), ("validation", None, "val"), ("Valid", "", "val"), ("dev", "", "val"),
        ("test", "", "test"), ("eval", "", "test"), ("rooms", "", "train"), ("", "validation", "val"),
        ("", "Test", "test"), ("", "training", "train"), ("validation", "val", "val"),
    ],
)  # fmt: skip
def test_splits_are_honoured(tmp_path: Path, folder: str, cell: str | None, split: str) -> None:
    """Folders and a column `split` say what is held out, in the words of Hugging Face."""
    write(tmp_path / folder, ROW | {"split": cell})
    assert [entry.split for entry in imagefolder.read(tmp_path).entries] == [split]


def test_splits_may_be_folders_below_the_list(tmp_path: Path) -> None:
    """A single list at the top names files in train/ and validation/."""
    write(tmp_path, *(ROW | {"file_name": f"{name}/0.png"} for name in ("train", "validation", "other")))
    assert [split for *_, split in read(tmp_path)] == ["train", "val", "train"]


@pytest.mark.parametrize(
    ("folder", "cell", "message"),
    [
        ("", "holdout", "split is 'holdout'; expected train, val or test"),
        ("", 1, "split is 1; expected train, val or test"),
        ("validation", "train", "split is 'train', but .* lies in a folder of val"),
    ],
)
def test_doubtful_splits_are_refused(tmp_path: Path, folder: str, cell: object, message: str) -> None:
    """What might have been held out is not trained on by guess."""
    write(tmp_path / folder, ROW | {"split": cell})
    with pytest.raises(DatasetError, match=f"line 1: {message}"):
        imagefolder.read(tmp_path)


def test_rejected_triples_are_left_out(tmp_path: Path) -> None:
    """A dataset of segkit without its hidden folder keeps what a review decided, and says so."""
    write(tmp_path, ROW | {"review": ""}, ROW | {"file_name": "1.png", "review": "rejected"})
    listing = imagefolder.read(tmp_path)
    assert len(listing.entries) == 1
    assert listing.notes == ("Triples rejected in a review, left out: 1.",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (HEADER + "../0.jpg,0.png,\n", r"line 2: '\.\./0\.jpg' does not name a file"),
        (HEADER + "0.jpg,/0.png,\n", r"line 2: '/0\.png' does not name a file"),
        (HEADER + "0.jpg\n", r"line 2: '' does not name a file"),
        (HEADER + "0.jpg,0.png,a room, wide\n", r"line 2: more cells than columns"),
        ("file_name,text\n0.jpg,a room\n", r"line 2: expected file_name, conditioning_image_file_name and text; found"),
        (HEADER + '0.jpg,"0.png\n', r"metadata\.csv: cannot be read\. Line 2: "),
        (HEADER + "0.jpg,0.png,caf\udce9\n", r"metadata\.csv: cannot be read"),
    ],
)
def test_a_faulty_csv_is_refused(tmp_path: Path, content: str, message: str) -> None:
    """Unsafe names, missing columns, open quotes and other encodings are one line each."""
    (tmp_path / "metadata.csv").write_text(content, "utf-8", "surrogateescape")

    with pytest.raises(DatasetError, match=message) as refused:
        imagefolder.read(tmp_path)
    assert "\n" not in str(refused.value)


def test_hidden_folders_are_ignored(tmp_path: Path) -> None:
    """A download cache is no split."""
    write(tmp_path, ROW)
    write(tmp_path / ".cache", ROW | {"file_name": "1.png"})
    assert len(imagefolder.read(tmp_path).entries) == 1
