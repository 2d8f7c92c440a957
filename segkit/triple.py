"""One photo with its control map and its prompt: a line of metadata.jsonl."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from segkit.errors import DatasetError

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Geometry:
    """How the stored pixels came out of the source; photo and map share it.

    Attributes:
        source_width, source_height: pixels of the source, upright.
        orientation: the EXIF orientation that was applied, 1 to 8.
        conversions: what else was done, from photos.CONVERSIONS.
        resized_width, resized_height: after scaling the short side, before the crop.
        crop_left, crop_top: where the stored picture begins in the resized one.
    """

    source_width: int
    source_height: int
    orientation: int
    conversions: tuple[str, ...]
    resized_width: int
    resized_height: int
    crop_left: int
    crop_top: int


@dataclass(frozen=True)
class ClassShare:
    """One class of a map: its share of all pixels, 0 to 1, and the segmenter's mean confidence on them, 0 to 1."""

    name: str
    share: float
    confidence: float


@dataclass(frozen=True)
class Prompt:
    """Who wrote the text: a model (with its revision), a person (human is True), or nobody (by is "nobody")."""

    by: str
    model: str
    revision: str
    human: bool


NOBODY = Prompt("nobody", "", "", human=False)
PERSON = Prompt("person", "", "", human=True)


@dataclass(frozen=True)
class Triple:
    """One photo with its control map and its prompt.

    Attributes:
        file_name: the photo, relative to the dataset, `/` between folders.
        conditioning_image_file_name: the control map, likewise.
        text: the prompt; empty where none was written.
        key: first 16 hex digits of sha256.
        source: where the photo came from, relative to the photo folder.
        sha256: of the source's bytes.
        phash: 64-bit perceptual hash of the stored photo, 16 hex digits.
        width, height: pixels of photo and map, multiples of 8.
        geometry: how the stored pixels came out of the source.
        classes: the classes of the map, largest first.
        tokens: length of the text in CLIP tokens with both ends; 0 without a text.
        prompt: who wrote the text.
        split: "train", "val" or "test".
        group: key of the first of its near-duplicates; a group never crosses splits.
        review: what a person decided: "open", "accepted" or "rejected".
        problems: names of the caption rules that flagged the text.
    """

    file_name: str
    conditioning_image_file_name: str
    text: str
    key: str
    source: str
    sha256: str
    phash: str
    width: int
    height: int
    geometry: Geometry
    classes: tuple[ClassShare, ...]
    tokens: int
    prompt: Prompt
    split: str
    group: str
    review: str
    problems: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the line of metadata.jsonl: every key, each with one type."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Triple":
        """Check and read a line of metadata.jsonl.

        Raises:
            DatasetError: a key is missing or has another type.
        """
        try:
            values = {field: _typed(record, field, kind) for field, kind in _PLAIN.items()}
            return cls(
                **values,
                geometry=Geometry(**{**record["geometry"], "conversions": tuple(record["geometry"]["conversions"])}),
                classes=tuple(ClassShare(**share) for share in record["classes"]),
                prompt=Prompt(**record["prompt"]),
                problems=tuple(record["problems"]),
            )
        except (KeyError, TypeError) as error:
            raise DatasetError(f"not a triple: {error}") from None


_PLAIN: dict[str, type] = {
    **dict.fromkeys(
        (
            "file_name", "conditioning_image_file_name", "text", "key", "source", "sha256", "phash", "split", "group",
            "review",
        ),
        str,
    ),
    **dict.fromkeys(("width", "height", "tokens"), int),
}  # fmt: skip


def _typed(record: Mapping[str, Any], field: str, kind: type) -> Any:
    value = record[field]
    if type(value) is not kind:
        raise TypeError(f"{field} is {value!r}, expected {kind.__name__}")
    return value


def photo_name(key: str, suffix: str) -> str:
    """Return where a photo lies in a dataset; suffix is ".jpg" or ".png"."""
    return f"images/{key[:2]}/{key}{suffix}"


def map_name(key: str) -> str:
    """Return where a control map lies in a dataset."""
    return f"maps/{key[:2]}/{key}.png"
