"""Triples as a sequence: by position or key, slices, splits, and as tables of other libraries."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

from segkit.dataset.triple import Triple
from segkit.errors import DatasetError, UsageError

if TYPE_CHECKING:
    import pandas as pd


class Triples(Sequence[Triple]):
    """Triples in the order of their sources.

    `triples[0]` is the first, `triples["0123456789abcdef"]` the one with that key, `triples[:10]` the first ten.
    """

    def __init__(self, triples: Sequence[Triple]) -> None:
        self._triples = list(triples)
        self._places: dict[str, int] | None = None

    def _load(self) -> list[Triple]:
        """Return all triples; a subclass reads them from the disk."""
        return self._triples

    def __len__(self) -> int:
        return len(self._load())

    def __repr__(self) -> str:
        return f"Triples({len(self):,})"

    def __contains__(self, item: object) -> bool:
        """Return whether a triple, or a triple with this key, is among them."""
        triples = self._load()
        return item in self._index(triples) if isinstance(item, str) else item in triples

    def __iter__(self) -> Iterator[Triple]:
        return iter(self._load())

    @overload
    def __getitem__(self, place: int | str) -> Triple: ...
    @overload
    def __getitem__(self, place: slice) -> "Triples": ...
    def __getitem__(self, place: int | str | slice) -> "Triple | Triples":
        triples = self._load()
        if isinstance(place, slice):
            return Triples(triples[place])
        if isinstance(place, str):
            return triples[self._place(place)]
        return triples[place]

    def _place(self, key: str) -> int:
        try:
            return self._index(self._load())[key]
        except KeyError:
            raise KeyError(f"no triple has the key {key!r}; keys have 16 hex digits, see metadata.jsonl") from None

    def _index(self, triples: Sequence[Triple]) -> dict[str, int]:
        """Return the place of each key, worked out when it is first needed."""
        if self._places is None:
            self._places = {triple.key: place for place, triple in enumerate(triples)}
        return self._places

    @property
    def train(self) -> "Triples":
        """The triples to train on."""
        return self._of_split("train")

    @property
    def val(self) -> "Triples":
        """The triples held out for validation."""
        return self._of_split("val")

    @property
    def test(self) -> "Triples":
        """The triples held out for a final test."""
        return self._of_split("test")

    def _of_split(self, split: str) -> "Triples":
        return Triples([triple for triple in self if triple.split == split])

    def to_pandas(self, class_shares: bool = False) -> "pd.DataFrame":
        """Return one row for each triple, with the key as index.

        Args:
            class_shares: add a column for each class that occurs, the largest class first, with its share of the
                pixels, 0 to 1.

        Returns:
            Columns as in metadata.jsonl, with those that somebody added; the fields of `geometry` and `prompt` are
            columns such as `prompt_by`.
        """
        import pandas as pd

        rows = [_row(triple) for triple in self]
        table = pd.DataFrame(rows, columns=None if rows else ["key"]).set_index("key")
        if not class_shares:
            return table
        shares = pd.DataFrame([{share.name: share.share for share in triple.classes} for triple in self])
        shares = shares.fillna(0.0)[shares.sum().sort_values(ascending=False, kind="stable").index]
        taken = {
            name: f"{name}_share" for name in shares.columns if name in table.columns
        }  # an added key may be "wall"
        return table.join(shares.rename(columns=taken).set_index(table.index))

    def to_hf(self) -> Any:
        """Return a Hugging Face `datasets.Dataset` with the columns image, conditioning_image, text, key and split.

        Pictures are read from their files when they are accessed.

        Raises:
            UsageError: the package `datasets` is not installed.
            DatasetError: there are no triples.
        """
        try:
            import datasets
        except ModuleNotFoundError:
            raise UsageError("to_hf needs Hugging Face datasets: pip install datasets") from None
        triples = list(self)
        if not triples:
            raise DatasetError("no triples to convert: the dataset or split is empty.")
        columns = {
            "image": [str(triple.folder / triple.file_name) for triple in triples],
            "conditioning_image": [str(triple.folder / triple.conditioning_image_file_name) for triple in triples],
            "text": [triple.text for triple in triples],
            "key": [triple.key for triple in triples],
            "split": [triple.split for triple in triples],
        }
        table = datasets.Dataset.from_dict(columns)
        for name in ("image", "conditioning_image"):
            table = table.cast_column(name, datasets.Image())
        return table


def _row(triple: Triple) -> dict[str, Any]:
    record = triple.to_json()
    del record["classes"]
    nested = {name: record.pop(name) for name in ("geometry", "prompt")}
    return record | {f"{name}_{field}": value for name, fields in nested.items() for field, value in fields.items()}
