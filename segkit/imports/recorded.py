"""Maps of triples that segkit wrote: exactly what their record says, or an error."""

from dataclasses import replace as replace_rules
from io import BytesIO
from pathlib import Path

from msgspec.structs import replace
from PIL import Image

from segkit.dataset import history as histories
from segkit.dataset.formats.items import Item
from segkit.dataset.triple import Triple
from segkit.errors import PhotoError
from segkit.imports import labels as control_maps
from segkit.imports.labels import Rules
from segkit.maps import codec
from segkit.maps.codec import Labels
from segkit.maps.shift import Evidence


def opened(photo: bytes) -> Image.Image:
    """Return a stored photo, RGB."""
    try:
        with Image.open(BytesIO(photo), formats=("JPEG", "PNG")) as opened:
            return opened.convert("RGB")
    except Exception as error:  # Pillow raises exceptions of any type on damaged files
        raise PhotoError("record-damaged", f"its photo does not open ({error})") from None


def labels_of(data: bytes, record: Triple, rules: Rules, item: Item, is_as_recorded: bool) -> Labels:
    """Return the labels of a map that segkit wrote, in the palette that it was painted with.

    Exports hold maps in other forms, too; those must show the classes that are recorded.
    """
    plain = replace_rules(rules, mapping=None, cause="", shift=Evidence)
    if is_as_recorded:
        plain = replace_rules(plain, fixed_id=None)
    try:
        reading = control_maps.read(data, plain, item.segments if not is_as_recorded else None)
    except PhotoError as error:
        if error.reason == "map-empty":
            raise
        raise PhotoError("record-damaged", str(error)) from None
    labels = control_maps.with_classes(reading.labels, [share.name for share in record.classes], rules.painted_with)
    if reading.cause not in ("exact", "label-ids", "panoptic-ids") or not _shows(labels, record, rules):
        if alike := control_maps.of_one_color([share.name for share in record.classes], rules.painted_with):
            raise PhotoError("map-unsure", f"{alike} have one colour in RGB maps; export with maps=indexed")
        raise PhotoError("record-damaged", "its map does not show the classes that are recorded")
    return labels


def _shows(labels: Labels, record: Triple, rules: Rules) -> bool:
    """Return whether labels have the recorded classes in their recorded shares."""
    counts = codec.count(labels)
    present = {swatch.name: round(counts[swatch.index] / labels.size, 4) for swatch in rules.painted_with}
    return {name: share for name, share in present.items() if counts[rules.painted_with.find(name).index]} == {
        share.name: share.share for share in record.classes
    }


def edits(folder: Path, record: Triple) -> dict[str, bytes]:
    """Return the history of a triple's map, original first; shards do not hold it."""
    files = histories.original_path(folder, record.key), histories.path(folder, record.key)
    if not record.edits.map_edit or not all(file.is_file() for file in files):
        return {}
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


def in_palette(record: Triple, labels: Labels, rules: Rules) -> Triple:
    """Return a record whose classes are those of the dataset's palette; edits in the other palette are forgotten."""
    confidence: dict[int, float] = {}
    for share in record.classes:
        target = int(rules.mapping[rules.painted_with.find(share.name).index]) if rules.mapping is not None else 255
        confidence[target] = max(confidence.get(target, 0.0), share.confidence)
    counts = codec.count(labels)
    present = sorted(
        (index for index in range(len(rules.palette)) if counts[index]), key=lambda index: (-counts[index], index)
    )
    classes = tuple(
        codec.ClassShare(rules.palette[index].name, round(counts[index] / labels.size, 4), confidence.get(index, 1.0))
        for index in present
    )
    return replace(record, classes=classes, map_sha256="")
