"""Hugging Face's parquet: photos and maps embedded in columns that `datasets` reads as pictures."""

import json
from collections.abc import Iterable
from itertools import islice
from typing import Any, BinaryIO

from segkit.dataset.formats.imagefolder import columns_of
from segkit.dataset.formats.writing import HF_SPLITS, Item
from segkit.errors import UsageError

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


def write(file: BinaryIO, items: Iterable[Item]) -> int:
    """Write a shard and return the number of its rows.

    Args:
        file: opened for writing.
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
