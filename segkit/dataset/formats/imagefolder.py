"""Hugging Face's imagefolder: metadata.jsonl or metadata.csv with file_name, a column of control maps and text."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from segkit import rows
from segkit.dataset.formats.listing import MAP_WORDS, Entry, file_in, json_objects
from segkit.errors import DatasetError

_METADATA = ("metadata.jsonl", "metadata.csv")


def read(folder: Path) -> Iterator[Entry]:
    """Yield the entries of an imagefolder and of its train/ split; none without metadata.

    Where a folder holds both metadata files, metadata.jsonl is read.

    Raises:
        DatasetError: the metadata is damaged, lacks a column, or names a file outside its folder.
    """
    for split in (folder, folder / "train"):
        metadata = next((split / name for name in _METADATA if (split / name).is_file()), None)
        for source, row in _rows(metadata) if metadata else ():
            control_map = _control_map(split, row, source)
            if not control_map or not isinstance(row.get("file_name"), str):
                raise DatasetError(f"{source}: expected file_name and a ..._file_name.")
            yield Entry(file_in(split, row["file_name"], source), control_map, str(row.get("text", "")), source)


def control_maps(folder: Path) -> Iterator[Path]:
    """Yield the control maps that the metadata of an imagefolder and of the folders in it names.

    A map that several rows name is yielded once; rows without a column of control maps are skipped.

    Raises:
        DatasetError: the metadata is damaged, names a file outside its folder, or has several columns of maps.
    """
    splits = [folder, *sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))]
    metadata = [split / name for split in splits for name in _METADATA if (split / name).is_file()]
    paths = (_control_map(path.parent, row, source) for path in metadata for source, row in _rows(path))
    yield from dict.fromkeys(filter(None, paths))


def _control_map(folder: Path, row: dict[str, Any], source: str) -> Path | None:
    """Return the control map of a row: the only ..._file_name, or the only one whose name suggests a map."""
    columns = [name for name in row if name.endswith("_file_name")]
    likely = [name for name in columns if MAP_WORDS & set(name.split("_"))] or columns
    if len(likely) > 1:
        raise DatasetError(f"{source}: the map could be {' or '.join(likely)}. Keep only one of these columns.")
    return file_in(folder, row[likely[0]], source) if likely else None


def _rows(metadata: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the position of each row, for error messages, and its cells by column."""
    numbered = _csv(metadata) if metadata.suffix == ".csv" else json_objects(metadata)
    for line, row in numbered:
        yield f"{metadata}, line {line}", row


def _csv(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        numbered = list(rows.csv_rows(rows.decode(path.read_bytes())))
    except rows.CsvError as error:
        raise DatasetError(f"{path}: cannot be read. Line {error.line}: {error}. Correct or remove the file.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: cannot be read ({error}). Correct or remove the file.") from None
    header = numbered[0][1] if numbered else []
    for line, cells in numbered[1:]:
        padded = cells + [""] * (len(header) - len(cells))
        yield line, {column: cell for column, cell in zip(header, padded, strict=False) if column}
