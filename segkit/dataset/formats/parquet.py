"""Hugging Face's parquet: photos and maps embedded in columns that `datasets` reads as pictures.

Files are named after their split, as in data/train-00000-of-00004.parquet.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any

from segkit.dataset import lines
from segkit.dataset.formats import items
from segkit.dataset.formats.imagefolder import columns_of
from segkit.dataset.formats.items import Collection
from segkit.dataset.formats.listing import MAP_WORDS, prompt, split_of
from segkit.dataset.formats.writing import HF_SPLITS, Item
from segkit.dataset.triple import Triple
from segkit.errors import DatasetError, UsageError

_PHOTOS = ("image", "photo", "target", "jpg")
"""Columns that hold the photo, in order of preference."""

_MAPS = ("conditioning_image", "control_image", "hint")
"""Columns that hold the control map, in order of preference."""


RECORD = "record"
"""Column with the line of metadata.jsonl, where segkit wrote the file."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A picture or a text in a Parquet file.

    Attributes:
        path: the file.
        group, row: the row group, and the row in it, from 0.
        column: name of the column.
    """

    path: Path
    group: int
    row: int
    column: str

    @property
    def name(self) -> str:
        """The file, row and column."""
        return f"{self.path}, row {self.row + 1} of row group {self.group + 1}, {self.column}"

    def read(self) -> bytes:
        """Return the bytes; see items.Content."""
        try:
            value = _column(self.path, self.group, self.column)[self.row].as_py()
        except (ValueError, LookupError) as error:  # pyarrow's own errors are ValueErrors
            raise OSError(5, str(error)) from None
        data = value.get("bytes") if isinstance(value, dict) else value
        data = data.encode() if isinstance(data, str) else data
        if not isinstance(data, bytes):
            raise OSError(2, "no picture, but the path of one" if value else "an empty cell")
        return data


def detect(folder: Path) -> bool:
    """Return whether a folder, or its folder data/, holds Parquet files with columns of pictures."""
    return any(_pictures(path) for path in _files(folder)[:1])


def read(folder: Path) -> Collection:
    """List the rows of all Parquet files of a folder; pictures are read when they are needed.

    Raises:
        DatasetError: pyarrow is missing, a file is damaged, or its columns cannot be told apart.
    """
    listed: list[items.Item] = []
    for path in _files(folder):
        photo, control_map = _columns(path)
        names = [name for name in _schema_of(path).names if name not in _pictures(path)]
        texts = [name for name in names if name != RECORD]
        split, place = _split(folder, path), path.name if path == folder else path.relative_to(folder).as_posix()
        for number, (group, row, values) in enumerate(_rows(path, texts), 1):
            text, fault = _prompt(values, f"{path}, row {number}")
            shown: items.Content | None = Cell(path, group, row, control_map) if control_map else None
            named = _split_of(values) or split
            item = items.Item(f"{place}/{number:08}", Cell(path, group, row, photo), shown, text, named, fault=fault)
            if RECORD in names and isinstance(values.get("source"), str):
                record = partial(_triple, Cell(path, group, row, RECORD))
                item = replace(item, source=values["source"], record=record, key=str(values.get("key", "")))
            listed.append(item)
    return Collection("parquet", folder, listed)


def _triple(cell: Cell) -> Triple:
    return lines.decode(cell.read())


def _split_of(values: dict[str, Any]) -> str:
    cell = values.get("split")
    return (split_of(cell) or "") if isinstance(cell, str) else ""


def _files(folder: Path) -> list[Path]:
    """Return the Parquet files in a folder, its folder data/, and folders named after splits; not an imagefolder's."""
    if not folder.is_dir():
        return [folder] if folder.suffix == ".parquet" and folder.is_file() else []
    places = [folder, folder / "data", *(place for place in sorted(folder.iterdir()) if split_of(place.name))]
    files = (path for place in places if place.is_dir() for path in sorted(place.glob("*.parquet")))
    return [path for path in files if not path.name.startswith((".", "metadata."))]


def _schema_of(path: Path) -> Any:
    try:
        from pyarrow import parquet
    except ModuleNotFoundError:
        raise DatasetError(f"{path} needs pyarrow. Run: pip install pyarrow") from None
    try:
        return parquet.read_schema(path)
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path}: cannot be read ({error}). Copy or export it again.") from None


def _pictures(path: Path) -> list[str]:
    """Return the names of the columns that hold pictures: structs with "bytes", or binary data."""
    import pyarrow as arrow

    def is_picture(kind: Any) -> bool:
        if arrow.types.is_struct(kind):
            return any(kind.field(place).name == "bytes" for place in range(kind.num_fields))
        return bool(arrow.types.is_binary(kind) or arrow.types.is_large_binary(kind))

    return [field.name for field in _schema_of(path) if is_picture(field.type)]


def _columns(path: Path) -> tuple[str, str]:
    """Return the columns of the photo and of the control map; "" if there is no map.

    Raises:
        DatasetError: several columns could be either.
    """
    names = _pictures(path)
    maps = [name for name in _MAPS if name in names][:1]
    maps = maps or [name for name in names if MAP_WORDS & set(re.split(r"[._-]", name.lower()))]
    photos = [name for name in _PHOTOS if name in names and name not in maps][:1]
    photos = photos or [name for name in names if name not in maps]
    if len(photos) != 1 or len(maps) > 1:
        raise DatasetError(
            f"{path}: its columns of pictures are {', '.join(names) or 'none'}. Expected image (the photo) and "
            "conditioning_image (the control map); rename them."
        )
    return photos[0], maps[0] if maps else ""


def _rows(path: Path, names: list[str]) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Yield row group, row in it and the cells of the other columns, for each row."""
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                columns = file.read_row_group(group, columns=names).columns if names else []
                for row in range(file.metadata.row_group(group).num_rows):
                    yield group, row, {name: _cell(column, row) for name, column in zip(names, columns, strict=True)}
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path}: cannot be read ({error}). Copy or export it again.") from None


def _cell(column: Any, row: int) -> Any:
    try:
        return column[row].as_py()
    except UnicodeDecodeError as error:
        return error


def _prompt(values: dict[str, Any], source: str) -> tuple[str, str]:
    """Return the prompt of a row, and why it cannot be used."""
    if error := next((value for value in values.values() if isinstance(value, UnicodeDecodeError)), None):
        return "", f"{source}: a text is not UTF-8 ({error.reason})."
    try:
        return prompt(values, source), ""
    except DatasetError as error:
        return "", str(error)


def _split(folder: Path, path: Path) -> str:
    """Return the split that a file is named after, or its folder; "" if neither names one."""
    words = [*path.relative_to(folder).parts[:-1], re.split(r"[-_.]", path.stem)[0]] if path != folder else [path.stem]
    return next((split for word in reversed(words) if (split := split_of(re.split(r"[-_.]", word)[0]))), "")


def _column(path: Path, group: int, column: str) -> Any:
    with _reading:  # else several threads would read the same group, of up to 500 MB
        return _read_column(path, group, column)


_reading = Lock()


@lru_cache(4)  # photos and maps of the group that is read, and of the next one
def _read_column(path: Path, group: int, column: str) -> Any:
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        return file.read_row_group(group, columns=[column]).column(0)


PICTURES = ("image", "conditioning_image")
"""Columns of photos and control maps."""

COLUMNS = {
    "text": "string",
    "key": "string",
    "source": "string",
    "split": "string",
    "width": "int32",
    "height": "int32",
    "review": "string",
    "record": "string",
}
"""Types of the other columns; see imagefolder.columns_of."""

_ROWS = 100
"""Rows of a row group: what a reader holds in memory at a time."""


def shard_name(split: str, number: int, count: int) -> str:
    """Return the name of a file, as Hugging Face numbers the shards of a split."""
    return f"data/{HF_SPLITS[split]}-{number:05}-of-{count:05}.parquet"


def features() -> dict[str, Any]:
    """Return the columns in the words of `datasets.Features`."""
    pictures = {name: {"_type": "Image"} for name in PICTURES}
    return pictures | {name: {"dtype": kind, "_type": "Value"} for name, kind in COLUMNS.items()}


def require_library() -> None:
    """Import pyarrow.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import pyarrow.parquet  # noqa: F401
    except ModuleNotFoundError:
        raise UsageError("Parquet needs pyarrow. Run: pip install 'segkit[parquet]'") from None


def write(file: Any, items: Iterable[Item]) -> int:
    """Write a shard and return the number of its rows.

    Args:
        file: like one opened for writing.
        items: the triples; as many are held in memory as a row group has.
    """
    import pyarrow as pa
    from pyarrow import parquet

    schema = _schema()
    remaining, count = iter(items), 0
    with parquet.ParquetWriter(pa.PythonFile(file, mode="w"), schema, use_dictionary=["split", "review"]) as writer:
        while rows := list(islice(map(_row, remaining), _ROWS)):
            writer.write_table(pa.Table.from_pylist(rows, schema), row_group_size=_ROWS)
            count += len(rows)
    return count


def _schema() -> Any:
    import pyarrow as pa

    picture = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    columns = dict.fromkeys(PICTURES, picture) | {name: getattr(pa, kind)() for name, kind in COLUMNS.items()}
    metadata = {"huggingface": json.dumps({"info": {"features": features()}})}
    return pa.schema(list(columns.items()), metadata=metadata)


def _row(item: Item) -> dict[str, Any]:
    photo = {"bytes": item.photo, "path": f"{item.key}{item.suffix}"}
    control_map = {"bytes": item.control_map, "path": f"{item.key}.png"}
    return {"image": photo, "conditioning_image": control_map, **columns_of(item.triple)}
